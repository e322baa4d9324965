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

/** Of a batch as the edge has checked it: whether it came here whole. */
function validate(batch: Uint8Array): Status {
  const { magic, crc } = readHeader(batch);
  if (magic !== MAGIC) return Status.BAD_MAGIC;
  return crc === crc32c(batch.subarray(CRC_FROM)) ? Status.OK : Status.BAD_CRC;
}

/** As reads do, it says which offsets are lost: those of the answers that hold the damage. `to` is exclusive. */
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
    // Less than the topic has would be taken for all of it.
    // One that was made anew meanwhile is another topic.
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
    // Batches come whole, also the one in which the topic begins.
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
