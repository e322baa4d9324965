/**
 * Removes segments from a log. Loaded when the first upkeep needs it.
 *
 *   trim      catalog committed (the new start) → slots of the segments before it free
 *   replace   slots taken → outputs written and flushed → catalog committed (the swap) → old slots free
 *   delete    catalog committed without the log → its slots free
 */
import { TidemarkError } from "../errors.ts";
import type { StoredSettings } from "./catalog.ts";
import type { ReplacementSegment } from "./log-store.ts";
import { readSections, writeSections } from "./sections.ts";
import { Segment } from "./segment.ts";
import type { SegmentList } from "./segment-list.ts";
import { BODY_AT } from "./slot-layout.ts";

const NOTHING = new Uint8Array(0);

/** Implements LogStore.trim. The commit that says the new start changes the log's note as well. */
export async function trimSegments(
  log: SegmentList,
  offset: number,
  note: StoredSettings | undefined = log.note,
): Promise<void> {
  const { store, flushed } = log;
  log.check();
  if (offset <= log.logStartOffset) return;
  if (offset > flushed.offset) {
    throw new TidemarkError("OFFSET_OUT_OF_RANGE", "only durable records can be trimmed", {
      offset,
      flushedOffset: flushed.offset,
    });
  }
  await store.change(async (change) => {
    const kept = log.all.filter((segment) => !segment.sealed || segment.nextOffset > offset);
    // The newest producers' snapshot is kept when its records are trimmed: a re-sent batch of theirs must still be
    // recognised.
    const newest = log.all.findLast((segment) => segment.sealed?.producersBytes);
    if (newest && !kept.includes(newest)) kept.unshift(newest);
    // A mark must cover the log start, so that damage behind the mark can't put the log's end before its start.
    if (log.mark.nextOffset < offset) {
      await log.writeMark();
      await store.volume.flush([kept.at(-1)!.slot]);
    }
    await change.commit([{ ...log.entry(kept, offset), note }]);
    log.note = note;
    log.adopt(kept);
    log.logStartOffset = offset;
  });
}

/** Implements LogStore.replace. */
export async function replaceSegments(
  log: SegmentList,
  from: number,
  to: number,
  outputs: readonly ReplacementSegment[],
): Promise<void> {
  const { store } = log;
  log.check();
  const inputs = log.all.filter((segment) => segment.sealed && segment.baseOffset >= from && segment.nextOffset <= to);
  const last = inputs.at(-1);
  if (inputs[0]?.baseOffset !== from || last?.nextOffset !== to) {
    throw new TidemarkError("INVALID_ARGUMENT", "no sealed segments cover this range", { from, to });
  }
  // The newest producers' snapshot is kept when its segment has no records left: an empty output carries it.
  const wanted =
    outputs.length > 0
      ? outputs
      : [{ baseOffset: from, nextOffset: to, bytes: NOTHING, sealedAt: last.sealed!.sealedAt }];
  const producers = await producersOf(log, last);
  await store.reserveSlots(wanted.length);
  await store.change(async (change) => {
    const made: Segment[] = [];
    for (const output of wanted) {
      made.push(
        await writeOutput(log, await change.takeSlot(), output, output === wanted.at(-1) ? producers : NOTHING),
      );
    }
    await store.volume.flush(made.map((segment) => segment.slot));
    const first = log.all.indexOf(inputs[0]!);
    const next = log.all.filter((segment) => !inputs.includes(segment));
    next.splice(first, 0, ...made);
    await change.commit([log.entry(next)]);
    log.adopt(next);
  });
}

/**
 * Removes a log from its store. Crash: the log is unchanged, or gone. Calls that are under way are refused from then
 * on.
 */
export async function deleteLog(log: SegmentList): Promise<void> {
  log.check();
  await log.store.change(async (change) => {
    await change.commit([], log.name);
    log.deleted = true;
    for (const segment of log.all) {
      segment.retired = true;
      log.store.release(segment);
    }
  });
}

/**
 * A segment's snapshot, for the segment that replaces it. If it can't be read, that is allowed only where a newer one
 * exists.
 */
async function producersOf({ store, all }: SegmentList, segment: Segment): Promise<Uint8Array> {
  const sections = await readSections(store.volume, store.kernel, segment);
  const newer = all.slice(all.indexOf(segment) + 1).some((each) => each.sealed?.producersBytes);
  if (!sections && segment.sealed?.producersBytes && !newer) {
    throw new TidemarkError("STORAGE_FAILED", "the producers' snapshot can't be read", { slot: segment.slot });
  }
  return sections?.producers ?? NOTHING;
}

async function writeOutput(
  log: SegmentList,
  slot: number,
  output: ReplacementSegment,
  producers: Uint8Array,
): Promise<Segment> {
  const { volume, kernel, now } = log.store;
  const { baseOffset, nextOffset, bytes, sealedAt } = output;
  const epoch = log.leaderEpoch;
  const { log: madeAs } = log.all[0]!;
  const segment = new Segment({ slot, baseOffset, epoch, createdAt: now(), begun: log.store.nextGeneration }, madeAs);
  await log.store.beginSegment(segment);
  await volume.write(slot, BODY_AT, bytes);
  segment.add(kernel, bytes);
  segment.becomeSealed(
    await writeSections(volume, kernel, segment, {
      nextOffset,
      sealedAt,
      compacted: true,
      bodyCrc: kernel.crc32c(bytes),
      producers,
      previousFooterCrc: 0,
      epoch,
      owner: log.store.ownerOf(segment),
    }),
  );
  return segment;
}
