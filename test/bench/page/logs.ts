/** Workloads over large logs and many of them. A runner fills a log once, and closes and opens it again. */
import { open, type Tide, type Topic } from "../../../src/browser/index.ts";
import { forget, ours, pipelined, value } from "./common.ts";

let tide: Tide;
let leaderChanges = 0;
/** Two calls of 100 KiB are more than twice as much, so each is a batch of its own. */
const APART = 64 * 1024;

export const logs = {
  /**
   * Fills a log, or so many topics of one tide, with batches of 100 records of 1 KiB. What is there already counts.
   * Later workloads use it.
   */
  async fill(name: string, bytes: number, topics = 1): Promise<void> {
    const records = Array.from({ length: 100 }, () => value(1024));
    await ours(
      async (first, tide) => {
        for (let i = 0; i < topics; i++) {
          const topic = i === 0 ? first : tide.topic<Uint8Array>(`t${i}`, { serializer: "bytes", batchBytes: APART });
          const start = (await topic.state()).logEndOffset;
          const batches = Math.ceil(bytes / topics / (100 * 1036)) - start / 100;
          await pipelined(Math.max(0, batches), (n) =>
            topic.appendBatch(
              records.map((each) => ({ value: each, timestamp: 1_700_000_000_000 + start * 1000 + n })),
            ),
          );
        }
      },
      name,
      true,
      APART,
    );
  },
  async seeks(name: string, count: number): Promise<{ ms: number[]; segments: number }> {
    return ours(
      async (topic) => {
        const { logEndOffset, segments } = await topic.state();
        const ms: number[] = [];
        let seed = 12345;
        // The first seek into a segment opens its slot. These uncounted seeks load the index of every segment into
        // memory.
        for (const { baseOffset } of segments)
          for await (const record of topic.read({ from: baseOffset, to: baseOffset + 1, maxBytes: 1 })) void record;
        for (let i = 0; i < count; i++) {
          seed = (seed * 1103515245 + 12345) & 0x7fffffff;
          const offset = seed % logEndOffset;
          const started = performance.now();
          for await (const record of topic.read({ from: offset, to: offset + 1, maxBytes: 1 }))
            if (record.offset !== offset) throw new Error(`sought ${offset}, got ${record.offset}`);
          ms.push(performance.now() - started);
        }
        return { ms, segments: segments.length };
      },
      name,
      true,
    );
  },
  /** As `seeks`, by time. `cold` are the first seeks into each segment, which load its indexes. */
  async timeSeeks(name: string, count: number): Promise<{ ms: number[]; cold: number[] }> {
    return ours(
      async (topic) => {
        const segments = (await topic.state()).segments;
        const ms: number[] = [];
        for (let i = 0; i < segments.length + count; i++) {
          const timestamp = segments[(i * 7919) % segments.length]!.maxTimestamp - (i % 50);
          const started = performance.now();
          for await (const batch of topic.readBatches({ from: { timestamp }, maxBytes: 1 })) {
            for (const record of batch) {
              if (record.timestamp < timestamp) throw new Error("too early");
              break;
            }
            break;
          }
          ms.push(performance.now() - started);
        }
        return { cold: ms.splice(0, segments.length), ms };
      },
      name,
      true,
    );
  },
  /** Opens, returns the time that it took and what recovery did, and closes properly. */
  async openOnce(name: string): Promise<{ ms: number; clean: boolean; records: number }> {
    const started = performance.now();
    const tide = await open(name);
    const ms = performance.now() - started;
    const clean = tide.recovery.every((report) => report.cleanShutdown);
    const { logEndOffset } = await tide.topic("t").state();
    await tide.close();
    return { ms, clean, records: logEndOffset };
  },
  /** Opens, appends one record and stays open, so that the runner can kill the browser. */
  async openAndAppend(name: string): Promise<void> {
    const tide = await open(name);
    await tide.topic<Uint8Array>("t", { serializer: "bytes" }).append({ value: value(1024) });
  },
  async replayAll(name: string): Promise<{ records: number; ms: number }> {
    return ours(
      async (topic) => {
        const started = performance.now();
        let records = 0;
        for await (const batch of topic.readBatches()) records += batch.count;
        return { records, ms: performance.now() - started };
      },
      name,
      true,
    );
  },
  forget,
  /** The first read of each of so many topics, in a tide that was just opened. Returns milliseconds. */
  async firstReads(name: string, topics: number): Promise<number[]> {
    return ours(
      async (_, opened) => {
        const ms: number[] = [];
        for (let i = 1; i < topics; i++) {
          const topic = opened.topic<Uint8Array>(`t${i}`, { serializer: "bytes" });
          const started = performance.now();
          for await (const record of topic.read({ from: { last: 1 } })) void record;
          ms.push(performance.now() - started);
        }
        return ms;
      },
      name,
      true,
    );
  },
  /** Makes so many topics, then appends one record after the other, each to the next topic. Returns milliseconds. */
  async manyTopics(name: string, many: number, count: number): Promise<{ making: number[]; appending: number[] }> {
    const opened = await open(name, { segmentBytes: 1024 * 1024 });
    const topics = Array.from({ length: many }, (_, i) =>
      opened.topic<Uint8Array>(i === 0 ? "t" : `t${i}`, { serializer: "bytes" }),
    );
    const one = async (topic: Topic<Uint8Array>): Promise<number> => {
      const started = performance.now();
      await topic.append({ value: value(100) });
      return performance.now() - started;
    };
    const making: number[] = [];
    const appending: number[] = [];
    for (const topic of topics) making.push(await one(topic));
    for (let i = 0; i < count; i++) appending.push(await one(topics[i % many]!));
    await opened.close();
    return { making, appending };
  },
  /** Fills a log with so many records of each key, in an order that looks like chance, and closes it. */
  async fillKeys(name: string, keys: number, versions: number, size: number): Promise<void> {
    const total = keys * versions;
    const one = value(size);
    await ours(
      (topic) =>
        pipelined(total / 1000, (batch) =>
          topic.appendBatch(
            // A step that shares no factor with the number of keys comes to each of them once.
            Array.from({ length: 1000 }, (_, i) => ({ key: `k${((batch * 1000 + i) * 7919) % keys}`, value: one })),
          ),
        ),
      name,
      true,
    );
  },
  /** Opens a tide and counts from now on how often its leader changes. */
  async watch(name: string): Promise<void> {
    tide = await open(name);
    tide.on(({ type }) => (leaderChanges += Number(type === "leaderchange" || type === "leaderlost")));
  },
  changes: (): number => leaderChanges,
  leave: (): Promise<void> => tide.close(),
  /**
   * Compacts the log for `msMax` at most while 200 appends a second come. Returns each append's time from when it was
   * due, so that a late one delays none that follow.
   */
  async compactBeside(msMax: number): Promise<{ ms: number[]; seconds: number; removed: number }> {
    const topic = tide.topic<Uint8Array>("t", { serializer: "bytes", compaction: true });
    await topic.state();
    const ms: number[] = [];
    const waiting: Promise<void>[] = [];
    const began = performance.now();
    let due = began;
    let removed = 0;
    let isDone = false;
    const append = async (at: number): Promise<void> => {
      await topic.append({ key: `k${waiting.length}`, value: value(256) });
      ms.push(performance.now() - at);
    };
    const ticking = setInterval(() => {
      for (; due <= performance.now(); due += 5) waiting.push(append(due));
    }, 1);
    const cleaning = (async () => {
      while (!isDone) {
        const { compacted } = await topic.clean();
        removed += compacted.recordsRemoved;
        if (compacted.recordsRemoved === 0) break;
      }
    })();
    await Promise.race([cleaning, new Promise((resolve) => setTimeout(resolve, msMax))]);
    isDone = true;
    const seconds = (performance.now() - began) / 1000;
    clearInterval(ticking);
    await Promise.all(waiting);
    return { ms, seconds, removed };
  },
};
