/**
 * A segment as the three files in which a Kafka broker keeps it: the batches unchanged except for the leader epoch, and
 * the two indexes (index-entries.ts), ended as Kafka ends them.
 *
 *   .log        record batches, each with the leader epoch that the options name
 *   .index      the offset index
 *   .timeindex  the time index; its last entry is the largest timestamp of all
 *
 * A broker takes the last entry of a time index for the segment's largest timestamp. Without it a look-up by time
 * misses the segment's end, or the whole segment if that is short. A broker also takes a batch's leader epoch for one
 * of its partition's own: Kafka's Java consumer waits for ever behind an epoch that the partition has not reached. So
 * batches get epoch 0 by default.
 */
import { TidemarkError } from "../errors.ts";
import {
  INDEX_INTERVAL_BYTES,
  type Kernel,
  OFFSET_ENTRY_BYTES,
  Status,
  statusName,
  TIME_ENTRY_BYTES,
} from "../kernel/types.ts";
import { BATCH_HEADER_BYTES, type BatchHeader, nextOffsetOf, readHeader, stampLeaderEpoch } from "../record/format.ts";
import { GrowingBytes } from "./bytes.ts";
import { decodeFooter, FOOTER_BYTES } from "./footer.ts";
import { writeOffsetEntry, writeTimeEntry } from "./index-tools.ts";

/** The files of one segment. */
export interface KafkaFiles {
  /** 20 digits: the base offset. The files are `${name}.log`, `${name}.index` and `${name}.timeindex`. */
  readonly name: string;
  readonly log: Uint8Array;
  readonly index: Uint8Array;
  readonly timeindex: Uint8Array;
}

export interface KafkaFilesOptions {
  /** The epoch of every batch: at most the partition's own. Default 0. */
  readonly leaderEpoch?: number | undefined;
  /** Base offset of the segment. Default: taken from the footer, or from the first batch. */
  readonly baseOffset?: number | undefined;
}

export const LEADER_EPOCH_MAX = 2 ** 31 - 1;

/**
 * The files for a segment's batches, or for a whole stored segment with its sections and footer, as it is in object
 * storage. The bytes are copied. INVALID_ARGUMENT: an option is out of range. INVALID_BATCH: the batches are damaged,
 * or do not fill the segment.
 */
export function kafkaFiles(kernel: Kernel, segment: Uint8Array, options: KafkaFilesOptions = {}): KafkaFiles {
  const footer = decodeFooter(kernel, segment.subarray(-FOOTER_BYTES));
  const log = segment.slice(0, footer?.bodyBytes);
  const { baseOffset = footer?.baseOffset } = options;
  return filesOfBatches((batch) => kernel.validateBatch(batch), log, { ...options, baseOffset });
}

/** The same of batches alone, which it changes. `validate` is Kernel.validateBatch, or says the same. */
export function filesOfBatches(
  validate: Kernel["validateBatch"],
  log: Uint8Array,
  options: KafkaFilesOptions,
): KafkaFiles {
  const { leaderEpoch = 0 } = options;
  const first = log.length >= BATCH_HEADER_BYTES ? readHeader(log).baseOffset : 0;
  const { baseOffset = first } = options;
  check("leaderEpoch", leaderEpoch, LEADER_EPOCH_MAX);
  check("baseOffset", baseOffset, Number.MAX_SAFE_INTEGER);
  const indexes = new KafkaIndexes(baseOffset);
  let expected = baseOffset;
  for (let at = 0; at < log.length;) {
    const header = headerAt(validate, log, at, expected);
    stampLeaderEpoch(log, leaderEpoch, at);
    indexes.add(header, at);
    expected = nextOffsetOf(header);
    at += header.sizeBytes;
  }
  return { name: String(baseOffset).padStart(20, "0"), log, ...indexes.close() };
}

function check(field: string, value: unknown, max: number): void {
  if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max) return;
  throw new TidemarkError(
    "INVALID_ARGUMENT",
    `${field} must be a whole number from 0 to ${max}, not ${String(value)}`,
    { field },
  );
}

function headerAt(validate: Kernel["validateBatch"], log: Uint8Array, at: number, expected: number): BatchHeader {
  const left = log.length - at;
  const header = left < BATCH_HEADER_BYTES ? undefined : readHeader(log, at);
  const fits = header !== undefined && header.sizeBytes >= BATCH_HEADER_BYTES && header.sizeBytes <= left;
  const status = fits ? validate(log.subarray(at, at + header.sizeBytes)) : Status.BAD_LENGTH;
  if (status === Status.OK && header!.baseOffset >= expected) return header!;
  throw new TidemarkError("INVALID_BATCH", `no whole batch that continues the segment stands at byte ${at}`, {
    position: at,
    expectedOffset: expected,
    status: status === Status.OK ? "BAD_OFFSET" : statusName(status),
  });
}

/**
 * Makes both indexes as a broker does: the next batch gets an entry once more than 4,096 bytes have passed since the
 * last entry.
 */
class KafkaIndexes {
  readonly #baseOffset: number;
  readonly #offsets = new GrowingBytes();
  readonly #times = new GrowingBytes();
  #bytesSinceEntry = 0;
  #maxTimestamp = -1;
  #maxTimestampOffset = -1;
  #lastTime = -1;

  constructor(baseOffset: number) {
    this.#baseOffset = baseOffset;
  }

  add(header: BatchHeader, position: number): void {
    const lastOffset = nextOffsetOf(header) - 1;
    if (header.maxTimestamp > this.#maxTimestamp) {
      this.#maxTimestamp = header.maxTimestamp;
      this.#maxTimestampOffset = lastOffset;
    }
    if (this.#bytesSinceEntry > INDEX_INTERVAL_BYTES) {
      const relativeOffset = lastOffset - this.#baseOffset;
      writeOffsetEntry(this.#offsets.extend(OFFSET_ENTRY_BYTES), { relativeOffset, position });
      this.#addTime();
      this.#bytesSinceEntry = 0;
    }
    this.#bytesSinceEntry += header.sizeBytes;
  }

  /** A timestamp that has not risen gets no entry, because Kafka requires them to rise strictly. */
  #addTime(): void {
    if (this.#maxTimestamp <= this.#lastTime) return;
    const relativeOffset = this.#maxTimestampOffset - this.#baseOffset;
    writeTimeEntry(this.#times.extend(TIME_ENTRY_BYTES), { timestamp: this.#maxTimestamp, relativeOffset });
    this.#lastTime = this.#maxTimestamp;
  }

  close(): Pick<KafkaFiles, "index" | "timeindex"> {
    this.#addTime();
    return { index: this.#offsets.bytes.slice(), timeindex: this.#times.bytes.slice() };
  }
}
