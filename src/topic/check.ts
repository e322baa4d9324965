/**
 * Checks of values from outside, one for each kind of value. A check throws INVALID_ARGUMENT that names the field, the
 * given value and what is allowed. A call checks all of its input before it queues anything, so a refused call changes
 * nothing.
 */
import { TidemarkError } from "../errors.ts";

export type Check = (field: string, value: unknown) => void;

const SHOWN_CHARACTERS_MAX = 60;
/** Finds half of a surrogate pair that is alone. UTF-8 has no bytes for it. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** How a message shows a value: the value itself if it is short, otherwise its kind. */
export function shown(value: unknown): string {
  if (typeof value === "string")
    return JSON.stringify(value.length > SHOWN_CHARACTERS_MAX ? `${value.slice(0, SHOWN_CHARACTERS_MAX)}…` : value);
  if (!isObject(value) && typeof value !== "bigint" && typeof value !== "symbol") return String(value);
  let kind: string = typeof value;
  try {
    if (kind === "object") kind = Object.prototype.toString.call(value).slice(8, -1);
  } catch {
    // A proxy of the caller throws.
  }
  return `${/^[AEIO]/.test(kind) ? "an" : "a"} ${kind}`.replace("an Object", "an object");
}

export function refused(field: string, value: unknown, allowed: string): TidemarkError {
  const given = typeof value === "number" || typeof value === "boolean" ? value : shown(value);
  return new TidemarkError("INVALID_ARGUMENT", `${field} must be ${allowed}, not ${shown(value)}`, {
    [field]: given,
    field,
    allowed,
  });
}

export const isObject = (value: unknown): value is object =>
  (typeof value === "object" && value !== null) || typeof value === "function";

/** A check for a whole number in this range. */
export const integer = (min: number, max: number = Number.MAX_SAFE_INTEGER): Check => {
  const allowed = `a whole number from ${min} to ${max === Number.MAX_SAFE_INTEGER ? "2^53 - 1" : max}`;
  return (field, value) => {
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max)
      throw refused(field, value, allowed);
  };
};

/** A check for a positive finite number: a size, a count, or a time, which need not be whole. */
export const positive: Check = (field, value) => {
  if (!(typeof value === "number" && value > 0 && value < Infinity)) throw refused(field, value, "a positive number");
};

export const oneOf =
  (...allowed: readonly string[]): Check =>
  (field, value) => {
    if (typeof value !== "string" || !allowed.includes(value))
      throw refused(field, value, allowed.map((each) => JSON.stringify(each)).join(" or "));
  };

export const flag: Check = (field, value) => {
  if (typeof value !== "boolean") throw refused(field, value, "true or false");
};

export const callback: Check = (field, value) => {
  if (typeof value !== "function") throw refused(field, value, "a function");
};

/** Recognised by what only a signal has and not by its class, because it may come from another frame. */
export const signal: Check = (field, value) => {
  if (typeof (Object(value) as Partial<AbortSignal>).throwIfAborted !== "function")
    throw refused(field, value, "an AbortSignal");
};

const platform = String.prototype as { isWellFormed?: () => boolean };
/** Older engines lack the method, which is faster: it need not look at text of one-byte characters. */
export const isWellFormed: (text: string) => boolean = platform.isWellFormed
  ? (text) => platform.isWellFormed!.call(text)
  : (text) => !LONE_SURROGATE.test(text);

/** A check for text that UTF-8 can hold without change. */
export const wellFormed: Check = (field, value) => {
  if (typeof value !== "string") throw refused(field, value, "a string");
  if (!isWellFormed(value))
    throw new TidemarkError("INVALID_ARGUMENT", `${field} has half of a surrogate pair: UTF-8 can't hold it`, {
      field,
    });
};

/** A check for an option that others look at. */
export const elsewhere: Check = () => undefined;

/** An error that the caller's getter or proxy throws names the field; an error of a check stays as it is. */
export const unreadable = (field: string, thrown: unknown): TidemarkError =>
  thrown instanceof TidemarkError ? thrown : refused(field, thrown, "readable");

/**
 * Checks each given option. `others` judges a name that is not among the checks: without it, it is refused, because it
 * would be ignored in silence. In a message between versions it may belong to a later one.
 */
export function checkOptions(
  call: string,
  options: unknown,
  checks: Readonly<Record<string, Check>>,
  others: Check = (name, value) => {
    throw refused(name, value, `left out: ${call} has no such option`);
  },
): void {
  let name = `the options of ${call}`;
  try {
    if (typeof options !== "object" || options === null || Array.isArray(options))
      throw refused(name, options, "an object");
    for (name of Object.keys(checks).concat(Object.keys(options))) {
      const value = (options as Readonly<Record<string, unknown>>)[name];
      if (value !== undefined) (checks[name] ?? others)(name, value);
    }
  } catch (thrown) {
    throw unreadable(name, thrown);
  }
}
