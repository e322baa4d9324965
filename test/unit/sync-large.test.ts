/** Synced topics of real sizes, over storage in memory: 100,000 holes (H19), a local log of 1,000,000 records (H32). */
import { expect, it } from "vitest";
import { Log } from "../../src/log/log.ts";
import { concat } from "../../src/record/bytes.ts";
import { nextOffsetOf, readHeader, stampBaseOffset } from "../../src/record/format.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { becomeSynced } from "../../src/sync/become-synced.ts";
import { isFiller } from "../../src/sync/fillers.ts";
import { TopicStorage } from "../../src/sync/topic-storage.ts";
import { batchOf, clock, EDGE, MOST, Synced, TOPIC } from "../contract/synced-fixture.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const SLOT_BYTES = 1024 * 1024;

it("H19: 100,000 holes are readable, take at most 61 bytes each, and change no digest", async () => {
  const HOLES = 100_000;
  const IN_A_FRAME = 1_000;
  const host = {
    kernel,
    newVolume: async (slotBytes: number) => new MemoryVolume({ slotBytes }),
    reopen: async (volume: MemoryVolume) => volume,
  };
  // Compaction has left every other batch. The frames of the second device end elsewhere.
  const [before, after] = [await Synced.make(host, {}, SLOT_BYTES), await Synced.make(host, {}, SLOT_BYTES)];
  for (const device of [before, after]) await device.join();
  const one = batchOf(kernel, ["n"], 9, 0);
  let kept = 0;
  for (let from = 0; from < 2 * HOLES; from += 2 * IN_A_FRAME) {
    const batches = Array.from({ length: IN_A_FRAME }, (_, i) => {
      const batch = one.slice();
      stampBaseOffset(batch, from + 2 * i);
      return batch;
    });
    const bytes = concat(batches);
    kept += bytes.length;
    const nextOffset = from + 2 * IN_A_FRAME;
    await before.storage.receive({ bytes: bytes.slice(), from, nextOffset });
    await after.storage.receive({ bytes: bytes.slice(0, one.length), from, nextOffset: from + 1 });
    await after.storage.receive({ bytes: bytes.slice(one.length), from: from + 1, nextOffset });
  }
  for (const { storage } of [before, after]) {
    const { log } = storage.replica!;
    let fillers = 0;
    let bytes = 0;
    let at = 0;
    for await (const header of log.headers(0)) {
      if (header.baseOffset !== at) throw new Error(`a hole at ${at}`);
      at = nextOffsetOf(header);
      bytes += header.sizeBytes;
      if (isFiller(header)) fillers++;
    }
    expect([at, fillers]).toEqual([2 * HOLES, HOLES]);
    expect(bytes - kept).toBeLessThanOrEqual(61 * HOLES);
    expect(await storage.replica!.uncovered(2 * HOLES - 4)).toEqual([
      [2 * HOLES - 3, 2 * HOLES - 2],
      [2 * HOLES - 1, 2 * HOLES],
    ]);
  }
  const digests = [before, after].map(({ storage }) => storage.replica!.digest(0, 2 * HOLES));
  expect(await digests[0]).toBe(await digests[1]);
  // A reader that asks for more and more passes over all of them.
  let records = 0;
  for (let from = 0; from < after.log.highWatermark;) {
    const { bytes, nextOffset } = await after.log.fetch(from, { maxBytes: 1 << 20 });
    records += splitBatches(bytes).filter((batch) => !isFiller(readHeader(batch))).length;
    from = nextOffset;
  }
  expect(records).toBe(HOLES);
});

it("H32: 1,000,000 records become an outbox while a tab writes: no byte is copied, none lost", async () => {
  const BATCHES = 100_000;
  const IN_A_BATCH = 10;
  const volume = new MemoryVolume({ slotBytes: SLOT_BYTES });
  const store = await SegmentStore.open({ volume, kernel, now: clock.now });
  const segments = await store.log(`${TOPIC}-0`);
  const log = await Log.open({ store: segments, kernel, clock });
  const names = Array.from({ length: IN_A_BATCH }, (_, i) => String(i));
  const one = batchOf(kernel, names, -1, -1);
  for (let i = 0; i < BATCHES - 1_000; i += 1_000) {
    const some = Array.from({ length: 1_000 }, (_, j) => {
      const batch = one.slice();
      stampBaseOffset(batch, (i + j) * IN_A_BATCH);
      return batch;
    });
    await segments.append(some);
  }
  await segments.flush();
  await log.close();
  const writing = await Log.open({ store: segments, kernel, clock });
  let written = 0;
  const images: MemoryVolume[] = [];
  const write = MemoryVolume.prototype.write.bind(volume);
  const acks: Promise<unknown>[] = [];
  const append = (): void => void acks.push(writing.append(one.slice(), { acks: "flushed" }));
  for (let i = 0; i < 500; i++) append();
  await Promise.all(acks);
  const before = segments.logEndOffset;
  // From here on each write is counted, and those of the catalog are crash points.
  let crashes = 0;
  volume.write = async (slot, position, bytes) => {
    if (crashes++ < 2) images.push(await imageOf(volume));
    written += bytes.length;
    await write(slot, position, bytes);
  };
  let draws = 0;
  const newOutboxId = (): string => (0xa0 + ++draws).toString(16).padStart(16, "0");
  const becoming = becomeSynced({ topic: TOPIC, store, ...EDGE, newOutboxId, log: writing });
  for (let i = 0; i < 500; i++) append();
  await becoming;
  await Promise.all(acks);
  volume.write = write;
  const appended = (segments.logEndOffset - before) / IN_A_BATCH;
  expect(written - appended * one.length).toBeLessThan(64 * 1024);
  expect(images.length).toBeGreaterThan(0);
  images.push(await imageOf(volume));
  const seen = new Set<string>();
  for (const image of images) {
    const again = await SegmentStore.open({ volume: image, kernel, now: clock.now });
    if (again.bornOf(`${TOPIC}-0.out`) === undefined) {
      seen.add("local");
      expect((await again.log(`${TOPIC}-0`)).logEndOffset).toBeGreaterThanOrEqual(before);
      continue;
    }
    seen.add("outbox");
    const storage = await TopicStorage.open({ topic: TOPIC, store: again, kernel, clock, newOutboxId });
    expect(storage.pending.records).toBe(BATCHES * IN_A_BATCH);
    expect(storage.outbox.batches.size).toBeLessThanOrEqual(65_536);
    const first = await storage.unsettledFrom(0, MOST);
    expect([first!.at, first!.batches.length]).toEqual([0, MOST.batches]);
    let records = 0;
    for await (const { at, end } of storage.outbox.headersOf(0)) {
      if (at !== records) throw new Error(`positions from ${records} on are missing`);
      records = end;
    }
    expect(records).toBe(BATCHES * IN_A_BATCH);
  }
  expect([...seen].sort()).toEqual(["local", "outbox"]);
});

async function imageOf(volume: MemoryVolume): Promise<MemoryVolume> {
  const copy = new MemoryVolume({ slotBytes: SLOT_BYTES, slots: volume.slotCount });
  for (let slot = 0; slot < volume.slotCount; slot++) {
    const bytes = new Uint8Array(SLOT_BYTES);
    await volume.read(slot, 0, bytes);
    await copy.write(slot, 0, bytes);
  }
  return copy;
}
