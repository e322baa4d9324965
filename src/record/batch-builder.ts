/**
 * Collects records and has the kernel write them as one batch. A record needs no object: its bytes are added to one
 * blob, its lengths and timestamp to columns, in the layout of `EncodeRequest`.
 *
 *   blob        ┌ key ┬ value ┬ headers ┐┌ key ┬ value ┬ headers ┐ … free      grows by doubling
 *   lengths     ┌ key, value, headers ┐┌ key, value, headers ┐ … free          3 × int32 a record
 *   timestamps  ┌ ms ┐┌ ms ┐ … free
 */
import { assert, TidemarkError } from "../errors.ts";
import { KERNEL_BATCH_BYTES_MAX, KERNEL_BATCH_RECORDS_MAX, Status, type Kernel } from "../kernel/types.ts";
import { concat, grown, textEncoder } from "./bytes.ts";
import { BATCH_HEADER_BYTES } from "./format.ts";

export type Header = readonly [key: string, value: Uint8Array | null];

export interface BuilderRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers?: readonly Header[] | undefined;
  /** Milliseconds, a safe integer. */
  readonly timestamp: number;
}

export interface BatchLimits {
  /** Limit of the encoded batch in bytes. */
  readonly bytesMax?: number | undefined;
  readonly recordsMax?: number | undefined;
}

export interface BatchOwner {
  /** -1 for none. */
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly attributes?: number | undefined;
}

/** Below this length a loop copies faster than a call of `set`. */
const SHORT_COPY_BYTES = 32;
/** A record's length (up to 2^21 zigzagged: 4), its attributes byte and its offset delta (up to 65,535: 3). */
const FIXED_BYTES_MAX = 4 + 1 + 3;
/** The memory of a smaller batch is not given back: to make it anew costs less. */
export const LENT_BYTES = 16 * 1024;
const FIRST_BLOB_BYTES = 4096;
const FIRST_RECORDS = 64;

/** Bytes of a length or count (>= -1) as a zigzag varint. */
function sizeOfVarint(value: number): number {
  return value < 64 ? 1 : value < 8192 ? 2 : value < 1048576 ? 3 : value < 134217728 ? 4 : 5;
}

/** The same for the difference of two timestamps, as an upper bound: the exact size would need a loop. */
function sizeOfDeltaMax(delta: number): number {
  const size = Math.abs(delta);
  return size < 64 ? 1 : size < 8192 ? 2 : size < 1048576 ? 3 : size < 134217728 ? 4 : 8;
}

export class BatchBuilder {
  readonly #kernel: Kernel;
  readonly bytesMax: number;
  readonly #recordsMax: number;
  #blob = new Uint8Array(FIRST_BLOB_BYTES);
  #blobBytes = 0;
  #lengths = new Int32Array(FIRST_RECORDS * 3);
  #timestamps = new Float64Array(FIRST_RECORDS);
  #count = 0;
  #sizeBytes = BATCH_HEADER_BYTES;
  /** Of an earlier batch, for the next one to be written into. */
  #memory: ArrayBuffer | undefined;

  constructor(kernel: Kernel, limits: BatchLimits = {}) {
    this.#kernel = kernel;
    this.bytesMax = Math.min(limits.bytesMax ?? KERNEL_BATCH_BYTES_MAX, KERNEL_BATCH_BYTES_MAX);
    this.#recordsMax = Math.min(limits.recordsMax ?? KERNEL_BATCH_RECORDS_MAX, KERNEL_BATCH_RECORDS_MAX);
  }

  get count(): number {
    return this.#count;
  }

  /** Upper bound of the encoded size. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /**
   * False if the record would pass a limit; then nothing was added. False from an empty builder means that it never
   * fits.
   */
  tryAppend({ key, value, headers, timestamp }: BuilderRecord): boolean {
    if (!Number.isSafeInteger(timestamp))
      throw new TidemarkError("INVALID_ARGUMENT", "timestamp must be a safe integer");
    const count = this.#count;
    const keyLength = key === null ? -1 : key.length;
    const valueLength = value === null ? -1 : value.length;
    const headersBytes = headers === undefined || headers.length === 0 ? NO_HEADERS : encodeHeaders(headers);
    const headersLength = headersBytes.length;
    const delta = count === 0 ? 0 : timestamp - (this.#timestamps[0] as number);
    const fields = Math.max(keyLength, 0) + Math.max(valueLength, 0) + headersLength;
    const sizeBytes =
      this.#sizeBytes +
      FIXED_BYTES_MAX +
      sizeOfDeltaMax(delta) +
      sizeOfVarint(keyLength) +
      sizeOfVarint(valueLength) +
      fields +
      (headersLength === 0 ? 1 : 0);
    if (sizeBytes > this.bytesMax || count >= this.#recordsMax) return false;

    if (this.#blobBytes + fields > this.#blob.length) this.#blob = grown(this.#blob, this.#blobBytes + fields);
    if (count === this.#timestamps.length) {
      this.#lengths = grown(this.#lengths);
      this.#timestamps = grown(this.#timestamps);
    }
    if (key !== null) this.#put(key);
    if (value !== null) this.#put(value);
    if (headersLength !== 0) this.#put(headersBytes);
    const row = count * 3;
    this.#lengths[row] = keyLength;
    this.#lengths[row + 1] = valueLength;
    this.#lengths[row + 2] = headersLength;
    this.#timestamps[count] = timestamp;
    this.#count = count + 1;
    this.#sizeBytes = sizeBytes;
    return true;
  }

  /** Adds all of these or none. Nothing was added if one does not fit or is refused. */
  tryAppendAll(records: readonly BuilderRecord[]): boolean {
    const count = this.#count;
    const blobBytes = this.#blobBytes;
    const sizeBytes = this.#sizeBytes;
    const end = count + records.length;
    try {
      return records.every((record) => this.tryAppend(record));
    } finally {
      if (this.#count < end) this.#cut(count, blobBytes, sizeBytes);
    }
  }

  /**
   * The batch, with base offset 0 and leader epoch -1. At least one record is needed. The records stay until `reset`.
   */
  build({ producerId, producerEpoch, baseSequence, attributes = 0 }: BatchOwner): Uint8Array {
    const count = this.#count;
    assert(count > 0, "a batch of no records");
    const { status, bytes } = this.#kernel.encodeBatch({
      blob: this.#blob.subarray(0, this.#blobBytes),
      lengths: this.#lengths.subarray(0, count * 3),
      timestamps: this.#timestamps.subarray(0, count),
      count,
      attributes,
      producerId,
      producerEpoch,
      baseSequence,
      into: this.#takeMemory(),
    });
    if (status !== Status.OK)
      throw new TidemarkError("INVALID_ARGUMENT", `the kernel refused the batch (${status})`, { status });
    return bytes;
  }

  /**
   * Memory for the batch, if the receiver of an earlier one has given its memory back. A new page of memory costs the
   * system more than the copy of a batch into it. A batch that would leave half of the memory empty gets a buffer of
   * its own, because the receiver counts all of the memory.
   */
  #takeMemory(): ArrayBuffer | undefined {
    const memory = this.#memory;
    const sizeBytes = this.#sizeBytes;
    if (!memory || sizeBytes < LENT_BYTES || memory.byteLength > 2 * sizeBytes) return undefined;
    this.#memory = undefined;
    // A later batch may be a little larger.
    return memory.byteLength >= sizeBytes ? memory : new ArrayBuffer(sizeBytes + (sizeBytes >> 3));
  }

  /** Takes back the memory of a batch that its receiver is done with. */
  giveBack(memory: ArrayBuffer): void {
    this.#memory = memory;
  }

  /** Removes all records. The memory is kept for the next batch. */
  reset(): void {
    this.#cut(0, 0, BATCH_HEADER_BYTES);
  }

  #cut(count: number, blobBytes: number, sizeBytes: number): void {
    this.#count = count;
    this.#blobBytes = blobBytes;
    this.#sizeBytes = sizeBytes;
  }

  #put(bytes: Uint8Array): void {
    const at = this.#blobBytes;
    const { length } = bytes;
    if (length <= SHORT_COPY_BYTES) {
      const blob = this.#blob;
      for (let i = 0; i < length; i++) blob[at + i] = bytes[i] as number;
    } else {
      this.#blob.set(bytes, at);
    }
    this.#blobBytes = at + length;
  }
}

const NO_HEADERS = new Uint8Array(0);

/** A length or count (>= -1), zigzagged. */
function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = ((value << 1) ^ (value >> 31)) >>> 0;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Uint8Array.from([...bytes, rest]);
}

/** A headers section in record format: varint count, then per header varint length and bytes of key and value. */
export function encodeHeaders(headers: readonly Header[]): Uint8Array {
  const parts = [varint(headers.length)];
  for (const [name, value] of headers) {
    const key = textEncoder.encode(name);
    parts.push(varint(key.length), key, varint(value === null ? -1 : value.length), value ?? NO_HEADERS);
  }
  return concat(parts);
}
