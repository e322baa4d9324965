/** A log of which batches are read, as segments of Kafka's files: whole batches, gathered up to a size. */
import type { Kernel } from "../kernel/types.ts";
import { readHeader } from "../record/format.ts";
import { splitBatches } from "../record/record-batch.ts";
import { concat } from "./bytes.ts";
import { type KafkaFiles, kafkaFiles } from "./kafka-files.ts";

/** A segment grows up to this, in bytes; the answer that passes it is the segment's last. */
const SEGMENT_BYTES = 8 * 1024 * 1024;

export interface Gathering {
  readonly kernel: Kernel;
  /** The first offset that is wanted. Batches come whole, also the one in which it lies. */
  readonly from: number;
  /** Batches from here on are left out. */
  readonly end: number;
  /** The leader epoch that each batch gets. Default 0. */
  readonly leaderEpoch?: number | undefined;
  /** Whole batches from this offset on, in order, and the offset behind them, which is higher than `offset`. */
  batches(offset: number): Promise<{ readonly bytes: Uint8Array; readonly nextOffset: number }>;
}

/** Yields segments one by one; only one is in memory at a time. Yields none for a range without records. */
export async function* gatheredSegments({
  kernel,
  from,
  end,
  leaderEpoch,
  batches,
}: Gathering): AsyncGenerator<KafkaFiles> {
  let parts: Uint8Array[] = [];
  let bytes = 0;
  let baseOffset = from;
  for (let offset = from; offset < end;) {
    const found = await batches(offset);
    const wanted = splitBatches(found.bytes).filter((batch) => readHeader(batch).baseOffset < end);
    if (bytes === 0 && wanted[0]) baseOffset = Math.min(baseOffset, readHeader(wanted[0]).baseOffset);
    for (const batch of wanted) {
      parts.push(batch);
      bytes += batch.length;
    }
    offset = found.nextOffset;
    // Trimmed meanwhile, or a hole that compaction left: the segment begins behind it.
    if (bytes === 0) baseOffset = offset;
    if (bytes < SEGMENT_BYTES && offset < end) continue;
    if (bytes > 0) yield kafkaFiles(kernel, concat(parts), { baseOffset, leaderEpoch });
    [parts, bytes, baseOffset] = [[], 0, offset];
  }
}
