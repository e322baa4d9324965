/**
 * Checks what an application gives to upkeep and tools, where it calls them: a value that can't be sent to a worker is
 * refused by its name, too.
 */
import { type Check, checkOptions, integer, isObject, refused } from "../../topic/check.ts";
import { listedFiles, IMPORT_OPTIONS } from "../../topic/imported-files.ts";
import { finite } from "../../topic/options.ts";
import { parsedId } from "./find-record.ts";

const anOffset = integer(0);
const EXPORT_OPTIONS = { leaderEpoch: integer(0, 2 ** 31 - 1) };

/** A check for { offset } or { timestamp }, which tools pass. */
export const checkTarget: Check = (field, value) => {
  const allowed = "{ offset } or { timestamp }";
  if (!isObject(value)) throw refused(field, value, allowed);
  const target = value as { offset?: unknown; timestamp?: unknown };
  if ((target.offset === undefined) === (target.timestamp === undefined)) throw refused(field, value, allowed);
  if (target.offset !== undefined) anOffset(`${field}.offset`, target.offset);
  else finite(`${field}.timestamp`, target.timestamp);
};

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
  importSegments(given) {
    const { files, options = {} } = given as { files: unknown; options?: unknown };
    checkOptions("importSegments()", options, IMPORT_OPTIONS);
    return { files: listedFiles(files), options };
  },
  statusOf: parsedId,
};

/** What the tool or the upkeep named `what` is given. INVALID_ARGUMENT. */
export const checkedCall = (what: unknown, given: unknown): unknown =>
  CHECKS[typeof what === "string" ? what : ""]?.(given) ?? given;
