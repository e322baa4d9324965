/**
 * Turns a record as the application passes it into what the producer takes. Everything that can be wrong with one
 * record is found here, before it touches a batch, so a bad record fails alone.
 */
import { TidemarkError } from "../errors.ts";
import type { ProducerRecord } from "../delivery/producer.ts";
import type { Header } from "../record/batch-builder.ts";
import { bytesOrNull, quickBytes, viewOfBytes } from "./bytes.ts";
import { integer, isObject, isWellFormed, refused, unreadable, wellFormed } from "./check.ts";
import type { Serializer } from "./serializer.ts";

export type HeaderValue = string | Uint8Array | null;
/** An object of names and values, or pairs of name and value, in which a name may be repeated. */
export type HeadersInput =
  Readonly<Record<string, HeaderValue>> | Iterable<readonly [name: string, value: HeaderValue]>;

export interface RecordInput<V = unknown> {
  readonly key?: string | Uint8Array | null | undefined;
  /**
   * null is a tombstone. It must be given explicitly, because under compaction it deletes the key's earlier records.
   */
  readonly value: V | null;
  readonly headers?: HeadersInput | undefined;
  /** Milliseconds since 1970. Default: now. */
  readonly timestamp?: number | undefined;
}

const RECORD = "an object with a value, and if wanted key, headers and timestamp";
const checkTimestamp = integer(Number.MIN_SAFE_INTEGER);

/** Index of the record among several; undefined for a single record. */
type Place = number | undefined;

/**
 * What a message calls a record or a field of it. It is made only for messages, because a million records a second may
 * pass here.
 */
const called = (at: Place, field?: string): string =>
  at === undefined ? (field ?? "a record") : `records[${at}]${field === undefined ? "" : `.${field}`}`;

/** Checks and converts one record. INVALID_ARGUMENT names the wrong field. */
export function recordOf<V>(
  input: RecordInput<V>,
  serializer: Serializer<V>,
  now: () => number,
  at?: number,
): ProducerRecord {
  try {
    return converted(input, serializer, now, at);
  } catch (thrown) {
    throw unreadable(called(at), thrown);
  }
}

function converted<V>(
  input: RecordInput<V>,
  serializer: Serializer<V>,
  now: () => number,
  at?: number,
): ProducerRecord {
  if (typeof input !== "object" || input === null || Array.isArray(input)) throw refused(called(at), input, RECORD);
  // Other fields are no mistake: a record that was read, or a row of the application's, is appended as it is.
  const { key = null, value, headers, timestamp } = input;
  if (value === undefined) {
    const field = called(at, "value");
    const hint = "for a tombstone set value: null";
    throw new TidemarkError("INVALID_ARGUMENT", `${field} is missing: a record is ${RECORD}; ${hint}`, { field });
  }
  if (timestamp !== undefined && !Number.isSafeInteger(timestamp)) checkTimestamp(called(at, "timestamp"), timestamp);
  const record = {
    key: key === null ? null : (quickBytes(key) ?? bytesOrNull(called(at, "key"), key)),
    value: value === null ? null : serialized(value, serializer, at),
    timestamp: timestamp ?? now(),
  };
  return headers === undefined || headers === null
    ? record
    : { ...record, headers: headersOf(headers, called(at, "headers")) };
}

/**
 * Converts all records of a batch, of which there is at least one. If one is wrong the whole batch is refused, and the
 * error names that record's index. `kept` copies a record where the next one may have the same bytes: a serializer or a
 * generator of the application may use one buffer for all.
 */
export function recordsOf<V>(
  inputs: Iterable<RecordInput<V>>,
  serializer: Serializer<V>,
  now: () => number,
  kept = (record: ProducerRecord): ProducerRecord => record,
): ProducerRecord[] {
  const records: ProducerRecord[] = [];
  if (isObject(inputs) && typeof inputs[Symbol.iterator] === "function")
    for (const input of inputs) records.push(kept(recordOf(input, serializer, now, records.length)));
  if (records.length === 0) throw refused("records", inputs, "an array with records");
  return records;
}

const copyOf = <T extends Uint8Array | null>(bytes: T): T => (bytes && new Uint8Array(bytes)) as T;

/** A copy, so that the caller may reuse its bytes as soon as append() has returned. */
export const keptRecord = ({ key, value, headers, timestamp }: ProducerRecord): ProducerRecord => ({
  key: copyOf(key),
  value: copyOf(value),
  timestamp,
  ...(headers && { headers: headers.map(([name, bytes]) => [name, copyOf(bytes)] as const) }),
});

function serialized<V>(value: V, serializer: Serializer<V>, at: Place): Uint8Array {
  let bytes: unknown;
  try {
    bytes = serializer.serialize(value);
  } catch (thrown) {
    const error = TidemarkError.from(thrown, "INVALID_ARGUMENT");
    if (at === undefined && error === thrown) throw error;
    const field = called(at, "value");
    throw new TidemarkError(
      error.code,
      `${field}: ${error.toWire().message}`,
      { field, ...error.details },
      { cause: thrown },
    );
  }
  return bytes instanceof Uint8Array && bytes.length > 0
    ? bytes
    : viewOfBytes(`what the serializer makes of ${called(at, "value")}`, bytes);
}

function headersOf(headers: HeadersInput, field: string): Header[] {
  const allowed = "an object of strings, bytes and null, or pairs of name and value";
  if (typeof headers !== "object") throw refused(field, headers, allowed);
  const isList = Symbol.iterator in headers && !ArrayBuffer.isView(headers);
  if (!isList && Object.prototype.toString.call(headers) !== "[object Object]") throw refused(field, headers, allowed);
  const pairs: unknown[] = isList ? [...(headers as Iterable<unknown>)] : Object.entries(headers);
  return pairs.map((pair): Header => {
    if (!Array.isArray(pair) || pair.length !== 2)
      throw refused(`${field}: a header`, pair, "a pair of name and value");
    const [name, value] = pair as unknown[];
    if (typeof name !== "string" || !isWellFormed(name)) wellFormed(`${field}: a name`, name);
    return [name as string, quickBytes(value) ?? bytesOrNull(`${field}.${name as string}`, value)];
  });
}
