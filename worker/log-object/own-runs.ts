/**
 * What a device that follows is sent of its own batches: where they stand, instead of their bytes (frame 41). Only
 * batches that are still as they were pushed count; what compaction has thinned is sent.
 *
 *   read     │ other │ own, positions 7–9 │ own, 10–11 │ other │
 *   sent     batches   own { 7, 12, offset, CRCs }       batches
 *
 * Only bytes cost credits. A device that pushes much is so told of it at once, and its credits don't have to find their
 * way past what it pushes.
 */
import { concat } from "../../src/record/bytes.ts";
import { nextOffsetOf, readHeader } from "../../src/record/format.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import type { OwnRun } from "../../src/sync/sync-frames.ts";
import type { RecentPushes } from "../stream/recent-pushes.ts";
import { endOf, fitting } from "./follow-frames.ts";

export type FollowPart = { readonly bytes: Uint8Array } | { readonly own: OwnRun };

/**
 * The first parts, as many as the credits allow, and how many bytes of batches are in them. If not even the first batch
 * fits: its size.
 */
export function partsWithin(
  parts: readonly FollowPart[],
  credits: number,
): { readonly parts: readonly FollowPart[]; readonly bytes: number } | number {
  const kept: FollowPart[] = [];
  let sum = 0;
  for (const part of parts) {
    if ("own" in part) {
      kept.push(part);
      continue;
    }
    const bytes = fitting(part, credits - sum);
    if (typeof bytes === "number") return kept.length > 0 ? { parts: kept, bytes: sum } : bytes;
    kept.push({ bytes });
    sum += bytes.length;
    if (bytes !== part.bytes) break;
  }
  return { parts: kept, bytes: sum };
}

/** Where the follow is behind this part. */
export const endOfPart = (part: FollowPart): number =>
  "own" in part ? part.own.offset + part.own.next - part.own.position : endOf(part.bytes);

export function sentTo(outbox: string, bytes: Uint8Array, pushes: RecentPushes): FollowPart[] {
  const sent: FollowPart[] = [];
  let others: Uint8Array[] = [];
  const flush = (): void => {
    if (others.length > 0) sent.push({ bytes: concat(others) });
    others = [];
  };
  for (const batch of splitBatches(bytes)) {
    const header = readHeader(batch);
    const pushed = pushes.at(header.baseOffset);
    if (pushed?.outbox !== outbox || pushed.crc !== header.crc) {
      others.push(batch);
      continue;
    }
    flush();
    const { position } = pushed;
    const offset = header.baseOffset;
    const next = position + nextOffsetOf(header) - offset;
    const last = sent.at(-1);
    const run = last && "own" in last ? last.own : undefined;
    const continues = run?.next === position && run.offset + run.next - run.position === offset;
    const crcs = [...(continues ? run.crcs : []), header.crc];
    if (continues) sent[sent.length - 1] = { own: { ...run, next, crcs } };
    else sent.push({ own: { position, next, offset, crcs } });
  }
  flush();
  return sent;
}
