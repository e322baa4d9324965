/**
 * Segments exported as Kafka's three files: their bytes written by hand, the rules that Kafka asserts, its look-up by
 * time, and an independent reader.
 */
import { describe, expect, it } from "vitest";
import { decodeFooter, FOOTER_BYTES } from "../../src/store/footer.ts";
import { exportSegment } from "../../src/browser/tools/inspect.ts";
import { type KafkaFiles, kafkaFiles, stampBaseOffset, stampLeaderEpoch } from "../../src/index.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { readHeader } from "../../src/record/format.ts";
import { decodeBatch, type RecordBatch, splitBatches } from "../../src/record/record-batch.ts";
import { indexesOf } from "../../src/store/inspect.ts";
import { readExactly } from "../../src/store/volume.ts";
import { fails } from "../contract/check.ts";
import { kafkaFetch, kafkaRead } from "../golden/kafkajs.ts";
import { fixture, kernel } from "./log-fixtures.ts";

const T0 = 1_700_000_000_000;

function batchOf(timestamps: readonly number[], bytes = 20): Uint8Array {
  const builder = new BatchBuilder(kernel);
  for (const timestamp of timestamps) builder.tryAppend({ key: null, value: new Uint8Array(bytes), timestamp });
  return builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
}

interface Exported extends KafkaFiles {
  readonly baseOffset: number;
}

/** Writes these batches to a log, opens it `opens` times, and exports each segment. */
async function exported(
  batches: readonly (readonly number[])[],
  bytes = 20,
  opens = 1,
  leaderEpoch?: number,
): Promise<{ files: Exported[]; made: Awaited<ReturnType<typeof fixture>> }> {
  const made = await fixture();
  for (let open = 1; open < opens; open++) await made.reopen();
  for (const timestamps of batches) await made.log.append(batchOf(timestamps, bytes));
  const store = await made.store.log("t-0");
  const files: Exported[] = [];
  for (const { baseOffset } of store.segments())
    files.push({
      baseOffset,
      ...(await exportSegment(store, { baseOffset, ...(leaderEpoch !== undefined && { leaderEpoch }) })),
    });
  return { files, made };
}

const entriesOf = (bytes: Uint8Array, size: number): [number, number][] => {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return Array.from({ length: bytes.length / size }, (_, i) =>
    size === 8
      ? [view.getInt32(i * 8), view.getInt32(i * 8 + 4)]
      : [Number(view.getBigInt64(i * 12)), view.getInt32(i * 12 + 8)],
  );
};
const offsetsOf = ({ index }: KafkaFiles) => entriesOf(index, 8);
const timesOf = ({ timeindex }: KafkaFiles) => entriesOf(timeindex, 12);

/**
 * ListOffsets by time, as a broker answers it from these files (UnifiedLog.fetchOffsetByTimestamp,
 * LogSegment.findOffsetByTimestamp).
 */
async function brokerSeek(files: readonly Exported[], wanted: number): Promise<number> {
  const segment = files.find((each) => (timesOf(each).at(-1)?.[0] ?? -1) >= wanted);
  if (!segment) return -1;
  const after = timesOf(segment).findLast(([time]) => time <= wanted)?.[1] ?? 0;
  const position = offsetsOf(segment).findLast(([offset]) => offset <= after)?.[1] ?? 0;
  for (const bytes of splitBatches(segment.log.subarray(position))) {
    if (readHeader(bytes).maxTimestamp < wanted) continue;
    const batch = (await decodeBatch(kernel, bytes)) as RecordBatch;
    for (let i = 0; i < batch.count; i++) if (batch.timestampAt(i) >= wanted) return batch.offsetAt(i);
  }
  return -1;
}

const SHAPES: readonly (readonly [string, readonly (readonly number[])[], number])[] = [
  ["one record a batch, several segments", Array.from({ length: 1500 }, (_, i) => [T0 + i]), 40],
  [
    "batches of ten",
    Array.from({ length: 300 }, (_, i) => Array.from({ length: 10 }, (_, at) => T0 + i * 10 + at)),
    60,
  ],
  ["a segment below 4,097 bytes", [[T0, T0 + 3], [T0 + 7]], 20],
  [
    "times that go back and forth",
    Array.from({ length: 400 }, (_, i) => [T0 + ((i * 7919) % 400), T0 + ((i * 104_729) % 400)]),
    100,
  ],
  ["the same time throughout", Array.from({ length: 300 }, () => [T0, T0]), 100],
  ["the youngest first", Array.from({ length: 300 }, (_, i) => [T0 + 1000 - i]), 150],
];

describe("files of a segment", () => {
  it.each(SHAPES)("a broker finds every time in them: %s", async (_, batches, bytes) => {
    const { files } = await exported(batches, bytes);
    const records = batches.flat();
    const youngest = Math.max(...records);
    for (let time = Math.min(...records) - 1; time <= youngest + 1; time++) {
      expect(await brokerSeek(files, time), `time ${time - T0}`).toBe(
        records.findIndex((timestamp) => timestamp >= time),
      );
    }
  });

  it.each(SHAPES)(
    "entries rise as Kafka asserts, and the last one is the largest time: %s",
    async (_, batches, bytes) => {
      const { files, made } = await exported(batches, bytes);
      const store = await made.store.log("t-0");
      const timestamps = batches.flat();
      for (const each of files) {
        const { baseOffset, log } = each;
        const times = timesOf(each);
        const offsets = offsetsOf(each);
        const next = readHeader([...splitBatches(log)].at(-1)!);
        const own = timestamps.slice(baseOffset, next.baseOffset + next.lastOffsetDelta + 1);
        expect(times.at(-1)![0]).toBe(Math.max(...own));
        for (const [i, [time, offset]] of times.entries()) {
          if (i > 0) expect([time > times[i - 1]![0], offset >= times[i - 1]![1]]).toEqual([true, true]);
          expect(Math.max(...own.slice(0, offset + 1)), "nothing up to there is younger").toBe(time);
        }
        for (const [i, [offset, position]] of offsets.entries()) {
          if (i > 0) expect([offset > offsets[i - 1]![0], position > offsets[i - 1]![1]]).toEqual([true, true]);
          const header = readHeader(log, position);
          expect(header.baseOffset + header.lastOffsetDelta - baseOffset).toBe(offset);
        }
        const stored = await indexesOf(store, baseOffset);
        expect(each.index).toEqual(stored.offsetIndex);
        expect(each.timeindex.subarray(0, stored.timeIndex.length)).toEqual(stored.timeIndex);
        expect(each.timeindex.length - stored.timeIndex.length).toBeLessThanOrEqual(12);
      }
    },
  );

  it("byte for byte", () => {
    // Three batches of 2,100 bytes: an entry is due after 4,096 bytes, and the next batch then begins at 4,200.
    const size = 2100 - batchOf([T0], 1000).length + 1000;
    const batches = [batchOf([T0 + 5], size), batchOf([T0 + 9], size), batchOf([T0 + 7], size), batchOf([T0 + 12], 20)];
    batches.forEach((batch, i) => stampBaseOffset(batch, 100 + i));
    for (const batch of batches) stampLeaderEpoch(batch, 77);
    expect(batches.slice(0, 3).map(({ length }) => length)).toEqual([2100, 2100, 2100]);
    const { name, log, index, timeindex } = kafkaFiles(kernel, Uint8Array.from(batches.flatMap((batch) => [...batch])));
    expect(name).toBe("00000000000000000100");
    expect(Buffer.from(index).toString("hex")).toBe("00000002" + "00001068");
    const time = (at: number) => (T0 + at).toString(16).padStart(16, "0");
    expect(Buffer.from(timeindex).toString("hex")).toBe(time(9) + "00000001" + time(12) + "00000003");
    expect([...splitBatches(log)].map((batch) => readHeader(batch).leaderEpoch)).toEqual([0, 0, 0, 0]);
    expect(
      batches.map((batch) => readHeader(batch).leaderEpoch),
      "what was given stays as it is",
    ).toEqual([77, 77, 77, 77]);
  });

  it.each([
    [undefined, 0],
    [0, 0],
    [2, 2],
    [2 ** 31 - 1, 2 ** 31 - 1],
  ])(
    "asked for leader epoch %s every batch has %i, whatever the tide's is; a reader of Kafka's takes them",
    async (asked, has) => {
      const batches = Array.from({ length: 120 }, (_, i) => [T0 + i, T0 + i + 1]);
      const { files, made } = await exported(batches, 300, 30, asked);
      expect(made.log.leaderEpoch).toBeGreaterThan(29);
      let offset = 0;
      for (const { log } of files) {
        for (const bytes of splitBatches(log)) {
          const batch = await kafkaRead(bytes);
          expect([batch.partitionLeaderEpoch, Number(batch.firstOffset)]).toEqual([has, offset]);
          offset += batch.records.length;
          expect(kernel.validateBatch(bytes)).toBe(0);
        }
      }
      expect(offset).toBe(240);
      expect((await kafkaFetch(files[0]!.log)).map(({ timestamp }) => Number(timestamp)).slice(0, 4)).toEqual([
        T0,
        T0 + 1,
        T0 + 1,
        T0 + 2,
      ]);
    },
  );

  it("are made of a whole stored segment, with its sections and footer, as object storage has it", async () => {
    const { files, made } = await exported(
      Array.from({ length: 1500 }, (_, i) => [T0 + i]),
      40,
    );
    const [segment] = (await made.store.log("t-0")).segments();
    const { slot, bodyPosition, bytes, offsetEntries, timeEntries } = segment!;
    const sections = offsetEntries * 8 + timeEntries * 12;
    const whole = async (producers: number) =>
      readExactly(made.volume, slot!, bodyPosition!, bytes + sections + producers + FOOTER_BYTES);
    const producers = Array.from({ length: 200 }, (_, at) => at);
    for (const size of producers) {
      const stored = await whole(size);
      if (!decodeFooter(kernel, stored.subarray(-FOOTER_BYTES))) continue;
      const { baseOffset: _, ...wanted } = files[0]!;
      expect(kafkaFiles(kernel, stored)).toEqual(wanted);
      return;
    }
    expect.unreachable("no footer was found");
  });

  it("are empty without batches, are not made of damage, and wrong options are refused by name", async () => {
    expect(kafkaFiles(kernel, new Uint8Array(0), { baseOffset: 7 })).toEqual({
      name: "00000000000000000007",
      log: new Uint8Array(0),
      index: new Uint8Array(0),
      timeindex: new Uint8Array(0),
    });
    const batch = batchOf([T0, T0 + 1]);
    for (const damaged of [
      batch.subarray(1),
      batch.subarray(0, -1),
      batch.map((byte, at) => (at === 70 ? byte ^ 1 : byte)),
      Uint8Array.from([...batch, ...batch]),
    ]) {
      await fails("INVALID_BATCH", () => kafkaFiles(kernel, damaged));
    }
    for (const leaderEpoch of [-1, 0.5, 2 ** 31, Number.NaN, "1" as never]) {
      expect((await fails("INVALID_ARGUMENT", () => kafkaFiles(kernel, batch, { leaderEpoch }))).message).toContain(
        "leaderEpoch must be",
      );
    }
    await fails("INVALID_ARGUMENT", () => kafkaFiles(kernel, batch, { baseOffset: -1 }));
  });
});
