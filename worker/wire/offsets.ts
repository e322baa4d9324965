/**
 * Offsets as text: a record's number in 16 digits, an underscore and 16 zeros (reserved). So an offset sorts as text,
 * and it is a number again without loss, because offsets are safe integers.
 */
import { badRequest } from "../errors.ts";
import { shown } from "./fields.ts";

const DIGITS = 16;
const RESERVED = "0".repeat(DIGITS);
const OFFSET = /^(\d{16})_0{16}$/;

export const formatOffset = (offset: number): string => `${String(offset).padStart(DIGITS, "0")}_${RESERVED}`;

/** A position that a client names: an offset, the start, or the tail. */
export function parseOffset(text: string, what = "offset"): number | "start" | "now" {
  if (text === "-1") return "start";
  if (text === "now") return "now";
  const offset = Number(OFFSET.exec(text)?.[1] ?? NaN);
  if (Number.isSafeInteger(offset)) return offset;
  const allowed =
    "-1 (the start), now (the end), or an offset as answers give it: that of record 10 is " + `${formatOffset(10)}`;
  throw badRequest(`${what} is ${shown(text)}; it must be ${allowed}`);
}

/** An offset that is a number: neither the start nor the end will do. */
export function numberedOffset(text: string, what: string): number {
  const offset = parseOffset(text, what);
  if (typeof offset === "number") return offset;
  throw badRequest(`${what} is ${shown(text)}; it must be an offset as Stream-Next-Offset gives it`);
}
