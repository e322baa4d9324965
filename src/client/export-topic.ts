/** Exports a whole topic as Kafka's files, from the edge's answers. The first export of a client loads this file. */
import { TidemarkError } from "../errors.ts";
import { Status } from "../kernel/types.ts";
import { concat } from "../record/bytes.ts";
import { BATCH_HEADER_BYTES, CRC_FROM, MAGIC, readHeader } from "../record/format.ts";
import { filesOfBatches, type KafkaFiles, type KafkaFilesOptions } from "../store/kafka-files.ts";
import { checkOptions, integer } from "../topic/check.ts";
import { crc32c } from "./crc32c.ts";
import type { EdgePages } from "./edge-pages.ts";

/** A segment ends behind the answer with which it has as much. */
const SEGMENT_BYTES = 8 * 1024 * 1024;
const EPOCH_MAX = 2 ** 31 - 1;
const OPTIONS = { leaderEpoch: integer(0, EPOCH_MAX) };

/** Whether a batch arrived whole. Only magic and checksum are compared, because the edge has checked the rest. */
function validate(batch: Uint8Array): Status {
  const { magic, crc } = readHeader(batch);
  if (magic !== MAGIC) return Status.BAD_MAGIC;
  return crc === crc32c(batch.subarray(CRC_FROM)) ? Status.OK : Status.BAD_CRC;
}

/**
 * The files of these batches. CORRUPT_RANGE names [baseOffset, to): all offsets of the answers that hold the damage.
 */
function filesFrom(batches: Uint8Array, options: KafkaFilesOptions & { readonly baseOffset: number }, to: number) {
  try {
    return filesOfBatches(validate, batches, options);
  } catch (cause) {
    const { code, details } = TidemarkError.from(cause);
    if (code !== "INVALID_BATCH") throw cause;
    const { baseOffset: from } = options;
    const message = `what came of the offsets ${from} to ${to} is damaged: try again`;
    throw new TidemarkError("CORRUPT_RANGE", message, { ...details, from, to }, { cause });
  }
}

/** The topic from its start to its end. */
export async function* exportPages(
  range: Promise<readonly [start: number, end: number]>,
  pages: EdgePages,
  options: Pick<KafkaFilesOptions, "leaderEpoch"> = {},
  over: AbortSignal,
): AsyncGenerator<KafkaFiles, void> {
  checkOptions("export()", options, OPTIONS);
  const [from, end] = await range;
  let parts: Uint8Array[] = [];
  let bytes = 0;
  let baseOffset = from;
  let log: string | null | undefined;
  for (let offset = from; offset < end;) {
    const page = await pages.page(offset, over);
    // If the topic was deleted, or was made anew meanwhile, the rest is missing. The reader must not take the files so
    // far for the whole topic.
    log ??= page.log;
    if (page.isMissing || (page.log && page.log !== log))
      throw new TidemarkError("UNKNOWN_TOPIC", "the topic was deleted while it was exported", {
        offset,
        deleted: true,
      });
    if (page.nextOffset <= offset)
      throw new TidemarkError("CLOSED", "the edge gives nothing from this offset on: try again", {
        reason: "network",
        offset,
      });
    // The topic may begin inside its first batch. That batch comes whole, so the segment begins before the topic.
    if (bytes === 0 && page.bytes.length >= BATCH_HEADER_BYTES)
      baseOffset = Math.min(baseOffset, readHeader(page.bytes).baseOffset);
    parts.push(page.bytes);
    bytes += page.bytes.length;
    offset = page.nextOffset;
    if (bytes < SEGMENT_BYTES && offset < end) continue;
    if (bytes > 0) yield filesFrom(concat(parts), { ...options, baseOffset }, offset);
    [parts, bytes, baseOffset] = [[], 0, offset];
  }
}
