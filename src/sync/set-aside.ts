/**
 * What a person's answer to a blocked outbox needs: which batches are meant, what is in them, and a place for them
 * beside the topic.
 *
 *   outbox ─▶ record, its reason in headers ─▶ local log of "<name>.aside", flushed ─▶ retracted in the note ─▶ trimmed
 *                          └─ its key there is "<outbox id>/<position>": after a crash (W15) it is not written again
 *
 * A record that has no room for more headers goes as it is, and then it may stand there twice after a crash.
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import type { LogApi } from "../log/types.ts";
import { BatchBuilder, type BuilderRecord, type Header } from "../record/batch-builder.ts";
import { nextOffsetOf, readHeader } from "../record/format.ts";
import { decodeBatch, splitBatches } from "../record/record-batch.ts";
import type { Block } from "./pump.ts";
import type { TopicStorage } from "./topic-storage.ts";
import type { Range } from "./topic-store.ts";

/** Headers of a record that was set aside. Its own headers stand before them. */
export const ASIDE_HEADERS = {
  key: "aside.key",
  code: "aside.code",
  message: "aside.message",
  /** For what could not be read: the damaged positions, or "batch" where the value is a whole batch. */
  positions: "aside.positions",
  batch: "aside.batch",
} as const;

const ONE = { bytes: 1, batches: 1, records: Infinity };
const FETCH_BYTES = 1024 * 1024;
const NO_PRODUCER = { producerId: -1, producerEpoch: -1, baseSequence: -1 };
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The un-settled positions that a block means, in runs; of a block that names no batch all that are un-settled now. */
export function blockedRuns(storage: TopicStorage, { ranges }: Pick<Block, "ranges">): Promise<Range[]> {
  return storage.alone(async () => {
    const { outbox } = storage;
    const meant = ranges.length > 0 ? ranges : [[storage.firstUnsettled, storage.end] as const];
    await outbox.index(Math.max(...meant.map(([, to]) => to)));
    const runs: [number, number][] = [];
    for (const { at, next, isSettled } of outbox.batches.all) {
      if (isSettled || !meant.some(([from, to]) => at >= from && at < to)) continue;
      const last = runs.at(-1);
      if (last?.[1] === at) last[1] = next;
      else runs.push([at, next]);
    }
    return runs;
  });
}

/** Un-settled batches of some runs; where the outbox is damaged, the damaged positions. */
export async function* outboxBatches(
  storage: TopicStorage,
  runs: readonly Range[],
): AsyncGenerator<Uint8Array | Range> {
  for (const [from, to] of runs)
    for (let at = from; at < to;) {
      const found = await storage.unsettledFrom(at, ONE).catch((thrown: unknown): Range => {
        const { code, details } = TidemarkError.from(thrown);
        if (code !== "CORRUPT_RANGE") throw thrown;
        return [Number(details["from"]), Number(details["to"])];
      });
      const isDamaged = Array.isArray(found);
      // The rest of the run has been settled meanwhile, and what stands behind it is not meant, damaged or not.
      if (!found || (isDamaged ? (found as Range)[0] : (found as { at: number }).at) >= to) break;
      yield isDamaged ? (found as Range) : (found as { batches: readonly Uint8Array[] }).batches[0]!;
      at = isDamaged ? (found as Range)[1] : (found as { next: number }).next;
    }
}

/** Bytes of the blocked batches, and the keys of their first records as text. */
export async function contentsOf(
  storage: TopicStorage,
  kernel: Kernel,
  runs: readonly Range[],
  keysMax: number,
): Promise<{ readonly bytes: number; readonly keys: (string | null)[] }> {
  const keys: (string | null)[] = [];
  let bytes = 0;
  for await (const each of outboxBatches(storage, runs)) {
    if (!(each instanceof Uint8Array)) continue;
    bytes += each.length;
    if (keys.length >= keysMax) continue;
    const batch = await Promise.resolve(decodeBatch(kernel, each)).catch(() => undefined);
    for (let i = 0; batch && i < batch.count && keys.length < keysMax; i++) {
      const key = batch.keyAt(i);
      keys.push(key && decoder.decode(key));
    }
  }
  return { bytes, keys };
}

export interface Aside {
  readonly storage: TopicStorage;
  readonly kernel: Kernel;
  /** The local log of `<name>.aside`. */
  readonly log: LogApi;
  readonly reason: { readonly code: string; readonly message: string };
}

/** By topic: the answers before. */
const underway = new WeakMap<TopicStorage, Promise<void>>();

/**
 * Writes the records of these runs aside. Durable when it resolves; only then they may be retracted. Two tabs may
 * answer at once: the second one waits, and finds what the first one has written.
 */
export function setAside(aside: Aside, runs: readonly Range[]): Promise<void> {
  const before = underway.get(aside.storage) ?? Promise.resolve();
  const work = before.then(() => writeAside(aside, runs));
  underway.set(
    aside.storage,
    work.catch(() => undefined),
  );
  return work;
}

async function writeAside({ storage, kernel, log, reason }: Aside, runs: readonly Range[]): Promise<void> {
  const there = await keysOf(kernel, log);
  const id = storage.outboxNote.outbox ?? "";
  const why: Header[] = [
    [ASIDE_HEADERS.code, encoder.encode(reason.code)],
    [ASIDE_HEADERS.message, encoder.encode(reason.message)],
  ];
  for await (const each of outboxBatches(storage, runs)) {
    const records = each instanceof Uint8Array ? await recordsOf(kernel, each) : [lost(each)];
    for (const { at, record } of records) {
      const name = `${id}/${at}`;
      if (there.has(name)) continue;
      const headers = [...(record.headers ?? []), [ASIDE_HEADERS.key, record.key] as const, ...why];
      const batch = built(kernel, log, { ...record, key: encoder.encode(name), headers }) ?? built(kernel, log, record);
      if (!batch)
        throw new TidemarkError(
          "RECORD_TOO_LARGE",
          `the record at ${at} of the outbox, a value of ${record.value?.length ?? 0} bytes, fits no batch: discard it`,
          { at },
        );
      await log.append(batch, { acks: "flushed" });
    }
  }
}

interface Placed {
  readonly at: number;
  readonly record: BuilderRecord;
}

/** A batch that can't be read goes as one record, whose value is the batch. */
async function recordsOf(kernel: Kernel, bytes: Uint8Array): Promise<Placed[]> {
  const { baseOffset, baseTimestamp } = readHeader(bytes);
  const whole = { key: null, value: bytes, headers: [[ASIDE_HEADERS.batch, null] as const], timestamp: baseTimestamp };
  let batch;
  try {
    batch = await decodeBatch(kernel, bytes);
  } catch {
    return [{ at: baseOffset, record: whole }];
  }
  const { count } = batch;
  return Array.from({ length: count }, (_, i) => ({
    at: baseOffset + i,
    record: {
      key: batch.keyAt(i),
      value: batch.valueAt(i),
      headers: batch.headersAt(i),
      timestamp: batch.timestampAt(i),
    },
  }));
}

/** The record that stands for damaged positions. It only says which positions they were. */
const lost = ([from, to]: Range): Placed => ({
  at: from,
  record: {
    key: null,
    value: null,
    headers: [[ASIDE_HEADERS.positions, encoder.encode(`${from}-${to}`)]],
    timestamp: 0,
  },
});

/** Undefined if the record is too large for the log. */
function built(kernel: Kernel, log: LogApi, record: BuilderRecord): Uint8Array | undefined {
  const builder = new BatchBuilder(kernel, { bytesMax: log.limits.batchBytesMax });
  return builder.tryAppend(record) ? builder.build(NO_PRODUCER) : undefined;
}

/** Keys of what stands aside already. */
async function keysOf(kernel: Kernel, log: LogApi): Promise<Set<string>> {
  const keys = new Set<string>();
  for (let from = log.logStartOffset; from < log.highWatermark;) {
    const { bytes, nextOffset } = await log.fetch(from, { maxBytes: FETCH_BYTES });
    for (const each of splitBatches(bytes)) {
      const batch = await decodeBatch(kernel, each);
      for (let i = 0; i < batch.count; i++) keys.add(decoder.decode(batch.keyAt(i) ?? undefined));
      from = nextOffsetOf(readHeader(each));
    }
    from = Math.max(from, nextOffset);
  }
  return keys;
}
