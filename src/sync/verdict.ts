/**
 * The verdict of a join: what the edge's answer means for this device. It is the first row that applies in docs/sync.md
 * ("The verdict of a join"). The row's number goes along, for events and to tell whether one join got further than the
 * last.
 *
 *   1, 2, 3, 5a, 8   stopped: another owner, another log, an edge that went back
 *   4, 5, 6, 7       claim: a copy of this profile, a restored one, an edge that forgot
 *   9                blocked before anything is sent
 *   10               closed: nothing is pushed, the pull is finished
 *   11               fine
 */
import type { ErrorCode, ErrorDetails } from "../errors.ts";
import { fellBack, isForeign, mustKnow, type OutboxHeld } from "./rules.ts";
import type { JoinReply } from "./edge-socket.ts";

/** What the device knows. `held` is about the outbox that asked. */
export interface JoinSide {
  readonly owner: string | null;
  readonly stream: string | null;
  readonly outbox: string | null;
  readonly registered: boolean;
  readonly generation: number;
  readonly held: OutboxHeld;
  /** True if a log of this content type takes the serializer's batches. */
  readonly fits: (contentType: string) => boolean;
}

export type Verdict =
  | { readonly row: string; readonly is: "stopped"; readonly code: ErrorCode; readonly details: ErrorDetails }
  | { readonly row: string; readonly is: "claim" }
  | { readonly row: string; readonly is: "blocked"; readonly code: string; readonly message: string }
  | { readonly row: string; readonly is: "closed" }
  | { readonly row: string; readonly is: "fine" };

const NO_RIGHT = { row: "right", is: "blocked", code: "FORBIDDEN", message: "the token may not write here" } as const;
const WRONG_TYPE = "the log at the edge holds another kind of values: sync() with the serializer that it was made for";

const stopped = (row: string, code: ErrorCode, details: ErrorDetails): Verdict => ({
  row,
  is: "stopped",
  code,
  details,
});

export function verdictOf(side: JoinSide, { refusal, joined }: JoinReply): Verdict {
  const { owner, stream } = side;
  if (owner !== null && owner !== joined.owner) return stopped("1", "OWNER_CHANGED", { owner, answered: joined.owner });
  if (stream !== null && stream !== joined.stream) return stopped("2", "REPLACED", { stream, answered: joined.stream });
  const { agreedTo } = joined;
  if (joined.lineage === "back") return stopped("3", "DIVERGED", { agreedTo });
  const outbox = side.outbox === null ? undefined : ofOutbox(side, { refusal, joined });
  if (outbox) return outbox;
  if (!side.fits(joined.contentType)) return { row: "9", is: "blocked", code: "INVALID_ARGUMENT", message: WRONG_TYPE };
  if (joined.closed) return { row: "10", is: "closed" };
  return { row: "11", is: "fine" };
}

/** Rows 4 to 8, and the two answers that say that this token may not write here. */
function ofOutbox(side: JoinSide, { refusal, joined }: JoinReply): Verdict | undefined {
  if (refusal === "FORBIDDEN") return NO_RIGHT;
  if (refusal === "FENCED_LEADER") return { row: "4", is: "claim" };
  if (refusal === "UNKNOWN_OUTBOX") {
    if (!mustKnow(side.registered, joined.forgottenAt)) return { row: "5", is: "claim" };
    return stopped("5a", "DIVERGED", { agreedTo: joined.agreedTo, outbox: side.outbox });
  }
  // The edge has not registered the outbox, because the token may not write.
  if (!joined.known) return NO_RIGHT;
  const { next, lastCrc } = joined;
  if (isForeign(side.held, next, lastCrc)) return { row: next > side.held.end ? "6" : "7", is: "claim" };
  if (joined.generation === side.generation && fellBack(side.held, next))
    return stopped("8", "DIVERGED", { agreedTo: joined.agreedTo, next });
  return undefined;
}
