/**
 * The page that is struck. It opens a tide by the shipped API, works on it, and reports everything to the ledger. The
 * runner calls `window.crash`. The page keeps hold of its worker, so that it can terminate it.
 */
import { open, type Tide, TidemarkError } from "../../../src/browser/index.ts";
import type { Audit, CrashPage, PageConfig } from "../events.ts";
import { TOPICS } from "../events.ts";
import { Wire } from "./wire.ts";
import { Workload } from "./workload.ts";

const SEGMENT_BYTES = 64 * 1024;
const SETTLE_MS = 15_000;

let worker: Worker;
let tide: Tide;
let workload: Workload;
let closed: Promise<string>;

globalThis.Worker = class extends Worker {
  constructor(...args: ConstructorParameters<typeof Worker>) {
    super(...args);
    worker = this;
  }
};

/** Opens the tide, again and again while the page before still holds its locks: they may outlive it by a moment. */
async function openPatiently({ name, engine }: PageConfig): Promise<{ opened: Tide; openMs: number; waits: number }> {
  for (let waits = 0; ; waits++) {
    // Waits for the lock's release, so that this page is the only one. A page that began as a follower would not be
    // closed when its worker ends.
    await navigator.locks.request(`tidemark:${name}`, () => undefined);
    const started = performance.now();
    try {
      const opened = await within(open(name, { engine, segmentBytes: SEGMENT_BYTES }), "open()");
      return { opened, openMs: performance.now() - started, waits };
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError && thrown.code === "ALREADY_OPEN") || waits === 100) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** Rejects when a call takes longer than SETTLE_MS: a call that never settles is a finding. */
async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>(
    (_, reject) =>
      (timer = setTimeout(() => reject(new Error(`${what} did not end within ${SETTLE_MS} ms`)), SETTLE_MS)),
  );
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function readEverything(): Promise<Pick<Audit, "records" | "readMs">> {
  const started = performance.now();
  let records = 0;
  for (const topic of TOPICS) records += await within(workload.readAll(topic), `reading ${topic}`);
  return { records, readMs: performance.now() - started };
}

const crash: CrashPage = {
  async audit(config) {
    const wire = new Wire(config.life);
    const id = wire.id();
    await wire.tell({ type: "begin", id, moment: "recovery" });
    const { opened, ...how } = await openPatiently(config);
    tide = opened;
    closed = new Promise((resolve) => tide.on((event) => event.type === "closed" && resolve(event.reason)));
    workload = new Workload(tide, config, wire);
    const read = await readEverything();
    await wire.tell({ type: "end", id, moment: "recovery" });
    return { ...how, ...read, ...(await workload.shape()) };
  },
  work() {
    workload.start();
  },
  async finish() {
    await within(workload.stop(), "the work");
    await within(tide.close(), "close()");
  },
  async terminate() {
    const started = performance.now();
    worker.terminate();
    await within(Promise.all([closed, workload.settled()]), "a terminated worker's calls");
    return performance.now() - started;
  },
};

Object.assign(window, { crash });
document.title = "ready";
