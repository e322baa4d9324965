/**
 * Opens what a crash left and compares it with what was promised. Throws a Violation, or returns the outcome:
 *
 *   kept        everything that was written is there
 *   cut         a torn tail was cut, and the report says so; nothing in it was acknowledged
 *   unwritten   writes that were not acknowledged left no trace, or none that differs from an unused place
 *   no log      the log's creation had not been answered, and there is no log
 *
 * and "one catalog copy" when the other copy was torn. A typed error is an outcome as well, `refused CODE`; the
 * explorer decides whether it is allowed. Each recovered image is opened twice more: once to check that nothing is left
 * to recover, and once after an append and a power cut.
 */
import { TidemarkError } from "../../src/errors.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { BATCH_HEADER_BYTES, stampBaseOffset, stampLeaderEpoch } from "../../src/record/format.ts";
import { decodeBatch, type RecordBatch, splitBatches } from "../../src/record/record-batch.ts";
import type { SegmentStore } from "../../src/store/segment-store.ts";
import type { SegmentedLog } from "../../src/store/segmented-log.ts";
import { Catalog } from "../../src/store/catalog.ts";
import { BODY_AT } from "../../src/store/slot-layout.ts";
import { Violation } from "../simulation/model.ts";
import { checkTwice } from "../simulation/recovery-check.ts";
import type { CrashImage } from "./images.ts";
import {
  encode,
  endOf,
  LOG_NAME,
  type MadeRecord,
  makeRecords,
  type Promised,
  PRODUCER,
  snapshotAt,
} from "./promise.ts";
import { type Image, type Moment, RecordingVolume } from "./recording-volume.ts";
import { openStore, SLOT_BYTES } from "./world.ts";

/** Serial number of the append after recovery. No history has as many appends. */
const AFTERWARDS = 999_999;

interface Content {
  readonly records: ReadonlyMap<number, MadeRecord>;
  /** Base offset and largest timestamp of each batch. */
  readonly batches: readonly (readonly [number, number])[];
  readonly start: number;
  readonly end: number;
}

const textOf = (bytes: Uint8Array | null): string | null => (bytes === null ? null : new TextDecoder().decode(bytes));

async function contentOf(kernel: Kernel, log: SegmentedLog): Promise<Content> {
  const { logStartOffset: start, logEndOffset: end } = log;
  const records = new Map<number, MadeRecord>();
  const batches: [number, number][] = [];
  for (let offset = start; offset < end;) {
    const { bytes, nextOffset } = await log.read(offset, 1 << 20, end, true);
    if (bytes.length === 0) {
      if (nextOffset !== end)
        throw new Violation("read", `nothing at ${offset}, and goes on at ${nextOffset} before the end ${end}`);
      break;
    }
    if (nextOffset <= offset) throw new Violation("read", `stays at ${offset}`);
    for (const each of splitBatches(bytes)) {
      const batch = (await decodeBatch(kernel, each)) as RecordBatch;
      if (batch.header.producerId !== PRODUCER.producerId || batch.header.baseSequence !== batch.baseOffset) {
        throw new Violation(
          "invented",
          `batch ${batch.baseOffset} has producer ${batch.header.producerId}, sequence ${batch.header.baseSequence}`,
        );
      }
      batches.push([batch.baseOffset, batch.header.maxTimestamp]);
      for (let i = 0; i < batch.count; i++) {
        const at = batch.offsetAt(i);
        if (at < start) continue;
        if (records.has(at)) throw new Violation("duplicate", `offset ${at} comes twice`);
        records.set(at, {
          key: textOf(batch.keyAt(i)) ?? "",
          value: textOf(batch.valueAt(i)),
          timestamp: batch.timestampAt(i),
        });
      }
    }
    offset = nextOffset;
  }
  return { records, batches, start, end };
}

const same = (a: MadeRecord | undefined, b: MadeRecord | undefined): boolean =>
  a !== undefined && b !== undefined && a.key === b.key && a.value === b.value && a.timestamp === b.timestamp;

function checkContent({ records, start, end }: Content, owed: Promised, isKill: boolean): void {
  if (start < owed.startLow || start > owed.startHigh)
    throw new Violation("start", `the log begins at ${start}, owed ${owed.startLow} to ${owed.startHigh}`);
  const floor = isKill ? owed.written : owed.flushed;
  if (end < floor) throw new Violation("lost-acked", `the log ends at ${end}, acknowledged up to ${floor}`);
  if (end > endOf(owed))
    throw new Violation("invented", `the log ends at ${end}, no more than ${endOf(owed)} were written`);
  const made = new Map(
    owed.batches.flatMap(({ baseOffset, records }) => records.map((record, i) => [baseOffset + i, record] as const)),
  );
  for (const [offset, record] of records) {
    if (!same(record, made.get(offset)))
      throw new Violation(
        "invented",
        `offset ${offset} holds ${JSON.stringify(record)}, written was ${JSON.stringify(made.get(offset))}`,
      );
    if (owed.gone.includes(offset)) throw new Violation("came-back", `offset ${offset} was compacted away and is back`);
  }
  for (let offset = start; offset < end; offset++) {
    const mayMiss = owed.going.includes(offset) || owed.gone.includes(offset);
    if (!records.has(offset) && !mayMiss)
      throw new Violation("lost-acked", `offset ${offset} is missing below the log's end ${end}`);
  }
}

async function checkLookups(log: SegmentedLog, { batches, start, end }: Content, owed: Promised): Promise<void> {
  for (const [base, timestamp] of batches) {
    const found = await log.offsetForTimestamp(timestamp);
    const expected = batches.find(([, max]) => max >= timestamp)?.[0] ?? base;
    // Batches below the log's start may still be there, in the same segment, and may be found.
    if (found === undefined || found > Math.max(expected, start))
      throw new Violation("time", `time ${timestamp} found at ${found}, stands at ${expected}`);
  }
  const snapshot = await log.producerSnapshot();
  if (owed.snapshot >= 0 && (snapshot?.offset ?? -1) < owed.snapshot)
    throw new Violation("snapshot", `as of ${snapshot?.offset}, owed ${owed.snapshot}`);
  if (snapshot && textOf(snapshot.bytes) !== textOf(snapshotAt(snapshot.offset)))
    throw new Violation("snapshot", `as of ${snapshot.offset} says ${textOf(snapshot.bytes)}`);
  const from = Math.max(snapshot?.offset ?? 0, start);
  const headers: number[] = [];
  for await (const header of log.headers(from)) headers.push(header.baseOffset);
  const expected = batches.map(([base]) => base).filter((base) => base >= from);
  if (expected.some((base) => !headers.includes(base)) || (headers.at(-1) ?? 0) >= Math.max(end, 1))
    throw new Violation("headers", `${headers} of ${expected}`);
}

function checkReport(store: SegmentStore, log: SegmentedLog, owed: Promised): string {
  const { cut, lost, quarantined, logStartOffset, logEndOffset } = log.recovery;
  if (lost) throw new Violation("false-loss", JSON.stringify(lost));
  if (quarantined.length > 0 || log.quarantined.length > 0)
    throw new Violation("false-damage", JSON.stringify(quarantined));
  if (cut && (cut.offset < owed.flushed || cut.offset !== log.logEndOffset))
    throw new Violation("cut", JSON.stringify(cut));
  if (logStartOffset !== log.logStartOffset || logEndOffset !== log.logEndOffset)
    throw new Violation("report", JSON.stringify(log.recovery));
  const went = cut ? "cut" : log.logEndOffset < endOf(owed) ? "unwritten" : "kept";
  return store.recovery.catalogCopies === 1 ? `${went}, one catalog copy` : went;
}

/**
 * If the disk has a promised batch's header exactly where the log now ends, the loss of that batch must be reported.
 */
async function checkUnreported(
  kernel: Kernel,
  image: Image,
  log: SegmentedLog,
  owed: Promised,
  appending: number,
): Promise<void> {
  const missing = owed.batches.find(({ baseOffset }) => baseOffset === log.logEndOffset);
  const active = log.segments().at(-1)!;
  if (!missing || log.recovery.cut) return;
  const batch = encode(kernel, missing.records, missing.baseOffset);
  stampBaseOffset(batch, missing.baseOffset);
  const there = image[active.slot!]!.subarray(BODY_AT + active.bytes, BODY_AT + active.bytes + BATCH_HEADER_BYTES);
  if (there.length < BATCH_HEADER_BYTES) return;
  // A crashed recovery may already have decided where the log ends. From then on the batch behind it counts as stale,
  // and is not reported.
  stampLeaderEpoch(batch, appending || -1);
  const differs = there.some((byte, at) => byte !== batch[at]);
  if (!differs)
    throw new Violation("unreported", `the batch at ${missing.baseOffset} is begun and was dropped in silence`);
}

const digest = ({ records, start, end }: Content): string => JSON.stringify([start, end, [...records]]);

/**
 * Opens the recovered image once more. The log must be unchanged, and its recovery must have had nothing to do.
 */
async function again(
  kernel: Kernel,
  image: Image,
  before: Content,
  what: string,
): Promise<{ volume: RecordingVolume; store: SegmentStore; log: SegmentedLog }> {
  const volume = new RecordingVolume(SLOT_BYTES, image);
  const store = await openStore(volume, kernel);
  const log = await store.log(LOG_NAME);
  if (log.recovery.cut || log.recovery.quarantined.length > 0)
    throw new Violation("again", `${what}: ${JSON.stringify(log.recovery)}`);
  const now = await contentOf(kernel, log);
  if (digest(now) !== digest(before)) throw new Violation("again", `${what}: was ${digest(before)}, is ${digest(now)}`);
  return { volume, store, log };
}

/** Opens the recovered image again, appends, loses all unflushed bytes, and opens it once more. */
async function checkAgain(kernel: Kernel, first: RecordingVolume, content: Content): Promise<void> {
  const image = first.afterPowerCut;
  const second = await again(kernel, image, content, "second recovery");
  const logs = await Promise.all(second.store.names().map((name) => second.store.log(name)));
  await checkTwice(kernel, image, second.volume.afterPowerCut, logs, false);
  const { log, volume } = second;
  const baseOffset = log.logEndOffset;
  const records = makeRecords(baseOffset, AFTERWARDS);
  const batch = encode(kernel, records, baseOffset);
  stampBaseOffset(batch, baseOffset);
  await log.append([batch]);
  await log.flush();
  const grown = new Map(content.records);
  records.forEach((record, i) => grown.set(baseOffset + i, record));
  await again(
    kernel,
    volume.afterPowerCut,
    { ...content, records: grown, end: baseOffset + records.length },
    "append behind recovery",
  );
}

export async function judge(kernel: Kernel, { image, isKill }: CrashImage, owed: Promised): Promise<string> {
  const found = await Catalog.read(new RecordingVolume(SLOT_BYTES, image), kernel).catch(() => undefined);
  const appending = found?.state?.logs.find(({ name }) => name === LOG_NAME)?.appending ?? 0;
  const volume = new RecordingVolume(SLOT_BYTES, image);
  let store: SegmentStore;
  try {
    store = await openStore(volume, kernel);
  } catch (thrown) {
    if (!(thrown instanceof TidemarkError) || thrown.code === "INTERNAL")
      throw new Violation("untyped", String(thrown), { cause: thrown });
    return `refused ${thrown.code}`;
  }
  if (!store.names().includes(LOG_NAME)) {
    if (owed.exists) throw new Violation("lost-log", `the volume has ${JSON.stringify(store.names())}`);
    return "no log";
  }
  const log = await store.log(LOG_NAME);
  const went = checkReport(store, log, owed);
  const content = await contentOf(kernel, log);
  checkContent(content, owed, isKill);
  await checkUnreported(kernel, image, log, owed, appending);
  await checkLookups(log, content, owed);
  await checkAgain(kernel, volume, content);
  return went;
}

/** The moments at which a recovery of this image may crash. */
export async function recoveryMoments(kernel: Kernel, image: Image): Promise<readonly Moment[]> {
  const volume = new RecordingVolume(SLOT_BYTES, image);
  const moments: Moment[] = (volume.moments = []);
  await openStore(volume, kernel);
  return moments.slice();
}
