/**
 * What every kernel must do: the release build, the debug build and the reference kernel. Cases are plain functions, so
 * that they run wherever the kernel runs: in Node (test/unit/kernel.test.ts) and in a browser's worker.
 */
import { scanCases, searchCases } from "./kernel-scan-cases.ts";
import { COLUMNS } from "../../src/kernel/columns-layout.ts";
import {
  Column,
  KERNEL_BATCH_BYTES_MAX,
  KERNEL_BATCH_RECORDS_MAX,
  Status,
  type RecordColumns,
} from "../../src/kernel/types.ts";
import { readHeader } from "../../src/record/format.ts";
import { equal } from "./check.ts";
import { accepted, fields, framing, records } from "./kernel-refusals.ts";
import {
  craft,
  headersSection,
  recordBytes,
  requestOf,
  scanRequest,
  slowCrc32c,
  utf8,
  type SampleRecord,
  type KernelCase,
} from "./kernel-samples.ts";

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
      equal(
        status({ blob: utf8("kvx"), lengths: Int32Array.of(1, 1, 1) }),
        Status.BAD_RECORD,
        "bytes that are no headers",
      );
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
    // Only an append checks the maximum timestamp. A reader sees the records' own timestamps.
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
