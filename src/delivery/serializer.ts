/** Values to bytes and back. Null and undefined never come here: they are null records, tombstones on a compacted topic. */
import { TidemarkError } from "../errors.ts";

export interface Serializer<T> {
  serialize(value: T): Uint8Array;
  /** `bytes` is a view into the batch: copy what must outlive it. */
  deserialize(bytes: Uint8Array): T;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const text: Serializer<string> = { serialize: (value) => encoder.encode(value), deserialize: (bytes) => decoder.decode(bytes) };
const bytes: Serializer<Uint8Array> = { serialize: (value) => value, deserialize: (value) => value };
const json: Serializer<unknown> = {
  serialize(value) {
    const written: string | undefined = JSON.stringify(value);
    if (written === undefined) throw new TidemarkError("INVALID_ARGUMENT", `JSON can't hold a ${typeof value}`);
    return encoder.encode(written);
  },
  deserialize: (value) => JSON.parse(decoder.decode(value)) as unknown,
};

const SERIALIZERS = { text, bytes, json } as const;

export function serializerOf<V>(choice: keyof typeof SERIALIZERS | Serializer<V> = "json"): Serializer<V> {
  const found = typeof choice === "string" ? SERIALIZERS[choice] : choice;
  if (!found) throw new TidemarkError("INVALID_ARGUMENT", `no serializer ${String(choice)}`);
  return found as Serializer<V>;
}
