/**
 * What a claim may say (docs/sync.md, "Claim"): which un-settled batches are at the edge already, which the edge never
 * took, and of which nobody can tell.
 *
 *   since ──── fetched headers ──── replica's start ──── replica ──── readTo
 *     what no batch covers there may have been ours: a filler, a gap, a hole between headers
 */
import { nextOffsetOf, readHeader } from "../record/format.ts";
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
  const uncovered: Range[] = [];
  const base = replica?.log.logStartOffset ?? 0;
  // If `since` is the log's start, the edge may have forgotten the outbox: it says nothing of what lay below then.
  let at = since > logStartOffset ? since : 0;
  for (const header of fetched.map((batch) => readHeader(batch))) {
    if (header.baseOffset > at) uncovered.push([at, header.baseOffset]);
    at = Math.max(at, nextOffsetOf(header));
  }
  if (base > at) uncovered.push([at, base]);
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
