/**
 * A log whose active slot is not its own: it continues in another slot, behind what is lost. Loaded when one is found.
 */
import { lostSegment, type RecoveredLog } from "./recover-log.ts";
import type { Segment } from "./segment.ts";
import { SegmentedLog } from "./segmented-log.ts";
import type { Mark } from "./slot.ts";
import type { CatalogChange, StoreContext } from "./store-context.ts";

/** SegmentStore. */
interface Replacing extends StoreContext {
  beginActive(
    change: CatalogChange,
    name: string,
    baseOffset: number,
  ): Promise<{ readonly segment: Segment; readonly mark: Mark }>;
  adopt(log: SegmentedLog): void;
}

export async function replaceLost(store: Replacing, found: RecoveredLog): Promise<SegmentedLog> {
  let log!: SegmentedLog;
  await store.change(async (change) => {
    const lost = found.recovery.lost!;
    const { from, to } = lost;
    const active = found.segments.at(-1)!;
    const segments = found.segments.slice(0, -1);
    // The slot is kept unchanged, in case somebody puts the right file back.
    if (to > from) segments.push(lostSegment(active, found.entry, lost, store.now()));
    const { segment, mark } = await store.beginActive(change, active.log, to);
    const recovery = {
      ...found.recovery,
      segments: segments.length + 1,
      quarantined: segments.flatMap(({ damage }) => damage),
    };
    segments.push(segment);
    const entry = {
      ...found.entry,
      segments: segments.map((each) => each.entry()),
      quarantined: recovery.quarantined,
      end: { nextOffset: to, position: 0 },
      appending: 0,
    };
    await change.commit([entry]);
    log = new SegmentedLog(store, entry, { segments, mark, recovery });
    store.adopt(log);
    if (to <= from) store.release(active);
  });
  return log;
}
