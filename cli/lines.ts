/**
 * A record as one line of JSON, and back without loss.
 *
 *   {"offset":7,"timestamp":1764400000000,"key":"o-17","value":{"total":42},"headers":{"trace":"a1"}}
 *
 *   value         JSON in its own words, so numbers keep their digits; null is a tombstone
 *   valueText     other text, and JSON of several lines        valueBase64   other bytes
 *   key           text or null      keyBase64     other bytes
 *   headers       names and texts; as pairs, [name, text | null | {"base64": …}], where a name is repeated, bytes are
 *                 no text, or an object would put the names into another order
 *
 * Lines of the edge (worker/wire/record-lines.ts) are read, too: there JSON's null has "tombstone":false beside it. A
 * line that is read back needs a value; the other fields may be missing. Its offset is ignored: the log gives one.
 */
import type { RawHeaders } from "../src/delivery/read-record.ts";
import { isWellFormed } from "../src/topic/check.ts";
import { textOfMember } from "../src/topic/json-member.ts";
import { Failure } from "./failure.ts";

/** A record's fields as bytes. */
export interface LineRecord {
  readonly offset: number;
  readonly timestamp: number;
  readonly keyBytes: Uint8Array | null;
  readonly valueBytes: Uint8Array | null;
  readonly rawHeaders: RawHeaders;
}

/** What a line says to append. */
export interface LineInput {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: [string, Uint8Array | null][];
  /** Undefined: the time of the append. */
  readonly timestamp: number | undefined;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();
const base64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");

/** Undefined if the bytes are no UTF-8. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    return strict.decode(bytes);
  } catch {
    return undefined;
  }
}

export function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** True if a line can hold this text as the value's JSON, and give it back to the byte. JSON's null is no tombstone. */
const isJsonOfLine = (text: string): boolean => text !== "null" && !/^\s|\s$|[\n\r]/.test(text) && isJson(text);

const member = (name: string, value: unknown): string => `"${name}":${JSON.stringify(value)}`;

function valueMember(bytes: Uint8Array | null): string {
  if (bytes === null) return member("value", null);
  const text = textOf(bytes);
  if (text === undefined) return member("valueBase64", base64(bytes));
  return isJsonOfLine(text) ? `"value":${text}` : member("valueText", text);
}

function keyMember(bytes: Uint8Array | null): string {
  const text = bytes && textOf(bytes);
  return text === undefined ? member("keyBase64", base64(bytes!)) : member("key", text);
}

function headersMember(raw: RawHeaders): string[] {
  if (raw.length === 0) return [];
  const shown = raw.map(([name, value]) => [name, value && (textOf(value) ?? { base64: base64(value) })] as const);
  const object = Object.fromEntries(shown);
  const names = Object.keys(object);
  const isPlain =
    names.length === shown.length &&
    shown.every(([name, value], i) => name === names[i] && (value === null || typeof value === "string"));
  return [member("headers", isPlain ? object : shown)];
}

export function lineOfRecord({ offset, timestamp, keyBytes, valueBytes, rawHeaders }: LineRecord): string {
  const members = [
    member("offset", offset),
    member("timestamp", timestamp),
    keyMember(keyBytes),
    valueMember(valueBytes),
    ...headersMember(rawHeaders),
  ];
  return `{${members.join(",")}}`;
}

const bytesOfBase64 = (text: unknown, field: string, at: number): Uint8Array => {
  const isBase64 =
    typeof text === "string" && /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text);
  if (!isBase64) throw new Failure(`line ${at}: ${field} is no base64`);
  return new Uint8Array(Buffer.from(text, "base64"));
};

const FIELDS = ["offset", "timestamp", "key", "keyBase64", "value", "valueText", "valueBase64", "tombstone", "headers"];
const RECORD_HINT =
  'a record is {"value": …} and, if wanted, key, headers and timestamp; --as json takes each line for a value, ' +
  "--as text for text";

function keyIn({ key, keyBase64 }: Readonly<Record<string, unknown>>, at: number): Uint8Array | null {
  if (keyBase64 === undefined) return key === undefined || key === null ? null : bytesOfText(key, "key", at);
  if (key === undefined) return bytesOfBase64(keyBase64, "keyBase64", at);
  throw new Failure(`line ${at} has key and keyBase64: they exclude each other`);
}

function valueIn(line: Readonly<Record<string, unknown>>, text: string, at: number): Uint8Array | null {
  const given = ["value", "valueText", "valueBase64"].filter((name) => line[name] !== undefined);
  if (given.length !== 1)
    throw new Failure(`line ${at} has ${given.length === 0 ? "no value" : given.join(" and ")}: ${RECORD_HINT}`);
  // The edge writes JSON's own null with "tombstone":false.
  const { tombstone } = line;
  if (tombstone !== undefined && typeof tombstone !== "boolean")
    throw new Failure(`line ${at}: tombstone must be true or false`);
  if (tombstone === true && line["value"] !== null)
    throw new Failure(`line ${at}: tombstone is true beside a value; a tombstone's value is null`);
  if (line["valueBase64"] !== undefined) return bytesOfBase64(line["valueBase64"], "valueBase64", at);
  if (line["valueText"] !== undefined) return bytesOfText(line["valueText"], "valueText", at);
  if (line["value"] === null) return tombstone === false ? encoder.encode("null") : null;
  return encoder.encode(textOfMember(text, "value"));
}

/** Half of a surrogate pair would become U+FFFD, and two keys one. */
function bytesOfText(value: unknown, field: string, at: number): Uint8Array {
  const text = textIn(value, field, at);
  if (isWellFormed(text)) return encoder.encode(text);
  throw new Failure(`line ${at}: ${field} has half of a surrogate pair, which UTF-8 can't hold; bytes go into base64`);
}

function textIn(value: unknown, field: string, at: number): string {
  if (typeof value !== "string") throw new Failure(`line ${at}: ${field} must be a text`);
  return value;
}

function headersIn(headers: unknown, at: number): [string, Uint8Array | null][] {
  if (headers === undefined || headers === null) return [];
  if (typeof headers !== "object") throw new Failure(`line ${at}: headers must be an object, or pairs`);
  const pairs: unknown[] = Array.isArray(headers) ? headers : Object.entries(headers);
  return pairs.map((pair) => {
    if (!Array.isArray(pair) || pair.length !== 2)
      throw new Failure(`line ${at}: a header is a pair of name and value`);
    const [name, value] = pair as [unknown, unknown];
    const bytes = (value as { base64?: unknown } | null)?.base64;
    const named = textIn(name, "a header's name", at);
    bytesOfText(named, "a header's name", at);
    if (value === null) return [named, null];
    if (bytes !== undefined) return [named, bytesOfBase64(bytes, `the header ${named}`, at)];
    return [named, bytesOfText(value, `the header ${named}`, at)];
  });
}

/** What the line says. `at`: its number, for errors. */
export function recordOfLine(text: string, at: number): LineInput {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch (thrown) {
    throw new Failure(`line ${at} is no JSON (${(thrown as Error).message}): ${RECORD_HINT}`);
  }
  if (typeof line !== "object" || line === null || Array.isArray(line))
    throw new Failure(`line ${at} is no object: ${RECORD_HINT}`);
  const fields = line as Readonly<Record<string, unknown>>;
  const unknown = Object.keys(fields).find((name) => !FIELDS.includes(name));
  if (unknown !== undefined)
    throw new Failure(`line ${at} has a field ${JSON.stringify(unknown)} that no record has: ${RECORD_HINT}`);
  const timestamp = fields["timestamp"] ?? undefined;
  if (timestamp !== undefined && !Number.isSafeInteger(timestamp))
    throw new Failure(`line ${at}: timestamp must be a whole number of milliseconds since 1970`);
  return {
    key: keyIn(fields, at),
    value: valueIn(fields, text, at),
    headers: headersIn(fields["headers"], at),
    timestamp: timestamp as number | undefined,
  };
}

export type LinesAs = "records" | "json" | "text";
export const LINES_AS: readonly LinesAs[] = ["records", "json", "text"];

/** A line of input as what to append. */
export function inputOfLine(text: string, as: LinesAs, at: number): LineInput {
  if (as === "records") return recordOfLine(text, at);
  if (as === "json") {
    try {
      JSON.parse(text);
    } catch (thrown) {
      throw new Failure(`line ${at} is no JSON (${(thrown as Error).message}); --as text takes each line for text`);
    }
  }
  return { key: null, value: encoder.encode(text), headers: [], timestamp: undefined };
}
