/**
 * Two devices in frames of their own, and between them what the edge holds. Under them the page says how far all three
 * agree: each counts its committed records and has a sum over them.
 */
import { destroy } from "../src/browser/index.ts";
import { DEVICES, type DeviceName, type Report } from "./devices.ts";
import { byId, el, number, onClick } from "./dom.ts";
import { EdgeLog } from "./edge-log.ts";
import { TideBox } from "./tide-box.ts";

/** Where the browser keeps the name of the edge's log: the devices' tides are tied to it. */
const LOG_KEY = "playground-sync-log";
const ROWS = 14;
/** On a phone the three stand below each other. */
const ROWS_NARROW = 8;

const NAMES = Object.keys(DEVICES) as DeviceName[];

function logPath(): string {
  const known = localStorage.getItem(LOG_KEY);
  if (known) return known;
  const made = `playground/list-${crypto.randomUUID().slice(0, 8)}`;
  localStorage.setItem(LOG_KEY, made);
  return made;
}

function frameOf(device: DeviceName, path: string): HTMLIFrameElement {
  const { title } = DEVICES[device];
  const address = new URL("./device.html", location.href);
  address.search = String(new URLSearchParams({ device, log: path }));
  return el("iframe", { className: "frame", title: `${title}: a device`, src: address.href });
}

/** What the page says of the three logs. */
function verdict(edge: EdgeLog, reports: ReadonlyMap<DeviceName, Report>): string {
  const devices = NAMES.flatMap((device) => reports.get(device) ?? []);
  if (devices.length < NAMES.length) return "The devices open their tides …";
  const isEqual = devices.every(({ count, sum }) => count === edge.count && sum === edge.sum);
  const own = devices
    .filter(({ provisional }) => provisional > 0)
    .map(({ device, provisional }) => `the ${device} has ${number(provisional)} that nobody else has`);
  const lacking = devices
    .filter(({ count }) => count < edge.count)
    .map(({ device, count }) => `the ${device} lacks ${number(edge.count - count)} of the edge's`);
  const differences = [...own, ...lacking].join("; ");
  if (differences) return `Not level: ${differences}.`;
  if (isEqual && edge.count === 0) return "Level: nobody has written anything yet.";
  if (isEqual) {
    const sum = edge.sum.toString(16).padStart(8, "0");
    const held = `hold the same ${number(edge.count)} records in the same order (sum ${sum})`;
    return `Level: the phone, the laptop and the edge ${held}.`;
  }
  // A device may have read what this page's own reader has still to get.
  if (devices.some(({ count }) => count > edge.count)) return "Comparing …";
  return "NOT EQUAL: as many records, and others. Please report this.";
}

export class Stage {
  readonly #edge: EdgeLog;
  readonly #path: string;
  readonly #frames: readonly HTMLIFrameElement[];
  readonly #reports = new Map<DeviceName, Report>();
  readonly #leave = new AbortController();

  static #running: Stage | undefined;

  private constructor(url: string, path: string) {
    this.#path = path;
    this.#edge = new EdgeLog(`${url}/v1/stream/${path}`);
    this.#frames = NAMES.map((device) => frameOf(device, path));
  }

  static async start(url: string): Promise<void> {
    const stage = new Stage(url, logPath());
    await stage.#edge.make();
    stage.#show(url);
    this.#running = stage;
    const button = byId<HTMLButtonElement>("sync-start");
    if (!button.hidden) {
      button.hidden = true;
      byId("sync-anew").hidden = false;
      // Where the button was there is no focus any more.
      stage.#frames[0]!.focus({ preventScroll: true });
      onClick("sync-anew", byId("sync-verdict"), () => this.#anew(url));
    }
  }

  /** Removes both devices with all they have, and begins with another log at the edge. */
  static async #anew(url: string): Promise<void> {
    this.#running?.end();
    await Promise.all(NAMES.map((device) => destroy(`playground-${device}`)));
    localStorage.removeItem(LOG_KEY);
    await this.start(url);
  }

  #show(url: string): void {
    const box = el("div");
    const tide = new TideBox(box, {
      label: "log's end",
      rows: matchMedia("(max-width: 40rem)").matches ? ROWS_NARROW : ROWS,
      name: "Records at the edge",
    });
    const reader = el(
      "p",
      { className: "detail" },
      "It knows no devices: each record says who wrote it. Read by plain HTTP, as anybody can:",
    );
    const address = `${url}/v1/stream/${this.#path}`;
    const edge = el(
      "div",
      { className: "middle" },
      el("h2", {}, "Edge"),
      reader,
      el("pre", { className: "address", tabIndex: 0 }, `curl '${address}?offset=-1'`),
      box,
    );
    const [first, last] = this.#frames;
    byId("sync-stage").replaceChildren(first!, edge, last!);
    byId("sync-state").textContent =
      "Each switch cuts a link for real: this page's server, which carries it, ends the connection and refuses " +
      "new ones.";
    const draw = (): void => {
      tide.draw(this.#edge);
      byId("sync-verdict").textContent = this.#edge.isAnswering
        ? verdict(this.#edge, this.#reports)
        : "The edge does not answer. The devices go on, and so does this page as soon as it is back.";
    };
    const heard = ({ data, source, origin }: MessageEvent<Report>): void => {
      if (origin !== location.origin || !this.#frames.some(({ contentWindow }) => contentWindow === source)) return;
      this.#reports.set(data.device, data);
      draw();
    };
    addEventListener("message", heard, { signal: this.#leave.signal });
    draw();
    void this.#edge.follow(draw);
  }

  end(): void {
    this.#leave.abort();
    this.#edge.close();
    for (const frame of this.#frames) frame.remove();
  }
}
