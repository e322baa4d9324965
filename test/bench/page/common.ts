/** What the workloads share: values, pipelines, and a tide for one workload. */
import { open, type Tide, type Topic } from "../../../src/browser/index.ts";

/** Calls that are unanswered at a time where a workload names no other number. */
const PIPELINE = 5;
/**
 * Bytes of an encoded batch of 1,000 records: header and bytes per record, as measured, so that the raw side writes the
 * same size.
 */
export const encodedBytes = (count: number, size: number): number =>
  61 + count * (size + (size < 64 ? 7 : size < 8192 ? 9 : 10)) + Math.max(0, count - 64) * 1;

let names = 0;
export const fresh = (): string => `bench-${names++}`;
export const value = (size: number): Uint8Array => new Uint8Array(size).map((_, i) => (i * 131 + 7) & 0xff);

/** Makes `total` calls with `depth` of them unanswered at a time. Returns milliseconds. */
export async function pipelined(
  total: number,
  one: (i: number) => Promise<unknown>,
  depth = PIPELINE,
): Promise<number> {
  let next = 0;
  const started = performance.now();
  await Promise.all(
    Array.from({ length: depth }, async () => {
      while (next < total) await one(next++);
    }),
  );
  return performance.now() - started;
}

export async function ours<T>(
  work: (topic: Topic<Uint8Array>, tide: Tide) => Promise<T>,
  name = fresh(),
  keep = false,
  batchBytes?: number,
): Promise<T> {
  const tide = await open(name);
  try {
    return await work(tide.topic<Uint8Array>("t", { serializer: "bytes", batchBytes }), tide);
  } finally {
    await tide.close();
    if (!keep) await forget(name);
  }
}

/** Removes a closed tide's files. */
export async function forget(name: string): Promise<void> {
  const tides = await (await navigator.storage.getDirectory()).getDirectoryHandle("tidemark");
  await tides.removeEntry(name, { recursive: true });
}

export const perSecond = (count: number, ms: number): number => (count * 1000) / ms;
