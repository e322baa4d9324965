/**
 * What a reader is shown of an outbox from a position on, also where the index (own-batches.ts) does not reach: an
 * outbox may hold more batches than the index.
 *
 *   start ── index: settled and un-settled ──┬── behind it: un-settled, but for what was retracted, and for what the
 *                                            │   replica holds already and nobody has looked up
 */
import { TidemarkError } from "../errors.ts";
import { type BatchHeader } from "../record/format.ts";
import { splitBatches } from "../record/record-batch.ts";
import type { Outbox } from "./outbox.ts";
import { OwnBatches } from "./own-batches.ts";
import type { Replica } from "./replica.ts";

export interface ShownRun {
  readonly bytes: readonly Uint8Array[];
  readonly next: number;
}

/** Un-settled batches that stand back to back, one at least; undefined if none is left from `position` on. */
export async function shownRun(
  of: { readonly outbox: Outbox; readonly replica: Replica | undefined },
  position: number,
  maxBytes: number,
): Promise<ShownRun | undefined> {
  const { outbox } = of;
  const run = await outbox.unsettledFrom(position, { bytes: maxBytes, batches: Infinity, records: Infinity });
  const rest = outbox.behindIndex;
  if (run || !rest) return run && { bytes: run.batches, next: run.next };
  const standing = await standingIn(of, rest);
  let [from, next, bytes] = [-1, -1, 0];
  for await (const { header, at, end, size } of outbox.headersOf(Math.max(position, rest.from))) {
    const isHidden = header && (outbox.isRetracted(at) || standing(header, at));
    if (from >= 0 && (isHidden || !header || bytes + size > maxBytes)) break;
    if (isHidden) continue;
    if (!header)
      throw new TidemarkError("CORRUPT_RANGE", `positions ${at} to ${end - 1} of the outbox are damaged`, {
        from: at,
        to: end,
      });
    if (from < 0) from = at;
    [next, bytes] = [end, bytes + size];
  }
  if (from < 0) return undefined;
  const found: Uint8Array[] = [];
  for (let at = from; at < next;) {
    const read = await outbox.segments.read(at, maxBytes, next);
    found.push(...splitBatches(read.bytes));
    at = read.nextOffset;
  }
  return { bytes: found, next };
}

/** Whether the replica shows a batch that is behind the index. */
async function standingIn(
  { replica }: { readonly replica: Replica | undefined },
  { seenFrom }: { readonly seenFrom: number },
): Promise<(header: BatchHeader, at: number) => boolean> {
  const headers: BatchHeader[] = [];
  for await (const header of replica?.log.headers(seenFrom) ?? []) headers.push(header);
  return (own, at) => {
    const one = new OwnBatches();
    const next = at + own.lastOffsetDelta + 1;
    const state = { isSettled: false, isRetracted: false, offset: -1, appendedAt: undefined };
    one.add({ at, next, bytes: own.sizeBytes, header: own, ...state });
    return headers.some((header) => one.find(header) !== undefined);
  };
}
