/**
 * How far compaction has removed tombstones of a log, for devices that come back. One whose copy ends below that may
 * hold records whose deletion it can't learn any more.
 *
 *   row "tombstones" of `meta`   one past the last tombstone that is gone; 0: none is. Written before the swap
 */
import type { ChunkTables } from "../store/chunk-tables.ts";

/** The row with how far compaction has come (compaction-schedule.ts). */
export const COMPACTION_MARK = "compaction";
const ROW = "tombstones";

/**
 * One past the last tombstone that compaction may have removed; 0 if it has removed none. A log that was compacted
 * before this was kept may have lost any tombstone of its compacted part.
 */
export function tombstonesTo(tables: ChunkTables): number {
  const known = tables.meta(ROW);
  if (known !== undefined) return Number(known);
  const mark = tables.meta(COMPACTION_MARK);
  return mark === undefined ? 0 : (JSON.parse(String(mark)) as { readonly to: number }).to;
}

/** Called before tombstones below this offset go, and with 0 before the log's first compaction. */
export function forgetTombstones(tables: ChunkTables, to: number): void {
  const known = tombstonesTo(tables);
  if (to > known || tables.meta(ROW) === undefined) tables.saveMeta(ROW, String(Math.max(to, known)));
}
