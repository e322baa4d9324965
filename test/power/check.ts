/**
 * Opens one crash image with the real recovery, and compares it with what was promised when the power went:
 *
 *   open ─ read all ─ open again (nothing changes) ─ append, open again (that batch and no other is new)
 *
 * Where the name of a recently made file was lost, records may be lost if that is reported: SLOT_LOST, CORRUPT_RANGE or
 * CORRUPT_CATALOG. Only a tide whose catalog files have both lost their names may be empty without a report.
 */
import { TidemarkError } from "../../src/errors.ts";
import type { EncodingKernel } from "../../src/kernel/types.ts";
import { Log } from "../../src/log/log.ts";
import { readHeader } from "../../src/record/format.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import { CATALOG_SLOTS } from "../../src/store/volume.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { makeBatch } from "../contract/store-contract.ts";
import { Violation } from "../simulation/model.ts";
import { checkTwice } from "../simulation/recovery-check.ts";
import type { Image } from "./images.ts";
import { type LogPromise, recordsOf, sameBatch, type SentBatch, type SentRecord } from "./promises.ts";

export type Outcome =
  | "nothing to find"
  | "whole"
  | "torn tail cut"
  | "slot lost, reported"
  | "range lost, reported"
  | "catalog lost, reported"
  | "tide gone with its names";

const clock = { now: () => 1_800_000_000_000 };

interface Reading {
  readonly batches: Map<number, Uint8Array>;
  readonly gaps: { readonly from: number; readonly to: number }[];
}

export async function volumeOf({ slots }: Image, slotBytes: number): Promise<MemoryVolume> {
  const volume = new MemoryVolume({ slotBytes, slots: slots.length });
  for (const [slot, bytes] of slots.entries()) if (bytes) await volume.write(slot, 0, bytes);
  return volume;
}

async function bytesOf(volume: MemoryVolume): Promise<Uint8Array[]> {
  const images: Uint8Array[] = [];
  for (let slot = 0; slot < volume.slotCount; slot++) {
    images.push(new Uint8Array(volume.slotBytes));
    await volume.read(slot, 0, images[slot]!);
  }
  return images;
}

async function openLogs(kernel: EncodingKernel, volume: MemoryVolume): Promise<{ store: SegmentStore; logs: Log[] }> {
  const store = await SegmentStore.open({ volume, kernel, ...clock });
  const logs: Log[] = [];
  for (const name of store.names()) logs.push(await Log.open({ store: await store.log(name), kernel, clock }));
  return { store, logs };
}

async function readAll(log: Log): Promise<Reading> {
  const reading: Reading = { batches: new Map(), gaps: [] };
  for (let from = log.logStartOffset; from < log.logEndOffset;) {
    let next = from;
    try {
      const { bytes, nextOffset } = await log.fetch(from, { isolation: "provisional", verify: true });
      for (const batch of splitBatches(bytes)) {
        const { baseOffset } = readHeader(batch);
        if (reading.batches.has(baseOffset))
          throw new Violation("twice", `${log.name}: the batch at ${baseOffset} comes twice`);
        reading.batches.set(baseOffset, batch);
      }
      next = nextOffset;
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError && thrown.code === "CORRUPT_RANGE")) throw thrown;
      const { from: first, to } = thrown.details as { from: number; to: number };
      reading.gaps.push({ from: Math.max(from, first), to });
      next = to;
    }
    if (!(next > from))
      throw new Violation("read-ends-early", `${log.name}: nothing at ${from}, the log ends at ${log.logEndOffset}`);
    from = next;
  }
  return reading;
}

/** The slots that changed, before and after, and always the catalog's. The others are passed as empty. */
function differing(before: Uint8Array[], after: Uint8Array[]): [Uint8Array[], Uint8Array[]] {
  const none = new Uint8Array(0);
  const changed = after.map((bytes, slot) => slot < CATALOG_SLOTS || !before[slot] || !same(bytes, before[slot]));
  return [
    before.map((bytes, slot) => (changed[slot] ? bytes : none)),
    after.map((bytes, slot) => (changed[slot] ? bytes : none)),
  ];
}

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/**
 * Every batch that was read must be one that was sent, byte for byte, or in a compacted log what compaction left of
 * sent batches. Returns the sent batches of which all records were read.
 */
async function checkContent(kernel: EncodingKernel, promise: LogPromise, reading: Reading): Promise<Set<SentBatch>> {
  const { name, compacted } = promise;
  const found = new Set<SentBatch>();
  const gone = new Map<number, SentRecord>();
  let next = 0;
  for (const [baseOffset, batch] of reading.batches) {
    if (baseOffset < next) throw new Violation("order", `${name}: ${baseOffset} behind ${next}`);
    next = baseOffset + readHeader(batch).lastOffsetDelta + 1;
    const candidate = promise.sent.get(baseOffset)?.find(({ bytes }) => sameBatch(bytes, batch));
    if (candidate) found.add(candidate);
    else if (!compacted || !promise.replaced.some(({ from, to }) => baseOffset >= from && next <= to)) {
      throw new Violation("never-sent", `${name}: what stands at ${baseOffset} was never sent there`);
    } else for (const record of await recordsOf(kernel, batch)) gone.set(record.offset, record);
  }
  if (gone.size > 0) await checkLeftovers(kernel, promise, gone, found);
  return found;
}

/** Checks batches that compaction wrote: their records must be records of sent batches. */
async function checkLeftovers(
  kernel: EncodingKernel,
  promise: LogPromise,
  left: ReadonlyMap<number, SentRecord>,
  found: Set<SentBatch>,
): Promise<void> {
  const known = new Map<number, string>();
  for (const batch of [...promise.sent.values()].flat()) {
    batch.records ??= await recordsOf(kernel, batch.bytes);
    for (const record of batch.records)
      if (left.has(record.offset)) known.set(record.offset, (known.get(record.offset) ?? "") + JSON.stringify(record));
    if (batch.records.every((record) => JSON.stringify(left.get(record.offset)) === JSON.stringify(record)))
      found.add(batch);
  }
  for (const [offset, record] of left) {
    if (!known.get(offset)?.includes(JSON.stringify(record)))
      throw new Violation("never-sent", `${promise.name}: the record at ${offset} was never sent there`);
  }
}

/**
 * Every firm record from the log's start on must be there, or compaction removed it for a newer record of its key,
 * which is itself firm and checked. Records that a lost name took must be reported at opening or while reading.
 */
async function checkFirm(
  kernel: EncodingKernel,
  promise: LogPromise,
  log: Log,
  reading: Reading,
  found: ReadonlySet<SentBatch>,
): Promise<void> {
  const { cut, lost } = log.recovery;
  const missing = [...promise.firm].filter((batch) => {
    if (batch.nextOffset <= log.logStartOffset || found.has(batch)) return false;
    return !lost || batch.nextOffset <= lost.from;
  });
  if (missing.length === 0) return;
  const kept = new Set<number>();
  for (const bytes of reading.batches.values())
    for (const { offset } of await recordsOf(kernel, bytes)) kept.add(offset);
  const newest = new Map<string | null, number>();
  for (const batch of promise.firm) {
    for (const { offset, key } of (batch.records ??= await recordsOf(kernel, batch.bytes)))
      newest.set(key, Math.max(offset, newest.get(key) ?? -1));
  }
  for (const batch of missing) {
    const rewritten = promise.replaced.some(({ from, to }) => batch.baseOffset >= from && batch.nextOffset <= to);
    for (const { offset, key } of batch.records!) {
      if (offset < log.logStartOffset || kept.has(offset) || (rewritten && key !== null && newest.get(key)! > offset))
        continue;
      if (reading.gaps.some(({ from, to }) => offset >= from && offset < to)) continue;
      throw new Violation(
        "lost-acked",
        `${promise.name}: offset ${offset} was promised and is not there; the log has ` +
          `${log.logStartOffset}…${log.logEndOffset}, cut ${JSON.stringify(cut)}`,
      );
    }
  }
}

/** Checks the log's start and end and the report of its recovery. */
function checkReport(promise: LogPromise, log: Log, namesLost: boolean): void {
  const { cut, lost, quarantined } = log.recovery;
  const { name } = promise;
  if (lost && !namesLost) throw new Violation("false-loss", `${name}: ${JSON.stringify(lost)}`);
  if (quarantined.length > 0 && !namesLost)
    throw new Violation("false-damage", `${name}: ${JSON.stringify(quarantined)}`);
  const end = Math.max(promise.seenEnd, ...[...promise.firm].map(({ nextOffset }) => nextOffset));
  if (log.logEndOffset < end)
    throw new Violation(
      "lost-acked",
      `${name} ends at ${log.logEndOffset}, promised up to ${end}, cut ${JSON.stringify(cut)}`,
    );
  if (cut && cut.offset < end && !lost)
    throw new Violation("cut-below-ack", `${name}: cut at ${cut.offset}, promised up to ${end}`);
  const { logStartOffset } = log;
  if (logStartOffset < promise.trimmed || logStartOffset > Math.max(promise.trimmed, promise.trimAsked)) {
    throw new Violation(
      "log-start",
      `${name} starts at ${logStartOffset}, trimmed to ${promise.trimmed}, asked for ${promise.trimAsked}`,
    );
  }
  if (logStartOffset > log.logEndOffset)
    throw new Violation("log-start", `${name} starts at ${logStartOffset}, behind its end ${log.logEndOffset}`);
}

/** The open log must take a batch, and the next opening must find that batch and no other in addition. */
async function checkGoesOn(
  kernel: EncodingKernel,
  volume: MemoryVolume,
  logs: readonly Log[],
  readings: ReadonlyMap<string, Reading>,
): Promise<void> {
  const added = new Map<string, Uint8Array>();
  for (const log of logs) {
    const batch = makeBatch(kernel, 0, 2, 50);
    added.set(log.name, batch);
    await log.append(batch);
  }
  for (const log of (await openLogs(kernel, volume)).logs) {
    const before = readings.get(log.name)!;
    const reading = await readAll(log);
    const expected = [...before.batches.values(), added.get(log.name)!];
    const got = [...reading.batches.values()];
    if (got.length !== expected.length || !got.every((batch, at) => same(batch, expected[at]!))) {
      throw new Violation("after-append", `${log.name}: ${got.length} batches where ${expected.length} should be`);
    }
  }
}

function outcomeOf(logs: readonly Log[], readings: ReadonlyMap<string, Reading>): Outcome {
  const cuts = logs.flatMap(({ recovery }) => recovery.cut?.reason ?? []);
  if (logs.some(({ recovery }) => recovery.lost)) return "slot lost, reported";
  if ([...readings.values()].some(({ gaps }) => gaps.length > 0)) return "range lost, reported";
  if (cuts.length > 0) return "torn tail cut";
  return logs.length > 0 ? "whole" : "nothing to find";
}

/** Throws a Violation when a promise was broken. */
export async function checkImage(
  kernel: EncodingKernel,
  image: Image,
  slotBytes: number,
  promises: ReadonlyMap<string, LogPromise>,
): Promise<Outcome> {
  const volume = await volumeOf(image, slotBytes);
  let opened: { store: SegmentStore; logs: Log[] };
  try {
    opened = await openLogs(kernel, volume);
  } catch (thrown) {
    if (image.namesLost && thrown instanceof TidemarkError && thrown.code === "CORRUPT_CATALOG")
      return "catalog lost, reported";
    throw thrown;
  }
  const { store, logs } = opened;
  if (store.recovery.formatted && image.catalogLost && image.namesLost) return "tide gone with its names";
  const readings = new Map<string, Reading>();
  for (const promise of promises.values()) {
    const log = logs.find(({ name }) => name === promise.name);
    if (!log) {
      throw new Violation("log-gone", `${promise.name} is not there`);
    }
    checkReport(promise, log, image.namesLost);
  }
  for (const log of logs) {
    const reading = await readAll(log);
    readings.set(log.name, reading);
    if (reading.gaps.length > 0 && !image.namesLost)
      throw new Violation("false-damage", `${log.name}: ${JSON.stringify(reading.gaps)}`);
    const promise = promises.get(log.name);
    if (!promise) {
      if (log.logEndOffset > (log.recovery.lost?.to ?? 0))
        throw new Violation("never-sent", `${log.name} was never opened`);
      continue;
    }
    const found = await checkContent(kernel, promise, reading);
    await checkFirm(kernel, promise, log, reading, found);
  }
  const before = await bytesOf(volume);
  const again = await openLogs(kernel, volume);
  await checkTwice(kernel, ...differing(before, await bytesOf(volume)), again.logs, image.namesLost);
  for (const [at, log] of again.logs.entries()) {
    if (log.recovery.cut || log.recovery.lost)
      throw new Violation(
        "second-recovery",
        `${log.name} is cut again: ${JSON.stringify([log.recovery.cut, log.recovery.lost])}`,
      );
    if (log.logEndOffset !== logs[at]!.logEndOffset)
      throw new Violation("second-recovery", `${log.name} ends at ${log.logEndOffset}, not ${logs[at]!.logEndOffset}`);
  }
  if (!image.namesLost) await checkGoesOn(kernel, volume, again.logs, readings);
  return outcomeOf(logs, readings);
}
