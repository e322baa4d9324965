/**
 * Damages a record batch in place, by its structure: header fields get boundary values, varints become too long or too
 * large, pieces are cut out, repeated, or taken from another batch. Then, as a rule, length and CRC are made right
 * again, because a wrong checksum hides every later check. One buffer serves all inputs: loading the next batch
 * restores it.
 */
import { COLUMNS } from "../../src/kernel/columns-layout.ts";
import { Column, Status, type Kernel } from "../../src/kernel/types.ts";
import * as format from "../../src/record/format.ts";
import type { Random } from "../simulation/prng.ts";

const INPUT_BYTES_MAX = 8192;

/** A batch to damage, and where its varints are. */
export interface Seed {
  readonly bytes: Uint8Array;
  /** Positions of the records' first bytes. */
  readonly records: readonly number[];
  /** Positions of bytes in or next to a varint. */
  readonly hot: readonly number[];
}

export function seedOf(kernel: Kernel, bytes: Uint8Array): Seed {
  const { status, columns } = kernel.decodeBatch(bytes, false);
  const records: number[] = [];
  const hot: number[] = [];
  for (let i = 0; status === Status.OK && i < columns.count; i++) {
    const column = (which: number): number => columns.ints[i * COLUMNS + which] as number;
    records.push(column(Column.RECORD_POSITION));
    hot.push(column(Column.RECORD_POSITION), column(Column.RECORD_POSITION) + 2, column(Column.RECORD_POSITION) + 3);
    for (const field of [Column.KEY_POSITION, Column.VALUE_POSITION, Column.HEADERS_POSITION])
      hot.push(column(field) - 1, column(field));
  }
  return { bytes, records, hot };
}

/** Header fields as [position, bytes], without the CRC. */
const FIELDS: readonly (readonly [number, number])[] = [
  [format.BASE_OFFSET_AT, 8],
  [format.LENGTH_AT, 4],
  [format.LEADER_EPOCH_AT, 4],
  [format.MAGIC_AT, 1],
  [format.ATTRIBUTES_AT, 2],
  [format.LAST_OFFSET_DELTA_AT, 4],
  [format.BASE_TIMESTAMP_AT, 8],
  [format.MAX_TIMESTAMP_AT, 8],
  [format.PRODUCER_ID_AT, 8],
  [format.PRODUCER_EPOCH_AT, 2],
  [format.BASE_SEQUENCE_AT, 4],
  [format.RECORD_COUNT_AT, 4],
];
const SMALL = [-2, -1, 0, 1, 2, 3, 8, 0x10, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0xff];
const INTS = [
  ...SMALL,
  48,
  49,
  50,
  65_535,
  65_536,
  65_537,
  2 ** 21 - 12,
  2 ** 21 - 11,
  2 ** 30,
  2 ** 31 - 1,
  2 ** 31 - 2,
  -(2 ** 31),
];
const LONGS = [
  0n,
  1n,
  -1n,
  -2n,
  1000n,
  2n ** 31n,
  2n ** 53n - 1n,
  2n ** 53n,
  1n - 2n ** 53n,
  -(2n ** 53n),
  2n ** 53n - 2n,
  2n ** 63n - 1n,
  -(2n ** 63n),
];
const BYTES = [0, 1, 2, 3, 4, 0x0f, 0x10, 0x7e, 0x7f, 0x80, 0x81, 0xfe, 0xff];
/**
 * Varints at and beyond the limits: of 5 and 10 bytes, with one byte more, with too large a value, not the shortest.
 */
const VARINTS: readonly (readonly number[])[] = [
  [0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xfe, 0xff, 0xff, 0xff, 0x0f],
  [0xff, 0xff, 0xff, 0xff, 0x1f],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0],
  [0x80, 0],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
  [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0],
  [0x80],
  [0x80, 0x80, 0x80],
  [0x80, 0x80, 0x80, 0x80, 0x10],
  [1],
  [3],
  [0],
  [0x80, 0x80, 0x80, 0x01],
  [0xfe, 0xff, 0xff, 0x01],
];

export class Mutator {
  readonly buffer = new Uint8Array(INPUT_BYTES_MAX);
  length = 0;
  readonly #view = new DataView(this.buffer.buffer);
  readonly #random: Random;
  readonly #kernel: Kernel;
  readonly seeds: Seed[];
  /** Batches without a fault. One change of these passes most of the checks before it is noticed. */
  readonly good: Seed[];
  #seed!: Seed;

  constructor(kernel: Kernel, random: Random, batches: readonly Uint8Array[]) {
    this.#kernel = kernel;
    this.#random = random;
    this.seeds = batches.filter((bytes) => bytes.length <= INPUT_BYTES_MAX / 2).map((bytes) => seedOf(kernel, bytes));
    this.good = this.seeds.filter(({ bytes }) => kernel.validateBatch(bytes) === Status.OK);
  }

  /** The next hostile input: a view of the buffer, which the next call overwrites. */
  next(): Uint8Array {
    this.load(this.#random.pick(this.#random.chance(0.7) ? this.good : this.seeds));
    const ops = 1 + (this.#random.chance(0.4) ? this.#random.int(4) : 0);
    for (let left = ops; left > 0; left--) this.#damage();
    this.#mend();
    return this.bytes;
  }

  get bytes(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }

  load(seed: Seed): void {
    this.#seed = seed;
    this.buffer.set(seed.bytes);
    this.length = seed.bytes.length;
  }

  /** Mostly makes length and CRC right, so that the checks behind them are reached. */
  #mend(): void {
    const { length } = this;
    const draw = this.#random.u32();
    if ((draw & 7) !== 0 && length >= format.LENGTH_AT + 4)
      this.#view.setInt32(format.LENGTH_AT, length - format.LENGTH_OVERHEAD);
    if ((draw & 0xf0) !== 0 && length >= format.CRC_FROM) {
      this.#view.setUint32(format.CRC_AT, this.#kernel.crc32c(this.buffer.subarray(format.CRC_FROM, length)));
    }
  }

  #position(): number {
    const { hot } = this.#seed;
    if (hot.length > 0 && this.#random.chance(0.6)) return Math.min(this.#random.pick(hot), this.length);
    return this.#random.int(this.length + 1);
  }

  #damage(): void {
    const random = this.#random;
    const at = this.#position();
    switch (random.int(12)) {
      case 0:
      case 1:
        if (at < this.length) this.buffer[at] = (this.buffer[at] as number) ^ (1 << random.int(8));
        return;
      case 2:
        if (at < this.length) this.buffer[at] = random.pick(BYTES);
        return;
      case 3:
        if (at < this.length) this.buffer[at] = (this.buffer[at] as number) + random.between(-2, 2);
        return;
      case 4:
      case 5:
        return this.#setField();
      case 6:
        return this.#overwrite(at, random.pick(VARINTS));
      case 7:
        return this.#insert(at, random.pick(VARINTS));
      case 8:
        return this.#remove(at, 1 + random.int(8));
      case 9: {
        const from = random.int(this.length);
        return this.#insert(at, this.buffer.slice(from, Math.min(this.length, from + 1 + random.int(40))));
      }
      case 10: {
        const other = random.pick(this.seeds).bytes;
        const from = random.chance(0.5) ? Math.min(format.BATCH_HEADER_BYTES, other.length) : random.int(other.length);
        return this.#insert(at, other.subarray(from, from + 1 + random.int(80)));
      }
      default:
        if (random.chance(0.3)) this.length = at;
        else this.#overwrite(at, new Uint8Array(random.int(16)));
    }
  }

  #setField(): void {
    const [at, width] = this.#random.pick(FIELDS);
    if (at + width > this.length) return;
    if (width === 8) this.#view.setBigInt64(at, this.#random.pick(LONGS));
    else if (width === 4)
      this.#view.setInt32(
        at,
        this.#random.chance(0.3) ? this.#view.getInt32(at) + this.#random.between(-2, 2) : this.#random.pick(INTS),
      );
    else if (width === 2) this.#view.setInt16(at, this.#random.pick(SMALL));
    else this.buffer[at] = this.#random.pick(BYTES);
  }

  #overwrite(at: number, bytes: ArrayLike<number>): void {
    const count = Math.min(bytes.length, this.length - at);
    for (let i = 0; i < count; i++) this.buffer[at + i] = bytes[i] as number;
  }

  #insert(at: number, bytes: ArrayLike<number>): void {
    if (this.length + bytes.length > INPUT_BYTES_MAX) return;
    this.buffer.copyWithin(at + bytes.length, at, this.length);
    this.length += bytes.length;
    this.#overwrite(at, bytes);
    this.#fitRecord(at, bytes.length);
  }

  #remove(at: number, count: number): void {
    const gone = Math.min(count, this.length - at);
    this.buffer.copyWithin(at, at + gone, this.length);
    this.length -= gone;
    this.#fitRecord(at, -gone);
  }

  /**
   * In half of the cases writes the new length of the record around `at`, if its varint takes as many bytes as before.
   */
  #fitRecord(at: number, grown: number): void {
    if (this.#random.chance(0.5)) return;
    const { records } = this.#seed;
    let start = -1;
    for (const position of records) if (position < at) start = position;
    if (start < 0) return;
    const first = this.buffer[start] as number;
    const second = this.buffer[start + 1] as number;
    if (first < 0x80) {
      const length = (first >>> 1) + grown;
      if (length >= 0 && length < 64) this.buffer[start] = length << 1;
    } else if (second < 0x80) {
      const length = ((((second << 7) | (first & 0x7f)) >>> 1) + grown) << 1;
      if (length < 128 || length > 0x3fff) return;
      this.buffer[start] = (length & 0x7f) | 0x80;
      this.buffer[start + 1] = length >>> 7;
    }
  }
}
