/**
 * Reads record batches lazily, so that a consumer that skips most records does not pay for them. The kernel checks the
 * whole batch and returns columns. A record's fields are views into the batch's bytes, not copies: keeping one record
 * keeps the whole batch in memory.
 */
import { TidemarkError, type ErrorDetails } from "../errors.ts";
import {
  COLUMNS,
  HEADERS_COUNT,
  HEADERS_POSITION,
  KEY_LENGTH,
  KEY_POSITION,
  OFFSET_DELTA,
  VALUE_LENGTH,
  VALUE_POSITION,
} from "../kernel/columns-layout.ts";
import { KERNEL_BATCH_BYTES_MAX, Status, statusName, type Kernel, type RecordColumns } from "../kernel/types.ts";
import { textDecoder, viewOf } from "./bytes.ts";
import {
  ATTRIBUTE_CONTROL,
  ATTRIBUTE_LOG_APPEND_TIME,
  BATCH_HEADER_BYTES,
  CODEC_GZIP,
  CODEC_NONE,
  CODEC_MASK,
  codecName,
  LENGTH_AT,
  LENGTH_OVERHEAD,
  nextOffsetOf,
  readHeader,
  type BatchHeader,
} from "./format.ts";
import { ownerName, sequenceName } from "./record-id.ts";

/** Reads one zigzag varint of bytes that the kernel has checked. */
function readVarint(bytes: Uint8Array, cursor: { at: number }): number {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[cursor.at++] as number;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
  }
}

export class RecordBatch {
  readonly header: BatchHeader;
  readonly count: number;
  readonly #bytes: Uint8Array;
  readonly #columns: RecordColumns;
  #owner: string | undefined;

  /** Positions in the columns count from the start of `bytes`: the batch, or its decompressed records section. */
  constructor(header: BatchHeader, bytes: Uint8Array, columns: RecordColumns) {
    this.header = header;
    this.count = columns.count;
    this.#bytes = bytes;
    this.#columns = columns;
  }

  get baseOffset(): number {
    return this.header.baseOffset;
  }

  /** Offset behind the batch. After compaction there may be no record just before it. */
  get nextOffset(): number {
    return nextOffsetOf(this.header);
  }

  /** Control batches carry markers for the log itself and no records of an application. */
  get isControl(): boolean {
    return (this.header.attributes & ATTRIBUTE_CONTROL) !== 0;
  }

  offsetAt(i: number): number {
    return this.header.baseOffset + this.#int(i, OFFSET_DELTA);
  }

  /** The record's name, the same before and after its commit (record-id.ts). */
  idAt(i: number): string {
    const offset = this.offsetAt(i);
    if (this.header.producerId < 0) return String(offset);
    this.#owner ??= ownerName(this.header);
    return this.#owner + sequenceName(this.header, offset - this.header.baseOffset);
  }

  timestampAt(i: number): number {
    this.#int(i, 0);
    const isAppendTime = this.header.attributes & ATTRIBUTE_LOG_APPEND_TIME;
    return isAppendTime ? this.header.maxTimestamp : (this.#columns.timestamps[i] as number);
  }

  keyAt(i: number): Uint8Array | null {
    return this.#field(this.#int(i, KEY_POSITION), this.#int(i, KEY_LENGTH));
  }

  valueAt(i: number): Uint8Array | null {
    return this.#field(this.#int(i, VALUE_POSITION), this.#int(i, VALUE_LENGTH));
  }

  headersAt(i: number): [string, Uint8Array | null][] {
    const headers: [string, Uint8Array | null][] = [];
    const cursor = { at: this.#int(i, HEADERS_POSITION) };
    for (let left = this.#int(i, HEADERS_COUNT); left > 0; left--) {
      const keyLength = readVarint(this.#bytes, cursor);
      const key = textDecoder.decode(this.#bytes.subarray(cursor.at, cursor.at + keyLength));
      cursor.at += keyLength;
      const valueLength = readVarint(this.#bytes, cursor);
      headers.push([key, this.#field(cursor.at, valueLength)]);
      cursor.at += Math.max(valueLength, 0);
    }
    return headers;
  }

  #field(position: number, length: number): Uint8Array | null {
    return length < 0 ? null : this.#bytes.subarray(position, position + length);
  }

  #int(i: number, column: number): number {
    if (i >>> 0 !== i || i >= this.count)
      throw new TidemarkError("INVALID_ARGUMENT", `no record ${i} of ${this.count}`);
    return this.#columns.ints[i * COLUMNS + column] as number;
  }
}

export interface DecodeOptions {
  /** Default true. Pass false if the same bytes were just checked. */
  readonly checkCrc?: boolean;
  /** Limit of a decompressed records section. Default and upper limit: 2 MiB, what the kernel's memory holds. */
  readonly decompressedBytesMax?: number;
}

/** The offsets that are lost by the damage. -1 if the header is damaged itself and names none. */
function rangeOf(bytes: Uint8Array): ErrorDetails {
  if (bytes.length < BATCH_HEADER_BYTES) return { from: -1, to: -1 };
  const header = readHeader(bytes);
  const to = nextOffsetOf(header);
  const isRange = header.baseOffset >= 0 && header.lastOffsetDelta >= 0 && Number.isSafeInteger(to);
  return isRange ? { from: header.baseOffset, to } : { from: -1, to: -1 };
}

function corrupt(bytes: Uint8Array, reason: string, status?: Status, cause?: unknown): TidemarkError {
  return new TidemarkError("CORRUPT_RANGE", `bad record batch: ${reason}`, { ...rangeOf(bytes), status }, { cause });
}

function throwUnlessOk(bytes: Uint8Array, status: Status): void {
  if (status === Status.OK) return;
  // The CRC was good (or not asked for), so this is a batch of a later version, not damage.
  if (status === Status.BAD_ATTRIBUTES) throw unsupportedError(bytes);
  throw corrupt(bytes, statusName(status), status);
}

function unsupportedError(bytes: Uint8Array): TidemarkError {
  const { attributes } = readHeader(bytes);
  const isKnown = (attributes & CODEC_MASK) <= CODEC_GZIP;
  const what = isKnown
    ? `can't read batches with attributes ${attributes}`
    : `codec ${codecName(attributes)}: batches of codec none and gzip can be read`;
  return new TidemarkError("UNSUPPORTED_FORMAT", what, { attributes, ...rangeOf(bytes) });
}

/**
 * Reads one batch that fills `bytes`: at once if it is not compressed, otherwise as a promise. Throws CORRUPT_RANGE
 * (details: from, and to behind the last offset), UNSUPPORTED_FORMAT for a codec that no platform has, and
 * DECOMPRESSION_LIMIT.
 */
export function decodeBatch(
  kernel: Kernel,
  bytes: Uint8Array,
  options: DecodeOptions = {},
): RecordBatch | Promise<RecordBatch> {
  const { checkCrc = true } = options;
  const attributes = bytes.length < BATCH_HEADER_BYTES ? 0 : readHeader(bytes).attributes;
  if ((attributes & CODEC_MASK) !== CODEC_NONE) return decodeCompressed(kernel, bytes, options);
  const { status, columns } = kernel.decodeBatch(bytes, checkCrc);
  throwUnlessOk(bytes, status);
  return new RecordBatch(readHeader(bytes), bytes, columns);
}

async function decodeCompressed(kernel: Kernel, bytes: Uint8Array, options: DecodeOptions): Promise<RecordBatch> {
  const { decompressedBytesMax = KERNEL_BATCH_BYTES_MAX } = options;
  const header = readHeader(bytes);
  // Checked even if `checkCrc` is false: the kernel checks the header's numbers only together with the CRC.
  throwUnlessOk(bytes, kernel.validateBatch(bytes));
  if ((header.attributes & CODEC_MASK) !== CODEC_GZIP) throw unsupportedError(bytes);
  const cap = Math.min(decompressedBytesMax, KERNEL_BATCH_BYTES_MAX);
  const { gunzip } = await import("./codec.ts");
  const records = await gunzip(bytes.subarray(BATCH_HEADER_BYTES), cap).catch((thrown: unknown) => {
    if (thrown instanceof TidemarkError) throw thrown;
    throw corrupt(bytes, "gzip", undefined, thrown);
  });
  const { recordCount, baseTimestamp, lastOffsetDelta } = header;
  const { status, columns } = kernel.decodeRecords(records, recordCount, baseTimestamp, lastOffsetDelta, false);
  throwUnlessOk(bytes, status);
  return new RecordBatch(header, records, columns);
}

/**
 * Splits bytes into whole batches, as views. INVALID_BATCH if the lengths do not add up to the bytes; nothing else is
 * checked.
 */
export function splitBatches(bytes: Uint8Array): Uint8Array[] {
  const view = viewOf(bytes);
  const batches: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const left = bytes.length - at;
    // A negative length would walk back and loop for ever.
    const size = left < BATCH_HEADER_BYTES ? 0 : view.getInt32(at + LENGTH_AT) + LENGTH_OVERHEAD;
    if (size < BATCH_HEADER_BYTES || size > left) {
      throw new TidemarkError("INVALID_BATCH", `no whole batch at byte ${at}`, { position: at });
    }
    batches.push(bytes.subarray(at, at + size));
    at += size;
  }
  return batches;
}
