/**
 * A record as the application gives it, turned into what the producer takes. All that can be wrong with one record is
 * found here, before it touches a batch, so a bad record fails alone.
 */
import { TidemarkError } from "../errors.ts";
import type { ProducerRecord } from "../delivery/producer.ts";
import type { Header } from "../record/batch-builder.ts";
import { bytesOrNull, quickBytes, viewOfBytes } from "./bytes.ts";
import { integer, isObject, isWellFormed, refused, wellFormed } from "./check.ts";
import type { Serializer } from "./serializer.ts";

export type HeaderValue = string | Uint8Array | null;
/** By name; or pairs of name and value, where a name may come again. */
export type HeadersInput =
  Readonly<Record<string, HeaderValue>> | Iterable<readonly [name: string, value: HeaderValue]>;

export interface RecordInput<V = unknown> {
  readonly key?: string | Uint8Array | null | undefined;
  /** null: a tombstone. It must be said, for under compaction it deletes what the key had. */
  readonly value: V | null;
  readonly headers?: HeadersInput | undefined;
  /** Milliseconds since 1970. Default: now. */
  readonly timestamp?: number | undefined;
}

const RECORD = "an object with a value, and if wanted key, headers and timestamp";
const checkTimestamp = integer(Number.MIN_SAFE_INTEGER);

/** Which of several records it is, or undefined for the only one. */
type Place = number | undefined;

/**
 * What a message calls a record, or a field of it. Made for messages alone: there may be a million records a second.
 */
const called = (at: Place, field?: string): string =>
  at === undefined ? (field ?? "a record") : `records[${at}]${field === undefined ? "" : `.${field}`}`;

/** INVALID_ARGUMENT names the field. */
export function recordOf<V>(
  input: RecordInput<V>,
  serializer: Serializer<V>,
  now: () => number,
  at?: number,
): ProducerRecord {
  if (typeof input !== "object" || input === null || Array.isArray(input)) throw refused(called(at), input, RECORD);
  const { key = null, value, headers, timestamp } = input;
  if (value === undefined) {
    const field = called(at, "value");
    const hint = "a tombstone is said by value: null";
    throw new TidemarkError("INVALID_ARGUMENT", `${field} is missing: a record is ${RECORD}; ${hint}`, { field });
  }
  if (timestamp !== undefined && !Number.isSafeInteger(timestamp)) checkTimestamp(called(at, "timestamp"), timestamp);
  let keyBytes = quickBytes(key);
  if (keyBytes === undefined) keyBytes = bytesOrNull(called(at, "key"), key);
  const record = {
    key: keyBytes,
    value: value === null ? null : serialized(value, serializer, at),
    timestamp: timestamp ?? now(),
  };
  return headers === undefined || headers === null
    ? record
    : { ...record, headers: headersOf(headers, called(at, "headers")) };
}

/** All of a batch; it is refused whole, with the number of the record that is wrong. */
export function recordsOf<V>(
  inputs: Iterable<RecordInput<V>>,
  serializer: Serializer<V>,
  now: () => number,
): ProducerRecord[] {
  if (!isObject(inputs) || typeof inputs[Symbol.iterator] !== "function")
    throw refused("records", inputs, "an array of records");
  const records: ProducerRecord[] = [];
  for (const input of inputs) records.push(recordOf(input, serializer, now, records.length));
  return records;
}

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
    const bytes = quickBytes(value);
    return [name as string, bytes === undefined ? bytesOrNull(`${field}.${name as string}`, value) : bytes];
  });
}
