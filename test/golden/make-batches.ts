/**
 * Wrote the fixtures of v1/, once: `node tools/run/run-ts.mjs test/golden/make-batches.ts`. The bytes come from kafkajs
 * or from the tests' own `craft`, never from the code that is tested. The manifest says what they were asked to write.
 * A fixture of a shipped version is never written again: if today's code makes other bytes, the format is broken.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { stampBaseOffset, stampLeaderEpoch } from "../../src/record/format.ts";
import { concat, craft, utf8, type SampleBatch, type SampleRecord } from "../contract/kernel-samples.ts";
import { kafkaWrite, type KafkaOwner } from "./kafkajs.ts";
import type { GoldenBatch, GoldenRecord } from "./manifest.ts";

const T = 1_700_000_000_000;
const directory = new URL("./v1/", import.meta.url);
const hex = (bytes: Uint8Array | null | undefined): string | null =>
  bytes == null ? null : Buffer.from(bytes).toString("hex");

interface Given extends SampleRecord {
  readonly timestamp: number;
}

interface Place {
  readonly baseOffset: number;
  readonly leaderEpoch: number;
}

const listed = (records: readonly Given[], baseOffset: number): GoldenRecord[] =>
  records.map(({ key, value, headers = [], timestamp, offsetDelta }, i) => ({
    offset: baseOffset + (offsetDelta ?? i),
    timestamp,
    key: hex(key),
    value: hex(value),
    headers: headers.map(([name, header]) => [name, hex(header)]),
  }));

async function byKafka(
  file: string,
  contains: string,
  records: readonly Given[],
  owner: KafkaOwner,
  place: Place,
): Promise<[GoldenBatch, Uint8Array]> {
  const messages = records.map(({ key = null, value = null, headers = [], timestamp }) => ({
    key: key && Buffer.from(key),
    value: value && Buffer.from(value),
    timestamp: String(timestamp),
    headers: Object.fromEntries(headers.map(([name, header]) => [name, Buffer.from(header as Uint8Array)])),
  }));
  const bytes = await kafkaWrite(messages, owner);
  stampBaseOffset(bytes, place.baseOffset);
  stampLeaderEpoch(bytes, place.leaderEpoch);
  const { producerId = -1, producerEpoch = 0, firstSequence = 0, gzip = false, transactionalId } = owner;
  const header = {
    ...place,
    attributes: (gzip ? 1 : 0) | (transactionalId ? 0x10 : 0),
    lastOffsetDelta: records.length - 1,
    baseTimestamp: records[0]!.timestamp,
    maxTimestamp: Math.max(...records.map(({ timestamp }) => timestamp)),
    producerId,
    producerEpoch,
    baseSequence: firstSequence,
  };
  const check = gzip ? {} : { encodes: true };
  return [
    { file, contains, writer: "kafkajs 2.2.4", header, records: listed(records, place.baseOffset), ...check },
    bytes,
  ];
}

type Numbers = Required<Omit<SampleBatch, "length" | "magic" | "crc" | "count" | "records" | "section">> & {
  baseOffset: number;
  baseTimestamp: number;
  maxTimestamp: number;
  producerId: number;
};

function byHand(
  file: string,
  contains: string,
  records: readonly Given[],
  header: Numbers,
  check: Partial<GoldenBatch>,
): [GoldenBatch, Uint8Array] {
  const bytes = craft({
    ...header,
    records: records.map((record) => ({
      timestampDelta: BigInt(record.timestamp) - BigInt(header.baseTimestamp),
      ...record,
    })),
  });
  return [{ file, contains, writer: "by hand", header, records: listed(records, header.baseOffset), ...check }, bytes];
}

const header: Numbers = {
  baseOffset: 0,
  leaderEpoch: 0,
  attributes: 0,
  lastOffsetDelta: 0,
  baseTimestamp: T,
  maxTimestamp: T,
  producerId: -1,
  producerEpoch: -1,
  baseSequence: -1,
};
const plain: Given[] = [
  { key: utf8("a"), value: utf8("first"), timestamp: T },
  { key: utf8("b"), value: utf8("second"), timestamp: T + 20 },
  { key: utf8("a"), value: utf8("third"), timestamp: T + 10 },
  { key: utf8("c"), value: null, timestamp: T + 15 },
];
const owner = { producerId: 4_294_967_301, producerEpoch: 2, firstSequence: 1000 };
const place = { baseOffset: 5_000_000_000, leaderEpoch: 7 };
const plainHeader = {
  ...header,
  ...place,
  producerId: owner.producerId,
  producerEpoch: 2,
  baseSequence: 1000,
  lastOffsetDelta: 3,
};
const SAFE = Number.MAX_SAFE_INTEGER;
const traced: Given[] = [
  {
    key: null,
    value: utf8("{}"),
    headers: [
      ["trace", utf8("4bf92f35")],
      ["ключ", utf8("значение")],
    ],
    timestamp: T,
  },
  { key: utf8("k"), value: new Uint8Array(0), headers: [["empty", new Uint8Array(0)]], timestamp: T },
];
const wide = [0, 1, 63, 64, 8191, 8192].map((length, i) => ({
  key: new Uint8Array(Math.min(length, 64)).fill(65 + i),
  value: new Uint8Array(length).fill(97 + i),
  timestamp: T + length * 1000,
}));

const batches = [
  await byKafka(
    "plain.bin",
    "four records of an idempotent producer: two keys, a repeated key, a tombstone; timestamps out of order",
    plain,
    owner,
    place,
  ),
  await byKafka(
    "one.bin",
    "the smallest useful batch, without a producer",
    [{ key: null, value: utf8("x"), timestamp: T }],
    {},
    { baseOffset: 0, leaderEpoch: 0 },
  ),
  await byKafka(
    "headers.bin",
    "record headers, also empty and not ASCII",
    traced,
    {},
    { baseOffset: 12, leaderEpoch: 0 },
  ),
  await byKafka("transactional.bin", "the transactional bit", plain, { ...owner, transactionalId: "tx" }, place),
  await byKafka("gzip.bin", "the records of plain.bin, compressed", plain, { ...owner, gzip: true }, place),
  await byKafka(
    "lengths.bin",
    "lengths and deltas on both sides of each step of a varint",
    wide,
    {},
    { baseOffset: 0, leaderEpoch: 0 },
  ),
  byHand(
    "nulls.bin",
    "null and empty keys, values and header values",
    [
      { key: null, value: null, timestamp: T },
      { key: new Uint8Array(0), value: null, timestamp: T },
      {
        key: null,
        value: new Uint8Array(0),
        headers: [
          ["", null],
          ["n", new Uint8Array(0)],
        ],
        timestamp: T,
      },
    ],
    { ...header, lastOffsetDelta: 2 },
    { encodes: true },
  ),
  byHand(
    "timestamps.bin",
    "from the smallest to the largest safe timestamp",
    [-SAFE, 0, SAFE, -1].map((timestamp) => ({ value: utf8("t"), timestamp })),
    { ...header, lastOffsetDelta: 3, baseTimestamp: -SAFE, maxTimestamp: SAFE },
    { encodes: true },
  ),
  byHand(
    "limits.bin",
    "the last offset, the largest epoch, producer and sequence",
    [{ value: utf8("end"), timestamp: T }],
    {
      ...header,
      baseOffset: SAFE - 1,
      leaderEpoch: 2 ** 31 - 1,
      producerId: SAFE,
      producerEpoch: 32_767,
      baseSequence: 2 ** 31 - 1,
    },
    { encodes: true },
  ),
  byHand(
    "control.bin",
    "a commit marker",
    [{ key: new Uint8Array([0, 0, 0, 1]), value: new Uint8Array(6), timestamp: T }],
    { ...header, baseOffset: 9, attributes: 0x30, producerId: 5, producerEpoch: 0 },
    { encodes: true },
  ),
  byHand(
    "append-time.bin",
    "log append time: one timestamp for all, whatever the records' deltas say",
    [
      { value: utf8("a"), timestamp: T + 99, timestampDelta: 0 },
      { value: utf8("b"), timestamp: T + 99, timestampDelta: 5 },
    ],
    { ...header, attributes: 8, lastOffsetDelta: 1, maxTimestamp: T + 99 },
    {},
  ),
  byHand(
    "compacted.bin",
    "plain.bin after compaction: the older record of a key is gone, offsets stay",
    plain.map((record, i) => ({ ...record, offsetDelta: i })).slice(1),
    { ...plainHeader, maxTimestamp: T + 20 },
    { filterOf: { file: "plain.bin", keep: [1, 2, 3] } },
  ),
  byHand(
    "empty.bin",
    "plain.bin with nothing left: it keeps the producer's place",
    [],
    { ...plainHeader, maxTimestamp: -1 },
    { filterOf: { file: "plain.bin", keep: [] } },
  ),
] as const;

// Thirty batches back to back, and the sparse indexes of a segment with them.
const chain = Array.from({ length: 30 }, (_, i) =>
  craft({
    baseOffset: 100 + i * 3,
    leaderEpoch: 1 + (i >> 4),
    producerId: 1,
    producerEpoch: 0,
    baseSequence: i * 3,
    lastOffsetDelta: 2,
    baseTimestamp: T + ((i * 37) % 11),
    maxTimestamp: T + ((i * 37) % 11) + 2,
    records: [{ value: new Uint8Array(150 + i * 20).fill(i) }, { value: utf8("b") }, { value: utf8("c") }],
  }),
);

const entries: { offset: Buffer[]; time: Buffer[] } = { offset: [], time: [] };
let [position, since, max, maxOffset, entered] = [0, 0, -1, -1, -1];
for (const [i, batch] of chain.entries()) {
  const [last, top] = [i * 3 + 2, T + ((i * 37) % 11) + 2];
  if (top > max) [max, maxOffset] = [top, last];
  if (since > 4096) {
    const [offset, time] = [Buffer.alloc(8), Buffer.alloc(12)];
    offset.writeInt32BE(last, 0);
    offset.writeInt32BE(position, 4);
    entries.offset.push(offset);
    time.writeBigInt64BE(BigInt(max), 0);
    time.writeInt32BE(maxOffset, 8);
    if (max > entered) entries.time.push(time);
    [entered, since] = [max, 0];
  }
  position += batch.length;
  since += batch.length;
}
const index = {
  baseOffset: 100,
  nextOffset: 190,
  offset: Buffer.concat(entries.offset).toString("hex"),
  time: Buffer.concat(entries.time).toString("hex"),
};

await mkdir(directory, { recursive: true });
for (const [{ file }, bytes] of batches) await writeFile(new URL(file, directory), bytes);
await writeFile(new URL("chain.bin", directory), concat(...chain));
const manifest = {
  batches: batches.map(([batch]) => batch),
  chain: { file: "chain.bin", batches: chain.length, ...index },
};
await writeFile(new URL("manifest.json", directory), `${JSON.stringify(manifest, null, 1)}\n`);
