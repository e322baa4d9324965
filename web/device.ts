/**
 * One device of the playground's sync part: a tide of its own, kept in step with the edge over a link of its own, which
 * the switch cuts. It runs in a frame of the playground, and as well in a window of its own: a second window is a
 * second tab of the same device.
 *
 *     device.html?device=phone&log=<path at the edge>
 */
import { open, type Sync, type SyncStatus, type Topic } from "../src/browser/index.ts";
import { DeviceLog } from "./device-log.ts";
import { DEVICES, type DeviceName, type Note, type Report, samplesOf } from "./devices.ts";
import { byId, bytes, number } from "./dom.ts";
import { Link } from "./link.ts";
import { TideBox } from "./tide-box.ts";

const TOPIC = "notes";
const ROWS = 8;
const TICK_MS = 500;

const told = (text: string): void => void (byId("told").textContent = text);
const inWords = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

/** Sets a text where it has changed, so that nothing is read out twice. */
function set(id: string, text: string): void {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

function tellStatus({ state, reason, nextTryAt, topics }: SyncStatus): void {
  const { pending, behind, watermark, blocked, stopped } = topics[TOPIC] ?? {};
  set("state", state);
  set("pending", pending ? number(pending.records) : "–");
  byId("pending").title = pending ? bytes(pending.bytes) : "";
  set("behind", behind ? number(behind.records) : "–");
  set("watermark", watermark === undefined ? "–" : number(watermark));
  const wait = nextTryAt === undefined ? undefined : Math.max(0, Math.ceil((nextTryAt - Date.now()) / 1000));
  const size = pending && pending.bytes > 0 ? `${bytes(pending.bytes)} pending. ` : "";
  const next = wait === undefined ? "" : `Next try in ${wait} s.`;
  set("next", stopped || blocked ? "" : `${size}${next}${reason ? ` Reason: ${reason}.` : ""}`);
  if (blocked) told(`Blocked, ${blocked.code}: ${blocked.message}`);
  if (stopped)
    told(`Sync has stopped, ${stopped.code}: the edge's log is not the one that this device knows. Begin anew.`);
}

/** The buttons that write. Each append is acknowledged by this device, with a link or without. */
function writePanel(device: DeviceName, topic: Topic<Note>): void {
  const input = byId<HTMLInputElement>("text");
  const samples = samplesOf(device);
  let written = 0;
  const sample = (): string => samples[written++ % samples.length]!;
  input.value = sample();
  // Who types something of their own replaces the sample.
  input.addEventListener("focus", () => input.select());
  const write = async (texts: readonly string[]): Promise<void> => {
    const started = performance.now();
    const since = (): string => `${number(performance.now() - started)} ms`;
    const what = texts.length === 1 ? `“${texts[0]}”` : `${texts.length} records`;
    try {
      const acks = await Promise.all(texts.map((text) => topic.append({ key: device, value: { text, from: device } })));
      told(`${what}: acknowledged here after ${since()}.`);
      const { offset } = await acks.at(-1)!.committed;
      const which = texts.length === 1 ? "at" : "the last at";
      told(
        `${what}: at the edge after ${since()}${offset === undefined ? "" : `, ${which} offset ${number(offset)}`}.`,
      );
    } catch (thrown) {
      told(inWords(thrown));
    }
  };
  byId("write").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim() || sample();
    input.value = sample();
    void write([text]);
  });
  byId("ten").addEventListener("click", () => void write(Array.from({ length: 10 }, sample)));
  for (const id of ["one", "ten"]) byId<HTMLButtonElement>(id).disabled = false;
}

function linkPanel(link: Link, sync: Sync): void {
  const button = byId<HTMLButtonElement>("link");
  link.onChange((isWhole) => {
    button.setAttribute("aria-checked", String(isWhole));
    // As an application does on the browser's event "online": the next try does not wait.
    if (isWhole) void sync.authenticate().catch((thrown: unknown) => told(inWords(thrown)));
  });
  button.addEventListener("click", () => {
    link.set(button.getAttribute("aria-checked") !== "true").catch((thrown: unknown) => told(inWords(thrown)));
  });
  button.disabled = false;
}

/** Shows the log in the box, and tells the page around this frame, which compares the devices. */
async function show(device: DeviceName, topic: Topic<Note>): Promise<void> {
  const name = `Records of the ${DEVICES[device].title.toLowerCase()}`;
  const box = new TideBox(byId("log"), { label: "tidemark", rows: ROWS, name });
  const log = new DeviceLog();
  await log.follow(topic, () => {
    box.draw(log);
    const { count, sum, provisional } = log;
    const report: Report = { device, count, sum, provisional: provisional.length };
    if (parent !== window) parent.postMessage(report, location.origin);
  });
}

async function start(): Promise<void> {
  const given = new URLSearchParams(location.search);
  const device = given.get("device") as DeviceName;
  const path = given.get("log");
  if (!(device in DEVICES) || !path) throw new Error("Open the devices from the playground: this address names none.");
  const { title } = DEVICES[device];
  set("name", title);
  document.title = `Tidemark: ${title.toLowerCase()}`;
  const own = byId<HTMLAnchorElement>("own-window");
  own.href = location.href;
  own.hidden = parent === window;
  document.body.classList.toggle("window", parent === window);
  const link = await Link.of(device);
  const tide = await open(`playground-${device}`, {
    sync: { url: link.address, topics: { [TOPIC]: { path, serializer: "json" } } },
  });
  const topic = tide.topic<Note>(TOPIC);
  const sync = tide.syncing!;
  tide.on("closed", ({ reason }) => told(`This device was closed: ${reason}`));
  sync.subscribe(tellStatus);
  setInterval(() => sync.status.nextTryAt !== undefined && tellStatus(sync.status), TICK_MS);
  tellStatus(sync.status);
  linkPanel(link, sync);
  writePanel(device, topic);
  told("Every write is acknowledged here first, with the link or without.");
  await show(device, topic);
}

start().catch((thrown: unknown) => told(inWords(thrown)));
