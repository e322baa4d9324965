/** One tab of the many-tab workloads. It leads or follows, as it happens, and keeps its tide open between calls. */
import { open, type Tide, type Topic } from "../../../src/browser/index.ts";

let tide: Tide;
let topic: Topic<Uint8Array>;
let delivered = 0;
let until = { count: Infinity, done: (_at: number): void => undefined };

/** The machine's clock, which is the same in every tab. */
const now = (): number => performance.timeOrigin + performance.now();

export const tabs = {
  async tabOpen(name: string): Promise<string> {
    tide = await open(name);
    topic = tide.topic<Uint8Array>("t", { serializer: "bytes" });
    return tide.role;
  },
  /** Appends durable batches one after the other. Returns the milliseconds of each. */
  async tabAppend(batches: number, count: number, size: number): Promise<number[]> {
    const records = Array.from({ length: count }, () => ({
      value: new Uint8Array(size).fill(7),
      timestamp: 1_700_000_000_000,
    }));
    const ms: number[] = [];
    for (let i = 0; i < batches; i++) {
      const started = performance.now();
      await topic.appendBatch(records);
      ms.push(performance.now() - started);
    }
    return ms;
  },
  /**
   * Begins to follow the log, batch by batch, from the end that it has now: "latest" would be found out later, and what
   * is poured meanwhile would be missing.
   */
  async tabFollow(): Promise<void> {
    const { logEndOffset: from } = await topic.state();
    void (async () => {
      for await (const batch of topic.readBatches({ from, follow: true })) {
        for (const { valueBytes } of batch) delivered += Number(valueBytes!.length > 0);
        if (delivered >= until.count) until.done(now());
      }
    })();
  },
  /** Resolves with the time at which this tab has received `count` more. */
  tabDelivered(count: number): Promise<number> {
    const wanted = delivered + count;
    return new Promise((done) => (until = { count: wanted, done }));
  },
  /** Appends as fast as it can. Returns when it began. */
  async tabPour(batches: number, count: number, size: number): Promise<number> {
    const records = Array.from({ length: count }, () => ({
      value: new Uint8Array(size).fill(7),
      timestamp: 1_700_000_000_000,
    }));
    const began = now();
    await Promise.all(Array.from({ length: batches }, () => topic.appendBatch(records)));
    return began;
  },
};
