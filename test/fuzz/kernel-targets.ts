/**
 * Hostile bytes into the kernel: batch decoder, bare records, compaction's filter, segment scan, packing.
 *
 *   seed ─ damage ─ mend length and CRC ─▶ release kernel ─▶ is the answer a documented one, and right for the bytes?
 *                                            every 16th ─▶ the other builds: the same answer, byte for byte?
 *
 * A trap of WebAssembly throws. A read outside the input shows as a position outside it, or as an answer that differs
 * from another build's.
 */
import { COLUMNS } from "../../src/kernel/columns-layout.ts";
import {
  Column,
  KERNEL_BATCH_RECORDS_MAX,
  Status,
  type Kernel,
  type PackingKernel,
  type PackRequest,
  type RecordColumns,
  type ScanRequest,
} from "../../src/kernel/types.ts";
import {
  BATCH_HEADER_BYTES,
  CODEC_MASK,
  readHeader,
  RECORD_COUNT_AT,
  stampBaseOffset,
  stampLeaderEpoch,
} from "../../src/record/format.ts";
import { equal } from "../contract/check.ts";
import { packed, packedSlowly } from "../contract/pack-cases.ts";
import type { Random } from "../simulation/prng.ts";
import { Mutator } from "./mutate.ts";
import { demand, Finding, type MakeTarget, type Parts, type Target } from "./target.ts";

const STATUS_NAMES = Object.entries(Status)
  .sort(([, a], [, b]) => a - b)
  .map(([name]) => name);
/** One input in 16 goes to the other builds, too: the reference kernel is some hundred times slower. */
const COMPARED_EVERY = 16;

class StatusCounts {
  readonly #counts = new Float64Array(STATUS_NAMES.length);

  add(status: Status, input: Uint8Array): void {
    demand(STATUS_NAMES[status] !== undefined, `status ${status} is not documented`, input);
    this.#counts[status]! += 1;
  }

  all(): Record<string, number> {
    return Object.fromEntries(
      STATUS_NAMES.map((name, status) => [name, this.#counts[status] as number]).filter(([, count]) => count !== 0),
    );
  }
}

/** Checks that all fields lie behind `from`, inside the bytes and one behind the other, and that offsets rise. */
function checkColumns({ count, ints, timestamps }: RecordColumns, from: number, bytes: Uint8Array): void {
  demand(
    ints.length === count * COLUMNS && timestamps.length === count && count <= KERNEL_BATCH_RECORDS_MAX,
    "columns of another size",
    bytes,
  );
  let at = from;
  let delta = -1;
  for (let row = 0; row < ints.length; row += COLUMNS) {
    const record = ints[row + Column.RECORD_POSITION]!;
    const key = ints[row + Column.KEY_POSITION]!;
    const keyEnd = key + Math.max(ints[row + Column.KEY_LENGTH]!, 0);
    const value = ints[row + Column.VALUE_POSITION]!;
    const valueEnd = value + Math.max(ints[row + Column.VALUE_LENGTH]!, 0);
    const headers = ints[row + Column.HEADERS_POSITION]!;
    const inside = record >= at && key > record && value > keyEnd && headers > valueEnd && headers <= bytes.length;
    demand(
      inside && ints[row + Column.KEY_LENGTH]! >= -1 && ints[row + Column.VALUE_LENGTH]! >= -1,
      `row ${row / COLUMNS} points outside its record`,
      bytes,
    );
    demand(ints[row + Column.HEADERS_COUNT]! * 2 <= bytes.length - headers, "more headers than bytes", bytes);
    demand(ints[row + Column.OFFSET_DELTA]! > delta, "offsets do not rise", bytes);
    demand(Number.isSafeInteger(timestamps[row / COLUMNS]), "a timestamp is no safe integer", bytes);
    delta = ints[row + Column.OFFSET_DELTA]!;
    at = headers;
  }
}

/** Checks that all builds give the same answer to a call. The finding names the call. */
export function compare(
  parts: Pick<Parts, "kernel" | "others">,
  what: string,
  bytes: Uint8Array,
  call: (kernel: PackingKernel) => unknown,
): void {
  const expected = call(parts.kernel);
  for (const other of parts.others) {
    try {
      equal(call(other), expected, `${what}: ${other.build} and ${parts.kernel.build} differ`);
    } catch (thrown) {
      throw new Finding((thrown as Error).message, bytes.slice(), { cause: thrown });
    }
  }
}

/** Runs the kernel. An exception is a finding: it is a trap or a RangeError. */
function untrapped<T>(what: string, bytes: Uint8Array, call: () => T): T {
  try {
    return call();
  } catch (thrown) {
    if (thrown instanceof Finding) throw thrown;
    throw new Finding(`${what} threw ${(thrown as Error).stack ?? String(thrown)}`, bytes.slice(), { cause: thrown });
  }
}

abstract class KernelTarget implements Target {
  protected readonly counts = new StatusCounts();
  protected readonly mutator: Mutator;
  protected readonly random: Random;
  protected readonly kernel: PackingKernel;
  protected compared = 0;
  #step = 0;

  constructor(protected readonly parts: Parts) {
    this.random = parts.random;
    this.kernel = parts.kernel;
    this.mutator = new Mutator(parts.kernel, parts.random, parts.corpus);
  }

  step(): void {
    const bytes = this.input();
    untrapped(this.constructor.name, bytes, () => this.judge(bytes));
    if (this.#step++ % COMPARED_EVERY !== 0) return;
    this.compared++;
    untrapped(this.constructor.name, bytes, () => this.compare(bytes));
  }

  protected input(): Uint8Array {
    return this.mutator.next();
  }

  abstract judge(bytes: Uint8Array): void;
  abstract compare(bytes: Uint8Array): void;

  outcomes(): Record<string, number> {
    return this.counts.all();
  }

  figures(): Record<string, number> {
    return { comparedWithOtherBuilds: this.compared };
  }
}

export class DecoderTarget extends KernelTarget {
  override judge(bytes: Uint8Array): void {
    const verdict = this.kernel.validateBatch(bytes);
    this.counts.add(verdict, bytes);
    const { status, columns } = this.kernel.decodeBatch(bytes, true);
    if (status === Status.OK) {
      checkColumns(columns, BATCH_HEADER_BYTES, bytes);
      demand(columns.count === readHeader(bytes).recordCount, "not as many records as the header says", bytes);
    }
    if (verdict === status) return;
    // validate and decode may differ in two ways only: validate checks the maximum timestamp, and decode refuses
    // compressed records.
    const isCodec =
      status === Status.BAD_ATTRIBUTES && verdict === Status.OK && (readHeader(bytes).attributes & CODEC_MASK) !== 0;
    demand(
      isCodec || (verdict === Status.BAD_TIMESTAMP && status === Status.OK),
      `validate says ${verdict}, decode ${status}`,
      bytes,
    );
  }

  override compare(bytes: Uint8Array): void {
    compare(this.parts, "validate", bytes, (kernel) => kernel.validateBatch(bytes));
    compare(this.parts, "decode", bytes, (kernel) => kernel.decodeBatch(bytes, true));
    compare(this.parts, "decode without CRC", bytes, (kernel) => kernel.decodeBatch(bytes, false));
  }
}

/**
 * What comes out of decompression: a section of records without a header, and numbers of a header that may be wrong.
 */
export class RecordsTarget extends KernelTarget {
  #count = 0;
  #base = 0;
  #delta = 0;
  #dense = false;

  protected override input(): Uint8Array {
    const bytes = this.mutator.next();
    const random = this.random;
    const count = bytes.length >= BATCH_HEADER_BYTES ? new DataView(bytes.buffer).getInt32(RECORD_COUNT_AT) : 0;
    this.#count = random.chance(0.8)
      ? count
      : random.pick([-1, 0, 1, 65_536, 65_537, 2 ** 31 - 1, -(2 ** 31), 2 ** 31, 0.5, Number.NaN]);
    this.#delta = random.chance(0.8)
      ? count - 1 + random.int(2)
      : random.pick([-1, 0, 2 ** 31 - 1, 2 ** 32, Number.NaN]);
    this.#base = random.chance(0.8) ? 1000 : random.pick([2 ** 53, -(2 ** 53) + 1, Number.NaN, Infinity, 0.5]);
    this.#dense = random.chance(0.5);
    return bytes.subarray(Math.min(BATCH_HEADER_BYTES, bytes.length));
  }

  #decode(kernel: Kernel, section: Uint8Array) {
    return kernel.decodeRecords(section, this.#count, this.#base, this.#delta, this.#dense);
  }

  override judge(section: Uint8Array): void {
    const { status, columns } = this.#decode(this.kernel, section);
    this.counts.add(status, section);
    if (status === Status.OK) checkColumns(columns, 0, section);
  }

  override compare(section: Uint8Array): void {
    compare(this.parts, "decodeRecords", section, (kernel) => this.#decode(kernel, section));
  }
}

export class FilterTarget extends KernelTarget {
  #keep = new Uint8Array(0);

  protected override input(): Uint8Array {
    const bytes = this.mutator.next();
    this.#keep = new Uint8Array(this.random.chance(0.9) ? 8 : this.random.int(3));
    this.random.fill(this.#keep);
    return bytes;
  }

  override judge(bytes: Uint8Array): void {
    const { status, bytes: filtered } = this.kernel.filterBatch(bytes, this.#keep);
    this.counts.add(status, bytes);
    if (status !== Status.OK) return;
    demand(filtered.length <= bytes.length, "a filtered batch grew", bytes);
    demand(this.kernel.validateBatch(filtered) === Status.OK, "a filtered batch is not valid", bytes);
    demand(
      readHeader(filtered).lastOffsetDelta === readHeader(bytes).lastOffsetDelta,
      "filtering moved the offset behind the batch",
      bytes,
    );
  }

  override compare(bytes: Uint8Array): void {
    compare(this.parts, "filter", bytes, (kernel) => kernel.filterBatch(bytes, this.#keep));
  }
}

/** Chains of good batches with a damaged one among them, scanned with requests that may be hostile as well. */
export class ScanTarget extends KernelTarget {
  readonly #chain = new Uint8Array(64 * 1024);
  #request!: ScanRequest;
  /** Where the last batch of the chain ends. */
  protected batchesEnd = 0;

  protected override input(): Uint8Array {
    const { random } = this;
    const wild = (value: number): number =>
      random.chance(0.98) ? value : random.pick([-1, -2, 2 ** 31, 2 ** 53, Number.NaN, 0.5, Infinity]);
    let offset = random.int(3);
    let at = 0;
    this.#request = {
      expectedOffset: wild(offset),
      allowGaps: random.chance(0.5),
      minEpoch: wild(random.between(-1, 1)),
      maxEpoch: wild(random.between(1, 9)),
      checkCrc: random.chance(0.8),
      position: wild(random.int(10_000)),
      segmentBaseOffset: wild(0),
      index: {
        bytesSinceEntry: wild(random.pick([0, 4096, 4097])),
        maxTimestamp: wild(-1),
        maxTimestampOffset: wild(-1),
        entryTimestamp: wild(-1),
      },
    };
    const damagedAt = random.int(6);
    for (let i = 0; i <= 5 && at < 16_000; i++) {
      if (i === damagedAt) this.mutator.next();
      else this.mutator.load(random.pick(this.mutator.good));
      const bytes = this.mutator.bytes;
      if (bytes.length >= BATCH_HEADER_BYTES && (i !== damagedAt || random.chance(0.7))) {
        stampBaseOffset(bytes, offset);
        stampLeaderEpoch(bytes, 1);
        offset += Math.max(readHeader(bytes).lastOffsetDelta, 0) + 1 + (this.#request.allowGaps ? random.int(2) : 0);
      }
      this.#chain.set(bytes, at);
      at += bytes.length;
    }
    this.batchesEnd = at;
    if (random.chance(0.3)) return this.#chain.subarray(0, at - random.int(Math.min(at, 150)));
    const zeros = random.int(100);
    this.#chain.fill(0, at, at + zeros);
    return this.#chain.subarray(0, at + zeros);
  }

  override judge(bytes: Uint8Array): void {
    const found = this.kernel.scan(bytes, this.#request);
    this.counts.add(found.status, bytes);
    demand(
      found.validBytes <= bytes.length && found.validBytes >= found.batches * BATCH_HEADER_BYTES,
      "valid bytes do not hold the batches",
      bytes,
    );
    demand(
      found.status === Status.BAD_ARGUMENT || found.nextOffset >= this.#request.expectedOffset,
      "the walk went back",
      bytes,
    );
    demand(
      found.offsetEntries.length <= (found.batches + 1) * 8 && found.timeEntries.length <= (found.batches + 1) * 12,
      "more entries than batches",
      bytes,
    );
  }

  override compare(bytes: Uint8Array): void {
    compare(this.parts, "scan", bytes, (kernel) => kernel.scan(bytes, this.#request));
  }
}

/** Packs the same chains. The values must be those that reading batch by batch gives. */
export class PackTarget extends ScanTarget {
  #asked!: PackRequest;

  protected override input(): Uint8Array {
    const { random } = this;
    const wild = (value: number): number => (random.chance(0.98) ? value : random.pick([-2, 2 ** 53, Number.NaN, 0.5]));
    this.#asked = {
      expectedOffset: wild(random.pick([-1, -1, 0, 1])),
      from: wild(random.int(4)),
      to: wild(random.pick([5, 100, 2 ** 50])),
      mark: wild(random.pick([0, 0x2c])),
    };
    const bytes = super.input();
    // Mostly without what lies behind the last batch: only then the walk reaches the check of all sums together.
    return random.chance(0.7) ? bytes.subarray(0, this.batchesEnd) : bytes;
  }

  override judge(bytes: Uint8Array): void {
    const found = packed(this.kernel, bytes, this.#asked);
    this.counts.add(found.status, bytes);
    if (found.status !== Status.BAD_ARGUMENT)
      equal(found, packedSlowly(this.kernel, bytes, this.#asked), "packed is not what is read");
  }

  override compare(bytes: Uint8Array): void {
    compare(this.parts, "pack", bytes, (kernel) => packed(kernel, bytes, this.#asked));
  }
}

export const decoder: MakeTarget = (parts) => new DecoderTarget(parts);
export const records: MakeTarget = (parts) => new RecordsTarget(parts);
export const filter: MakeTarget = (parts) => new FilterTarget(parts);
export const scan: MakeTarget = (parts) => new ScanTarget(parts);
export const pack: MakeTarget = (parts) => new PackTarget(parts);
