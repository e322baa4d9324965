/**
 * What packing must do on every build that has it: it returns the values that reading batch by batch returns, and
 * nothing of a batch that reading refuses.
 */
import { COLUMNS } from "../../src/kernel/columns-layout.ts";
import {
  Column,
  KERNEL_BATCH_BYTES_MAX,
  Status,
  type PackingKernel,
  type PackRequest,
  type PackResult,
} from "../../src/kernel/types.ts";
import { readHeader, stampBaseOffset } from "../../src/record/format.ts";
import { equal } from "./check.ts";
import { accepted, fields, framing, records } from "./kernel-refusals.ts";
import { concat, craft, requestOf, utf8 } from "./kernel-samples.ts";

export interface PackCase {
  readonly name: string;
  run(kernel: PackingKernel): void;
}

export const ALL: PackRequest = { expectedOffset: -1, from: 0, to: Number.MAX_SAFE_INTEGER, mark: 0 };
const COMMA = 0x2c;

export type Packed = PackResult & { readonly bytes: Uint8Array };

/** Packs, and returns the bytes that were written. Bytes behind them must be unchanged. */
export function packed(kernel: PackingKernel, bytes: Uint8Array, request: Partial<PackRequest> = {}): Packed {
  const into = new Uint8Array(bytes.length).fill(0xa5);
  const result = kernel.pack(bytes, { ...ALL, ...request }, into);
  equal(
    into.subarray(result.packedBytes).every((byte) => byte === 0xa5),
    true,
    "nothing behind the values",
  );
  return { ...result, bytes: into.slice(0, result.packedBytes) };
}

/** The same result by reading batch by batch with that kernel, for comparison. */
export function packedSlowly(
  kernel: PackingKernel,
  bytes: Uint8Array,
  { expectedOffset, from, to, mark }: PackRequest,
): Packed {
  const parts: (Uint8Array | number[])[] = [];
  let [at, nextOffset, values] = [0, expectedOffset, 0];
  let status: Status = Status.OK;
  for (const looked = bytes.subarray(0, KERNEL_BATCH_BYTES_MAX); at < looked.length && status === Status.OK;) {
    const rest = looked.subarray(at);
    const whole = kernel.decodeBatch(rest, true);
    // The kernel must not refuse a batch because of bytes behind it, so the batch is cut out first.
    const size = rest.length < 61 ? 0 : readHeader(rest).sizeBytes;
    const batch =
      whole.status === Status.BAD_LENGTH && size >= 61 && size < rest.length ? rest.subarray(0, size) : rest;
    const { status: found, columns } = batch === rest ? whole : kernel.decodeBatch(batch, true);
    status = found;
    const isFramed = batch.length >= 61 && batch[16] === 2 && size >= 61 && size <= KERNEL_BATCH_BYTES_MAX;
    if (
      isFramed &&
      expectedOffset !== -1 &&
      new DataView(batch.buffer, batch.byteOffset).getBigInt64(0) !== BigInt(nextOffset)
    )
      status = Status.BAD_OFFSET;
    if (status !== Status.OK) break;
    const header = readHeader(batch);
    for (let i = 0; i < columns.count && (header.attributes & 0x20) === 0; i++) {
      const column = (which: number): number => columns.ints[i * COLUMNS + which]!;
      const offset = header.baseOffset + column(Column.OFFSET_DELTA);
      if (offset < from || offset >= to || column(Column.VALUE_LENGTH) < 0) continue;
      if (mark > 0) parts.push([mark]);
      parts.push(
        batch.slice(column(Column.VALUE_POSITION), column(Column.VALUE_POSITION) + column(Column.VALUE_LENGTH)),
      );
      values++;
    }
    nextOffset = header.baseOffset + header.lastOffsetDelta + 1;
    at += batch.length;
  }
  const all = concat(...parts);
  return { status, validBytes: at, nextOffset, packedBytes: all.length, values, bytes: all };
}

/** Batches of these values, in order from `offset`. */
function chain(kernel: PackingKernel, batches: readonly (readonly (string | null)[])[], offset = 0): Uint8Array[] {
  return batches.map((texts) => {
    const { bytes } = kernel.encodeBatch(
      requestOf(texts.map((text) => ({ key: utf8("key"), value: text === null ? null : utf8(text), timestamp: 5 }))),
    );
    stampBaseOffset(bytes, offset);
    offset += texts.length;
    return bytes;
  });
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

const cases: PackCase[] = [
  {
    name: "values of many batches are packed back to back, or each behind a mark",
    run(kernel) {
      const bytes = concat(...chain(kernel, [["a", "bc"], ["", null, "def"], ["x".repeat(100)]], 7));
      const plain = packed(kernel, bytes, { expectedOffset: 7 });
      equal(
        [plain.status, plain.validBytes, plain.nextOffset, plain.values, text(plain.bytes)],
        [Status.OK, bytes.length, 13, 5, `abcdef${"x".repeat(100)}`],
      );
      equal(
        text(packed(kernel, bytes, { mark: COMMA }).bytes),
        `,a,bc,,def,${"x".repeat(100)}`,
        "an empty value has a mark, a null one none",
      );
      equal(packed(kernel, bytes, { mark: 255 }).bytes[0], 255);
    },
  },
  {
    name: "only wanted offsets are packed, all batches are checked",
    run(kernel) {
      const batches = chain(kernel, [
        ["a", "b"],
        ["c", "d"],
        ["e", "f"],
      ]);
      const bytes = concat(...batches);
      for (let from = 0; from <= 7; from++) {
        for (let to = 0; to <= 7; to++)
          equal(
            text(packed(kernel, bytes, { from, to }).bytes),
            "abcdef".slice(from, Math.max(to, from)),
            `[${from}, ${to})`,
          );
      }
      batches[0]![70]! ^= 1;
      equal(
        [
          packed(kernel, concat(...batches), { from: 4 }).status,
          packed(kernel, concat(...batches), { from: 4 }).values,
        ],
        [Status.BAD_CRC, 0],
      );
    },
  },
  {
    name: "of what is cut off, out of order, compressed or damaged nothing is packed, and all before it is",
    run(kernel) {
      const [a, b, c] = chain(kernel, [["a"], ["b"], ["c"]]) as [Uint8Array, Uint8Array, Uint8Array];
      const stop = (bytes: Uint8Array, request: Partial<PackRequest> = {}) => {
        const { status, validBytes, nextOffset, bytes: values } = packed(kernel, bytes, request);
        return [status, validBytes, nextOffset, text(values)];
      };
      const flipped = b.slice();
      flipped[b.length - 2]! ^= 1;
      equal(stop(concat(a, b.subarray(0, 60))), [Status.NEED_MORE, a.length, 1, "a"], "part of a header");
      equal(stop(concat(a, b.subarray(0, -1))), [Status.NEED_MORE, a.length, 1, "a"], "all but a byte");
      equal(stop(concat(a, flipped, c)), [Status.BAD_CRC, a.length, 1, "a"], "damage");
      equal(stop(concat(a, c), { expectedOffset: 0 }), [Status.BAD_OFFSET, a.length, 1, "a"], "a gap");
      equal(stop(concat(a, c)), [Status.OK, a.length + c.length, 3, "ac"], "a gap that nobody minds");
      equal(stop(a, { expectedOffset: 1 }), [Status.BAD_OFFSET, 0, 1, ""], "not the one expected");
      equal(
        stop(concat(a, craft({ baseOffset: 1, attributes: 1 }), c)),
        [Status.BAD_ATTRIBUTES, a.length, 1, "a"],
        "compressed",
      );
      equal(
        stop(concat(a, craft({ baseOffset: 1, attributes: 0x20 }))),
        [Status.OK, a.length + craft().length, 3, "a"],
        "a control batch has no values",
      );
      equal(stop(new Uint8Array(0), { expectedOffset: 9 }), [Status.OK, 0, 9, ""], "nothing");
      equal(stop(new Uint8Array(100)), [Status.BAD_MAGIC, 0, -1, ""], "zeros");
    },
  },
  {
    name: "in a long run of batches any byte that is wrong is seen, and so are two, wherever they are",
    run(kernel) {
      const batches = chain(
        kernel,
        Array.from({ length: 60 }, (_, i) => [`${i}:`.padEnd(i * 20, "v")]),
      );
      const bytes = concat(...batches);
      equal([packed(kernel, bytes).status, packed(kernel, bytes).values], [Status.OK, 60]);
      // From the length on. A wrong base offset is a break in continuity, which other cases test; packing ignores the
      // epoch.
      const places = batches.map(
        (batch, i) =>
          batches.slice(0, i).reduce((sum, { length }) => sum + length, 0) + 16 + ((i * 7919) % (batch.length - 16)),
      );
      for (const [i, place] of places.entries()) {
        const damaged = bytes.slice();
        damaged[place]! ^= 1 << (i % 8);
        for (const second of i % 2 === 0 ? [] : places.slice(i + 1, i + 2)) damaged[second]! ^= 1 << (i % 8);
        const { status, values, validBytes } = packed(kernel, damaged);
        equal(
          [status !== Status.OK, values, validBytes],
          [true, i, bytes.length - batches.slice(i).reduce((sum, { length }) => sum + length, 0)],
          `byte ${place}`,
        );
      }
    },
  },
  {
    name: "every batch that reading refuses ends the walk before it",
    run(kernel) {
      const [a] = chain(kernel, [["a"]]) as [Uint8Array];
      for (const { name, bytes } of [...framing, ...fields, ...records]) {
        const hostile = bytes();
        if (hostile.length + a.length > KERNEL_BATCH_BYTES_MAX) continue;
        equal(packed(kernel, concat(a, hostile)), packedSlowly(kernel, concat(a, hostile), ALL), name);
      }
      for (const { name, bytes } of accepted) equal(packed(kernel, bytes()), packedSlowly(kernel, bytes(), ALL), name);
    },
  },
  {
    name: "values may go where the batches were, and the largest batch of the smallest records fits",
    run(kernel) {
      const bytes = concat(...chain(kernel, [["one", "two"], ["three"]]));
      const { packedBytes } = kernel.pack(bytes, { ...ALL, mark: COMMA }, bytes);
      equal(text(bytes.subarray(0, packedBytes)), ",one,two,three");
      const count = 65_536;
      const lengths = new Int32Array(count * 3).map((_, i) => (i % 3 === 0 ? -1 : 0));
      const full = kernel.encodeBatch(requestOf([], { count, lengths, timestamps: new Float64Array(count) })).bytes;
      equal([packed(kernel, full, { mark: COMMA }).packedBytes, packed(kernel, full).packedBytes], [count, 0]);
    },
  },
  {
    name: "no more than 2 MiB are looked at",
    run(kernel) {
      const value = "v".repeat(1_000_000);
      const bytes = concat(...chain(kernel, [[value], [value], [value]]));
      const { status, validBytes, values } = packed(kernel, bytes);
      equal([status, values, validBytes], [Status.NEED_MORE, 2, (bytes.length / 3) * 2]);
    },
  },
  {
    name: "wrong requests are refused",
    run(kernel) {
      const bytes = concat(...chain(kernel, [["a"]]));
      for (const bad of [NaN, 0.5, 2 ** 53, Infinity]) {
        for (const name of ["expectedOffset", "from", "to"])
          equal(packed(kernel, bytes, { [name]: bad }).status, Status.BAD_ARGUMENT, `${name} ${bad}`);
      }
      for (const mark of [-1, 256, 0.5, NaN, 2 ** 32])
        equal(packed(kernel, bytes, { mark }).status, Status.BAD_ARGUMENT, `mark ${mark}`);
    },
  },
];

export const packCases: readonly PackCase[] = cases;
