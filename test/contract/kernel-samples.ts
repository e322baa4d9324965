/**
 * Record batches made by hand, field by field, for the kernel's contract. This is a third writer of the format, after
 * the kernel and the reference kernel, and it can also write wrong batches. `craft` gives any header field any value
 * and then sets the right CRC, so that a case reaches the check that it is about.
 */
import type { EncodeRequest, EncodingKernel, ScanRequest } from "../../src/kernel/types.ts";
import { INDEX_STATE_EMPTY } from "../../src/kernel/types.ts";

/** One promise of the kernel. Every build of it runs each case. */
export interface KernelCase {
  readonly name: string;
  run(kernel: EncodingKernel): void;
}

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** CRC-32C bit by bit, straight from its definition. */
export function slowCrc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0x82f63b78 & -(crc & 1));
  }
  return ~crc >>> 0;
}

/** A zigzag varint in its shortest form. */
export function varint(value: number | bigint): number[] {
  const wide = BigInt(value);
  let rest = BigInt.asUintN(64, (wide << 1n) ^ (wide >> 63n));
  const bytes: number[] = [];
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) + 0x80);
    rest >>= 7n;
  }
  return [...bytes, Number(rest)];
}

export interface SampleRecord {
  readonly key?: Uint8Array | null;
  readonly value?: Uint8Array | null;
  readonly headers?: readonly (readonly [string, Uint8Array | null])[];
  readonly attributes?: number;
  readonly timestampDelta?: number | bigint;
  readonly offsetDelta?: number;
}

const field = (bytes: Uint8Array | null): number[] => (bytes === null ? [1] : [...varint(bytes.length), ...bytes]);

export function headersSection(headers: SampleRecord["headers"] = []): number[] {
  return [...varint(headers.length), ...headers.flatMap(([key, value]) => [...field(utf8(key)), ...field(value)])];
}

/** A record's bytes: the length, then the body. */
export const framed = (body: readonly number[]): number[] => [...varint(body.length), ...body];

export function recordBytes(record: SampleRecord = {}, i = 0): number[] {
  const { key = null, value = null, headers = [], attributes = 0, timestampDelta = i, offsetDelta = i } = record;
  return framed([
    attributes,
    ...varint(timestampDelta),
    ...varint(offsetDelta),
    ...field(key),
    ...field(value),
    ...headersSection(headers),
  ]);
}

export interface SampleBatch {
  readonly baseOffset?: bigint | number;
  /** The default is the actual length. */
  readonly length?: number;
  readonly leaderEpoch?: number;
  readonly magic?: number;
  /** The default is the right CRC. */
  readonly crc?: number;
  readonly attributes?: number;
  readonly lastOffsetDelta?: number;
  readonly baseTimestamp?: bigint | number;
  readonly maxTimestamp?: bigint | number;
  readonly producerId?: bigint | number;
  readonly producerEpoch?: number;
  readonly baseSequence?: number;
  readonly count?: number;
  /** The records, or the bytes of the records section. */
  readonly records?: readonly SampleRecord[];
  readonly section?: readonly number[];
}

/** A batch of two plain records, changed as `given` says. */
export function craft(given: SampleBatch = {}): Uint8Array {
  const records = given.records ?? [
    { key: utf8("a"), value: utf8("one") },
    { key: utf8("b"), value: null },
  ];
  const section = given.section ?? records.flatMap((record, i) => recordBytes(record, i));
  const bytes = new Uint8Array(61 + section.length);
  const view = new DataView(bytes.buffer);
  const count = given.count ?? records.length;
  view.setBigInt64(0, BigInt(given.baseOffset ?? 0));
  view.setInt32(8, given.length ?? bytes.length - 12);
  view.setInt32(12, given.leaderEpoch ?? -1);
  view.setInt8(16, given.magic ?? 2);
  view.setInt16(21, given.attributes ?? 0);
  view.setInt32(23, given.lastOffsetDelta ?? count - 1);
  view.setBigInt64(27, BigInt(given.baseTimestamp ?? 1000));
  view.setBigInt64(35, BigInt(given.maxTimestamp ?? 1000 + count - 1));
  view.setBigInt64(43, BigInt(given.producerId ?? -1));
  view.setInt16(51, given.producerEpoch ?? -1);
  view.setInt32(53, given.baseSequence ?? -1);
  view.setInt32(57, count);
  bytes.set(section, 61);
  view.setUint32(17, given.crc ?? slowCrc32c(bytes.subarray(21)));
  return bytes;
}

/** The same bytes with the right CRC, if they are long enough to have one. */
export function resealed(bytes: Uint8Array): Uint8Array {
  if (bytes.length >= 21) new DataView(bytes.buffer, bytes.byteOffset).setUint32(17, slowCrc32c(bytes.subarray(21)));
  return bytes;
}

export function concat(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The arguments of `encodeBatch` for these records, which have absolute timestamps. */
export function requestOf(
  records: readonly (SampleRecord & { readonly timestamp: number })[],
  rest: Partial<EncodeRequest> = {},
): EncodeRequest {
  const blob: number[] = [];
  const lengths: number[] = [];
  for (const { key = null, value = null, headers = [] } of records) {
    const section = headers.length === 0 ? [] : headersSection(headers);
    for (const part of [key ?? [], value ?? [], section]) for (const byte of part) blob.push(byte);
    lengths.push(key?.length ?? -1, value?.length ?? -1, section.length);
  }
  return {
    blob: Uint8Array.from(blob),
    lengths: Int32Array.from(lengths),
    timestamps: Float64Array.from(records, ({ timestamp }) => timestamp),
    count: records.length,
    attributes: 0,
    producerId: -1,
    producerEpoch: -1,
    baseSequence: -1,
    ...rest,
  };
}

export function scanRequest(rest: Partial<ScanRequest> = {}): ScanRequest {
  return {
    expectedOffset: 0,
    allowGaps: false,
    minEpoch: -1,
    maxEpoch: 2 ** 31 - 1,
    checkCrc: true,
    position: 0,
    segmentBaseOffset: 0,
    index: INDEX_STATE_EMPTY,
    ...rest,
  };
}
