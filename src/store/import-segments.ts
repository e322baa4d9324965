/**
 * Takes Kafka's .log files into an empty log; records keep their offsets.
 *
 *   check   every batch of every file, gzip unpacked, before anything is written
 *   write   segments of a log aside, each sealed, flushed and committed    crash: the log aside is left, and removed by
 *   take    one commit: the log has all of these segments, the log aside      the next import
 *           is gone                                                         crash: the log is empty, or has them all
 *
 * Batches stay as they are except for the leader epoch. Offsets that no batch has are holes, as after compaction.
 */
import { TidemarkError } from "../errors.ts";
import { SEGMENT_OFFSETS_MAX } from "../kernel/types.ts";
import { type BatchHeader, nextOffsetOf, stampLeaderEpoch } from "../record/format.ts";
import { concat } from "./bytes.ts";
import { sectionsBytesMax } from "./sections-room.ts";
import { writeSections } from "./sections.ts";
import { Segment } from "./segment.ts";
import {
  type ImportDamage,
  type ImportOptions,
  type ImportResult,
  inOffsetOrder,
  refuseFilled,
  type SegmentSource,
} from "./segment-files.ts";
import { damageError, type ScannedBatch, SegmentScan, WINDOW_BYTES } from "./segment-scan.ts";
import type { SegmentedLog } from "./segmented-log.ts";
import type { SegmentStore } from "./segment-store.ts";
import { BODY_AT } from "./slot-layout.ts";
import { unreadableIn } from "./unreadable-batch.ts";

export type { ImportDamage, ImportOptions, ImportResult, SegmentSource };

/** Holds what is taken in, until all is there. No topic's log has such a name, and it is not shown as a topic. */
export const IMPORT_ASIDE = "__import-0.aside";

/** The batches of the files, in order, each checked. Damage is told, or thrown. */
async function* batchesIn(
  { kernel, batchBytesMax }: SegmentStore,
  sources: readonly SegmentSource[],
  mode: ImportOptions["damage"],
  damaged: (damage: ImportDamage) => void,
): AsyncGenerator<ScannedBatch> {
  const scan = new SegmentScan(kernel, { batchBytesMax, pieceBytesMax: Infinity, skips: mode === "skip" }, damaged);
  for (const { name: file, bytes: fileBytes, read } of sources) {
    for (let [position, wants] = [0, 0]; position < fileBytes;) {
      const most = Math.min(Math.max(wants, WINDOW_BYTES), fileBytes - position);
      const bytes = await read(position, most);
      if (bytes.length !== most)
        throw new TidemarkError("INVALID_ARGUMENT", `${file} is shorter than it was`, { field: "files", file });
      ({ position, wants } = yield* scan.batchesIn({ file, fileBytes, position, bytes }));
    }
  }
  scan.end();
}

interface Checked extends ImportResult {
  /** The files in the order of their offsets. */
  readonly sources: readonly SegmentSource[];
  /** The batches whose records can't be had, by their number in the files. */
  readonly unreadable: ReadonlySet<number>;
}

/** Looks at every batch. INVALID_BATCH, UNSUPPORTED_FORMAT, BATCH_TOO_LARGE, DECOMPRESSION_LIMIT. */
async function check(
  store: SegmentStore,
  given: readonly SegmentSource[],
  mode: ImportOptions["damage"],
): Promise<Checked> {
  const sources = await inOffsetOrder(given);
  const damage: ImportDamage[] = [];
  let [batches, records, nextOffset] = [0, 0, 0];
  let firstOffset: number | undefined;
  const refuse = (found: ImportDamage): void => {
    damage.push(found);
    if (mode !== "skip") throw damageError(found);
  };
  const unreadable = new Set<number>();
  let number = 0;
  for await (const batch of batchesIn(store, sources, mode, refuse)) {
    number++;
    const found = await unreadableIn(store.kernel, batch);
    if (found) {
      refuse(found);
      unreadable.add(number);
      continue;
    }
    const { header } = batch;
    firstOffset ??= header.baseOffset;
    batches++;
    records += header.recordCount;
    nextOffset = nextOffsetOf(header);
  }
  return { sources, unreadable, damage, batches, records, firstOffset: firstOffset ?? 0, nextOffset };
}

/** Batches that fill one slot. */
interface Filling {
  readonly parts: Uint8Array[];
  bytes: number;
  readonly baseOffset: number;
  nextOffset: number;
  hasHoles: boolean;
}

/** A log that is being filled; its active segment begins where all ends. */
async function seal(store: SegmentStore, aside: SegmentedLog, filling: Filling, producers: Uint8Array): Promise<void> {
  const { volume, kernel } = store;
  const bytes = concat(filling.parts);
  const { baseOffset, nextOffset, hasHoles: compacted } = filling;
  await store.reserveSlots(1);
  await store.change(async (change) => {
    const epoch = aside.leaderEpoch;
    const slot = await change.takeSlot();
    const begun = store.nextGeneration;
    const segment = new Segment({ slot, baseOffset, epoch, createdAt: store.now(), begun }, aside.all[0]!.log);
    await store.beginSegment(segment);
    await volume.write(slot, BODY_AT, bytes);
    segment.add(kernel, bytes);
    segment.becomeSealed(
      await writeSections(volume, kernel, segment, {
        nextOffset,
        sealedAt: store.now(),
        compacted,
        bodyCrc: compacted ? kernel.crc32c(bytes) : 0,
        producers,
        previousFooterCrc: aside.all.at(-2)?.sealed?.footerCrc ?? 0,
        epoch,
        owner: store.ownerOf(segment),
      }),
    );
    await volume.flush([slot]);
    const next = [...aside.all.slice(0, -1), segment, aside.all.at(-1)!];
    await change.commit([aside.entry(next)]);
    aside.adopt(next);
  });
}

const fits = (filling: Filling, header: BatchHeader, slotBytes: number, reserve: number): boolean => {
  const body = filling.bytes + header.sizeBytes;
  return (
    BODY_AT + body + sectionsBytesMax(body, reserve) <= slotBytes &&
    nextOffsetOf(header) - filling.baseOffset <= SEGMENT_OFFSETS_MAX
  );
};

async function fill(
  store: SegmentStore,
  aside: SegmentedLog,
  { sources, unreadable, nextOffset: end, firstOffset }: Checked,
  producers: Uint8Array,
): Promise<void> {
  let filling: Filling | undefined;
  let expected = firstOffset;
  const batches = batchesIn(store, sources, "skip", () => undefined);
  let number = 0;
  for await (const { header, bytes } of batches) {
    if (unreadable.has(++number)) continue;
    if (filling && !fits(filling, header, store.volume.slotBytes, producers.length)) {
      // A hole behind its last batch is this segment's: one begins where the other ends.
      filling.hasHoles ||= header.baseOffset !== expected;
      filling.nextOffset = header.baseOffset;
      await seal(store, aside, filling, new Uint8Array(0));
      filling = undefined;
    }
    const batch = bytes.slice();
    stampLeaderEpoch(batch, aside.leaderEpoch);
    filling ??= { parts: [], bytes: 0, baseOffset: header.baseOffset, nextOffset: 0, hasHoles: false };
    filling.hasHoles ||= filling.bytes > 0 && header.baseOffset !== expected;
    filling.parts.push(batch);
    filling.bytes += batch.length;
    expected = filling.nextOffset = nextOffsetOf(header);
  }
  if (expected !== end) throw new TidemarkError("INVALID_BATCH", "the files changed while they were read", { end });
  if (filling) await seal(store, aside, filling, producers);
}

/** The last import of each store. They share the log aside, so one goes after the other. */
const turns = new WeakMap<SegmentStore, Promise<unknown>>();

/**
 * Fills `log`, which must be empty and at offset 0, behind imports that were begun before. `taking` runs the last step
 * when nothing else writes to it. `producers`: the log's snapshot of producer states as of that offset.
 * INVALID_ARGUMENT {reason: "filled"}, INVALID_BATCH, UNSUPPORTED_FORMAT, BATCH_TOO_LARGE, DECOMPRESSION_LIMIT,
 * QUOTA_EXCEEDED, LIMIT_EXCEEDED: the log is as it was.
 */
export function importSegments(store: SegmentStore, ...importing: Importing): Promise<ImportResult> {
  const run = (turns.get(store) ?? Promise.resolve()).then(() => importAlone(store, ...importing));
  turns.set(
    store,
    run.catch(() => undefined),
  );
  return run;
}

type Importing = [
  log: SegmentedLog,
  files: readonly SegmentSource[],
  options: ImportOptions,
  taking: (work: () => Promise<void>) => Promise<void>,
  producers: (nextOffset: number) => Uint8Array,
];

async function importAlone(
  store: SegmentStore,
  ...[log, files, { damage }, taking, producers]: Importing
): Promise<ImportResult> {
  refuseFilled(log);
  const checked = await check(store, files, damage);
  const { sources: _, unreadable: _unreadable, ...result } = checked;
  if (checked.batches === 0) return result;
  const left = await store.find(IMPORT_ASIDE);
  if (left) await (await import("./trim-and-replace.ts")).deleteLog(left);
  const aside = await store.log(IMPORT_ASIDE, undefined, { from: checked.nextOffset });
  try {
    await fill(store, aside, checked, producers(checked.nextOffset));
    await taking(() => take(store, log, aside, checked.firstOffset));
  } catch (thrown) {
    if (!aside.deleted && !store.poisoned) await (await import("./trim-and-replace.ts")).deleteLog(aside);
    throw thrown;
  }
  return result;
}

/** One commit: the segments are the log's. */
async function take(store: SegmentStore, log: SegmentedLog, aside: SegmentedLog, first: number): Promise<void> {
  log.check();
  refuseFilled(log);
  await store.change(async (change) => {
    const appending = aside.appending ? aside.leaderEpoch : 0;
    await change.commit([{ ...log.entry(aside.all, first), appending }], aside.name);
    aside.deleted = true;
    log.adopt(aside.all);
    log.logStartOffset = first;
    log.mark = aside.mark;
    log.flushed = aside.flushed;
    log.leaderEpoch = aside.leaderEpoch;
    log.appending = aside.appending;
  });
}
