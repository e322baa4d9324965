/**
 * What a claim may say (docs/sync.md, "Claim"): which un-settled batches are at the edge already, which the edge never
 * took, and of which nobody can tell.
 *
 *   since ──── fetched headers ──── replica's start ──── replica ──── readTo
 *     what no batch covers there may have been ours: a filler, a gap, a hole between headers
 */
import { nextOffsetOf, readHeader } from "../record/format.ts";
import { mergedRuns, type RetractedRun, RUNS_MAX } from "./notes.ts";
import type { OwnBatch, OwnBatches } from "./own-batches.ts";
import type { Outbox } from "./outbox.ts";
import type { Replica } from "./replica.ts";
import { isInDoubt, lowerBound } from "./settling.ts";
import type { ClaimLook, ClaimStand, Range } from "./topic-store.ts";

/** The own batches among some batches of the edge, each with its offset there. */
export function ownIn(own: OwnBatches, batches: readonly Uint8Array[]): (readonly [OwnBatch, number])[] {
  return batches.flatMap((batch) => {
    const header = readHeader(batch);
    const found = own.find(header);
    return found ? [[found, header.baseOffset] as const] : [];
  });
}

/** Offsets of [from, to) that none of these batches covers. */
export function holesBetween(from: number, batches: readonly Uint8Array[], to: number): Range[] {
  const holes: Range[] = [];
  let at = from;
  for (const header of batches.map((batch) => readHeader(batch))) {
    if (header.baseOffset > at) holes.push([at, header.baseOffset]);
    at = Math.max(at, nextOffsetOf(header));
  }
  if (to > at) holes.push([at, to]);
  return holes;
}

/**
 * The note's retracted runs with what the look has found below the replica's start, behind an un-settled position. Of
 * what was found the nearest RUNS_MAX runs are enough: a plain push leaves no positions out, so whatever stands behind
 * the first of them goes by a claim, which looks again.
 */
export function foundBehind({ batches, note, firstUnsettled }: Outbox, base: number): RetractedRun[] {
  const found = batches.all
    .filter(({ at, isSettled, offset }) => isSettled && at > firstUnsettled && offset >= 0 && offset < base)
    .map(({ at, next }): RetractedRun => [at, next, "found"]);
  const behind = note.retracted.filter(([, to, why]) => why === "found" && to > firstUnsettled);
  const others = note.retracted.filter(([, , why]) => why !== "found");
  return mergedRuns([...others, ...mergedRuns([...behind, ...found]).slice(0, RUNS_MAX)]);
}

export interface ClaimsStorage {
  readonly outbox: Outbox;
  readonly replica: Replica | undefined;
  readonly lowestDoubt: number;
}

/** Called once the own batches that were found are settled. */
export async function standOf(
  { outbox, replica, lowestDoubt }: ClaimsStorage,
  { since, logStartOffset, fetched, again }: ClaimLook,
): Promise<Omit<ClaimStand, "found">> {
  const base = replica?.log.logStartOffset ?? 0;
  // If `since` is the log's start, the edge may have forgotten the outbox: it says nothing of what lay below then.
  const uncovered = holesBetween(since > logStartOffset ? since : 0, fetched, base);
  if (replica) uncovered.push(...(await replica.uncovered(Math.max(base, lowestDoubt))));
  const readTo = replica?.watermark ?? 0;
  const { doubtFrom } = outbox.note;
  const left = outbox.batches.all.filter(({ isSettled }) => !isSettled);
  const inDoubt = left
    .filter(({ at: position }) => !again.some(([from, to]) => position >= from && position < to))
    .filter(({ appendedAt }) => isInDoubt(lowerBound(doubtFrom, appendedAt), readTo, uncovered))
    .map((batch): Range => [batch.at, batch.next]);
  return { readTo, unsettled: left.length, inDoubt };
}
