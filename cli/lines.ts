/**
 * A record as one line of JSON, and back without loss.
 *
 *   {"offset":7,"timestamp":1764400000000,"key":"o-17","value":{"total":42},"headers":{"trace":"a1"}}
 *
 *   value         JSON, where the bytes are exactly what JSON.stringify makes of it; null is a tombstone
 *   valueText     other text        valueBase64   other bytes
 *   key           text or null      keyBase64     other bytes
 *   headers       names and texts; as pairs, [name, text | null | {"base64": …}], where a name is repeated or bytes
 *                 are no text
 *
 * Lines of the edge (worker/wire/record-lines.ts) are read, too: there JSON's null has "tombstone":false beside it. A
 * line that is read back needs a value; the other fields may be missing. Its offset is ignored: the log gives one.
 */
import type { RawHeaders } from "../src/delivery/read-record.ts";
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
function textOf(bytes: Uint8Array): string | undefined {
  try {
    return strict.decode(bytes);
  } catch {
    return undefined;
  }
}

/** The value that these bytes are the JSON of, byte for byte. */
function jsonOf(text: string): { readonly value: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return value !== null && JSON.stringify(value) === text ? { value } : undefined;
  } catch {
    return undefined;
  }
}

function valueFields(bytes: Uint8Array | null): object {
  if (bytes === null) return { value: null };
  const text = textOf(bytes);
  if (text === undefined) return { valueBase64: base64(bytes) };
  return jsonOf(text) ?? { valueText: text };
}

function keyFields(bytes: Uint8Array | null): object {
  if (bytes === null) return { key: null };
  const text = textOf(bytes);
  return text === undefined ? { keyBase64: base64(bytes) } : { key: text };
}

function headerFields(raw: RawHeaders): object {
  if (raw.length === 0) return {};
  const texts = raw.map(([name, value]) => [name, value && (textOf(value) ?? { base64: base64(value) })] as const);
  const isPlain =
    new Set(raw.map(([name]) => name)).size === raw.length &&
    texts.every(([name, value]) => name !== "__proto__" && (value === null || typeof value === "string"));
  return { headers: isPlain ? Object.fromEntries(texts) : texts };
}

export function lineOfRecord({ offset, timestamp, keyBytes, valueBytes, rawHeaders }: LineRecord): string {
  return JSON.stringify({
    offset,
    timestamp,
    ...keyFields(keyBytes),
    ...valueFields(valueBytes),
    ...headerFields(rawHeaders),
  });
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

function valueIn(line: Readonly<Record<string, unknown>>, at: number): Uint8Array | null {
  const given = ["value", "valueText", "valueBase64"].filter((name) => line[name] !== undefined);
  if (given.length !== 1)
    throw new Failure(`line ${at} has ${given.length === 0 ? "no value" : given.join(" and ")}: ${RECORD_HINT}`);
  if (line["valueBase64"] !== undefined) return bytesOfBase64(line["valueBase64"], "valueBase64", at);
  if (line["valueText"] !== undefined) return encoder.encode(textIn(line["valueText"], "valueText", at));
  // The edge writes JSON's own null so.
  if (line["value"] === null && line["tombstone"] === false) return encoder.encode("null");
  return line["value"] === null ? null : encoder.encode(JSON.stringify(line["value"]));
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
    if (value === null) return [named, null];
    if (bytes !== undefined) return [named, bytesOfBase64(bytes, `the header ${named}`, at)];
    return [named, encoder.encode(textIn(value, `the header ${named}`, at))];
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
  const { key, keyBase64, headers } = fields;
  const timestamp = fields["timestamp"] ?? undefined;
  if (timestamp !== undefined && !Number.isSafeInteger(timestamp))
    throw new Failure(`line ${at}: timestamp must be a whole number of milliseconds since 1970`);
  return {
    key:
      keyBase64 !== undefined
        ? bytesOfBase64(keyBase64, "keyBase64", at)
        : key === undefined || key === null
          ? null
          : encoder.encode(textIn(key, "key", at)),
    value: valueIn(fields, at),
    headers: headersIn(headers, at),
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
