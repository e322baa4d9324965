/**
 * Checks what an application gives to upkeep and tools, where it calls them: a value that can't be sent to a worker is
 * refused by its name, too. What is sent is plain: the proxies of frameworks can't be sent.
 */
import { checkOptions, integer, refused } from "../../topic/check.ts";
import { listedFiles, IMPORT_OPTIONS } from "../../topic/imported-files.ts";
import { finite } from "../../topic/options.ts";
import { parsedId } from "./find-record.ts";

const anOffset = integer(0);
export const EXPORT_OPTIONS = { leaderEpoch: integer(0, 2 ** 31 - 1) };

interface Target {
  readonly offset?: number;
  readonly timestamp?: number;
}

/** A check for { offset } or { timestamp }, which tools pass. Gives it as a plain object. */
export function checkTarget(field: string, value: unknown): Target {
  const { offset, timestamp } = Object(value) as Target;
  if ((offset === undefined) === (timestamp === undefined)) throw refused(field, value, "{ offset } or { timestamp }");
  if (offset !== undefined) anOffset(`${field}.offset`, offset);
  else finite(`${field}.timestamp`, timestamp);
  return { offset, timestamp } as Target;
}

const CHECKS: Readonly<Record<string, (given: unknown) => unknown>> = {
  trim(offset) {
    anOffset("offset", offset);
    return offset;
  },
  explainSeek: (target) => checkTarget("target", target),
  exportSegment(given) {
    const { baseOffset, options = {} } = given as { baseOffset: unknown; options?: { leaderEpoch?: number } };
    anOffset("baseOffset", baseOffset);
    checkOptions("exportSegment()", options, EXPORT_OPTIONS);
    return { baseOffset, leaderEpoch: options.leaderEpoch };
  },
  importSegments(given) {
    const { files, options = {} } = given as { files: unknown; options?: object };
    checkOptions("importSegments()", options, IMPORT_OPTIONS);
    return { files: listedFiles(files), options: { ...options } };
  },
  statusOf: parsedId,
};

/** What the tool or the upkeep named `what` is given. INVALID_ARGUMENT. */
export const checkedCall = (what: unknown, given: unknown): unknown =>
  CHECKS[typeof what === "string" ? what : ""]?.(given) ?? given;
