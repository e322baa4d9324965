/** What a topic had before it became synced, and the edge would refuse: all of it is found before the first push. */
import { expect, it } from "vitest";
import { Log } from "../../src/log/log.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { compressBatch } from "../../src/record/codec.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { adoptedLook } from "../../src/sync/adopted.ts";
import { becomeSynced } from "../../src/sync/become-synced.ts";
import { TopicStorage } from "../../src/sync/topic-storage.ts";
import { clock, EDGE, TOPIC } from "../contract/synced-fixture.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const LIMITS = { batchBytes: 1_048_588, recordBytes: 1_048_527, frameBytes: 1 << 20, batches: 1_000, records: 65_536 };
const ID = "00000000000000a1";
const TAIL = "they were here before sync(), and unblock() sets them aside or discards them";

interface Made {
  readonly records?: number;
  readonly bytes?: number;
  readonly header?: string;
  readonly isPacked?: boolean;
}

async function batchOf({ records = 1, bytes = 1, header, isPacked = false }: Made): Promise<Uint8Array> {
  const builder = new BatchBuilder(kernel);
  const headers = header === undefined ? [] : [[header, null] as const];
  for (let i = 0; i < records; i++)
    builder.tryAppend({ key: null, value: new Uint8Array(bytes), headers, timestamp: 1 });
  const batch = builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
  return isPacked ? compressBatch(kernel, batch) : batch;
}

/** A topic with these batches, which becomes synced. */
async function adopted(...batches: readonly Made[]): Promise<TopicStorage> {
  const volume = new MemoryVolume({ slotBytes: 4 * 1024 * 1024 });
  const store = await SegmentStore.open({ volume, kernel, now: clock.now });
  const log = await Log.open({ store: await store.log(`${TOPIC}-0`), kernel, clock });
  for (const each of batches) await log.append(await batchOf(each));
  const newOutboxId = (): string => ID;
  await becomeSynced({ topic: TOPIC, store, ...EDGE, newOutboxId, log });
  return TopicStorage.open({ topic: TOPIC, store, kernel, clock, newOutboxId });
}

/** Nothing is at the edge, and somebody waits for the answer, unless it is said. */
function lookOf(storage: TopicStorage, by: typeof kernel) {
  const look = adoptedLook(storage, by);
  return (limits: Parameters<typeof look>[0], next = 0, isLeft = (): boolean => false) => look(limits, next, isLeft);
}

const RESERVED = { header: "ds.seq" };

it("too large, too many records, a large record, a header of the edge's: each is named", async () => {
  const limits = { ...LIMITS, batchBytes: 600, recordBytes: 300, records: 4 };
  for (const [made, code, why] of [
    [{ bytes: 600 }, "BATCH_TOO_LARGE", /^a batch has 6\d\d bytes, and the edge takes 600: they/],
    [{ records: 5 }, "TOO_LARGE", /^a batch has 5 records, and the edge takes 4: they/],
    [{ records: 2, bytes: 250 }, undefined, undefined],
    [{ bytes: 400 }, "RECORD_TOO_LARGE", /^a record of 4\d\d bytes; at most 300: they/],
    [RESERVED, "BAD_REQUEST", /^a record has the header ds.seq, which is the edge's own: they/],
    [{ header: "ds.producer", isPacked: true }, "BAD_REQUEST", /^a record has the header ds.producer/],
  ] as const) {
    const look = lookOf(await adopted({}, made, {}), kernel);
    const block = await look(limits);
    expect(block?.code, String(code)).toBe(code);
    if (!why) continue;
    expect(block!.message).toMatch(why);
    expect(block!.message).toContain(TAIL);
    expect(block!.ranges).toEqual([[1, 1 + ("records" in made ? made.records : 1)]]);
  }
});

it("all runs are named at once, at most eight; the rest once those are answered", async () => {
  const storage = await adopted(...Array.from({ length: 10 }, () => [RESERVED, RESERVED, {}]).flat());
  const look = lookOf(storage, kernel);
  const runs = (from: number, to: number): number[][] =>
    Array.from({ length: to - from }, (_, i) => [3 * (from + i), 3 * (from + i) + 2]);
  const block = (await look(LIMITS))!;
  expect(block.ranges).toEqual(runs(0, 8));
  expect(block.message).toContain("and at least 7 more runs of records");
  for (const [from, to] of block.ranges) await storage.retract(from, to, "aside");
  expect(await look(LIMITS)).toMatchObject({
    ranges: runs(8, 10),
    message: expect.stringContaining("and 1 more runs"),
  });
  for (const [from, to] of runs(8, 10)) await storage.retract(from!, to!, "discarded");
  expect(await look(LIMITS)).toBeUndefined();
});

it("is looked for once in an opening and for these limits, and not in topics that began as synced", async () => {
  const storage = await adopted({}, {});
  const look = lookOf(storage, kernel);
  let reads = 0;
  const { segments } = storage.outbox;
  const read = segments.read.bind(segments);
  Object.assign(segments, { read: (...all: Parameters<typeof read>) => (reads++, read(...all)) });
  expect([await look(LIMITS), await look({ ...LIMITS }), reads]).toEqual([undefined, undefined, 1]);
  expect(await look({ ...LIMITS, batchBytes: 10 })).toMatchObject({ code: "BATCH_TOO_LARGE", ranges: [[0, 2]] });
  expect(reads).toBe(1);
  const begun = await adopted();
  expect(begun.outboxNote.adopted).toBeUndefined();
  expect(await lookOf(begun, kernel)({ ...LIMITS, batchBytes: 10 })).toBeUndefined();
});

it("damage is left to its turn", async () => {
  const storage = await adopted({}, RESERVED);
  const { segments } = storage.outbox;
  const read = segments.read.bind(segments);
  const spoiled = async (...all: Parameters<typeof read>) => {
    const found = await read(...all);
    found.bytes.fill(0xff, found.bytes.length - 2);
    return found;
  };
  Object.assign(segments, { read: spoiled });
  expect(await lookOf(storage, kernel)(LIMITS)).toBeUndefined();
});

/** What is done before each read of the outbox. */
function atReads(storage: TopicStorage, work: (count: number) => unknown): void {
  const { segments } = storage.outbox;
  const read = segments.read.bind(segments);
  let count = 0;
  const waited = async (...all: Parameters<typeof read>) => {
    await work(++count);
    return read(...all);
  };
  Object.assign(segments, { read: waited });
}

it("what is settled and trimmed meanwhile is passed over", async () => {
  const large = { bytes: 700_000 };
  const storage = await adopted({}, large, large, large, large, large, large, large, RESERVED, {});
  atReads(storage, (count) => count === 2 && storage.outbox.trim(7, {}));
  expect(await lookOf(storage, kernel)(LIMITS)).toMatchObject({ code: "BAD_REQUEST", ranges: [[8, 9]] });
});

it("what is at the edge already is not judged", async () => {
  const storage = await adopted(RESERVED, {}, RESERVED, {});
  const look = lookOf(storage, kernel);
  expect(await look(LIMITS, 1)).toMatchObject({ ranges: [[2, 3]] });
  expect(await look(LIMITS, 3)).toBeUndefined();
  // The edge was put back.
  expect(await look(LIMITS, 0)).toMatchObject({
    ranges: [
      [0, 1],
      [2, 3],
    ],
  });
});

it("one that was left ends, and the next one goes on from there: no two at once", async () => {
  const storage = await adopted(...Array.from({ length: 6 }, () => ({ bytes: 700_000 })), RESERVED);
  const look = lookOf(storage, kernel);
  let reads = 0;
  let isLeft = false;
  let next: ReturnType<typeof look> | undefined;
  atReads(storage, async (count) => {
    reads = count;
    if (count !== 3) return;
    isLeft = true;
    next = look(LIMITS);
    // Turns enough for a second scan to read.
    for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate);
    expect(reads).toBe(3);
  });
  expect(await look(LIMITS, 0, () => isLeft)).toBeUndefined();
  expect(await next).toMatchObject({ ranges: [[6, 7]] });
  // Seven batches, each read once.
  expect(reads).toBe(6);
});
