/** The bucket of object storage: the methods that are used of R2, and the keys of segments. */
import { textEncoder } from "../../src/record/bytes.ts";
import type { ObjectSource } from "./object-volume.ts";

/** The methods that are used of an R2 bucket. */
export interface Bucket {
  put(
    key: string,
    value: Uint8Array,
    options: { onlyIf: { etagDoesNotMatch: string }; sha256?: ArrayBuffer },
  ): Promise<object | null>;
  get(
    key: string,
    options?: { range: { offset: number; length: number } },
  ): Promise<{ arrayBuffer(): Promise<ArrayBuffer>; readonly size: number } | null>;
  delete(keys: string[]): Promise<void>;
}

export const bucketSource = (bucket: Bucket | undefined): ObjectSource | undefined =>
  bucket && {
    range: async (key, offset, length) => {
      const object = await bucket.get(key, { range: { offset, length } });
      return object ? new Uint8Array(await object.arrayBuffer()) : undefined;
    },
  };

const KEY_BYTES_MAX = 900;

/** The key for a segment's name. A path that is too long for a key (R2 takes 1,024 bytes) is replaced by its hash. */
export async function objectKey(tenant: string, path: string, name: string): Promise<string> {
  const key = `${encodeURIComponent(tenant)}/${path}/${name}`;
  if (textEncoder.encode(key).length <= KEY_BYTES_MAX) return key;
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", textEncoder.encode(path)));
  return `${encodeURIComponent(tenant)}/~${hex(hash)}/${name}`;
}

const hex = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** A segment's name: the stream's id, the base offset, and digits that no other attempt has. */
export const segmentName = (streamId: string, baseOffset: number): string =>
  `${streamId}.${String(baseOffset).padStart(16, "0")}.${hex(crypto.getRandomValues(new Uint8Array(8)))}`;

export const SEGMENT_NAME = /^[0-9a-f]{8}\.\d{16}\.[0-9a-f]{16}$/;
