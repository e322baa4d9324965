/**
 * How the reference kernel reads records: written to be read, not to be fast. A cursor over a slice of bytes throws a
 * status at the first thing that is wrong. The compiled kernel must answer with the same status.
 */
import { COLUMNS } from "../../src/kernel/columns-layout.ts";
import { Column, Status, type RecordColumns } from "../../src/kernel/types.ts";

/** Carries a status up to the kernel's function, which returns it. */
export class Refused extends Error {
  constructor(readonly status: Status) {
    super(`status ${status}`);
  }
}

export function refuse(condition: boolean, status: Status): void {
  if (condition) throw new Refused(status);
}

/** Reads forward through bytes[at, end). A read past the end, or a varint that is not the shortest, is BAD_RECORD. */
export class Cursor {
  constructor(
    readonly bytes: Uint8Array,
    public at: number,
    readonly end: number,
  ) {}

  get left(): number {
    return this.end - this.at;
  }

  skip(size: number): void {
    refuse(size < 0 || size > this.left, Status.BAD_RECORD);
    this.at += size;
  }

  byte(): number {
    this.skip(1);
    return this.bytes[this.at - 1] as number;
  }

  /** 7 bits a byte, low ones first, `bits` in all. */
  unsigned(bits: 32 | 64): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      refuse(value >> BigInt(bits) !== 0n || shift + 7n >= BigInt(bits) + 7n, Status.BAD_RECORD);
      if (byte < 0x80) {
        refuse(byte === 0 && shift > 0n, Status.BAD_RECORD);
        return value;
      }
    }
  }

  varint(): number {
    return Number(unzigzag(this.unsigned(32)));
  }

  varlong(): bigint {
    return unzigzag(this.unsigned(64));
  }

  /** A field whose length may be -1, null; gives the length. */
  nullable(): { position: number; length: number } {
    const length = this.varint();
    const position = this.at;
    if (length !== -1) this.skip(length);
    return { position, length };
  }

  headers(): { position: number; count: number } {
    const count = this.varint();
    const position = this.at;
    refuse(count < 0 || count > this.left, Status.BAD_RECORD);
    for (let i = 0; i < count; i++) {
      this.skip(this.varint());
      this.nullable();
    }
    return { position, count };
  }
}

/** The bytes must be one headers section. */
export function checkHeaders(bytes: Uint8Array): void {
  const headers = new Cursor(bytes, 0, bytes.length);
  headers.headers();
  refuse(headers.left !== 0, Status.BAD_RECORD);
}

const unzigzag = (value: bigint): bigint => (value & 1n ? -(value >> 1n) - 1n : value >> 1n);

export const isSafe = (value: bigint): boolean => Number.isSafeInteger(Number(value));

export interface RecordsSection {
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly end: number;
  readonly count: number;
  readonly baseTimestamp: number;
  readonly lastOffsetDelta: number;
}

export function readRecords({ bytes, at, end, count, baseTimestamp, lastOffsetDelta }: RecordsSection): RecordColumns {
  const rows: number[] = [];
  const timestamps: number[] = [];
  const section = new Cursor(bytes, at, end);
  let previousDelta = -1;
  for (let i = 0; i < count; i++) {
    const recordPosition = section.at;
    const length = section.varint();
    const record = new Cursor(bytes, section.at, section.at + length);
    section.skip(length);
    record.byte();
    const timestampDelta = record.varlong();
    const offsetDelta = record.varint();
    refuse(offsetDelta <= previousDelta || offsetDelta > lastOffsetDelta, Status.BAD_RECORD);
    previousDelta = offsetDelta;
    const timestamp = BigInt(baseTimestamp) + timestampDelta;
    refuse(!isSafe(timestamp), Status.BAD_TIMESTAMP);
    const key = record.nullable();
    const value = record.nullable();
    const headers = record.headers();
    refuse(record.left !== 0, Status.BAD_RECORD);
    const row: number[] = [];
    row[Column.KEY_POSITION] = key.position;
    row[Column.KEY_LENGTH] = key.length;
    row[Column.VALUE_POSITION] = value.position;
    row[Column.VALUE_LENGTH] = value.length;
    row[Column.HEADERS_POSITION] = headers.position;
    row[Column.HEADERS_COUNT] = headers.count;
    row[Column.OFFSET_DELTA] = offsetDelta;
    row[Column.RECORD_POSITION] = recordPosition;
    rows.push(...row);
    timestamps.push(Number(timestamp));
  }
  refuse(section.left !== 0, Status.BAD_LENGTH);
  if (rows.length !== count * COLUMNS) throw new Error("a row has all its columns");
  return { count, ints: Int32Array.from(rows), timestamps: Float64Array.from(timestamps) };
}

/** Zigzag varint of a value that fits 64 bits. */
export function varintBytes(value: number | bigint): number[] {
  const signed = BigInt(value);
  let rest = signed < 0n ? -signed * 2n - 1n : signed * 2n;
  const bytes: number[] = [];
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return bytes;
}
