/**
 * Kafka's segments into an empty topic: offsets stay, damage is told, and all or nothing is there, also after a crash
 * at any write.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { open, type SegmentExport, type Topic } from "../../src/node/index.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { gzip } from "../../src/record/codec.ts";
import { stampBaseOffset } from "../../src/record/format.ts";
import { importSegments, type SegmentSource } from "../../src/store/import-segments.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import type { Volume, VolumeInfo } from "../../src/store/volume.ts";
import { fails } from "../contract/check.ts";
import { packedAs, packedBatches } from "../support/kafka-batches.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const home = mkdtempSync(path.join(os.tmpdir(), "tidemark-import-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));
let folders = 0;
const newTide = () => open(path.join(home, String(folders++)), { segmentBytes: 64 * 1024 });

/** A batch of records "FIRST+i", as a broker has it, with the epoch of an old leader. */
function batchAt(baseOffset: number, count = 3, size = 1000): Uint8Array {
  const builder = new BatchBuilder(kernel);
  for (let i = 0; i < count; i++)
    builder.tryAppend({
      key: null,
      value: new TextEncoder().encode(`${baseOffset + i} `.padEnd(size, ".")),
      timestamp: 1000 + baseOffset + i,
    });
  const bytes = builder.build({ producerId: 7, producerEpoch: 3, baseSequence: baseOffset });
  stampBaseOffset(bytes, baseOffset);
  return bytes;
}
const joined = (parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const offsetsOf = async (topic: Topic<string>, from?: number): Promise<number[]> => {
  const found: number[] = [];
  for await (const { offset, value, timestamp } of topic.read(from === undefined ? {} : { from })) {
    expect([parseInt(value!), timestamp]).toEqual([offset, 1000 + offset]);
    found.push(offset);
  }
  return found;
};
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
const textTopic = (tide: Awaited<ReturnType<typeof newTide>>, name = "t") =>
  tide.topic<string>(name, { serializer: "text" });

/** Two files of a partition whose first 100 offsets are gone. */
const first = joined(range(0, 20).map((i) => batchAt(100 + 3 * i)));
const second = joined(range(20, 60).map((i) => batchAt(100 + 3 * i)));
const FILES = [
  { name: "00000000000000000160.log", log: new Blob([second as Uint8Array<ArrayBuffer>]) },
  { name: "00000000000000000100.log", log: first },
];
const ALL = range(100, 280);

describe("importSegments", () => {
  it("keeps offsets, times and bytes, whatever the order of the files, and the topic goes on behind", async () => {
    const tide = await newTide();
    const topic = textTopic(tide);
    const result = await topic.importSegments(FILES);
    expect(result).toEqual({ batches: 60, records: 180, firstOffset: 100, nextOffset: 280, damage: [] });
    expect(await offsetsOf(topic)).toEqual(ALL);
    expect(await offsetsOf(topic, 200)).toEqual(range(200, 280));
    const { logStartOffset, segments, quarantined } = await topic.state();
    expect([logStartOffset, quarantined, segments.length > 3]).toEqual([100, [], true]);
    expect((await topic.explainSeek({ timestamp: 1150 }))!.offset).toBe(150);
    expect(await topic.append({ value: "280", timestamp: 1280 })).toMatchObject({ offset: 280 });
    expect(await tide.topics()).toEqual(["t"]);
    const folder = tide.name;
    await tide.close();
    await using again = await open(folder);
    expect(await offsetsOf(textTopic(again))).toEqual([...ALL, 280]);
    expect((await fails("INVALID_ARGUMENT", textTopic(again).importSegments(FILES))).details).toMatchObject({
      reason: "filled",
    });
  });

  it("fills a topic that is there and empty, with its settings, and readers that wait go on", async () => {
    await using tide = await newTide();
    const topic = tide.topic<string>("t", { serializer: "text", retention: { maxRecords: 10_000 } });
    await fails("OFFSET_CONFLICT", topic.append({ value: "0" }, { ifEnd: 5 }));
    const ended = new AbortController();
    const reading = (async () => {
      const seen: number[] = [];
      for await (const { offset } of topic.read({ follow: true, signal: ended.signal }))
        if (seen.push(offset) === 31) ended.abort();
      return seen;
    })();
    await topic.importSegments([joined(range(0, 10).map((i) => batchAt(3 * i)))]);
    await topic.append({ value: "30", timestamp: 1030 });
    expect((await topic.state()).settings).toEqual({ retention: { maxRecords: 10_000 } });
    expect(await offsetsOf(topic)).toEqual(range(0, 31));
    expect(await reading).toEqual(range(0, 31));
  });

  it("several at once go one after the other: into topics of their own, and into one", async () => {
    await using tide = await newTide();
    const topics = ["a", "b", "c"].map((name) => textTopic(tide, name));
    const all = await Promise.all(topics.map((topic) => topic.importSegments(FILES)));
    expect(all.map(({ records }) => records)).toEqual([180, 180, 180]);
    for (const topic of topics) expect(await offsetsOf(topic)).toEqual(ALL);
    const one = textTopic(tide, "d");
    const twice = await Promise.allSettled([
      one.importSegments([{ name: "bad.log", log: first.slice(0, -1) }]),
      one.importSegments(FILES),
      one.importSegments(FILES),
    ]);
    expect(twice.map((each) => (each.status === "fulfilled" ? each.value.records : each.reason.code))).toEqual([
      "INVALID_BATCH",
      180,
      "INVALID_ARGUMENT",
    ]);
    expect(await offsetsOf(one)).toEqual(ALL);
    expect(await tide.topics()).toEqual(["a", "b", "c", "d"]);
  });

  it("takes what export() gives, holes of compaction too", async () => {
    await using tide = await newTide();
    const topic = tide.topic<string>("from", { serializer: "text", compaction: true });
    for (let i = 0; i < 300; i++)
      await topic.append({ key: `k${i % 20}`, value: `${i} `.padEnd(900, "."), timestamp: 1000 + i });
    await topic.roll();
    await topic.clean();
    const before = await offsetsOf(topic);
    expect(before.length).toBeLessThan(100);
    const files: SegmentExport[] = [];
    for await (const each of topic.export()) files.push(each);
    const copy = textTopic(tide, "to");
    const { nextOffset, damage } = await copy.importSegments(files);
    expect([nextOffset, damage]).toEqual([300, []]);
    expect(await offsetsOf(copy)).toEqual(before);
    const again: SegmentExport[] = [];
    for await (const each of copy.export()) again.push(each);
    expect(joined(again.map(({ log }) => log))).toEqual(joined(files.map(({ log }) => log)));
  });

  it("refuses damage and says where; with damage: skip it takes what is whole and tells the rest", async () => {
    await using tide = await newTide();
    const topic = textTopic(tide);
    const size = batchAt(0).length;
    const flipped = first.slice();
    flipped[5 * size + 300]! ^= 1;
    const torn = second.slice(0, -10);
    // A page of zeros at a file's beginning is damage, and no message of format 0.
    const lost = { name: "lost.log", log: first.slice().fill(0, 0, size) };
    const whole = textTopic(tide, "whole");
    const { details } = await fails("INVALID_BATCH", whole.importSegments([lost]));
    expect(details).toMatchObject({ file: "lost.log", position: 0, bytes: size });
    expect((await whole.importSegments([lost], { damage: "skip" })).batches).toBe(first.length / size - 1);
    const error = await fails("INVALID_BATCH", topic.importSegments([{ name: "a.log", log: flipped }]));
    expect(error.details).toMatchObject({ file: "a.log", position: 5 * size, from: 115, to: 118 });
    expect(await offsetsOf(topic)).toEqual([]);
    const files = [
      { name: "a.log", log: flipped },
      { name: "b.log", log: torn },
    ];
    const { damage, records } = await topic.importSegments(files, { damage: "skip" });
    expect(damage).toEqual([
      { file: "a.log", position: 5 * size, bytes: size, reason: expect.any(String) as string, from: 115, to: 118 },
      { file: "b.log", position: 39 * size, bytes: size - 10, reason: "BAD_LENGTH", from: 277, to: undefined },
    ]);
    expect([records, await offsetsOf(topic)]).toEqual([174, [...range(100, 115), ...range(118, 277)]]);
  });

  it("refuses a batch of gzip whose checksum is right and whose content can't be read, as damage", async () => {
    await using tide = await newTide();
    const topic = textTopic(tide);
    const packed = await packedBatches(kernel, 0);
    const positions = packed.map((_, i) => joined(packed.slice(0, i)).length);
    for (const i of [1, 2, 3, 4]) {
      const files = [{ name: "a.log", log: joined([packed[0]!, packed[i]!]) }];
      const { details, message } = await fails("INVALID_BATCH", topic.importSegments(files));
      const reason = i === 4 ? expect.stringMatching(/^BAD_(?!GZIP)/) : "BAD_GZIP";
      const bytes = packed[i]!.length;
      expect(details).toEqual({ file: "a.log", position: positions[1], bytes, reason, from: 3 * i, to: 3 * i + 3 });
      expect(message).toMatch(
        /^INVALID_BATCH: a\.log is damaged at byte \d+ \(BAD_\w+\), offset \d+: nothing was taken/,
      );
      expect((await topic.state()).logEndOffset).toBe(0);
    }
    const bomb = packedAs(kernel, batchAt(0), await gzip(new Uint8Array(3 * 1024 * 1024)));
    const limit = await fails("DECOMPRESSION_LIMIT", topic.importSegments([{ name: "b.log", log: bomb }]));
    expect([limit.details["file"], limit.details["position"]]).toEqual(["b.log", 0]);
    const { damage, ...taken } = await topic.importSegments([joined(packed)], { damage: "skip" });
    expect(taken).toEqual({ batches: 2, records: 6, firstOffset: 0, nextOffset: 18 });
    expect(damage.map(({ position, from, to }) => [position, from, to])).toEqual(
      [1, 2, 3, 4].map((i) => [positions[i], 3 * i, 3 * i + 3]),
    );
    expect(await offsetsOf(topic)).toEqual([0, 1, 2, 15, 16, 17]);
    const end = textTopic(tide, "end");
    expect(await end.importSegments([joined(packed.slice(0, 3))], { damage: "skip" })).toMatchObject({ nextOffset: 3 });
    expect(await end.append({ value: "3", timestamp: 1003 })).toMatchObject({ offset: 3 });
    expect(await offsetsOf(end)).toEqual([0, 1, 2, 3]);
  });

  it("refuses what can't be read, and arguments that are wrong, by name", async () => {
    await using tide = await newTide();
    const topic = textTopic(tide);
    const zstd = batchAt(0);
    zstd[22] = 4;
    new DataView(zstd.buffer).setUint32(17, kernel.crc32c(zstd.subarray(21)));
    const transactional = batchAt(0);
    transactional[22] = 16;
    new DataView(transactional.buffer).setUint32(17, kernel.crc32c(transactional.subarray(21)));
    for (const log of [zstd, transactional]) await fails("UNSUPPORTED_FORMAT", topic.importSegments([log]));
    for (const files of [undefined, 7, [7], [{ log: "x" }], new Uint8Array(9)])
      await fails("INVALID_ARGUMENT", topic.importSegments(files as never));
    await fails("INVALID_ARGUMENT", topic.importSegments([first], { damage: "maybe" as never }));
    expect(await topic.importSegments([])).toMatchObject({ batches: 0 });
    expect(await topic.importSegments([new Uint8Array(4096)])).toMatchObject({ batches: 0, damage: [] });
  });
});

/** Ends the process, as far as the store can tell, at its n-th write or flush. */
class EndingVolume implements Volume {
  readonly #volume: MemoryVolume;
  #left: number;

  constructor(volume: MemoryVolume, left: number) {
    this.#volume = volume;
    this.#left = left;
  }
  #step(): void {
    if (this.#left-- <= 0) throw new Error("the process has ended");
  }
  get info(): VolumeInfo {
    return this.#volume.info;
  }
  get slotCount(): number {
    return this.#volume.slotCount;
  }
  get slotBytes(): number {
    return this.#volume.slotBytes;
  }
  addSlots(count: number): Promise<void> {
    return this.#volume.addSlots(count);
  }
  prepare(slot: number): Promise<void> {
    return this.#volume.prepare(slot);
  }
  async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    this.#step();
    return this.#volume.write(slot, position, bytes);
  }
  read(slot: number, position: number, target: Uint8Array): Promise<number> {
    return this.#volume.read(slot, position, target);
  }
  handOver(): Promise<void> {
    return this.#volume.handOver();
  }
  async flush(): Promise<void> {
    this.#step();
    return this.#volume.flush();
  }
  checkAttached(): Promise<boolean> {
    return this.#volume.checkAttached();
  }
  close(): Promise<void> {
    return this.#volume.close();
  }
}

describe("a crash during an import", () => {
  const sources: SegmentSource[] = [first, second].map((bytes, i) => ({
    name: `${i}.log`,
    bytes: bytes.length,
    read: async (from, length) => bytes.subarray(from, from + length),
  }));
  const run = async (store: SegmentStore) => {
    const log = await store.log("t-0");
    return importSegments(
      store,
      log,
      sources,
      {},
      (work) => work(),
      () => new Uint8Array(0),
    );
  };
  const opened = (volume: Volume) => SegmentStore.open({ volume, kernel, now: () => 1, newId: () => "tide" });

  it("at any of its writes leaves the topic empty, or whole; the next import takes it all", async () => {
    const outcomes = { empty: 0, whole: 0 };
    for (let step = 0; ; step++) {
      const memory = new MemoryVolume({ slotBytes: 64 * 1024 });
      await (await opened(memory)).log("t-0");
      const done = await opened(new EndingVolume(memory, step + 8))
        .then(run)
        .then(
          () => true,
          () => false,
        );
      const store = await opened(memory);
      const log = await store.log("t-0");
      const found: number[] = [];
      for await (const header of log.headers(0)) found.push(header.baseOffset);
      if (found.length === 0) {
        expect(done).toBe(false);
        outcomes.empty++;
        expect(await run(store)).toMatchObject({ records: 180 });
      } else {
        outcomes.whole++;
        expect([found.length, log.logStartOffset, log.logEndOffset]).toEqual([60, 100, 280]);
      }
      if (done) break;
    }
    expect(outcomes.empty).toBeGreaterThan(15);
    expect(outcomes.whole).toBeGreaterThan(1);
  });
});
