/**
 * The rules by which positions of an outbox are settled, trimmed and asked about, as pure functions (docs/sync.md,
 * "Settling and trimming", "Claim"). The device runs them. The small worlds of test/worlds/sync run them, too, in every
 * short history: after a change run `npm run worlds -- --sync`.
 *
 *   outbox    start ──settled──┬── un-settled ──▶ end          what is settled in front is trimmed
 *   replica   base ──────── settledIn ──── watermark           own batches below settledIn need no look at an opening
 */

/**
 * T1, T1c: whether a batch is shown if `present` of its records stand at their offsets. One is enough, because
 * compaction may have removed the others.
 */
export const showsBatch = (present: number, _records: number): boolean => present > 0;

/** T2: all up to `lastOffset` is received, so what was told as taken is settled. */
export const isReceived = (end: number, lastOffset: number): boolean => lastOffset >= 0 && end > lastOffset;

/**
 * The position to which T2 trims before received records move the replica's end beyond what was told. It is the end of
 * the last batch that neither the replica nor the frame shows. 0: no trim.
 */
export const trimForTaken = (_takenTo: number, lastUnseen: number): number => lastUnseen;
/** Whether batches below that position that the frame shows are flushed before the trim. */
export const flushesBeforeTrim = (): boolean => true;
export const passedAfter = (passed: number, lastOffset: number): number => Math.max(passed, lastOffset + 1);

/** `doubtFrom` of an id that is drawn now: no batch of this id is older than the watermark. */
export const doubtFromAtDraw = (_before: number, watermark: number): number => watermark;

/**
 * The edge can't have taken a batch below this offset. `appendedAt` is the watermark at its append; undefined: an
 * earlier opening.
 */
export const lowerBound = (doubtFrom: number, appendedAt: number | undefined): number =>
  appendedAt === undefined ? doubtFrom : Math.max(doubtFrom, appendedAt);

/**
 * `doubtFrom` after a trim. `unsettled` are the watermarks at the appends of what is left. `watermark` is undefined
 * while there is no replica.
 */
export function doubtFromAfter(
  doubtFrom: number,
  watermark: number | undefined,
  unsettled: Iterable<number | undefined>,
): number {
  if (watermark === undefined) return Math.max(doubtFrom, 0);
  let lowest = watermark;
  for (const appendedAt of unsettled) lowest = Math.min(lowest, appendedAt ?? doubtFrom);
  return Math.max(doubtFrom, lowest);
}

/** `settledIn` after a trim. `standing` are the replica offsets of what is settled and not trimmed. */
export function settledInAfter(settledIn: number, watermark: number, standing: Iterable<number>): number {
  let lowest = watermark;
  for (const offset of standing) lowest = Math.min(lowest, offset);
  return Math.max(settledIn, lowest);
}

/** `next` and `lastCrc` of a note. */
export interface NextNote {
  readonly next?: number | undefined;
  readonly lastCrc?: number | undefined;
}

/**
 * `next` and `lastCrc` after a trim, from what was told in this opening. In generation 1 the ends of own batches that
 * left by T1 or T2 count as well (`trimmed`, in order).
 */
export function nextAfterTrim(
  note: NextNote,
  told: NextNote | undefined,
  generation: number,
  trimmed: Iterable<{ readonly next: number; readonly crc: number }>,
): NextNote {
  let { next, lastCrc } = told?.next === undefined ? note : told;
  if (generation === 1)
    for (const batch of trimmed) if (next === undefined || batch.next > next) ({ next, crc: lastCrc } = batch);
  return { next, lastCrc };
}

/** Whether a batch covers an offset that has no record here. What compaction thinned still covers its span. */
export const isCovered = (isThinned: boolean): boolean => isThinned;

/** A position is in doubt if [lower, readTo) holds an offset that no batch covers here. */
export function isInDoubt(lower: number, readTo: number, uncovered: Iterable<readonly [number, number]>): boolean {
  for (const [from, to] of uncovered) if (Math.min(to, readTo) > Math.max(from, lower)) return true;
  return false;
}
