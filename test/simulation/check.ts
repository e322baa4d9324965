/**
 * Reads a log from its start to its end, as a consumer would, and compares it with the model. Acknowledged records must
 * be there, once; every record must have been sent; holes must have a reason; look-ups by time and the log's ends must
 * agree with a naive search.
 */
import { TidemarkError } from "../../src/errors.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import type { Fetched, LogApi } from "../../src/log/types.ts";
import { readHeader } from "../../src/record/format.ts";
import { decodeBatch, type RecordBatch, splitBatches } from "../../src/record/record-batch.ts";
import { type GapRange, type LogModel, Violation } from "./model.ts";
import type { Random } from "./prng.ts";
import { difference, idAt, type Rec } from "./records.ts";

/** Waits for an answer while the scheduler pumps. */
export type Wait = <T>(promise: Promise<T>) => Promise<T>;

export interface Reading {
  readonly start: number;
  readonly end: number;
  readonly records: Map<number, Rec>;
  /** Ranges that answered CORRUPT_RANGE. */
  readonly gaps: GapRange[];
}

const codeOf = (error: unknown): string => (error instanceof TidemarkError ? error.code : "");

/** Calls `note` with each record of a batch and its offset. */
export function noteRecords(model: LogModel, batch: RecordBatch, note: (offset: number, record: Rec) => void): void {
  for (let i = 0; i < batch.count; i++) {
    const offset = batch.offsetAt(i);
    const id = idAt(batch, i);
    const record = id === undefined ? undefined : model.sent.get(id);
    if (!record) throw new Violation("never-sent", `offset ${offset} holds ${id ?? "a record without id"}`);
    const wrong = difference(batch, i, record);
    if (wrong) throw new Violation("content", `offset ${offset}, record ${id}: ${wrong}`);
    model.place(offset, record);
    note(offset, record);
  }
}

/** Checks a fetch's answer: whole batches, the first with the offset asked for, within the limits. */
export function checkFetched(fetched: Fetched, from: number, maxBytes: number, limit: number): Uint8Array[] {
  const batches = splitBatches(fetched.bytes);
  if (batches.length > 1 && fetched.bytes.length > maxBytes)
    throw new Violation("fetch-size", `${fetched.bytes.length} > ${maxBytes}`);
  if (batches.length === 0 && fetched.nextOffset < from)
    throw new Violation("fetch-next", `${fetched.nextOffset} < ${from}`);
  if (batches.length > 0 && fetched.nextOffset <= from)
    throw new Violation("fetch-next", `${fetched.nextOffset} <= ${from}`);
  if (fetched.nextOffset > Math.max(limit, from))
    throw new Violation("fetch-limit", `${fetched.nextOffset} beyond ${limit}`);
  return batches;
}

/** Without compaction there are no holes: an answer must begin with the batch that was asked for, or be an error. */
export function checkNoSkip(bytes: Uint8Array, from: number): void {
  if (bytes.length === 0) return;
  const { baseOffset } = readHeader(bytes);
  if (baseOffset > from) throw new Violation("fetch-skipped", `asked for ${from}, got ${baseOffset}`);
}

export async function readAll(
  log: LogApi,
  model: LogModel,
  kernel: Kernel,
  wait: Wait,
  random: Random,
): Promise<Reading> {
  const reading: Reading = { start: log.logStartOffset, end: log.logEndOffset, records: new Map(), gaps: [] };
  let verify = false;
  // Each turn moves `from` forward, or asks once more with `verify`.
  for (let from = reading.start; from < reading.end;) {
    const maxBytes = random.pick([1, 1000, 100_000]);
    let fetched: Fetched;
    try {
      fetched = await wait(log.fetch(from, { isolation: "provisional", maxBytes, verify }));
    } catch (error) {
      if (codeOf(error) !== "CORRUPT_RANGE") throw error;
      // Read once more with every checksum: the log may have noted damage because of an earlier read that lied.
      if (verify) from = addGap(reading, error as TidemarkError, from);
      verify = !verify;
      continue;
    }
    let bad = false;
    for (const bytes of checkFetched(fetched, from, maxBytes, reading.end)) {
      let batch: RecordBatch;
      try {
        batch = await decodeBatch(kernel, bytes);
      } catch (error) {
        if (codeOf(error) !== "CORRUPT_RANGE") throw error;
        if (verify)
          throw new Violation("damage-not-named", `a bad batch at ${from} although the segment was verified`, {
            cause: error,
          });
        bad = true;
        break;
      }
      noteRecords(model, batch, (offset, record) => {
        if (offset >= reading.start) reading.records.set(offset, record);
      });
      from = Math.max(from, batch.nextOffset);
    }
    if (!bad && fetched.bytes.length === 0 && fetched.nextOffset === from && from < reading.end) {
      throw new Violation("read-ends-early", `nothing at ${from}, the log ends at ${reading.end}`);
    }
    if (!bad) from = Math.max(from, fetched.nextOffset);
    verify = bad;
  }
  return reading;
}

function addGap(reading: Reading, error: TidemarkError, from: number): number {
  const { from: low, to: high } = error.details as { from: number; to: number };
  // A hole before the damage was left by compaction. It needs a reason of its own, so the gap does not include it.
  if (!(low < high && high > from))
    throw new Violation("corrupt-range-details", `${low}…${high} for a read at ${from}`, { cause: error });
  reading.gaps.push({ from: Math.max(from, low), to: high });
  return high;
}

/** Compares a reading of the quiet log with the model. */
export function checkReading(log: LogApi, model: LogModel, reading: Reading): void {
  const { start, end, records, gaps } = reading;
  checkStart(model, start);
  const holes: number[] = [];
  const isGap = (offset: number): boolean => gaps.some(({ from, to }) => offset >= from && offset < to);
  for (let offset = start; offset < end; offset++) {
    if (records.has(offset) || isGap(offset)) continue;
    holes.push(offset);
  }
  if (holes.length > 0) checkHoles(log, model, reading, holes);
  checkProducers(records);
}

function checkStart(model: LogModel, start: number): void {
  if (start < model.start) throw new Violation("start-fell", `${model.start} → ${start}`);
  const { maxRecords, maxBytes, maxAgeMs = Infinity } = model.plan.retention;
  // The time at which a segment was sealed is not known here. It is after its records arrived.
  const tooOld = ({ arrivedAt }: Rec): boolean =>
    model.clockWentBack || model.cleanings.some((now) => now - arrivedAt > maxAgeMs);
  const byCount = maxRecords !== undefined && model.endMax - start >= maxRecords;
  const newest = newestByKey(model, Infinity);
  for (let offset = model.start; offset < start && offset >= model.trimMax; offset++) {
    if (byCount || maxBytes !== undefined) break;
    const record = model.at.get(offset);
    const outdated =
      model.plan.compaction !== undefined &&
      record !== undefined &&
      (record.mayDrop || newest.get(record.key)! > offset);
    if (record && !outdated && !tooOld(record))
      throw new Violation("retired-early", `offset ${offset}, ${record.id}; the log starts at ${start}`);
  }
  model.start = start;
}

function newestByKey(model: LogModel, end: number): Map<string | null, number> {
  const newest = new Map<string | null, number>();
  for (const [offset, { key }] of model.at) if (offset < end) newest.set(key, Math.max(offset, newest.get(key) ?? -1));
  return newest;
}

function checkHoles(log: LogApi, model: LogModel, { records, end }: Reading, holes: readonly number[]): void {
  const newest = newestByKey(model, end);
  const compacted = log.segments().filter((segment) => segment.compacted);
  for (const offset of holes) {
    if (model.isLost(offset)) continue;
    const record = model.at.get(offset);
    const name = `offset ${offset} (${record?.id ?? "never seen"})`;
    if (
      !model.plan.compaction ||
      !compacted.some((segment) => offset >= segment.baseOffset && offset < segment.nextOffset)
    ) {
      throw new Violation("missing", `${name} is gone without a word`);
    }
    if (!record) continue;
    const heir = newest.get(record.key)!;
    const heirHolds = records.has(heir) || model.isLost(heir) || model.at.get(heir)!.mayDrop;
    if (record.key === null || !heirHolds || (heir === offset && !record.mayDrop)) {
      throw new Violation("compacted-away", `${name}, key ${record.key}; newest is ${heir}`);
    }
  }
}

/** Each producer's records must stand in the order of their sequences. */
function checkProducers(records: ReadonlyMap<number, Rec>): void {
  const last = new Map<number, Rec>();
  for (const offset of [...records.keys()].sort((a, b) => a - b)) {
    const record = records.get(offset)!;
    const { producerId } = record.batch;
    if (producerId < 0) continue;
    const before = last.get(producerId);
    if (before && order(before) >= order(record))
      throw new Violation("producer-order", `${record.id} behind ${before.id}`);
    last.set(producerId, record);
  }
}

const order = ({ batch, at }: Rec): number => batch.epoch * 1e9 + batch.baseSequence + at;

/** Compares start positions of the quiet log with a search through everything that was read. */
export async function checkPositions(log: LogApi, reading: Reading, wait: Wait, random: Random): Promise<void> {
  if (reading.gaps.length > 0) return;
  const { start, end, records } = reading;
  const offsets = [...records.keys()].sort((a, b) => a - b);
  const expect = async (name: string, got: Promise<number>, wanted: number): Promise<void> => {
    const offset = await wait(got);
    if (offset !== wanted)
      throw new Violation("position", `${name} is ${offset}, a search says ${wanted} (log ${start}…${end})`);
  };
  await expect("earliest", log.resolve("earliest"), start);
  await expect("latest", log.resolve("latest", "provisional"), end);
  for (let turn = 0; turn < 3 && offsets.length > 0; turn++) {
    const timestamp = records.get(random.pick(offsets))!.timestamp + random.int(3) - 1;
    const first = offsets.find((offset) => records.get(offset)!.timestamp >= timestamp);
    await expect(`timestamp ${timestamp}`, log.resolve({ timestamp }, "provisional"), first ?? end);
  }
}
