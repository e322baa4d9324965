/**
 * The reference kernel: the kernel written a second time, in plain TypeScript. Tests compare the compiled kernel with
 * it, status by status and byte by byte, on good, damaged and random input. It shares no code with the kernel and uses
 * other means (BigInt, DataView, exceptions, a byte table), so that both seldom contain the same mistake. It is never
 * shipped.
 */
import { COLUMNS } from "../../src/kernel/columns-layout.ts";
import {
  Column,
  INDEX_INTERVAL_BYTES,
  KERNEL_BATCH_BYTES_MAX,
  KERNEL_BATCH_RECORDS_MAX,
  OFFSET_ENTRY_BYTES,
  Status,
  TIME_ENTRY_BYTES,
} from "../../src/kernel/types.ts";
import type {
  ElementsRequest,
  ElementsResult,
  EncodeRequest,
  IndexState,
  PackingKernel,
  PackRequest,
  PackResult,
  RecordColumns,
  ScanRequest,
  ScanResult,
} from "../../src/kernel/types.ts";
import { isJson, takeElements } from "./json.ts";
import { checkHeaders, Cursor, isSafe, readRecords, refuse, Refused, varintBytes } from "./records.ts";

const HEADER_BYTES = 61;
const NOTHING = new Uint8Array(0);
const NO_COLUMNS: RecordColumns = { count: 0, ints: new Int32Array(0), timestamps: new Float64Array(0) };

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

function crc32c(bytes: Uint8Array, seed = 0): number {
  let crc = ~seed;
  for (const byte of bytes) crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ byte) & 0xff] as number);
  return ~crc >>> 0;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const isInt32 = (value: number): boolean => Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31;
const isCodec = (attributes: number): boolean => (attributes & 7) !== 0;

/** Runs a check; what it refuses with is the answer. */
function statusOf(check: () => void): Status {
  try {
    check();
    return Status.OK;
  } catch (thrown) {
    if (thrown instanceof Refused) return thrown.status;
    throw thrown;
  }
}

function answer<Result>(make: () => Result, otherwise: Result): { status: Status; result: Result } {
  let result = otherwise;
  const status = statusOf(() => {
    result = make();
  });
  return { status, result };
}

/** The bytes may begin a batch of some length; gives its size. */
function checkFrame(bytes: Uint8Array): number {
  refuse(bytes.length < HEADER_BYTES, Status.NEED_MORE);
  refuse(bytes[16] !== 2, Status.BAD_MAGIC);
  const size = viewOf(bytes).getInt32(8) + 12;
  refuse(size < HEADER_BYTES || size > KERNEL_BATCH_BYTES_MAX, Status.BAD_LENGTH);
  return size;
}

function checkCrc(batch: Uint8Array): void {
  refuse(viewOf(batch).getUint32(17) !== crc32c(batch.subarray(21)), Status.BAD_CRC);
}

function checkFields(batch: Uint8Array): void {
  const view = viewOf(batch);
  const attributes = view.getUint16(21);
  refuse(attributes > 0x7f || (attributes & 7) > 4, Status.BAD_ATTRIBUTES);
  const lastOffsetDelta = view.getInt32(23);
  refuse(lastOffsetDelta < 0, Status.BAD_COUNT);
  // The offset behind the batch must be a safe integer too.
  refuse(!isSafe(view.getBigInt64(0) + BigInt(lastOffsetDelta) + 1n), Status.BAD_OFFSET);
  const count = view.getInt32(57);
  refuse(count < 0 || count > KERNEL_BATCH_RECORDS_MAX || count > lastOffsetDelta + 1, Status.BAD_COUNT);
  refuse(!isSafe(view.getBigInt64(27)) || !isSafe(view.getBigInt64(35)), Status.BAD_TIMESTAMP);
  const producerId = view.getBigInt64(43);
  refuse(producerId < -1n || !isSafe(producerId), Status.BAD_PRODUCER);
  refuse(view.getInt16(51) < -1 || view.getInt32(53) < -1, Status.BAD_PRODUCER);
}

function checkWholeBatch(bytes: Uint8Array, withCrc: boolean): void {
  refuse(bytes.length > KERNEL_BATCH_BYTES_MAX, Status.BAD_LENGTH);
  const size = checkFrame(bytes);
  const baseOffset = viewOf(bytes).getBigInt64(0);
  refuse(baseOffset < 0n || !isSafe(baseOffset), Status.BAD_OFFSET);
  refuse(viewOf(bytes).getInt32(12) < -1, Status.BAD_EPOCH);
  refuse(size > bytes.length, Status.NEED_MORE);
  refuse(size < bytes.length, Status.BAD_LENGTH);
  if (withCrc) checkCrc(bytes);
  checkFields(bytes);
}

function recordsOf(batch: Uint8Array): RecordColumns {
  const view = viewOf(batch);
  return readRecords({
    bytes: batch,
    at: HEADER_BYTES,
    end: batch.length,
    count: view.getInt32(57),
    baseTimestamp: Number(view.getBigInt64(27)),
    lastOffsetDelta: view.getInt32(23),
  });
}

function maximum(values: Iterable<number>): number {
  let max = -Infinity;
  for (const value of values) if (value > max) max = value;
  return max;
}

function validateBatch(bytes: Uint8Array): void {
  checkWholeBatch(bytes, true);
  const view = viewOf(bytes);
  const attributes = view.getUint16(21);
  if (isCodec(attributes)) return;
  const { timestamps, count } = recordsOf(bytes);
  const isAppendTime = (attributes & 8) !== 0;
  if (!isAppendTime && count > 0) refuse(maximum(timestamps) !== Number(view.getBigInt64(35)), Status.BAD_TIMESTAMP);
}

function decodeBatch(bytes: Uint8Array, withCrc: boolean): RecordColumns {
  checkWholeBatch(bytes, withCrc);
  const view = viewOf(bytes);
  const attributes = view.getUint16(21);
  refuse(isCodec(attributes), Status.BAD_ATTRIBUTES);
  const columns = recordsOf(bytes);
  if (attributes & 8) columns.timestamps.fill(Number(view.getBigInt64(35)));
  return columns;
}

/** One record without its length, or the reason why not. `blob` stands at its first field and moves behind its last. */
function recordBytes(blob: Cursor, lengths: Int32Array, timestampDelta: bigint, i: number): Uint8Array[] {
  const [key = 0, value = 0, headers = 0] = lengths.subarray(i * 3, i * 3 + 3);
  refuse(key < -1 || value < -1 || headers < 0, Status.BAD_ARGUMENT);
  refuse(Math.max(key, 0) + Math.max(value, 0) + headers > blob.left, Status.BAD_ARGUMENT);
  const take = (length: number): Uint8Array => {
    blob.skip(Math.max(length, 0));
    return blob.bytes.subarray(blob.at - Math.max(length, 0), blob.at);
  };
  const pieces = [
    Uint8Array.of(0, ...varintBytes(timestampDelta), ...varintBytes(i), ...varintBytes(key)),
    take(key),
    Uint8Array.from(varintBytes(value)),
    take(value),
  ];
  pieces.push(headers === 0 ? Uint8Array.of(0) : take(headers));
  return pieces;
}

function encodeBatch(request: EncodeRequest): Uint8Array {
  const { blob, lengths, timestamps, count, attributes, producerId, producerEpoch, baseSequence } = request;
  refuse(blob.length > KERNEL_BATCH_BYTES_MAX || count > KERNEL_BATCH_RECORDS_MAX, Status.TOO_LARGE);
  refuse(![count, attributes, producerEpoch, baseSequence].every(isInt32), Status.BAD_ARGUMENT);
  refuse(lengths.length < count * 3 || timestamps.length < count, Status.BAD_ARGUMENT);
  refuse(count < 1, Status.BAD_COUNT);
  refuse(attributes < 0 || attributes > 0x7f || (attributes & 0x0f) !== 0, Status.BAD_ATTRIBUTES);
  refuse(!Number.isSafeInteger(producerId) || producerId < -1, Status.BAD_PRODUCER);
  refuse(producerEpoch < -1 || producerEpoch > 32767 || baseSequence < -1, Status.BAD_PRODUCER);

  const stamps = timestamps.subarray(0, count);
  const pieces: Uint8Array[] = [];
  const cursor = new Cursor(blob, 0, blob.length);
  let size = HEADER_BYTES;
  refuse(!Number.isSafeInteger(stamps[0]), Status.BAD_TIMESTAMP);
  const base = BigInt(stamps[0] as number);
  for (const [i, stamp] of stamps.entries()) {
    refuse(!Number.isSafeInteger(stamp), Status.BAD_TIMESTAMP);
    const record = recordBytes(cursor, lengths, BigInt(stamp) - base, i);
    const body = record.reduce((sum, piece) => sum + piece.length, 0);
    const length = Uint8Array.from(varintBytes(body));
    size += length.length + body;
    refuse(size > KERNEL_BATCH_BYTES_MAX, Status.TOO_LARGE);
    checkHeaders(record[4] as Uint8Array);
    pieces.push(length, ...record);
  }
  refuse(cursor.left !== 0, Status.BAD_ARGUMENT);

  const batch = new Uint8Array(size);
  const view = viewOf(batch);
  view.setInt32(8, size - 12);
  view.setInt32(12, -1);
  batch[16] = 2;
  view.setInt16(21, attributes);
  view.setInt32(23, count - 1);
  view.setBigInt64(27, base);
  view.setBigInt64(35, BigInt(maximum(stamps)));
  view.setBigInt64(43, BigInt(producerId));
  view.setInt16(51, producerEpoch);
  view.setInt32(53, baseSequence);
  view.setInt32(57, count);
  let at = HEADER_BYTES;
  for (const piece of pieces) {
    batch.set(piece, at);
    at += piece.length;
  }
  view.setUint32(17, crc32c(batch.subarray(21)));
  return batch;
}

function filterBatch(bytes: Uint8Array, keep: Uint8Array): Uint8Array {
  const { count, ints, timestamps } = decodeBatch(bytes, true);
  refuse(keep.length * 8 < count, Status.BAD_ARGUMENT);
  const kept = Array.from({ length: count }, (_, i) => i).filter((i) => ((keep[i >> 3] as number) >> (i % 8)) & 1);
  const start = (i: number): number => (i === count ? bytes.length : (ints[i * 8 + 7] as number));
  const pieces = kept.map((i) => bytes.subarray(start(i), start(i + 1)));
  const batch = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, HEADER_BYTES));
  batch.set(bytes.subarray(0, HEADER_BYTES));
  let at = HEADER_BYTES;
  for (const piece of pieces) {
    batch.set(piece, at);
    at += piece.length;
  }
  const view = viewOf(batch);
  view.setInt32(8, batch.length - 12);
  view.setInt32(57, kept.length);
  const isAppendTime = (view.getUint16(21) & 8) !== 0;
  const stamps = kept.map((i) => timestamps[i] as number);
  if (!isAppendTime) view.setBigInt64(35, kept.length === 0 ? -1n : BigInt(maximum(stamps)));
  view.setUint32(17, crc32c(batch.subarray(21)));
  return batch;
}

/** The walk of `scan`, batch by batch. */
class Walk {
  at = 0;
  batches = 0;
  records = 0;
  nextOffset: number;
  lastEpoch = -1;
  index: IndexState;
  readonly offsetEntries: number[] = [];
  readonly timeEntries: number[] = [];

  constructor(
    readonly bytes: Uint8Array,
    readonly request: ScanRequest,
  ) {
    this.nextOffset = request.expectedOffset;
    this.index = request.index;
  }

  checkArguments(): void {
    const { expectedOffset, minEpoch, maxEpoch, position, segmentBaseOffset, index } = this.request;
    const good =
      isInt32(minEpoch) &&
      isInt32(maxEpoch) &&
      [expectedOffset, position, segmentBaseOffset, index.bytesSinceEntry].every(
        (n) => Number.isSafeInteger(n) && n >= 0,
      ) &&
      [index.maxTimestamp, index.maxTimestampOffset, index.entryTimestamp].every(
        (n) => Number.isSafeInteger(n) && n >= -1,
      ) &&
      position + this.bytes.length < 2 ** 31 &&
      (index.maxTimestamp === -1 || this.isRelative(index.maxTimestampOffset));
    refuse(!good, Status.BAD_ARGUMENT);
  }

  isRelative(offset: number): boolean {
    const relative = offset - this.request.segmentBaseOffset;
    return relative >= 0 && relative < 2 ** 31;
  }

  step(): void {
    const { allowGaps, minEpoch, maxEpoch, checkCrc: withCrc } = this.request;
    const rest = this.bytes.subarray(this.at);
    const frame = answer(() => checkFrame(rest), 0);
    const mayBeEnd = frame.status === Status.NEED_MORE || frame.status === Status.BAD_MAGIC;
    refuse(mayBeEnd && rest.every((byte) => byte === 0), Status.ZEROS);
    refuse(frame.status !== Status.OK, frame.status);
    const size = frame.result;
    const view = viewOf(rest);
    const baseOffset = view.getBigInt64(0);
    const isNext = allowGaps
      ? baseOffset >= BigInt(this.nextOffset) && isSafe(baseOffset)
      : baseOffset === BigInt(this.nextOffset);
    refuse(!isNext, Status.BAD_OFFSET);
    const epoch = view.getInt32(12);
    refuse(epoch < minEpoch || epoch > maxEpoch, Status.BAD_EPOCH);
    refuse(size > rest.length, Status.NEED_MORE);
    const batch = rest.subarray(0, size);
    if (withCrc) checkCrc(batch);
    checkFields(batch);
    const lastOffset = Number(baseOffset) + view.getInt32(23);
    refuse(!this.isRelative(lastOffset), Status.BAD_OFFSET);
    this.addToIndex(lastOffset, Number(view.getBigInt64(35)), size);
    this.batches++;
    this.records += view.getInt32(57);
    this.nextOffset = lastOffset + 1;
    this.lastEpoch = epoch;
    this.at += size;
  }

  addToIndex(lastOffset: number, timestamp: number, size: number): void {
    let { bytesSinceEntry, maxTimestamp, maxTimestampOffset, entryTimestamp } = this.index;
    if (timestamp > maxTimestamp) [maxTimestamp, maxTimestampOffset] = [timestamp, lastOffset];
    if (bytesSinceEntry > INDEX_INTERVAL_BYTES) {
      const { segmentBaseOffset, position } = this.request;
      this.offsetEntries.push(lastOffset - segmentBaseOffset, position + this.at);
      if (maxTimestamp > entryTimestamp) this.timeEntries.push(maxTimestamp, maxTimestampOffset - segmentBaseOffset);
      entryTimestamp = Math.max(entryTimestamp, maxTimestamp);
      bytesSinceEntry = 0;
    }
    this.index = { bytesSinceEntry: bytesSinceEntry + size, maxTimestamp, maxTimestampOffset, entryTimestamp };
  }

  offsetBytes(): Uint8Array {
    const bytes = new Uint8Array(this.offsetEntries.length * 4);
    for (const [i, value] of this.offsetEntries.entries()) viewOf(bytes).setInt32(i * 4, value);
    return bytes;
  }

  timeBytes(): Uint8Array {
    const bytes = new Uint8Array((this.timeEntries.length / 2) * TIME_ENTRY_BYTES);
    for (let at = 0; at < bytes.length; at += TIME_ENTRY_BYTES) {
      const i = (at / TIME_ENTRY_BYTES) * 2;
      viewOf(bytes).setBigInt64(at, BigInt(this.timeEntries[i] as number));
      viewOf(bytes).setInt32(at + 8, this.timeEntries[i + 1] as number);
    }
    return bytes;
  }
}

function scan(bytes: Uint8Array, request: ScanRequest): ScanResult {
  const walk = new Walk(bytes.subarray(0, KERNEL_BATCH_BYTES_MAX), request);
  const status = statusOf(() => {
    walk.checkArguments();
    while (walk.at < walk.bytes.length) walk.step();
  });
  const { at: validBytes, batches, records, nextOffset, lastEpoch, index } = walk;
  const found = { status, validBytes, batches, records, nextOffset, lastEpoch, index };
  return { ...found, offsetEntries: walk.offsetBytes(), timeEntries: walk.timeBytes() };
}

function searchIndex(entries: Uint8Array, kind: "offset" | "time", target: number, steps?: number[]): number {
  const width = kind === "time" ? TIME_ENTRY_BYTES : OFFSET_ENTRY_BYTES;
  const keyOf = (i: number): number =>
    kind === "time" ? Number(viewOf(entries).getBigInt64(i * width)) : viewOf(entries).getInt32(i * width);
  /** All entries up to `low` are at most the target, all from `high` on are greater. */
  let [low, high] = [-1, Math.floor(entries.length / width)];
  while (low + 1 < high) {
    const probe = Math.floor((low + high) / 2);
    steps?.push(probe);
    if (keyOf(probe) <= target) low = probe;
    else high = probe;
  }
  return low;
}

/** Batch by batch, each decoded on its own. */
function pack(bytes: Uint8Array, { expectedOffset, from, to, mark }: PackRequest, into: Uint8Array): PackResult {
  const found: number[] = [];
  let [at, nextOffset, values] = [0, expectedOffset, 0];
  const looked = bytes.subarray(0, KERNEL_BATCH_BYTES_MAX);
  const status = statusOf(() => {
    refuse(
      ![expectedOffset, from, to].every((offset) => Number.isSafeInteger(offset)) ||
        !isInt32(mark) ||
        mark < 0 ||
        mark > 255,
      Status.BAD_ARGUMENT,
    );
    while (at < looked.length) {
      const rest = looked.subarray(at);
      const size = checkFrame(rest);
      const batch = rest.subarray(0, size);
      const baseOffset = viewOf(batch).getBigInt64(0);
      refuse(expectedOffset !== -1 && baseOffset !== BigInt(nextOffset), Status.BAD_OFFSET);
      const { count, ints } = decodeBatch(batch, true);
      const isControl = (viewOf(batch).getUint16(21) & 0x20) !== 0;
      for (let row = 0; row < count * COLUMNS && !isControl; row += COLUMNS) {
        const column = (which: number): number => ints[row + which] as number;
        const offset = Number(baseOffset) + column(Column.OFFSET_DELTA);
        const length = column(Column.VALUE_LENGTH);
        if (offset < from || offset >= to || length === -1) continue;
        if (mark > 0) found.push(mark);
        for (const byte of batch.subarray(column(Column.VALUE_POSITION), column(Column.VALUE_POSITION) + length))
          found.push(byte);
        values++;
      }
      nextOffset = Number(baseOffset) + viewOf(batch).getInt32(23) + 1;
      at += size;
    }
  });
  into.set(found);
  return { status, validBytes: at, nextOffset, packedBytes: found.length, values };
}

/** Element by element, and then a batch of them. */
function encodeElements(request: ElementsRequest): ElementsResult {
  const { headers, timestamp } = request;
  const { thrown, taken, values } = takeElements(request);
  const status = statusOf(() => {
    if (thrown !== undefined) throw thrown;
  });
  const count = values.length;
  const sections = values.map((_, i) => (i === 0 ? headers : NOTHING));
  const batch =
    count === 0
      ? NOTHING
      : encodeBatch({
          blob: Uint8Array.from(values.flatMap((value, i) => [...value, ...sections[i]!])),
          lengths: Int32Array.from(values.flatMap((value, i) => [-1, value.length, sections[i]!.length])),
          timestamps: new Float64Array(count).fill(timestamp),
          count,
          attributes: 0,
          producerId: -1,
          producerEpoch: -1,
          baseSequence: -1,
        });
  return { status, takenBytes: taken, records: count, batch };
}

export function referenceKernel(): PackingKernel {
  return {
    build: "reference",
    crc32c,
    encodeBatch(request) {
      const { status, result } = answer(() => encodeBatch(request), NOTHING);
      return { status, bytes: result };
    },
    validateBatch: (bytes) => statusOf(() => validateBatch(bytes)),
    decodeBatch(bytes, withCrc) {
      const { status, result } = answer(() => decodeBatch(bytes, withCrc), NO_COLUMNS);
      return { status, columns: result };
    },
    decodeRecords(records, count, baseTimestamp, lastOffsetDelta, dense) {
      const { status, result } = answer(() => {
        refuse(records.length > KERNEL_BATCH_BYTES_MAX, Status.TOO_LARGE);
        refuse(!isInt32(count) || !isInt32(lastOffsetDelta), Status.BAD_ARGUMENT);
        refuse(count < 0 || count > KERNEL_BATCH_RECORDS_MAX || lastOffsetDelta < 0, Status.BAD_COUNT);
        refuse(dense ? count !== lastOffsetDelta + 1 : count > lastOffsetDelta + 1, Status.BAD_COUNT);
        refuse(!Number.isSafeInteger(baseTimestamp), Status.BAD_TIMESTAMP);
        return readRecords({ bytes: records, at: 0, end: records.length, count, baseTimestamp, lastOffsetDelta });
      }, NO_COLUMNS);
      return { status, columns: result };
    },
    scan,
    pack,
    isJson,
    encodeElements,
    searchIndex,
    filterBatch(bytes, keep) {
      const { status, result } = answer(() => filterBatch(bytes, keep), NOTHING);
      return { status, bytes: result };
    },
  };
}
