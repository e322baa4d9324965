/**
 * Fields of JSON bodies that clients send. Every check throws BAD_REQUEST with the field's name, its value and what is
 * allowed, so that no value of a wrong kind gets any further.
 */
import { badRequest } from "../errors.ts";

export type Fields = Readonly<Record<string, unknown>>;

/** Half a surrogate pair is not a character. UTF-8 can't hold it, so two different such texts would become the same. */
export const isWholeText = (text: string): boolean => !/\p{Surrogate}/u.test(text);

const SHOWN_CHARS = 60;

/** How an error shows a value: its beginning as JSON, or its kind. */
export function quoted(value: unknown): string {
  if (value === undefined) return "absent";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text;
}

const refuse = (name: string, value: unknown, allowed: string): never => {
  throw badRequest(`${name} is ${quoted(value)}; it must be ${allowed}`);
};

export function objectField(value: unknown, name: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return refuse(name, value, "an object");
  return value as Fields;
}

export function textField(value: unknown, name: string, max: number): string {
  const isFine = typeof value === "string" && value !== "" && value.length <= max && isWholeText(value);
  return isFine ? value : refuse(name, value, `a text of 1 to ${max} characters, without half a surrogate pair`);
}

/** Absent and null both mean that there is no value. */
export function optionalText(value: unknown, name: string, max: number): string | null {
  return value === undefined || value === null ? null : textField(value, name, max);
}

interface Range {
  readonly min: number;
  readonly max: number;
}

export function numberField(value: unknown, name: string, { min, max }: Range): number {
  const isFine = typeof value === "number" && Number.isSafeInteger(value) && value >= min && value <= max;
  return isFine ? value : refuse(name, value, `a whole number from ${min} to ${max}`);
}

/** true, false or absent. The text "true" is refused, because its sender would believe that it counts. */
export function flagField(value: unknown, name: string): boolean {
  if (value === undefined || value === null) return false;
  return typeof value === "boolean" ? value : refuse(name, value, "true or false");
}

/** Absent and null both mean an empty list. */
export function listField(value: unknown, name: string, max: number): readonly unknown[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) && value.length <= max ? value : refuse(name, value, `a list of at most ${max} elements`);
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/** A body that is a JSON object. An empty body has no fields. */
export function fieldsOf(body: Uint8Array): Fields {
  let text: string;
  try {
    text = decoder.decode(body);
  } catch {
    // Other characters in its place would name another stream.
    throw badRequest("the body is not UTF-8; it must be a JSON object");
  }
  if (text.trim() === "") return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw badRequest("the body is not JSON; it must be a JSON object");
  }
  return objectField(parsed, "the body");
}
