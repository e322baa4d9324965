/** The page of one tab: opens the tide by the shipped API, writes, follows, and reports everything to the ledger. */
import { open, type SegmentExport, type Tide, TidemarkError, type Topic } from "../../../src/browser/index.ts";
import { Wire } from "../../crash/page/wire.ts";
import type { PageEvent } from "../../crash/events.ts";
import type { Left, TabConfig, TabPage, TabState, Term } from "../events.ts";

const SEGMENT_BYTES = 64 * 1024;
const PER_TAB = 1_000_000;
const ACKS_KEPT = 2_000;
const TOPIC = "orders";

const wire = new Wire(1, crypto.randomUUID());
// Read once: WebKit computes it on each read, with slightly different results.
const origin = performance.timeOrigin - Date.UTC(2026, 0);
/** Milliseconds of the machine's own clock, with fractions: the same in every tab. */
const now = (): number => origin + performance.now();

let config: TabConfig;
let tide: Tide;
let topic: Topic<number>;
const workers: Worker[] = [];
let sent = 0;
let acked = 0;
let polled = 0;
let nextOffset = 0;
let onPolled: () => void = () => undefined;
let writing: Promise<void> = Promise.resolve();
let resting = false;
let via = "port";
let epoch: number | undefined;
let term: Omit<Term, "ackedAt"> | undefined;
let lostAt = 0;
let ackMsMax = 0;
let restored = 0;
let froze = 0;
let closed: string | undefined;
const events: [type: string, at: number][] = [];
const ackedAt: number[] = [];
const failures: string[] = [];
const versions: [number, number][] = [];
let segments: SegmentExport[] = [];
let importing: Promise<number | string> = Promise.resolve(0);

// A channel with a name of its own stands for a port.
globalThis.BroadcastChannel = class extends BroadcastChannel {
  constructor(name: string) {
    super(name);
    if (name.startsWith("tidemark-port:")) via = "broadcast";
  }
};

/** Timers of a hidden page run once a second; a worker's do not. */
const pacer = new Worker(URL.createObjectURL(new Blob(["onmessage = ({ data }) => setTimeout(postMessage, data, 0)"])));
const pause = (ms: number): Promise<unknown> =>
  new Promise((resolve) => {
    pacer.onmessage = resolve;
    pacer.postMessage(ms);
  });
// Notes every worker that the log starts from here on, so that it can be terminated.
globalThis.Worker = class extends Worker {
  constructor(...args: ConstructorParameters<typeof Worker>) {
    super(...args);
    workers.push(this);
  }
};
document.addEventListener("freeze", () => froze++);
// This request outlives the page.
addEventListener(
  "pagehide",
  () =>
    config &&
    navigator.sendBeacon(
      "ledger",
      JSON.stringify({ life: 1, events: [{ type: "note", note: { left: config.tab, at: now() } satisfies Left }] }),
    ),
);
addEventListener("pageshow", ({ persisted }) => (restored += Number(persisted)));

const codeOf = (thrown: unknown): string => (thrown instanceof TidemarkError ? thrown.code : String(thrown));
const tell = (event: PageEvent): Promise<void> => wire.tell(event);

async function write(): Promise<void> {
  const process = `writer/${config.tab}`;
  while (!resting) {
    const count = 1 + (sent % 4);
    const values = Array.from({ length: count }, () => config.tab * PER_TAB + sent++);
    const id = config.tab * PER_TAB + sent;
    await tell({
      type: "append",
      id,
      at: now(),
      process,
      topic: TOPIC,
      acks: "flushed",
      records: values.map((value) => [value, null, 0] as const),
    });
    const began = now();
    try {
      const acks = await Promise.all(values.map((value) => topic.append({ value })));
      const at = now();
      ackedAt.push(at);
      ackMsMax = Math.max(ackMsMax, at - began);
      if (term) void tell({ type: "note", note: { ...term, ackedAt: at } satisfies Term });
      term = undefined;
      if (ackedAt.length > ACKS_KEPT) ackedAt.shift();
      acked += count;
      await tell({
        type: "done",
        id,
        at: now(),
        outcome: "ok",
        offsets: acks.map(({ offset }) => offset),
        duplicates: acks.filter(({ duplicate }) => duplicate).length,
      });
    } catch (thrown) {
      failures.push(codeOf(thrown));
      await tell({ type: "done", id, at: now(), outcome: "info", code: codeOf(thrown) });
      if (codeOf(thrown) === "CLOSED") return;
    }
    if (config.pauseMs > 0) await pause(config.pauseMs);
  }
}

async function follow(): Promise<void> {
  let from = now();
  for await (const batch of topic.readBatches({ follow: true, from: config.followFrom ?? "earliest" })) {
    const records = [...batch];
    const at = now();
    // One post for each batch and follower would keep two cores busy.
    wire.later({
      type: "poll",
      from,
      at,
      process: `follower/${config.tab}`,
      topic: TOPIC,
      wholeLog: false,
      offsets: records.map(({ offset }) => offset),
      values: records.map(({ value }) => value!),
    });
    from = at;
    polled += records.length;
    nextOffset = batch.nextOffset;
    onPolled();
  }
}

const page: TabPage = {
  async open(given) {
    config = given;
    if (config.noSharedWorker) delete (globalThis as { SharedWorker?: unknown }).SharedWorker;
    tide = await open(config.name, {
      engine: config.engine,
      segmentBytes: SEGMENT_BYTES,
      ...(config.leaderTimeoutMs && { leaderTimeoutMs: config.leaderTimeoutMs }),
    });
    tide.on((event) => {
      events.push([event.type, now()]);
      if (event.type === "leaderlost") lostAt ||= now();
      if (event.type === "version") versions.push([event.ours, event.theirs]);
      if (event.type === "closed") closed = event.reason;
      if (event.type !== "leaderchange") return;
      ({ via, epoch } = event);
      term = { tab: config.tab, epoch: event.epoch, role: event.role, lostAt, changedAt: now() };
      lostAt = 0;
    });
    topic = tide.topic<number>(TOPIC);
  },
  work() {
    resting = false;
    writing = write();
    follow().catch((thrown: unknown) => {
      if (codeOf(thrown) !== "CLOSED")
        void tell({ type: "problem", text: `follower/${config.tab}: ${String(thrown)}` });
    });
  },
  state: (): TabState => ({
    role: tide.role,
    via,
    epoch,
    events,
    acked,
    polled,
    versions,
    storage: tide.storage.engine,
    durability: tide.storage.durability,
    failures,
    ackMsMax,
    closed,
  }),
  write() {
    resting = false;
    writing = write();
  },
  async rest() {
    resting = true;
    await writing;
  },
  async readAll() {
    const from = now();
    const offsets: number[] = [];
    const values: number[] = [];
    for await (const { offset, value } of topic.read()) {
      offsets.push(offset);
      values.push(value!);
    }
    const process = `reader/${config.tab}`;
    await tell({ type: "assign", at: from, process, topic: TOPIC });
    await tell({ type: "poll", from, at: now(), process, topic: TOPIC, wholeLog: true, offsets, values });
    return offsets.length;
  },
  async caughtUp() {
    const { highWatermark } = await topic.state();
    while (nextOffset < highWatermark) await new Promise<void>((resolve) => (onPolled = resolve));
    await tell({ type: "note", note: undefined });
  },
  close: () => tide.close(),
  killWorkers: () => workers.forEach((worker) => worker.terminate()),
  brief: () => ({
    role: tide.role,
    epoch,
    acked,
    failures,
    ackMsMax,
    closed,
    restored,
    froze,
    visible: document.visibilityState === "visible",
  }),
  ackAsLeader(after) {
    const [, changedAt = 0] = events.findLast(([type]) => type === "leaderchange") ?? [];
    return tide.role === "leader" ? ackedAt.find((at) => at > after && at > changedAt) : undefined;
  },
  now,
  append: async (value) => (await topic.append({ value })).offset,
  async makeSegments(count) {
    const source = tide.topic<string>("source", { serializer: "text" });
    const value = "x".repeat(1_000);
    while ((await source.state()).segments.length <= count)
      await Promise.all(Array.from({ length: 50 }, () => source.append({ value })));
    segments = [];
    for await (const segment of source.export()) segments.push(segment);
  },
  beginImport() {
    importing = tide
      .topic("copy", { serializer: "text" })
      .importSegments(segments)
      .then(({ records }) => records, String);
  },
  importEnded: () => importing,
  async slots() {
    let count = 0;
    const walk = async (folder: FileSystemDirectoryHandle): Promise<void> => {
      for await (const entry of folder.values()) {
        // The library makes folders and removes them at once (src/browser/volume/torn-names.ts).
        const isGone = (thrown: unknown): void => {
          if ((thrown as Error).name !== "NotFoundError") throw thrown;
        };
        if (entry.kind === "directory") await walk(entry).catch(isGone);
        else count++;
      }
    };
    await walk(await navigator.storage.getDirectory());
    return count;
  },
  async imported() {
    const offsets: number[] = [];
    for await (const { offset } of tide.topic("copy", { serializer: "text" }).read()) offsets.push(offset);
    return { offsets, topics: await tide.topics() };
  },
};

Object.assign(window, { tab: page });
document.title = "ready";
