/**
 * Seals a log's active segment and begins the next one. Loaded when a segment is half full, or at the opening of a tide
 * that has sealed ones.
 *
 *   sections behind the old batches ▶ a header page in the next slot ▶ both flushed ▶ catalog committed
 */
import { sectionsBytesMax } from "./sections-room.ts";
import { writeSections } from "./sections.ts";
import { Segment } from "./segment.ts";
import type { RollingLog } from "./segment-list.ts";
import { BODY_AT } from "./slot-layout.ts";
import { takeSnapshot } from "./take-snapshot.ts";

/** Implements LogStore.roll. */
export async function roll(log: RollingLog): Promise<void> {
  const { store } = log;
  log.check();
  const old = log.all.at(-1)!;
  if (old.bytes === 0 && old.nextOffset === old.baseOffset) return;
  await store.change(async (change) => {
    const slot = await change.takeSlot();
    const epoch = change.epochFor(slot, log.leaderEpoch);
    const next = new Segment(
      { slot, baseOffset: old.nextOffset, epoch, createdAt: store.now(), begun: store.nextGeneration },
      old.log,
    );
    const sealed = await seal(log, old);
    const mark = await store.beginSegment(next);
    await store.volume.flush([old.slot, slot]);
    const { sealed: _, ...entry } = old.entry();
    const entries = [...log.all.slice(0, -1).map((segment) => segment.entry()), { ...entry, sealed }, next.entry()];
    const renewed = { segments: entries, appending: log.appending ? epoch : 0 };
    await change.commit([{ ...log.entry([...log.all, next]), ...renewed }]);
    old.becomeSealed(sealed);
    log.rolled(next, epoch, mark);
  });
}

function seal({ store, all, leaderEpoch, onSeal }: RollingLog, segment: Segment) {
  const { volume, kernel } = store;
  const room = volume.slotBytes - BODY_AT - segment.bytes - sectionsBytesMax(segment.bytes, 0);
  const snapshot = onSeal?.(room, takeSnapshot);
  return writeSections(volume, kernel, segment, {
    nextOffset: segment.nextOffset,
    sealedAt: store.now(),
    compacted: false,
    bodyCrc: 0,
    // Without room the section stays empty: the state is then found by walking further back.
    producers: snapshot && snapshot.length <= room ? snapshot : new Uint8Array(0),
    previousFooterCrc: all[all.length - 2]?.sealed?.footerCrc ?? 0,
    epoch: leaderEpoch,
    owner: store.ownerOf(segment),
  });
}
