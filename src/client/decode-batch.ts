/**
 * Reads record batches without a kernel: cuts an answer into batches, checks each checksum, unpacks gzip, and walks the
 * records (encode-batch.ts draws one). Bytes come from outside, so each length is checked before it is used.
 */
import { TidemarkError } from "../errors.ts";
import type { CheckedBatch, RawHeaders } from "../delivery/read-record.ts";
import { textDecoder } from "../record/bytes.ts";
import {
  ATTRIBUTE_CONTROL,
  ATTRIBUTE_LOG_APPEND_TIME,
  BATCH_HEADER_BYTES,
  type BatchHeader,
  CODEC_GZIP,
  CODEC_MASK,
  CRC_FROM,
  MAGIC,
  nextOffsetOf,
  readHeader,
} from "../record/format.ts";
import { recordId } from "../record/record-id.ts";
import { crc32c } from "./crc32c.ts";

/** As the edge and the browser's log have it: a batch never unpacks to more. */
const UNPACKED_BYTES_MAX = 2 * 1024 * 1024;

interface Row {
  readonly delta: number;
  readonly timestamp: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: RawHeaders;
}

class Walk {
  at = 0;
  constructor(readonly bytes: Uint8Array) {}

  /** A zigzag varint. Numbers beyond 2^52 lose their last bits; no timestamp of a log is that far from another. */
  number(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.bytes[this.at++];
      if (byte === undefined || scale > 2 ** 63) throw new Error("a number has no end");
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value % 2 ? -(value + 1) / 2 : value / 2;
    }
  }

  field(): Uint8Array | null {
    const length = this.number();
    if (length < 0) return null;
    const end = this.at + length;
    if (end > this.bytes.length) throw new Error("a field is longer than its record");
    const field = this.bytes.subarray(this.at, end);
    this.at = end;
    return field;
  }
}

function rowsOf({ recordCount, lastOffsetDelta, baseTimestamp }: BatchHeader, bytes: Uint8Array): Row[] {
  const rows: Row[] = [];
  const walk = new Walk(bytes);
  while (walk.at < bytes.length) {
    const record = new Walk(walk.field() ?? bytes.subarray(0, 0));
    record.at = 1;
    const timestamp = baseTimestamp + record.number();
    const delta = record.number();
    if (delta > lastOffsetDelta || delta < (rows.at(-1)?.delta ?? -1) + 1) throw new Error("offsets do not rise");
    const row = { delta, timestamp, key: record.field(), value: record.field(), headers: headersOf(record) };
    if (record.at !== record.bytes.length) throw new Error("a record is longer than its fields");
    rows.push(row);
  }
  if (rows.length !== recordCount) throw new Error("its number of records is wrong");
  return rows;
}

function headersOf(record: Walk): RawHeaders {
  const headers: [string, Uint8Array | null][] = [];
  for (let left = record.number(); left > 0; left--)
    headers.push([textDecoder.decode(record.field() ?? undefined), record.field()]);
  return headers;
}

class Batch implements CheckedBatch {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly count: number;

  constructor(
    readonly header: BatchHeader,
    readonly rows: readonly Row[],
  ) {
    this.baseOffset = header.baseOffset;
    this.nextOffset = nextOffsetOf(header);
    this.count = rows.length;
  }
  offsetAt(i: number): number {
    return this.baseOffset + this.rows[i]!.delta;
  }
  idAt(i: number): string {
    return this.header.producerId < 0 ? String(this.offsetAt(i)) : recordId(this.header, this.rows[i]!.delta);
  }
  timestampAt(i: number): number {
    return this.header.attributes & ATTRIBUTE_LOG_APPEND_TIME ? this.header.maxTimestamp : this.rows[i]!.timestamp;
  }
  keyAt(i: number): Uint8Array | null {
    return this.rows[i]!.key;
  }
  valueAt(i: number): Uint8Array | null {
    return this.rows[i]!.value;
  }
  headersAt(i: number): RawHeaders {
    return this.rows[i]!.headers;
  }
}

/** Gunzips up to the limit, in pieces as they come. */
async function gunzip(bytes: Uint8Array): Promise<Uint8Array> {
  const { readable, writable } = new DecompressionStream("gzip");
  const writer = writable.getWriter();
  // Its failure is also the reader's, which reports it.
  void writer.write(bytes as Uint8Array<ArrayBuffer>).catch(() => undefined);
  void writer.close().catch(() => undefined);
  const out = new Uint8Array(UNPACKED_BYTES_MAX);
  let at = 0;
  const reader = readable.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return out.subarray(0, at);
    if (at + value.length > out.length) {
      void reader.cancel().catch(() => undefined);
      throw new TidemarkError("DECOMPRESSION_LIMIT", `a batch unpacks to more than ${out.length} bytes`);
    }
    out.set(value, at);
    at += value.length;
  }
}

async function decodeOne(header: BatchHeader, bytes: Uint8Array): Promise<CheckedBatch> {
  const { baseOffset: from, attributes } = header;
  const range = { from, to: nextOffsetOf(header) };
  const codec = attributes & CODEC_MASK;
  const damaged = (why: string, cause?: unknown): TidemarkError =>
    new TidemarkError("CORRUPT_RANGE", `the batch at offset ${from} is damaged: ${why}`, range, { cause });
  if (header.crc !== crc32c(bytes.subarray(CRC_FROM))) throw damaged("its checksum does not match");
  if (codec > CODEC_GZIP)
    throw new TidemarkError("UNSUPPORTED_FORMAT", `codec ${codec}: none and gzip can be read here`, range);
  const packed = bytes.subarray(BATCH_HEADER_BYTES);
  try {
    return new Batch(header, rowsOf(header, codec === 0 ? packed : await gunzip(packed)));
  } catch (thrown) {
    throw thrown instanceof TidemarkError ? thrown.with(range) : damaged(String(thrown), thrown);
  }
}

/**
 * The batches of an answer, checked one by one, without those of the log itself (control batches). CORRUPT_RANGE,
 * UNSUPPORTED_FORMAT and DECOMPRESSION_LIMIT name the offsets in `from` and `to`.
 */
export async function* decodeBatches(bytes: Uint8Array): AsyncGenerator<CheckedBatch, void> {
  for (let at = 0; at < bytes.length;) {
    const left = bytes.subarray(at);
    const header = left.length < BATCH_HEADER_BYTES ? undefined : readHeader(left);
    if (header?.magic !== MAGIC || header.sizeBytes < BATCH_HEADER_BYTES || header.sizeBytes > left.length)
      throw new TidemarkError("CORRUPT_RANGE", `no whole record batch is at byte ${at} of the answer`, {
        position: at,
      });
    const batch = await decodeOne(header, left.subarray(0, header.sizeBytes));
    if (!(header.attributes & ATTRIBUTE_CONTROL)) yield batch;
    at += header.sizeBytes;
  }
}
