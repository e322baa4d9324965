/**
 * A topic's reads, with checked options. A wrong option is reported by the first next(), like every other error of a
 * read.
 */
import { type ReadSource, readBatches, type ReaderOptions } from "../delivery/reader.ts";
import type { AnyBatch, Deserializer } from "../delivery/read-record.ts";
import { type BatchReading, RecordReading } from "../delivery/reading.ts";
import type { Kernel } from "../kernel/types.ts";
import { checkOptions } from "./check.ts";
import { READ_OPTIONS } from "./options.ts";

/** `sourceOf` is called at once, but only if the options are good: it may begin to open the log. */
export function batchesOf<V>(
  sourceOf: (options: ReaderOptions) => ReadSource,
  kernel: Kernel | Promise<Kernel>,
  serializer: Deserializer<V>,
  options: ReaderOptions = {},
): BatchReading<AnyBatch<V>> {
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
