/**
 * A topic's reads, with checked options. What is wrong with them is told to the first next(), as everything else of a
 * read is.
 */
import { type ReadSource, readBatches, type ReaderOptions } from "../delivery/reader.ts";
import type { Deserializer, ReadBatch } from "../delivery/read-record.ts";
import { type BatchReading, RecordReading } from "../delivery/reading.ts";
import type { Kernel } from "../kernel/types.ts";
import { checkOptions } from "./check.ts";
import { READ_OPTIONS } from "./options.ts";

/** `sourceOf` is asked at once, and only for good options: it may begin to look. */
export function batchesOf<V>(
  sourceOf: (options: ReaderOptions) => ReadSource,
  kernel: Kernel | Promise<Kernel>,
  serializer: Deserializer<V>,
  options: ReaderOptions = {},
): BatchReading<ReadBatch<V>> {
  try {
    checkOptions("read()", options, READ_OPTIONS);
  } catch (thrown) {
    const refuse = (): Promise<never> => Promise.reject(thrown);
    return readBatches({ fetch: refuse, resolve: refuse }, kernel, serializer);
  }
  return readBatches(sourceOf(options), kernel, serializer, options);
}

export function readingOf<V>(...read: Parameters<typeof batchesOf<V>>): RecordReading<V> {
  return new RecordReading(batchesOf<V>(...read));
}
