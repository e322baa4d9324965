/** A bucket in memory that counts the reads that are asked of it. */
import type { Bucket } from "../../worker/store/bucket.ts";

export function countingBucket(): Bucket & { reads: number } {
  const objects = new Map<string, Uint8Array>();
  return {
    reads: 0,
    put: async (key, value) => (objects.has(key) ? null : (objects.set(key, value.slice()), {})),
    async get(key, options) {
      this.reads++;
      const found = objects.get(key);
      if (!found) return null;
      const { offset, length } = options?.range ?? { offset: 0, length: found.length };
      return {
        size: found.length,
        arrayBuffer: async () => found.slice(offset, offset + length).buffer as ArrayBuffer,
      };
    },
    delete: async (keys) => keys.forEach((key) => objects.delete(key)),
  };
}
