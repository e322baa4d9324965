/**
 * Segments in object storage as the Worker gets them: from this data centre's cache, or else from R2. What was read
 * from R2 is put into the cache behind the answer.
 */
import { type Bucket, bucketSource } from "../store/bucket.ts";
import type { ObjectSource } from "../store/object-volume.ts";
import type { Env } from "../env.ts";

const CACHE_SECONDS = 86_400;

export interface Background {
  waitUntil(work: Promise<unknown>): void;
}

export interface SegmentBucket extends Bucket {
  head(key: string): Promise<{ readonly size: number } | null>;
}
export const bucketOf = (env: Pick<Env, "SEGMENTS">): SegmentBucket | undefined => env.SEGMENTS;

const cacheOf = (): Cache | undefined => (globalThis as { caches?: { default?: Cache } }).caches?.default;
/** Not a real host: only a name under which the cache keeps the object. */
const cacheUrl = (key: string): string => `https://segment.invalid/${encodeURIComponent(key)}`;
const filling = new Set<string>();

/** Puts a whole segment into this data centre's cache. */
export async function fill(bucket: Bucket, key: string): Promise<void> {
  const cache = cacheOf();
  if (!cache || filling.has(key)) return;
  filling.add(key);
  try {
    const object = await bucket.get(key);
    if (!object) return;
    const headers = { "cache-control": `public, max-age=${CACHE_SECONDS}`, "content-length": String(object.size) };
    await cache.put(cacheUrl(key), new Response(await object.arrayBuffer(), { headers }));
  } finally {
    filling.delete(key);
  }
}

/** A range from the cache, if the whole segment is there. */
async function rangeFromCache(key: string, offset: number, length: number): Promise<Uint8Array | undefined> {
  const headers = { range: `bytes=${offset}-${offset + length - 1}` };
  const hit = await cacheOf()
    ?.match(new Request(cacheUrl(key), { headers }))
    .catch(() => undefined);
  if (hit?.status === 206) return new Uint8Array(await hit.arrayBuffer());
  void hit?.body?.cancel();
  return undefined;
}

/**
 * The source of segments for one answer. The cache may keep an object that R2 has deleted, so R2 is asked for one byte
 * to see whether it still exists; once is enough for an answer.
 */
export function sourceOf(bucket: Bucket, background: Background | undefined): ObjectSource {
  const direct = bucketSource(bucket)!;
  const asked = new Map<string, Promise<boolean>>();
  const isThere = (key: string): Promise<boolean> => {
    const known = asked.get(key) ?? direct.range(key, 0, 1).then((byte) => byte !== undefined);
    asked.set(key, known);
    return known;
  };
  return {
    async range(key, offset, length) {
      const found = background && (await rangeFromCache(key, offset, length));
      if (found) return (await isThere(key)) ? found : undefined;
      background?.waitUntil(fill(bucket, key).catch(() => undefined));
      return direct.range(key, offset, length);
    },
  };
}
