/**
 * Offsets as text: a record's number in 16 digits, an underscore, and 16 zeros (reserved). So offsets sort correctly as
 * text, and become numbers again without loss, because they are safe integers.
 */
import { formatOffset, offsetInHeader } from "../../src/sync/http-words.ts";
import { badRequest } from "../errors.ts";
import { quoted } from "./fields.ts";

export { formatOffset };
const OFFSET = /^(\d{16})_0{16}$/;

const numberIn = (text: string): number => Number(OFFSET.exec(text)?.[1] ?? NaN);

/** A position that a client names: an offset, the start, or the end. */
export function parseOffset(text: string, what = "offset"): number | "start" | "now" {
  if (text === "-1") return "start";
  if (text === "now") return "now";
  const offset = numberIn(text);
  if (Number.isSafeInteger(offset)) return offset;
  const allowed =
    "-1 (the start), now (the end), or an offset as answers give it: that of record 10 is " + `${formatOffset(10)}`;
  throw badRequest(`${what} is ${quoted(text)}; it must be ${allowed}`);
}

/** A position that must be an offset: neither the start nor the end is allowed. */
export function numberedOffset(text: string, what: string): number {
  const offset = numberIn(text);
  if (Number.isSafeInteger(offset)) return offset;
  const allowed = `an offset as Stream-Next-Offset gives it: that of record 10 is ${formatOffset(10)}`;
  throw badRequest(`${what} is ${quoted(text)}; it must be ${allowed}`);
}

/** The offset in a header of an answer; 0 where it is not there. */
export const offsetIn = ({ headers }: Response, name: string): number => offsetInHeader(headers.get(name));
