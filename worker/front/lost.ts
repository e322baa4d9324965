/**
 * What a client is told when a log's object has given no answer. A reset, a move and a new version are over in a
 * moment, but an object may also not open at all. The platform says of both no more than "internal error". So after a
 * change that failed like this the object is asked a question, to see whether it opens now.
 */
import { EdgeError } from "../errors.ts";

export const isOverload = (thrown: unknown): boolean => (thrown as { overloaded?: boolean }).overloaded === true;
const isInternal = (thrown: unknown): boolean => /^internal error/.test((thrown as Partial<Error>).message ?? "");

/**
 * The most likely cause: a workerd of one's own has no open files left. On Cloudflare the number of objects has no
 * bound.
 */
const UNOPENED =
  "the stream's object does not open. In a workerd of your own its open files may be used up: each stream in use " +
  "takes three until some 10 s after its last request. Raise the limit (ulimit -n), or use fewer streams at a time";

/**
 * The error of a change of which nobody knows whether it was made. `ask` asks the object something that changes
 * nothing.
 */
export async function lostChange(thrown: unknown, ask: () => Promise<unknown>): Promise<EdgeError> {
  if (isOverload(thrown)) return new EdgeError("BACKPRESSURE", "the stream's object has too much to do");
  if (isInternal(thrown)) {
    const again = await ask().then(() => undefined, isInternal);
    if (again)
      return new EdgeError("OUTCOME_UNKNOWN", `${UNOPENED}. Repeat it with the same producer and sequence`, {
        reason: "unopened",
      });
  }
  return new EdgeError(
    "OUTCOME_UNKNOWN",
    "the stream's object was reset; repeat it with the same producer and sequence",
  );
}

/** The error of a read that failed twice. */
export const lostRead = (thrown: unknown): EdgeError =>
  isInternal(thrown)
    ? new EdgeError("CLOSED", UNOPENED, { reason: "unopened" })
    : new EdgeError("CLOSED", "the stream's object is away for a moment");
