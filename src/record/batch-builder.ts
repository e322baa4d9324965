/**
 * Collects records and makes one batch of them. A record needs no object: it is written at once as it will stand in the
 * batch, so what is left for the end is a copy, the header and the checksum, which the kernel makes.
 *
 *   bytes   ┌ room for the header ┬ record ┬ record ┬ … free      grows by doubling
 *
 *   record  ┌ length ┬ 0 ┬ timestamp delta ┬ offset delta ┬ key length ┬ key ┬ value length ┬ value ┬ headers ┐
 */
import { assert, TidemarkError } from "../errors.ts";
import { KERNEL_BATCH_BYTES_MAX, KERNEL_BATCH_RECORDS_MAX, type Kernel } from "../kernel/types.ts";
import { concat, grown, textEncoder, viewOf } from "./bytes.ts";
import {
  ATTRIBUTE_LOG_APPEND_TIME,
  ATTRIBUTES_AT,
  ATTRIBUTES_KNOWN,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  BATCH_HEADER_BYTES,
  CODEC_MASK,
  CRC_AT,
  CRC_FROM,
  LAST_OFFSET_DELTA_AT,
  LEADER_EPOCH_AT,
  LENGTH_AT,
  LENGTH_OVERHEAD,
  MAGIC,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORD_COUNT_AT,
} from "./format.ts";

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
/** The memory of a smaller batch is not given back: to make it anew costs less. */
export const LENT_BYTES = 16 * 1024;
const FIRST_BYTES = 4096;
/** What a producer may set: the log alone stamps its own times, and compression comes afterwards. */
const PRODUCERS_ATTRIBUTES = ATTRIBUTES_KNOWN & ~CODEC_MASK & ~ATTRIBUTE_LOG_APPEND_TIME;

/** Bytes of an int32 as a zigzag varint. */
function sizeOfVarint(number: number): number {
  const value = number ^ (number >> 31);
  return value < 64 ? 1 : value < 8192 ? 2 : value < 1048576 ? 3 : value < 134217728 ? 4 : 5;
}

const sizeOfField = (bytes: Uint8Array | null): number => (bytes ? sizeOfVarint(bytes.length) + bytes.length : 1);

export class BatchBuilder {
  readonly #kernel: Kernel;
  readonly bytesMax: number;
  readonly #recordsMax: number;
  #bytes = new Uint8Array(FIRST_BYTES);
  /** Where the next record begins. */
  #at = BATCH_HEADER_BYTES;
  #count = 0;
  #firstTimestamp = 0;
  #maxTimestamp = 0;
  /** The memory of an earlier batch that was given back. The next batch is written into it. */
  #memory: ArrayBuffer | undefined;

  constructor(kernel: Kernel, limits: BatchLimits = {}) {
    this.#kernel = kernel;
    this.bytesMax = Math.min(limits.bytesMax ?? KERNEL_BATCH_BYTES_MAX, KERNEL_BATCH_BYTES_MAX);
    this.#recordsMax = Math.min(limits.recordsMax ?? KERNEL_BATCH_RECORDS_MAX, KERNEL_BATCH_RECORDS_MAX);
  }

  get count(): number {
    return this.#count;
  }

  /** The encoded size. */
  get sizeBytes(): number {
    return this.#at;
  }

  /**
   * False if the record would pass a limit; then nothing was added. False from an empty builder means that it never
   * fits.
   */
  tryAppend({ key, value, headers, timestamp }: BuilderRecord): boolean {
    if (!Number.isSafeInteger(timestamp))
      throw new TidemarkError("INVALID_ARGUMENT", "timestamp must be a safe integer");
    const count = this.#count;
    if (count === 0) this.#firstTimestamp = this.#maxTimestamp = timestamp;
    const delta = timestamp - this.#firstTimestamp;
    // Beyond 32 bits it is exact only as a BigInt.
    const far = delta === (delta | 0) ? undefined : varint(BigInt(timestamp) - BigInt(this.#firstTimestamp));
    const headersBytes = headers?.length ? encodeHeaders(headers) : NO_HEADERS;
    const body =
      1 +
      (far ? far.length : sizeOfVarint(delta)) +
      sizeOfVarint(count) +
      sizeOfField(key) +
      sizeOfField(value) +
      headersBytes.length;
    const end = this.#at + sizeOfVarint(body) + body;
    if (end > this.bytesMax || count >= this.#recordsMax) return false;

    if (end > this.#bytes.length) this.#bytes = grown(this.#bytes, end);
    this.#put(body);
    this.#put(0);
    if (far) this.#copy(far);
    else this.#put(delta);
    this.#put(count);
    this.#field(key);
    this.#field(value);
    this.#copy(headersBytes);
    this.#maxTimestamp = Math.max(this.#maxTimestamp, timestamp);
    this.#count = count + 1;
    return true;
  }

  /** Adds all of these or none. Nothing was added if one does not fit or is refused. */
  tryAppendAll(records: readonly BuilderRecord[]): boolean {
    const before = [this.#count, this.#at, this.#maxTimestamp] as const;
    let isWhole = false;
    try {
      return (isWhole = records.every((record) => this.tryAppend(record)));
    } finally {
      if (!isWhole) [this.#count, this.#at, this.#maxTimestamp] = before;
    }
  }

  /**
   * The batch, with base offset 0 and leader epoch -1. At least one record is needed. The records stay until `reset`.
   */
  build(owner: BatchOwner): Uint8Array {
    const { producerId, producerEpoch, baseSequence, attributes = 0 } = owner;
    const count = this.#count;
    assert(count > 0, "a batch of no records");
    if (
      (attributes & PRODUCERS_ATTRIBUTES) !== attributes ||
      !Number.isSafeInteger(producerId) ||
      producerEpoch !== (producerEpoch << 16) >> 16 ||
      baseSequence !== (baseSequence | 0) ||
      Math.min(producerId, producerEpoch, baseSequence) < -1
    )
      throw new TidemarkError("INVALID_ARGUMENT", "no owner of a batch", { ...owner });
    const size = this.#at;
    const bytes = new Uint8Array(this.#takeMemory(), 0, size);
    bytes.set(this.#bytes.subarray(0, size));
    const view = viewOf(bytes);
    view.setInt32(LENGTH_AT, size - LENGTH_OVERHEAD);
    view.setInt32(LEADER_EPOCH_AT, -1);
    view.setInt8(MAGIC_AT, MAGIC);
    view.setInt16(ATTRIBUTES_AT, attributes);
    view.setInt32(LAST_OFFSET_DELTA_AT, count - 1);
    view.setBigInt64(BASE_TIMESTAMP_AT, BigInt(this.#firstTimestamp));
    view.setBigInt64(MAX_TIMESTAMP_AT, BigInt(this.#maxTimestamp));
    view.setBigInt64(PRODUCER_ID_AT, BigInt(producerId));
    view.setInt16(PRODUCER_EPOCH_AT, producerEpoch);
    view.setInt32(BASE_SEQUENCE_AT, baseSequence);
    view.setInt32(RECORD_COUNT_AT, count);
    view.setUint32(CRC_AT, this.#kernel.crc32c(bytes.subarray(CRC_FROM)));
    return bytes;
  }

  /**
   * Memory for the batch, if the receiver of an earlier one has given its memory back. A new page of memory costs the
   * system more than the copy of a batch into it. A batch that would leave half of the memory empty gets a buffer of
   * its own, because the receiver counts all of the memory.
   */
  #takeMemory(): ArrayBuffer {
    const memory = this.#memory;
    const size = this.#at;
    if (memory && size >= LENT_BYTES && memory.byteLength <= 2 * size) {
      this.#memory = undefined;
      // A later batch may be a little larger.
      return memory.byteLength < size ? new ArrayBuffer(size + (size >> 3)) : memory;
    }
    return new ArrayBuffer(size);
  }

  /** Takes back the memory of a batch that its receiver is done with. */
  giveBack(memory: ArrayBuffer): void {
    this.#memory = memory;
  }

  /** Removes all records. The memory is kept for the next batch. */
  reset(): void {
    this.#count = 0;
    this.#at = BATCH_HEADER_BYTES;
  }

  /** Writes an int32 as a zigzag varint. */
  #put(value: number): void {
    const bytes = this.#bytes;
    let rest = (value << 1) ^ (value >> 31);
    for (; rest & ~0x7f; rest >>>= 7) bytes[this.#at++] = rest | 0x80;
    bytes[this.#at++] = rest;
  }

  #field(bytes: Uint8Array | null): void {
    this.#put(bytes ? bytes.length : -1);
    if (bytes) this.#copy(bytes);
  }

  #copy(bytes: Uint8Array): void {
    const to = this.#bytes;
    const at = this.#at;
    const { length } = bytes;
    if (length > SHORT_COPY_BYTES) to.set(bytes, at);
    else for (let i = 0; i < length; i++) to[at + i] = bytes[i] as number;
    this.#at = at + length;
  }
}

const NO_HEADERS = Uint8Array.of(0);
const NO_VALUE = new Uint8Array(0);

/** A zigzag varint of up to 64 bits. */
function varint(number: number | bigint): Uint8Array {
  const value = BigInt(number);
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Uint8Array.from([...bytes, Number(rest)]);
}

/** A headers section in record format: varint count, then per header varint length and bytes of key and value. */
export function encodeHeaders(headers: readonly Header[]): Uint8Array {
  const parts = [varint(headers.length)];
  for (const [name, value] of headers) {
    const key = textEncoder.encode(name);
    parts.push(varint(key.length), key, varint(value === null ? -1 : value.length), value ?? NO_VALUE);
  }
  return concat(parts);
}
