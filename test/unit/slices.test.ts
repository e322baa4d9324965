/**
 * Long work is done in slices, with turns for others in between, and a change of leader loses one portion of it at
 * most.
 */
import { describe, expect, it } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { Log } from "../../src/log/log.ts";
import { SLICE_BYTES } from "../../src/log/slices.ts";
import { DEFAULT_SETTINGS } from "../../src/log/limits.ts";
import { Upkeep } from "../../src/log/upkeep.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { batchOf, dump, kernel } from "./log-fixtures.ts";

const clock = { now: () => 1_764_000_000_000 };
const text = new TextEncoder();

/** A volume that counts how many bytes are read and written between two turns. */
class CountingVolume extends MemoryVolume {
  read_ = 0;
  most = 0;
  total = 0;
  override async read(slot: number, position: number, into: Uint8Array): Promise<number> {
    this.read_ += into.length;
    this.total += into.length;
    this.most = Math.max(this.most, this.read_);
    return super.read(slot, position, into);
  }
}

const KEYS = 2_000;
/** A log of 4 MiB in which each key occurs some twenty times. */
async function filled(volume: MemoryVolume, breathe?: () => Promise<void>, settings = {}) {
  const store = await SegmentStore.open({ volume, kernel, now: clock.now });
  const log = await Log.open({
    store: await store.log("t-0"),
    kernel,
    clock,
    settings: { compaction: {}, ...settings },
    ...(breathe && { breathe }),
  });
  const expected = new Map<string, string>();
  for (let i = 0; i < 400; i++) {
    const builder = new BatchBuilder(kernel);
    for (let k = 0; k < 100; k++) {
      const key = `key ${(i * 37 + k * 11) % KEYS}`;
      const value = `${i}.${k}-${"x".repeat(80)}`;
      builder.tryAppend({ key: text.encode(key), value: text.encode(value), timestamp: clock.now() });
      expected.set(key, `${i * 100 + k}:${key}=${value}`);
    }
    await log.append(builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 }));
  }
  await log.roll();
  return { store, log, expected: [...expected.values()].sort((a, b) => parseInt(a) - parseInt(b)) };
}

it("inspecting a segment with checksums lets others have turns in between", async () => {
  const volume = new MemoryVolume({ slotBytes: 8 * 1024 * 1024 });
  await filled(volume);
  let turns = 0;
  const store = await SegmentStore.open({ volume, kernel, now: clock.now, breathe: async () => void turns++ });
  const log = await Log.open({ store: await store.log("t-0"), kernel, clock });
  turns = 0;
  const { bytes } = log.segments()[0]!;
  await log.fetch(0, { verify: true });
  expect(turns).toBeGreaterThanOrEqual(Math.floor(bytes / (2 * 1024 * 1024)));
});

describe("compaction", () => {
  it("reads at most some slices between two turns of the event loop, and does all of it in one call", async () => {
    const volume = new CountingVolume({ slotBytes: 512 * 1024 });
    let turns = 0;
    const { log, expected } = await filled(volume, async () => {
      turns++;
      volume.read_ = 0;
    });
    [turns, volume.read_, volume.most, volume.total] = [0, 0, 0, 0];
    const { compacted } = await log.clean();
    expect(compacted.recordsRemoved).toBe(40_000 - KEYS);
    expect(turns, "turns for the bytes that were read").toBeGreaterThanOrEqual(volume.total / (2 * SLICE_BYTES));
    expect(volume.most, "between two turns: one read, and what finds the next").toBeLessThanOrEqual(
      1024 * 1024 + SLICE_BYTES,
    );
    expect(await dump(log)).toEqual(expected);
  });

  it("others are answered in between, in the order in which they come", async () => {
    let inClean = false;
    const order: string[] = [];
    const { log } = await filled(
      new MemoryVolume({ slotBytes: 512 * 1024 }),
      () => new Promise((resolve) => setImmediate(resolve)),
    );
    inClean = true;
    const cleaning = log.clean().then(() => {
      inClean = false;
      order.push("clean");
    });
    for (let i = 0; i < 5; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      expect(inClean, `append ${i} comes while it is under way`).toBe(true);
      await log.append(batchOf([`meanwhile${i}=1`]));
      order.push(`append ${i}`);
    }
    await cleaning;
    expect(order).toEqual(["append 0", "append 1", "append 2", "append 3", "append 4", "clean"]);
  });

  it("two calls at once are two passes, one after the other, and the second finds nothing", async () => {
    const { log, expected } = await filled(
      new MemoryVolume({ slotBytes: 512 * 1024 }),
      () => new Promise((resolve) => setImmediate(resolve)),
    );
    const [first, second] = await Promise.all([log.clean(), log.clean()]);
    expect([first.compacted.recordsRemoved, second.compacted.recordsRemoved]).toEqual([40_000 - KEYS, 0]);
    expect(await dump(log)).toEqual(expected);
  });

  it("ends when its log is closed, and leaves the log whole", async () => {
    const volume = new MemoryVolume({ slotBytes: 512 * 1024 });
    const { store, log } = await filled(volume, () => new Promise((resolve) => setImmediate(resolve)));
    const before = await dump(log);
    const cleaning = log.clean().catch((error: TidemarkError) => error.code);
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
    await log.close();
    await store.close();
    expect(await cleaning).toBe("CLOSED");
    const again = await SegmentStore.open({ volume, kernel, now: clock.now });
    expect(await dump(await Log.open({ store: await again.log("t-0"), kernel, clock }))).toEqual(before);
  });

  it("a change of leader loses one portion at most: short terms together finish the work", async () => {
    const volume = new CountingVolume({ slotBytes: 64 * 1024 });
    const { expected } = await filled(volume);
    // Each leader lives for this many turns. Some of them go by before a portion's first record is removed.
    const TURNS = 24;
    let ended = false;
    let terms = 0;
    const tos: number[] = [];
    for (; !ended && terms < 60; terms++) {
      const store = await SegmentStore.open({ volume, kernel, now: clock.now });
      const logStore = await store.log("t-0");
      let turns = 0;
      const breathe = async (): Promise<void> => {
        if (++turns > TURNS) throw new TidemarkError("CLOSED", "deposed");
      };
      const upkeep = new Upkeep({
        store: logStore,
        kernel,
        clock,
        settings: { ...DEFAULT_SETTINGS, compaction: {} },
        highWatermark: () => logStore.logEndOffset,
        alone: (work) => work(),
        breathe,
      });
      ended = await upkeep.run().then(
        () => true,
        () => false,
      );
      const { to = 0, at = 0 } = logStore.compacted ?? {};
      tos.push(to * 1e6 + at);
    }
    expect(ended, `after ${terms} terms: ${tos.join(" ")}`).toBe(true);
    expect(terms, "one term is too short").toBeGreaterThan(2);
    const store = await SegmentStore.open({ volume, kernel, now: clock.now });
    const log = await Log.open({ store: await store.log("t-0"), kernel, clock, settings: { compaction: {} } });
    expect(await dump(log)).toEqual(expected);
    volume.total = 0;
    expect((await log.clean()).compacted.segments).toBe(0);
    expect(volume.total, "what is clean is not mapped again").toBeLessThan(64 * 1024);
  });
});
