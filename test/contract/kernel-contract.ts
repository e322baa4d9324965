/**
 * What every kernel must do: release build, debug build, TypeScript twin. Cases are plain functions, so that they run
 * where the kernel runs: Node, a browser's worker. test/unit/kernel.test.ts is the adapter for Node.
 */
import {
  Column,
  COLUMNS,
  INDEX_STATE_EMPTY,
  KERNEL_BATCH_BYTES_MAX,
  KERNEL_BATCH_RECORDS_MAX,
  Status,
  type Kernel,
  type RecordColumns,
} from "../../src/kernel/types.ts";
import { readHeader, stampBaseOffset, stampLeaderEpoch } from "../../src/record/format.ts";
import { check, equal } from "./check.ts";
import { accepted, fields, framing, records } from "./kernel-refusals.ts";
import {
  concat,
  craft,
  headersSection,
  recordBytes,
  requestOf,
  scanRequest,
  slowCrc32c,
  utf8,
  type SampleRecord,
} from "./kernel-samples.ts";

export interface KernelCase {
  readonly name: string;
  run(kernel: Kernel): void;
}

const hex = (crc: number): string => crc.toString(16).padStart(8, "0");
const column = (columns: RecordColumns, record: number, at: number): number =>
  columns.ints[record * COLUMNS + at] as number;
const bytesAt = (bytes: Uint8Array, position: number, length: number): Uint8Array | null =>
  length < 0 ? null : bytes.slice(position, position + length);

const crcCases: KernelCase[] = [
  {
    name: "crc32c of the published vectors",
    run(kernel) {
      // The check value of the polynomial, then RFC 3720, section B.4.
      equal(hex(kernel.crc32c(utf8("123456789"))), "e3069283", "check value");
      equal(hex(kernel.crc32c(new Uint8Array(32))), "8a9136aa", "32 zeros");
      equal(hex(kernel.crc32c(new Uint8Array(32).fill(0xff))), "62a8ab43", "32 ones");
      equal(hex(kernel.crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))), "46dd794e", "rising");
      equal(hex(kernel.crc32c(Uint8Array.from({ length: 32 }, (_, i) => 31 - i))), "113fdb5c", "falling");
      const read = [
        0x01,
        0xc0,
        ...Array<number>(14).fill(0),
        0x14,
        0,
        0,
        0,
        0,
        0,
        0x04,
        0,
        0,
        0,
        0,
        0x14,
        0,
        0,
        0,
        0x18,
        0x28,
      ];
      equal(
        hex(
          kernel.crc32c(
            Uint8Array.from(
              [...read, ...Array<number>(48 - read.length).fill(0)].map((byte, i) => (i === 40 ? 0x02 : byte)),
            ),
          ),
        ),
        "d9963a56",
        "SCSI read",
      );
      equal(kernel.crc32c(new Uint8Array(0)), 0, "nothing");
    },
  },
  {
    name: "crc32c of every length and alignment up to 80 bytes",
    run(kernel) {
      const bytes = Uint8Array.from({ length: 96 }, (_, i) => (i * 167 + 13) & 0xff);
      for (let from = 0; from < 16; from++) {
        for (let length = 0; length <= 80; length++) {
          const part = bytes.subarray(from, from + length);
          equal(kernel.crc32c(part), slowCrc32c(part), `from ${from}, ${length} bytes`);
        }
      }
    },
  },
  {
    name: "crc32c goes on from a seed, and takes more than the kernel's memory holds",
    run(kernel) {
      const bytes = Uint8Array.from({ length: KERNEL_BATCH_BYTES_MAX + 70_001 }, (_, i) => (i * 31 + (i >> 8)) & 0xff);
      const whole = kernel.crc32c(bytes);
      equal(whole, slowCrc32c(bytes));
      for (const cut of [0, 1, 15, 16, 65_536, bytes.length]) {
        equal(kernel.crc32c(bytes.subarray(cut), kernel.crc32c(bytes.subarray(0, cut))), whole, `cut at ${cut}`);
      }
    },
  },
];

const SAMPLES: readonly (SampleRecord & { readonly timestamp: number })[] = [
  { key: utf8("key"), value: utf8("value"), timestamp: 1000 },
  { key: null, value: new Uint8Array(0), timestamp: 900 },
  { key: new Uint8Array(0), value: null, timestamp: 1_700_000_000_000 },
  {
    key: new Uint8Array(300).fill(7),
    value: new Uint8Array(70_000).fill(9),
    headers: [
      ["trace", utf8("x")],
      ["", null],
      ["é", new Uint8Array(200)],
    ],
    timestamp: 1000,
  },
];

const encodeCases: KernelCase[] = [
  {
    name: "a batch is written as the format says",
    run(kernel) {
      const rest = { attributes: 0x10, producerId: 2 ** 40, producerEpoch: 7, baseSequence: 2 ** 31 - 1 };
      const { status, bytes } = kernel.encodeBatch(requestOf(SAMPLES, rest));
      equal(status, Status.OK, "status");
      const sample = SAMPLES.map((record) => ({ ...record, timestampDelta: record.timestamp - 1000 }));
      equal(bytes, craft({ ...rest, records: sample, baseTimestamp: 1000, maxTimestamp: 1_700_000_000_000 }), "bytes");
      equal(kernel.validateBatch(bytes), Status.OK, "valid");
    },
  },
  {
    name: "what was written is read back",
    run(kernel) {
      const { bytes } = kernel.encodeBatch(requestOf(SAMPLES));
      const { status, columns } = kernel.decodeBatch(bytes, true);
      equal([status, columns.count, columns.ints.length, columns.timestamps.length], [Status.OK, 4, 4 * COLUMNS, 4]);
      equal(
        [...columns.timestamps],
        SAMPLES.map(({ timestamp }) => timestamp),
        "timestamps",
      );
      for (const [i, { key, value, headers = [] }] of SAMPLES.entries()) {
        const at = (which: number): number => column(columns, i, which);
        equal(bytesAt(bytes, at(Column.KEY_POSITION), at(Column.KEY_LENGTH)), key, `key ${i}`);
        equal(bytesAt(bytes, at(Column.VALUE_POSITION), at(Column.VALUE_LENGTH)), value, `value ${i}`);
        equal(at(Column.HEADERS_COUNT), headers.length, `headers of ${i}`);
        equal(at(Column.OFFSET_DELTA), i, `offset delta ${i}`);
        const end = i === 3 ? bytes.length : column(columns, i + 1, Column.RECORD_POSITION);
        const section = headersSection(headers).slice(1);
        equal(at(Column.HEADERS_POSITION), end - section.length, `headers position ${i}`);
        equal(bytes.slice(at(Column.HEADERS_POSITION), end), Uint8Array.from(section), `headers bytes ${i}`);
      }
      equal(column(columns, 0, Column.RECORD_POSITION), 61, "first record");
    },
  },
  {
    name: "results are copies: the next call does not change them",
    run(kernel) {
      const first = kernel.encodeBatch(requestOf(SAMPLES)).bytes;
      const columns = kernel.decodeBatch(first, true).columns;
      const kept = [first.slice(), columns.ints.slice(), columns.timestamps.slice()];
      const other = kernel.encodeBatch(requestOf([{ value: new Uint8Array(1000).fill(255), timestamp: 5 }])).bytes;
      kernel.decodeBatch(other, true);
      equal(
        [first, [...columns.ints], [...columns.timestamps]],
        [kept[0], [...(kept[1] as Int32Array)], [...(kept[2] as Float64Array)]],
      );
    },
  },
  {
    name: "65,536 records go into a batch and 65,537 do not",
    run(kernel) {
      const make = (count: number) =>
        kernel.encodeBatch(
          requestOf([], {
            count,
            lengths: new Int32Array(count * 3).fill(-1).map((length, i) => (i % 3 === 2 ? 0 : length)),
            timestamps: new Float64Array(count),
          }),
        );
      const { status, bytes } = make(KERNEL_BATCH_RECORDS_MAX);
      equal(status, Status.OK);
      const { columns } = kernel.decodeBatch(bytes, true);
      equal([columns.count, column(columns, 65_535, Column.OFFSET_DELTA)], [65_536, 65_535]);
      equal(make(KERNEL_BATCH_RECORDS_MAX + 1).status, Status.TOO_LARGE);
    },
  },
  {
    name: "a batch of exactly 2 MiB goes in, one byte more does not",
    run(kernel) {
      const make = (valueLength: number) =>
        kernel.encodeBatch({
          ...requestOf([{ timestamp: 0 }]),
          blob: new Uint8Array(valueLength),
          lengths: Int32Array.of(-1, valueLength, 0),
        });
      const overhead = make(2_000_000).bytes.length - 2_000_000;
      const largest = make(KERNEL_BATCH_BYTES_MAX - overhead);
      equal([largest.status, largest.bytes.length], [Status.OK, KERNEL_BATCH_BYTES_MAX]);
      equal(kernel.validateBatch(largest.bytes), Status.OK);
      equal(make(KERNEL_BATCH_BYTES_MAX - overhead + 1).status, Status.TOO_LARGE);
      equal(make(KERNEL_BATCH_BYTES_MAX + 1).status, Status.TOO_LARGE);
    },
  },
  {
    name: "wrong requests are refused by name",
    run(kernel) {
      const good = requestOf([{ key: utf8("k"), value: utf8("v"), timestamp: 1 }]);
      const status = (change: Partial<typeof good>): Status => kernel.encodeBatch({ ...good, ...change }).status;
      equal(status({}), Status.OK);
      equal(status({ count: 0 }), Status.BAD_COUNT, "no records");
      equal(status({ count: 2 }), Status.BAD_ARGUMENT, "columns too short");
      equal(status({ count: 0.5 }), Status.BAD_ARGUMENT, "half a record");
      for (const attributes of [1, 7, 8, 0x80, -1])
        equal(status({ attributes }), Status.BAD_ATTRIBUTES, `attributes ${attributes}`);
      for (const timestamp of [NaN, Infinity, 0.5, 2 ** 53, -(2 ** 53)])
        equal(status({ timestamps: Float64Array.of(timestamp) }), Status.BAD_TIMESTAMP, `timestamp ${timestamp}`);
      for (const producerId of [-2, 0.5, NaN, 2 ** 53])
        equal(status({ producerId }), Status.BAD_PRODUCER, `producer id ${producerId}`);
      for (const producerEpoch of [-2, 32768])
        equal(status({ producerEpoch }), Status.BAD_PRODUCER, `producer epoch ${producerEpoch}`);
      equal(status({ baseSequence: -2 }), Status.BAD_PRODUCER);
      for (const lengths of [
        [-2, 1, 0],
        [1, -2, 0],
        [1, 1, -1],
        [1, 2, 0],
        [3, -1, 0],
        [1, 0, 0],
        [1, 2 ** 31 - 1, 2 ** 31 - 1],
      ]) {
        equal(status({ lengths: Int32Array.from(lengths) }), Status.BAD_ARGUMENT, `lengths ${lengths}`);
      }
      equal(status({ blob: utf8("kvx"), lengths: Int32Array.of(1, 1, 1) }), Status.BAD_RECORD, "headers that are none");
      equal(
        status({ blob: new Uint8Array([107, 118, 0, 0]), lengths: Int32Array.of(1, 1, 2) }),
        Status.BAD_RECORD,
        "bytes behind the headers",
      );
      equal(kernel.encodeBatch({ ...good, count: 2 }).bytes.length, 0, "no bytes when refused");
    },
  },
];

const refusalCases: KernelCase[] = [...framing, ...fields, ...records].map(({ name, bytes, status }) => ({
  name: `refused: ${name}`,
  run(kernel) {
    equal(kernel.validateBatch(bytes()), status, "validate");
    // A wrong maximum is the append's affair; who reads sees the records' own timestamps.
    const isAboutMax = name.startsWith("max timestamp") && !name.includes("safe");
    const decoded = kernel.decodeBatch(bytes(), true);
    equal([decoded.status, decoded.columns.count], isAboutMax ? [Status.OK, 2] : [status, 0], "decode");
    equal(
      kernel.decodeBatch(bytes(), false).status,
      isAboutMax || status === Status.BAD_CRC ? Status.OK : status,
      "decode, no CRC",
    );
    equal(kernel.filterBatch(bytes(), new Uint8Array(8192)).status, isAboutMax ? Status.OK : status, "filter");
  },
}));

const acceptedCases: KernelCase[] = accepted.map(({ name, bytes }) => ({
  name: `accepted: ${name}`,
  run(kernel) {
    equal(kernel.validateBatch(bytes()), Status.OK, "validate");
    const isCompressed = (readHeader(bytes()).attributes & 7) !== 0;
    equal(kernel.decodeBatch(bytes(), true).status, isCompressed ? Status.BAD_ATTRIBUTES : Status.OK, "decode");
    equal(
      kernel.filterBatch(bytes(), new Uint8Array(8192)).status,
      isCompressed ? Status.BAD_ATTRIBUTES : Status.OK,
      "filter",
    );
    const { baseOffset, lastOffsetDelta } = readHeader(bytes());
    const scan = kernel.scan(bytes(), scanRequest({ expectedOffset: baseOffset, segmentBaseOffset: baseOffset }));
    equal([scan.status, scan.nextOffset], [Status.OK, baseOffset + lastOffsetDelta + 1], "scan");
  },
}));

const decodeCases: KernelCase[] = [
  {
    name: "decodeRecords reads a bare section, positions from its start",
    run(kernel) {
      const section = Uint8Array.from([
        ...recordBytes({ key: utf8("k"), timestampDelta: -3 }, 0),
        ...recordBytes({ value: utf8("v") }, 4),
      ]);
      const { status, columns } = kernel.decodeRecords(section, 2, 100, 4, false);
      equal([status, columns.count, [...columns.timestamps]], [Status.OK, 2, [97, 104]]);
      equal(bytesAt(section, column(columns, 0, Column.KEY_POSITION), 1), utf8("k"));
      equal(bytesAt(section, column(columns, 1, Column.VALUE_POSITION), 1), utf8("v"));
      equal([column(columns, 0, Column.RECORD_POSITION), column(columns, 1, Column.OFFSET_DELTA)], [0, 4]);
      equal(kernel.decodeRecords(section, 2, 100, 4, true).status, Status.BAD_COUNT, "dense");
      equal(kernel.decodeRecords(section, 2, 100, 3, false).status, Status.BAD_RECORD, "beyond the last delta");
      equal(kernel.decodeRecords(section, 1, 100, 4, false).status, Status.BAD_LENGTH, "too many");
      equal(kernel.decodeRecords(section, 3, 100, 4, false).status, Status.BAD_RECORD, "too few");
      equal(kernel.decodeRecords(new Uint8Array(0), 0, 100, 4, false).status, Status.OK, "none");
    },
  },
  {
    name: "decodeRecords refuses wrong arguments",
    run(kernel) {
      const none = new Uint8Array(0);
      for (const [count, delta] of [
        [-1, 0],
        [2, 0],
        [KERNEL_BATCH_RECORDS_MAX + 1, 2 ** 31 - 1],
        [0, -1],
        [2 ** 31 - 1, 2 ** 31 - 1],
      ] as const) {
        equal(
          kernel.decodeRecords(none, count, 0, delta, false).status,
          Status.BAD_COUNT,
          `${count} records to delta ${delta}`,
        );
      }
      for (const base of [NaN, Infinity, 2 ** 53, 0.5])
        equal(kernel.decodeRecords(none, 0, base, 0, false).status, Status.BAD_TIMESTAMP, `base ${base}`);
      equal(kernel.decodeRecords(none, 0.5, 0, 0, false).status, Status.BAD_ARGUMENT);
      equal(kernel.decodeRecords(none, 0, 0, 2 ** 31, false).status, Status.BAD_ARGUMENT);
      equal(kernel.decodeRecords(new Uint8Array(KERNEL_BATCH_BYTES_MAX + 1), 0, 0, 0, false).status, Status.TOO_LARGE);
    },
  },
  {
    name: "log append time is every record's timestamp",
    run(kernel) {
      const { columns } = kernel.decodeBatch(craft({ attributes: 8, maxTimestamp: 5 }), true);
      equal([...columns.timestamps], [5, 5]);
    },
  },
];

const filterCases: KernelCase[] = [
  {
    name: "filterBatch keeps the chosen records, their offsets, and the producer's place",
    run(kernel) {
      const sample = SAMPLES.map((record) => ({ ...record, timestampDelta: record.timestamp - 1000 }));
      const header = {
        baseOffset: 40,
        leaderEpoch: 3,
        producerId: 9,
        producerEpoch: 1,
        baseSequence: 12,
        baseTimestamp: 1000,
        lastOffsetDelta: 3,
      };
      const full = craft({ ...header, records: sample, maxTimestamp: 1_700_000_000_000 });
      for (let mask = 1; mask < 16; mask++) {
        const kept = sample.map((record, i) => ({ ...record, offsetDelta: i })).filter((_, i) => (mask >> i) & 1);
        const { status, bytes } = kernel.filterBatch(full, Uint8Array.of(mask));
        equal(status, Status.OK);
        equal(
          bytes,
          craft({ ...header, records: kept, maxTimestamp: Math.max(...kept.map(({ timestamp }) => timestamp)) }),
          `mask ${mask}`,
        );
        equal(kernel.validateBatch(bytes), Status.OK, "valid");
      }
      const none = kernel.filterBatch(full, Uint8Array.of(0));
      equal(none.bytes, craft({ ...header, records: [], maxTimestamp: -1 }), "none kept");
      equal(kernel.filterBatch(full, new Uint8Array(0)).status, Status.BAD_ARGUMENT, "too few bits");
      equal(kernel.filterBatch(full, new Uint8Array(100_000).fill(255)).bytes, full, "all kept");
    },
  },
  {
    name: "filterBatch keeps a log append time",
    run(kernel) {
      const full = craft({ attributes: 8, maxTimestamp: 5 });
      equal(readHeader(kernel.filterBatch(full, Uint8Array.of(2)).bytes).maxTimestamp, 5);
    },
  },
];

/** Batches of one record of `size` bytes each, in order from offset 0. */
function chain(kernel: Kernel, timestamps: readonly number[], size = 100, epoch = 0): Uint8Array[] {
  return timestamps.map((timestamp, offset) => {
    const { bytes } = kernel.encodeBatch(requestOf([{ value: new Uint8Array(size), timestamp }]));
    stampBaseOffset(bytes, offset);
    stampLeaderEpoch(bytes, epoch);
    return bytes;
  });
}

const scanCases: KernelCase[] = [
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
      // Batches of 2,000 bytes: entries before the fourth (6,000 > 4,096 passed) and the seventh.
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

const searchCases: KernelCase[] = (["offset", "time"] as const).map((kind) => ({
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

export const kernelCases: readonly KernelCase[] = [
  ...crcCases,
  ...encodeCases,
  ...refusalCases,
  ...acceptedCases,
  ...decodeCases,
  ...filterCases,
  ...scanCases,
  ...searchCases,
];
