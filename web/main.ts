/** The playground: opens the log, tells what it found, and hands it to the panels. It sees the public API only. */
import type { StorageReport, Tide } from "../src/browser/index.ts";
import { App, notice, TIDE_NAME } from "./app.ts";
import { appendPanel } from "./append.ts";
import { byId, bytes, el, number, onClick } from "./dom.ts";
import { carryOut, flipOf, inWords, type Order, orderAndReload, tearOf } from "./harm.ts";
import { Plots } from "./plots.ts";
import { readPanel, replay } from "./read.ts";
import { seek, seekPanel } from "./seek.ts";
import { upkeepPanel } from "./upkeep.ts";

const ENGINES = { opfs: "the origin private file system", indexeddb: "IndexedDB", memory: "memory" } as const;
const WORTH = {
  device: "An ack says the record was flushed to the device: it survives a crash of the tab, the browser and, as far as the disk keeps its word, the power.",
  process: "An ack survives a crash of the tab and the browser, not a power cut.",
  none: "An ack ends with this window: nothing here is kept.",
} as const;

function tellStorage({ engine, durability, persisted, usageBytes, rejected }: StorageReport, openMs: number): void {
  const kept = persisted ? "The browser will not evict it by itself." : "The browser may evict it when the disk runs full.";
  const used = usageBytes === undefined ? "" : ` ${bytes(usageBytes)} in use.`;
  const refused = rejected.map(({ engine: other, reason }) => ` ${ENGINES[other]} was refused: ${reason}.`).join("");
  byId("storage").textContent = `Opened in ${number(openMs)} ms in ${ENGINES[engine]}. ${WORTH[durability]} ${kept}${used}${refused}`;
}

function tellRole(role: Tide["role"]): void {
  byId("role").textContent = role === "leader" ? "This tab writes for all tabs of this log. Close it, and another takes over." : "Another tab writes for this one. Close that tab, and this one or a third takes over.";
}

function harmPanel(app: App): void {
  const text = byId("harm-text");
  const path = ["tidemark", TIDE_NAME];
  const flights = app.topics.get("flights")!;
  const possible = app.tide.storage.engine === "opfs";
  for (const id of ["tear", "flip"]) byId<HTMLButtonElement>(id).disabled = !possible;
  if (!possible) text.textContent = "Files can be hurt from outside only in the origin private file system.";
  onClick("kill", text, async () => {
    const offset = await app.appendBatch(flights, [{ value: { delay: 1, distance: 1 } }]);
    orderAndReload({ kind: "kill", records: offset + 1 });
  });
  onClick("tear", text, async () => {
    const last = await app.appendBatch(flights, Array.from({ length: 200 }, (_, i) => ({ value: { delay: i, distance: -1 } })));
    const found = await flights.explainSeek({ offset: last });
    orderAndReload({ kind: "tear", records: last + 1, ...tearOf(path, await flights.state(), found!.batch.length) });
  });
  onClick("flip", text, async () => {
    const state = await flights.state();
    if (state.segments.length < 2) throw new Error("Load the flights first: a bit is flipped in a sealed segment.");
    orderAndReload({ kind: "flip", records: state.logEndOffset, ...flipOf(path, state) });
  });
}

/** What came of the harm that the page before ordered. */
async function tellHarm(app: App, order: Order): Promise<void> {
  const state = await app.topics.get("flights")!.state();
  const report = inWords(state.recovery);
  if (order.kind === "kill") notice("The tab was killed, and the log is still here", el("p", {}, `${number(order.records)} records had been acknowledged; the log ends at ${number(state.logEndOffset)}.`), report);
  if (order.kind === "tear") notice("The tail was torn", el("p", {}, `Half of the last batch was zeroed, as by a power cut in the middle of its write.`), report);
  if (order.kind === "flip") {
    const { records, damage } = await replay(app);
    const found = damage.length > 0 ? `A replay met ${damage.join(", ")}, said so, and went on: ${number(records)} good records were read.` : "A replay found nothing wrong.";
    notice("One bit was flipped in a sealed segment", el("p", {}, found), report);
    // Shown where it is: the damaged segment has a red edge now.
    await app.draw();
  }
}

async function start(): Promise<void> {
  const order = await carryOut();
  const started = performance.now();
  const app = await App.open();
  tellStorage(app.tide.storage, performance.now() - started);
  app.plots = new Plots();
  appendPanel(app);
  readPanel(app);
  seekPanel(app);
  upkeepPanel(app);
  harmPanel(app);
  app.drawTopics();
  tellRole(app.tide.role);
  app.tide.on((event) => {
    if (event.type === "closed") notice("The log was closed", event.reason);
    if (event.type === "leaderchange") tellRole(event.role);
    if (event.type === "reopened") notice("The store failed and was opened again", event.reason);
    if (event.type === "quota") notice("The disk is full", event.message);
  });
  await app.draw();
  const { logEndOffset, highWatermark, logStartOffset } = await app.topic.state();
  if (order) await tellHarm(app, order);
  else if (logEndOffset === 0) byId<HTMLButtonElement>("load").click();
  else byId("progress-text").textContent = `Still here from last time: ${number(logEndOffset - logStartOffset)} offsets.`;
  if (highWatermark > logStartOffset) await seek(app, { offset: Math.floor((highWatermark + logStartOffset) / 2) }).catch(() => undefined);
}

byId("notice-close").addEventListener("click", () => (byId("notice").hidden = true));
start().catch((thrown: unknown) => {
  byId("storage").textContent = "";
  for (const button of document.querySelectorAll<HTMLButtonElement>("main button:not(#notice-close)")) button.disabled = true;
  notice("The log can't be opened", thrown instanceof Error ? thrown.message : String(thrown));
});
