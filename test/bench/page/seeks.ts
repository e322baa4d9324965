/**
 * Seeks in two logs with the same records: each call of 100 records of 1 KiB is a batch of its own in one of them, and
 * in the other, as topics are by default, calls of one turn share batches. The runner counts processor time between the
 * calls.
 */
import { open, type Tide, type Topic } from "../../../src/browser/index.ts";
import { pipelined, value } from "./common.ts";

const RECORDS = 100;
const BYTES = 1024;
/** Two calls are more than twice as much, so each is a batch of its own. */
const APART = 64 * 1024;
/** Records of one timestamp. */
const PER_TIMESTAMP = RECORDS;
const BEGAN = 1_700_000_000_000;

type Kind = "offset" | "time" | "few";
const topics = new Map<string, { readonly tide: Tide; readonly topic: Topic<Uint8Array>; readonly end: number }>();
let seed = 12345;
const chance = (below: number): number => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) % below;

const SEEKS: Readonly<Record<Kind, (topic: Topic<Uint8Array>, end: number) => Promise<void>>> = {
  async offset(topic, end) {
    const from = chance(end);
    for await (const { offset } of topic.read({ from, to: from + 1, maxBytes: 1 }))
      if (offset !== from) throw new Error(`sought ${from}, got ${offset}`);
  },
  /** Ten records, by a read that says nothing of bytes. */
  async few(topic, end) {
    const from = chance(end - 10);
    let next = from;
    for await (const { offset } of topic.read({ from, to: from + 10 }))
      if (offset !== next++) throw new Error(`sought ${from}, got ${offset}`);
    if (next !== from + 10) throw new Error(`sought ten records from ${from}, got ${next - from}`);
  },
  async time(topic, end) {
    const at = chance(end / PER_TIMESTAMP);
    for await (const { offset, timestamp } of topic.read({ from: { timestamp: BEGAN + at }, maxBytes: 1 })) {
      if (offset !== at * PER_TIMESTAMP || timestamp !== BEGAN + at) throw new Error(`sought ${at}, got ${offset}`);
      break;
    }
  },
};

export const seeks = {
  /** Makes a log of so many bytes and keeps it open. Returns the records of its second batch. */
  async fillForSeeks(name: string, bytes: number): Promise<number> {
    const tide = await open(name);
    const batchBytes = name === "apart" ? APART : undefined;
    const topic = tide.topic<Uint8Array>("t", { serializer: "bytes", batchBytes });
    const one = value(BYTES);
    await pipelined(Math.ceil(bytes / (RECORDS * BYTES)), (n) =>
      topic.appendBatch(Array.from({ length: RECORDS }, () => ({ value: one, timestamp: BEGAN + n }))),
    );
    const { logEndOffset, segments } = await topic.state();
    topics.set(name, { tide, topic, end: logEndOffset });
    // The first seek into a segment loads its indexes.
    for (const { baseOffset } of segments)
      for await (const { offset } of topic.read({ from: baseOffset, to: baseOffset + 1, maxBytes: 1 }))
        if (offset !== baseOffset) throw new Error(`sought ${baseOffset}, got ${offset}`);
    const batches = topic.readBatches();
    await batches.next();
    const { value: second } = await batches.next();
    await batches.return?.();
    return second!.count;
  },
  /** Makes so many seeks, one after the other. Returns the milliseconds of each. */
  async seekIn(name: string, kind: Kind, count: number): Promise<number[]> {
    const { topic, end } = topics.get(name)!;
    const ms: number[] = [];
    for (let i = 0; i < count; i++) {
      const started = performance.now();
      await SEEKS[kind](topic, end);
      ms.push(performance.now() - started);
    }
    return ms;
  },
  async closeSeeks(): Promise<void> {
    for (const { tide } of topics.values()) await tide.close();
    topics.clear();
  },
};
