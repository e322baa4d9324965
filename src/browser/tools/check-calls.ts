/**
 * Checks what an application gives to upkeep and tools, where it calls them: a value that can't be sent to a worker is
 * refused by its name, too.
 */
import { checkOptions, integer } from "../../topic/check.ts";
import { checkTarget } from "../../topic/options.ts";
import { parsedId } from "./find-record.ts";

const anOffset = integer(0);
const EXPORT_OPTIONS = { leaderEpoch: integer(0, 2 ** 31 - 1) };

const CHECKS: Readonly<Record<string, (given: unknown) => unknown>> = {
  trim(offset) {
    anOffset("offset", offset);
    return offset;
  },
  explainSeek(target) {
    checkTarget("target", target);
    return target;
  },
  exportSegment(given) {
    const { baseOffset, options = {} } = given as { baseOffset: unknown; options?: { leaderEpoch?: number } };
    anOffset("baseOffset", baseOffset);
    checkOptions("exportSegment()", options, EXPORT_OPTIONS);
    return { baseOffset, leaderEpoch: options.leaderEpoch };
  },
  statusOf: parsedId,
};

/** What the tool or the upkeep named `what` is given. INVALID_ARGUMENT. */
export const checkedCall = (what: unknown, given: unknown): unknown =>
  CHECKS[typeof what === "string" ? what : ""]?.(given) ?? given;
