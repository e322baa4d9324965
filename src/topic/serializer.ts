/** Converts values to bytes and back. null never comes here: it is a null record, a tombstone on a compacted topic. */
import { TidemarkError } from "../errors.ts";
import type { Deserializer } from "../delivery/read-record.ts";
import { textDecoder, textEncoder } from "../record/bytes.ts";
import { bytesOfText, viewOfBytes } from "./bytes.ts";
import { refused, shown } from "./check.ts";

export interface Serializer<T> extends Deserializer<T> {
  /** Must return the bytes at once: a Promise is refused. If it throws, only that record fails. */
  serialize(value: T): Uint8Array;
  /** `bytes` is a view into the batch: copy what must outlive it. */
  deserialize(bytes: Uint8Array): T;
}

export type SerializerChoice<T> = "json" | "text" | "bytes" | Serializer<T>;

// A byte-order mark is part of a text. In JSON it is not allowed, so one before the value is skipped.
const jsonDecoder = new TextDecoder();

const text: Serializer<string> = {
  serialize(value: unknown) {
    if (typeof value !== "string") throw refused("value", value, 'a string or null, because the serializer is "text"');
    return bytesOfText("value", value);
  },
  deserialize: (bytes) => textDecoder.decode(bytes),
};

const bytes: Serializer<Uint8Array> = {
  serialize: (value) => viewOfBytes("value", value),
  deserialize: (value) => value,
};

const json: Serializer<unknown> = {
  serialize(value) {
    const written: string | undefined = JSON.stringify(value);
    // JSON has no NaN, no Infinity and no invalid date; it writes null for them.
    if (written === undefined || written === "null")
      throw refused("value", value, `a value that JSON can hold; of this one it keeps nothing`);
    // As it writes what has no fields, and what has the elements of bytes.
    if (written.includes("{}") || written.includes('{"0":')) refuseLost("value", value, 0);
    return textEncoder.encode(written);
  },
  deserialize: (value) => JSON.parse(jsonDecoder.decode(value)) as unknown,
};

/** How deep refuseLost looks. Values nested deeper than this are not checked. */
const DEPTH_MAX = 1_000;

/**
 * JSON writes {} for a Map, a Set and every other object that keeps its content outside its fields. These are refused.
 */
function refuseLost(field: string, value: unknown, depth: number): void {
  if (typeof value !== "object" || value === null || depth > DEPTH_MAX) return;
  if (typeof (value as { toJSON?: unknown }).toJSON === "function") return;
  if (Array.isArray(value)) return value.forEach((each, i) => refuseLost(`${field}[${i}]`, each, depth + 1));
  const kind = Object.prototype.toString.call(value);
  const isBytes = ArrayBuffer.isView(value);
  if (
    kind !== "[object Object]" &&
    (isBytes || Object.keys(value).length === 0) &&
    !/^\[object (String|Number|Boolean)\]$/.test(kind)
  ) {
    const instead =
      isBytes || value instanceof ArrayBuffer
        ? 'use the serializer "bytes", or base64'
        : "make an array or an object of it first";
    throw new TidemarkError("INVALID_ARGUMENT", `${field} is ${shown(value)}, which JSON can't hold: ${instead}`, {
      field,
      given: shown(value),
    });
  }
  for (const name of Object.keys(value))
    refuseLost(`${field}.${name}`, (value as Record<string, unknown>)[name], depth + 1);
}

const SERIALIZERS = { text, bytes, json } as const;

/** The default is "json". */
export function serializerOf<V>(choice: SerializerChoice<V> = "json"): Serializer<V> {
  checkSerializer("serializer", choice);
  return (typeof choice === "string" ? SERIALIZERS[choice] : choice) as Serializer<V>;
}

export function checkSerializer(field: string, choice: unknown): void {
  if (typeof choice === "string" && Object.hasOwn(SERIALIZERS, choice)) return;
  const { serialize, deserialize } = Object(choice) as Partial<Serializer<unknown>>;
  if (typeof choice === "string" || typeof serialize !== "function" || typeof deserialize !== "function") {
    throw refused(field, choice, '"json", "text", "bytes", or an object with the functions serialize and deserialize');
  }
}
