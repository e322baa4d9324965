/** Cases of the kernel contract that involve many batches or an index: the scan, and the search for an entry. */
import { INDEX_STATE_EMPTY, KERNEL_BATCH_BYTES_MAX, Status, type EncodingKernel } from "../../src/kernel/types.ts";
import { stampBaseOffset, stampLeaderEpoch } from "../../src/record/format.ts";
import { check, equal } from "./check.ts";
import { concat, craft, requestOf, scanRequest, type KernelCase } from "./kernel-samples.ts";

/** Batches of one record of `size` bytes each, in order from offset 0. */
function chain(kernel: EncodingKernel, timestamps: readonly number[], size = 100, epoch = 0): Uint8Array[] {
  return timestamps.map((timestamp, offset) => {
    const { bytes } = kernel.encodeBatch(requestOf([{ value: new Uint8Array(size), timestamp }]));
    stampBaseOffset(bytes, offset);
    stampLeaderEpoch(bytes, epoch);
    return bytes;
  });
}

export const scanCases: KernelCase[] = [
  {
    name: "scan walks whole batches and says where it stands",
    run(kernel) {
      const batches = chain(kernel, [5, 9, 7], 100, 4);
      const bytes = concat(...batches);
      const scan = kernel.scan(bytes, scanRequest());
      equal(
        [scan.status, scan.validBytes, scan.batches, scan.records, scan.nextOffset, scan.lastEpoch],
        [Status.OK, bytes.length, 3, 3, 3, 4],
      );
      equal(scan.index, { bytesSinceEntry: bytes.length, maxTimestamp: 9, maxTimestampOffset: 1, entryTimestamp: -1 });
      const none = kernel.scan(new Uint8Array(0), scanRequest({ expectedOffset: 7 }));
      equal(
        [none.status, none.validBytes, none.nextOffset, none.lastEpoch, none.index],
        [Status.OK, 0, 7, -1, INDEX_STATE_EMPTY],
      );
    },
  },
  {
    name: "scan without checksums judges large batches as it judges them behind a small one",
    run(kernel) {
      const [small] = chain(kernel, [1]) as [Uint8Array];
      const [, a, b, c] = chain(kernel, [1, 5, 9, 7], 9000, 4) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
      const edits: [string, Uint8Array][] = [
        ["whole", concat(a, b, c)],
        ["part of a header", concat(a, b.subarray(0, 60))],
        ["a header", concat(a, b.subarray(0, 61))],
        ["all but a byte", concat(a, b.subarray(0, -1))],
        ["zeros behind", concat(a, b, new Uint8Array(9000))],
        ["a small one behind", concat(a, b, small)],
      ];
      for (let at = 0; at < 61; at++) {
        const copy = b.slice();
        copy[at]! ^= 1 << (at % 8);
        edits.push([`byte ${at}`, concat(a, copy, c)]);
      }
      for (const [label, bytes] of edits) {
        const alone = kernel.scan(bytes, scanRequest({ expectedOffset: 1, checkCrc: false }));
        const behind = kernel.scan(concat(small, bytes), scanRequest({ checkCrc: false }));
        equal(
          [alone.status, alone.validBytes, alone.batches, alone.records, alone.nextOffset, alone.lastEpoch],
          [
            behind.status,
            behind.validBytes - small.length,
            behind.batches - 1,
            behind.records - 1,
            behind.nextOffset,
            behind.lastEpoch,
          ],
          label,
        );
        check(alone.status === Status.OK || label !== "whole", "whole batches are good");
      }
    },
  },
  {
    name: "scan stops before what is wrong, and names it",
    run(kernel) {
      const [a, b, c] = chain(kernel, [1, 2, 3], 100, 4) as [Uint8Array, Uint8Array, Uint8Array];
      const stop = (bytes: Uint8Array, rest = {}) => {
        const { status, validBytes, nextOffset } = kernel.scan(bytes, scanRequest(rest));
        return [status, validBytes, nextOffset];
      };
      const edited = (edit: (bytes: Uint8Array) => void): Uint8Array => {
        const copy = b.slice();
        edit(copy);
        return concat(a, copy, c);
      };
      equal(stop(concat(a, b.subarray(0, 60))), [Status.NEED_MORE, a.length, 1], "part of a header");
      equal(stop(concat(a, b.subarray(0, 61))), [Status.NEED_MORE, a.length, 1], "part of a batch");
      equal(stop(concat(a, b.subarray(0, -1))), [Status.NEED_MORE, a.length, 1], "all but a byte");
      equal(stop(concat(a, new Uint8Array(1))), [Status.ZEROS, a.length, 1], "one zero");
      equal(stop(concat(a, new Uint8Array(5000))), [Status.ZEROS, a.length, 1], "zeros");
      equal(stop(concat(a, new Uint8Array(5000), [1])), [Status.BAD_MAGIC, a.length, 1], "not only zeros");
      equal(stop(concat(a, new Uint8Array(20), [1])), [Status.NEED_MORE, a.length, 1], "not only zeros, short");
      equal(stop(edited((bytes) => (bytes[16] = 1))), [Status.BAD_MAGIC, a.length, 1], "magic");
      equal(stop(edited((bytes) => (bytes[8] = 0x7f))), [Status.BAD_LENGTH, a.length, 1], "length");
      equal(stop(concat(a, c)), [Status.BAD_OFFSET, a.length, 1], "gap");
      equal(stop(concat(a, c), { allowGaps: true }), [Status.OK, a.length + c.length, 3], "gap allowed");
      equal(stop(concat(a, a), { allowGaps: true }), [Status.BAD_OFFSET, a.length, 1], "backwards");
      equal(
        stop(
          edited((bytes) => stampLeaderEpoch(bytes, 3)),
          { minEpoch: 4 },
        ),
        [Status.BAD_EPOCH, a.length, 1],
        "epoch of an earlier life",
      );
      equal(
        stop(
          edited((bytes) => stampLeaderEpoch(bytes, 5)),
          { maxEpoch: 4 },
        ),
        [Status.BAD_EPOCH, a.length, 1],
        "epoch of the future",
      );
      equal(stop(edited((bytes) => (bytes[70]! ^= 1))), [Status.BAD_CRC, a.length, 1], "CRC");
      equal(
        stop(
          edited((bytes) => (bytes[70]! ^= 1)),
          { checkCrc: false },
        ),
        [Status.OK, a.length * 3, 3],
        "CRC not looked at",
      );
      equal(
        stop(concat(a, craft({ baseOffset: 1, attributes: 0x80 }))),
        [Status.BAD_ATTRIBUTES, a.length, 1],
        "fields",
      );
    },
  },
  {
    name: "scan makes Kafka's sparse indexes",
    run(kernel) {
      // Each batch has 2,000 bytes. An entry is due after more than 4,096 bytes, so before the fourth and the seventh
      // batch.
      const size = 2000;
      const batches = chain(
        kernel,
        [10, 30, 20, 25, 26, 27, 28, 50],
        size - (chain(kernel, [1], 1900)[0]!.length - 1900),
      );
      equal(
        batches.map(({ length }) => length),
        Array<number>(8).fill(size),
        "sizes",
      );
      const scan = kernel.scan(concat(...batches), scanRequest({ position: 100 }));
      equal(
        [...scan.offsetEntries],
        [0, 0, 0, 3, 0, 0, 0x17, 0xd4, 0, 0, 0, 6, 0, 0, 0x2f, 0x44],
        "offsets 3 and 6 at 6,100 and 12,100",
      );
      equal(
        [...scan.timeEntries],
        [0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 1],
        "30 at offset 1; still the maximum at the second entry",
      );
      equal(scan.index, { bytesSinceEntry: 2 * size, maxTimestamp: 50, maxTimestampOffset: 7, entryTimestamp: 30 });
    },
  },
  {
    name: "scan in pieces makes the same indexes as in one",
    run(kernel) {
      const batches = chain(
        kernel,
        Array.from({ length: 40 }, (_, i) => (i * 7919) % 101),
        1500,
      );
      const whole = kernel.scan(concat(...batches), scanRequest());
      check(whole.offsetEntries.length > 60 && whole.timeEntries.length > 12, "there are entries");
      for (const piece of [1, 3, 7]) {
        let state = scanRequest();
        const offsets: number[] = [];
        const times: number[] = [];
        for (let i = 0; i < batches.length; i += piece) {
          const part = kernel.scan(concat(...batches.slice(i, i + piece)), state);
          equal(part.status, Status.OK);
          offsets.push(...part.offsetEntries);
          times.push(...part.timeEntries);
          state = {
            ...state,
            expectedOffset: part.nextOffset,
            position: state.position + part.validBytes,
            index: part.index,
          };
        }
        equal(
          [offsets, times, state.index],
          [[...whole.offsetEntries], [...whole.timeEntries], whole.index],
          `by ${piece}`,
        );
      }
    },
  },
  {
    name: "scan looks at 2 MiB at most and makes no more entries than it has room for",
    run(kernel) {
      const batches = chain(
        kernel,
        Array.from({ length: 600 }, (_, i) => i),
        4097 - 61 - 9,
      );
      equal(batches[0]!.length, 4097, "each passes the interval");
      const scan = kernel.scan(
        concat(...batches),
        scanRequest({ index: { ...INDEX_STATE_EMPTY, bytesSinceEntry: 2 ** 40 } }),
      );
      const seen = Math.floor(KERNEL_BATCH_BYTES_MAX / batches[0]!.length);
      equal([scan.status, scan.batches, scan.validBytes], [Status.NEED_MORE, seen, seen * batches[0]!.length]);
      equal([scan.offsetEntries.length, scan.timeEntries.length], [seen * 8, seen * 12], "an entry per batch");
    },
  },
  {
    name: "scan keeps index entries inside int32",
    run(kernel) {
      const batch = craft({ baseOffset: 2 ** 40 });
      const stop = (rest: object) =>
        kernel.scan(batch, scanRequest({ expectedOffset: 2 ** 40, segmentBaseOffset: 2 ** 40, ...rest })).status;
      equal(stop({}), Status.OK);
      equal(stop({ segmentBaseOffset: 2 ** 40 + 1 - (2 ** 31 - 1) }), Status.OK, "largest relative offset");
      equal(stop({ segmentBaseOffset: 2 ** 40 + 1 - 2 ** 31 }), Status.BAD_OFFSET, "beyond");
      equal(stop({ segmentBaseOffset: 2 ** 40 + 2 }), Status.BAD_OFFSET, "below");
      equal(stop({ position: 2 ** 31 - 1 }), Status.BAD_ARGUMENT, "position");
      for (const bad of [NaN, -1, 0.5, 2 ** 53]) {
        for (const name of ["expectedOffset", "position", "segmentBaseOffset"])
          equal(stop({ [name]: bad }), Status.BAD_ARGUMENT, `${name} ${bad}`);
        equal(stop({ index: { ...INDEX_STATE_EMPTY, bytesSinceEntry: bad } }), Status.BAD_ARGUMENT, `since ${bad}`);
      }
      equal(stop({ minEpoch: 2 ** 31 }), Status.BAD_ARGUMENT);
      equal(
        stop({ index: { ...INDEX_STATE_EMPTY, maxTimestamp: 5 } }),
        Status.BAD_ARGUMENT,
        "a maximum without its offset",
      );
    },
  },
];

function entriesOf(keys: readonly number[], kind: "offset" | "time"): Uint8Array {
  const width = kind === "time" ? 12 : 8;
  const bytes = new Uint8Array(keys.length * width).fill(0xee);
  const view = new DataView(bytes.buffer);
  for (const [i, key] of keys.entries())
    kind === "time" ? view.setBigInt64(i * width, BigInt(key)) : view.setInt32(i * width, key);
  return bytes;
}

export const searchCases: KernelCase[] = (["offset", "time"] as const).map((kind) => ({
  name: `searchIndex finds the greatest ${kind} entry at most the target`,
  run(kernel) {
    for (let length = 0; length < 20; length++) {
      const keys = Array.from({ length }, (_, i) => i * 3 - 7);
      const entries = entriesOf(keys, kind);
      for (let target = -12; target < 60; target++) {
        const steps: number[] = [];
        equal(
          kernel.searchIndex(entries, kind, target, steps),
          keys.findLastIndex((key) => key <= target),
          `${target} in ${length}`,
        );
        check(steps.length <= Math.ceil(Math.log2(length + 1)) + 1, "logarithmic");
        check(
          steps.every((step) => step >= 0 && step < length),
          "steps name entries",
        );
      }
      equal(kernel.searchIndex(entries, kind, NaN), -1, "NaN");
      equal(kernel.searchIndex(entries, kind, Infinity), length - 1, "Infinity");
    }
    equal(kernel.searchIndex(entriesOf([1, 2], kind).subarray(0, -1), kind, 9), 0, "half an entry is none");
  },
}));
