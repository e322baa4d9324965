/**
 * The kernel in WebAssembly, as `Kernel`. Only this file touches its memory: it fills a region, calls, and copies the
 * result out in one synchronous block, so that no caller ever sees the kernel's bytes change. The memory's map is in
 * assembly/layout.ts. The memory cannot grow, so the views below stay valid.
 */
import { assert } from "../errors.ts";
import { COLUMNS } from "./columns-layout.ts";
import {
  INDEX_INTERVAL_BYTES,
  KERNEL_BATCH_BYTES_MAX,
  KERNEL_BATCH_RECORDS_MAX,
  OFFSET_ENTRY_BYTES,
  Status,
  TIME_ENTRY_BYTES,
  type Kernel,
  type RecordColumns,
  type ScanRequest,
  type ScanResult,
} from "./types.ts";

/** The exports of assembly/index.ts: numbers only; every address and constant is a global. */
interface Exports {
  readonly memory: WebAssembly.Memory;
  crc32c(at: number, size: number, seed: number): number;
  validate(size: number): number;
  decode(size: number, checkCrc: number): number;
  decodeRecords(size: number, count: number, baseTimestamp: number, lastOffsetDelta: number, dense: number): number;
  filter(size: number, keepBytes: number): number;
  scan(
    size: number,
    expectedOffset: number,
    allowGaps: number,
    minEpoch: number,
    maxEpoch: number,
    checkCrc: number,
    position: number,
    baseOffset: number,
    sinceEntry: number,
    timestamp: number,
    timestampOffset: number,
    entryTimestamp: number,
  ): number;
  search(count: number, isTime: number, target: number): number;
  searchSteps(): number;
}

/** CRCs of long inputs are made in pieces that stay in the processor's nearer caches. */
const CRC_CHUNK_BYTES = 64 * 1024;
/** Places in a batch's header, as assembly/batch.ts has them. */
const HEADER_BYTES = 61;
const LENGTH_AT = 8;
const LENGTH_OVERHEAD = 12;
/** The header of a smaller batch is not copied alone: many small copies take longer than one of all bytes. */
const LARGE_BATCH_BYTES = 8 * 1024;
const NOTHING = new Uint8Array(0);
const NO_COLUMNS: RecordColumns = { count: 0, ints: new Int32Array(0), timestamps: new Float64Array(0) };

/** True if these numbers reach an i32 parameter unchanged. Others can't belong to a valid batch. */
export const areInts = (...values: readonly number[]): boolean => values.every((value) => (value | 0) === value);

export class WasmKernel implements Kernel {
  readonly build: string;
  readonly #exports: Exports;
  readonly #inAt: number;
  readonly #in: Uint8Array;
  readonly #out: Uint8Array;
  readonly #keep: Uint8Array;
  readonly #offsetEntries: Uint8Array;
  readonly #timeEntries: Uint8Array;
  readonly #rows: Int32Array;
  readonly #stamps: Float64Array;
  readonly #steps: Int32Array;
  readonly #result: Float64Array;

  constructor(instance: WebAssembly.Instance) {
    const raw = instance.exports;
    const at = (name: string): number => (raw[name] as WebAssembly.Global | undefined)?.value as number;
    assert(raw["memory"], "not Tidemark's kernel");
    const { buffer } = (this.#exports = raw as typeof raw & Exports).memory;
    // An assertion on both sides of the language border: TypeScript and AssemblyScript must mean the same memory
    // layout.
    assert(
      at("BATCH_BYTES_MAX") === KERNEL_BATCH_BYTES_MAX &&
        at("RECORDS_MAX") === KERNEL_BATCH_RECORDS_MAX &&
        at("COLUMNS") === COLUMNS &&
        at("INDEX_INTERVAL_BYTES") === INDEX_INTERVAL_BYTES &&
        at("END") <= buffer.byteLength,
      "kernel.wasm is of another version",
    );
    this.build = at("RELEASE") ? "release" : "debug";
    const bytes = (name: string, length: number) => new Uint8Array(buffer, at(name), length);
    this.#inAt = at("IN");
    this.#in = bytes("IN", KERNEL_BATCH_BYTES_MAX);
    this.#out = bytes("OUT", KERNEL_BATCH_BYTES_MAX);
    this.#keep = bytes("KEEP", KERNEL_BATCH_RECORDS_MAX / 8);
    this.#offsetEntries = bytes("OFFSET_ENTRIES", at("INDEX_ENTRIES_MAX") * OFFSET_ENTRY_BYTES);
    this.#timeEntries = bytes("TIME_ENTRIES", at("INDEX_ENTRIES_MAX") * TIME_ENTRY_BYTES);
    this.#rows = new Int32Array(buffer, at("ROWS"), KERNEL_BATCH_RECORDS_MAX * COLUMNS);
    this.#stamps = new Float64Array(buffer, at("STAMPS"), KERNEL_BATCH_RECORDS_MAX);
    this.#steps = new Int32Array(buffer, at("STEPS"), 32);
    this.#result = new Float64Array(buffer, at("RESULT"), 16);
  }

  crc32c(bytes: Uint8Array, seed = 0): number {
    let crc = seed;
    for (let at = 0; at < bytes.length; at += CRC_CHUNK_BYTES) {
      const chunk = bytes.subarray(at, at + CRC_CHUNK_BYTES);
      this.#in.set(chunk);
      crc = this.#exports.crc32c(this.#inAt, chunk.length, crc);
    }
    return crc >>> 0;
  }

  validateBatch(bytes: Uint8Array): Status {
    if (bytes.length > KERNEL_BATCH_BYTES_MAX) return Status.BAD_LENGTH;
    this.#in.set(bytes);
    return this.#exports.validate(bytes.length) as Status;
  }

  decodeBatch(bytes: Uint8Array, checkCrc: boolean): { status: Status; columns: RecordColumns } {
    if (bytes.length > KERNEL_BATCH_BYTES_MAX) return { status: Status.BAD_LENGTH, columns: NO_COLUMNS };
    this.#in.set(bytes);
    return this.#columns(this.#exports.decode(bytes.length, +checkCrc));
  }

  decodeRecords(
    records: Uint8Array,
    count: number,
    baseTimestamp: number,
    lastOffsetDelta: number,
    dense: boolean,
  ): { status: Status; columns: RecordColumns } {
    if (records.length > KERNEL_BATCH_BYTES_MAX) return { status: Status.TOO_LARGE, columns: NO_COLUMNS };
    if (!areInts(count, lastOffsetDelta)) return { status: Status.BAD_ARGUMENT, columns: NO_COLUMNS };
    this.#in.set(records);
    return this.#columns(this.#exports.decodeRecords(records.length, count, baseTimestamp, lastOffsetDelta, +dense));
  }

  scan(bytes: Uint8Array, request: ScanRequest): ScanResult {
    const { expectedOffset, allowGaps, minEpoch, maxEpoch, checkCrc, position, segmentBaseOffset, index } = request;
    const looked = bytes.subarray(0, KERNEL_BATCH_BYTES_MAX);
    if (checkCrc || !this.#putHeaders(looked)) this.#in.set(looked);
    const status = areInts(minEpoch, maxEpoch)
      ? this.#exports.scan(
          looked.length,
          expectedOffset,
          +allowGaps,
          minEpoch,
          maxEpoch,
          +checkCrc,
          position,
          segmentBaseOffset,
          index.bytesSinceEntry,
          index.maxTimestamp,
          index.maxTimestampOffset,
          index.entryTimestamp,
        )
      : Status.BAD_ARGUMENT;
    if (status === Status.BAD_ARGUMENT) {
      const none = { validBytes: 0, batches: 0, records: 0, nextOffset: expectedOffset, lastEpoch: -1, index };
      return { status, ...none, offsetEntries: NOTHING, timeEntries: NOTHING };
    }
    const found = (i: number): number => this.#result[i] as number;
    return {
      status: status as Status,
      validBytes: found(0),
      batches: found(1),
      records: found(2),
      nextOffset: found(3),
      lastEpoch: found(4),
      index: {
        bytesSinceEntry: found(5),
        maxTimestamp: found(6),
        maxTimestampOffset: found(7),
        entryTimestamp: found(8),
      },
      offsetEntries: this.#offsetEntries.slice(0, found(9)),
      timeEntries: this.#timeEntries.slice(0, found(10)),
    };
  }

  /**
   * Puts the headers of large batches into IN: a scan without checksums reads nothing else. Returns false where these
   * bytes are not large batches from end to end.
   */
  #putHeaders(bytes: Uint8Array): boolean {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at < bytes.length;) {
      if (at + HEADER_BYTES > bytes.length) return false;
      const sizeBytes = view.getInt32(at + LENGTH_AT) + LENGTH_OVERHEAD;
      if (sizeBytes < LARGE_BATCH_BYTES || at + sizeBytes > bytes.length) return false;
      this.#in.set(bytes.subarray(at, at + HEADER_BYTES), at);
      at += sizeBytes;
    }
    return true;
  }

  searchIndex(entries: Uint8Array, kind: "offset" | "time", target: number, steps?: number[]): number {
    assert(entries.length <= KERNEL_BATCH_BYTES_MAX, "index too long");
    const isTime = kind === "time";
    this.#in.set(entries);
    const count = Math.floor(entries.length / (isTime ? TIME_ENTRY_BYTES : OFFSET_ENTRY_BYTES));
    const found = this.#exports.search(count, +isTime, target);
    if (steps) steps.push(...this.#steps.subarray(0, this.#exports.searchSteps()));
    return found;
  }

  filterBatch(bytes: Uint8Array, keep: Uint8Array): { status: Status; bytes: Uint8Array } {
    if (bytes.length > KERNEL_BATCH_BYTES_MAX) return { status: Status.BAD_LENGTH, bytes: NOTHING };
    const kept = keep.subarray(0, this.#keep.length);
    this.#in.set(bytes);
    this.#keep.set(kept);
    const result = this.#exports.filter(bytes.length, kept.length);
    if (result < 0) return { status: -result as Status, bytes: NOTHING };
    return { status: Status.OK, bytes: this.#out.slice(0, result) };
  }

  #columns(result: number): { status: Status; columns: RecordColumns } {
    if (result < 0) return { status: -result as Status, columns: NO_COLUMNS };
    const columns = {
      count: result,
      ints: this.#rows.slice(0, result * COLUMNS),
      timestamps: this.#stamps.slice(0, result),
    };
    return { status: Status.OK, columns };
  }
}

/** Makes a kernel with memory of its own. */
export async function instantiateKernel(module: WebAssembly.Module): Promise<Kernel> {
  return new WasmKernel(await WebAssembly.instantiate(module));
}
