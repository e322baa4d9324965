/**
 * Rules of docs/sync.md by which a device judges a join's answer, as pure functions. The small worlds
 * (test/worlds/sync) walk every short history with these very functions, and with wrong ones in their place.
 *
 * Positions are numbers, checksums are compared for equality only.
 */

/** What a device holds of one outbox when a join of it is answered. */
export interface OutboxHeld {
  /** First position of this id. */
  readonly first: number;
  /** Log start and end of the outbox. */
  readonly start: number;
  readonly end: number;
  /** `next` and `lastCrc` of the note; undefined for a new id. */
  readonly noteNext: number | undefined;
  readonly noteLast: number | undefined;
  /** The highest `next` that was told in this opening. */
  readonly toldNext: number | undefined;
  /** Checksum of the batch that ends at the answer's `next`; undefined where none does, or where it is trimmed. */
  readonly lastAtNext: number | undefined;
}

/** Row 5a: an edge that never forgot must know a registered id. */
export const mustKnow = (registered: boolean, forgottenAt: number): boolean => registered && forgottenAt === 0;

/** Rows 6 and 7: a copy has pushed, or this profile is older than what the edge took. */
export function isForeign(held: OutboxHeld, next: number, last: number): boolean {
  if (next > held.end) return true;
  // Below the start all is settled. At `first` the edge has taken nothing yet.
  if (next < held.start || next <= held.first) return false;
  if (next > held.start) return held.lastAtNext !== last;
  return held.noteNext === next && held.noteLast !== last;
}

/** Row 8: the edge no longer knows what it once told of this generation. */
export const fellBack = ({ noteNext, toldNext }: OutboxHeld, next: number): boolean =>
  (noteNext !== undefined && next < noteNext) || (toldNext !== undefined && next < toldNext);
