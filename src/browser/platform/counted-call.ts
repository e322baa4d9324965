/**
 * Calls that can be done only once, though a call whose leader ended is made again at the next one:
 *
 *   page ── detach ──▶ leader: done, and ends before its answer comes
 *     └──── detach ──▶ the next leader: "this topic is not synced"      not what the user should hear
 *
 * A field that is read once for each send counts them: what a message is made of, or the copy that the port makes.
 */
import { TidemarkError } from "../../errors.ts";

export interface CountedCall<T> {
  /** What is sent. */
  readonly asked: T;
  /** The error itself, or OUTCOME_UNKNOWN if the call was made more than once: an earlier one may have done it. */
  unlessRepeated(thrown: unknown): unknown;
}

/** `field` may be one that only counts. */
export function counted<T extends object>(given: T, field: string): CountedCall<T> {
  let sent = 0;
  const get = (): unknown => (sent++, (given as Record<string, unknown>)[field]);
  return {
    asked: Object.defineProperty({ ...given }, field, { enumerable: true, get }),
    unlessRepeated: (thrown) =>
      sent < 2
        ? thrown
        : new TidemarkError(
            "OUTCOME_UNKNOWN",
            "the tab that did this has ended, and an earlier try of this call may have done it: look, then decide",
            {},
            { cause: thrown },
          ),
  };
}
