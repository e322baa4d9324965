/** Settings and deletion of a log in the store: both are durable, and a new log never shows a deleted one's records. */
import { deleted } from "../../src/browser/worker/topics.ts";
import { describe, expect, it } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { CATALOG_SLOTS } from "../../src/store/volume.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { deleteLog } from "../../src/store/trim-and-replace.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import type { Volume } from "../../src/store/volume.ts";
import { fails } from "../contract/check.ts";
import { makeBatch } from "../contract/store-contract.ts";
import { FragileVolume } from "./fragile-volume.ts";
import { batchOf, fixture, kernel } from "./log-fixtures.ts";

const SLOT = 32 * 1024;
const open = (volume: Volume, id?: string) =>
  SegmentStore.open({ volume, kernel, now: () => 1, newId: () => "made", id });
const memory = () => new MemoryVolume({ slotBytes: SLOT });

async function fill(store: SegmentStore, name: string, batches: number): Promise<void> {
  const log = await store.log(name);
  for (let i = 0; i < batches; i++) await log.append([makeBatch(kernel, log.logEndOffset, 10, 200)]);
  await log.flush();
}

describe("settings of a log", () => {
  it("are stored when it is made, and are there when it is opened again", async () => {
    const volume = memory();
    const store = await open(volume);
    await store.log("a", { retention: { maxBytes: 7 } });
    await store.log("b");
    await (await store.log("b")).saveSettings({ segmentMaxAgeMs: 5 });
    // Opening an existing log with other settings does not change them.
    await store.log("a", { retention: {} });
    for (const again of [store, await open(volume), await open(volume)]) {
      expect((await again.find("a"))!.settings).toEqual({ retention: { maxBytes: 7 } });
      expect((await again.find("b"))!.settings).toEqual({ segmentMaxAgeMs: 5 });
    }
  });

  it("outlive rolls and trims", async () => {
    const volume = memory();
    const store = await open(volume);
    const log = await store.log("a", { recordBytesMax: 100 });
    await fill(store, "a", 40);
    await log.trim(log.segments()[1]!.baseOffset);
    expect((await (await open(volume)).find("a"))!.settings).toEqual({ recordBytesMax: 100 });
  });

  it("a catalog of an earlier version, without id, births and settings, is read and gets an id", async () => {
    const volume = memory();
    const old = await SegmentStore.open({ volume, kernel, now: () => 1 });
    await old.log("a");
    await old.close();
    const store = await open(volume);
    expect([store.id, (await store.find("a"))!.settings]).toEqual(["made", undefined]);
    expect((await open(volume, "made")).names()).toEqual(["a"]);
  });
});

describe("a deleted log", () => {
  it("is removed with its slots, and code that still holds it is refused", async () => {
    const volume = memory();
    const store = await open(volume);
    await fill(store, "a", 60);
    const { slotCount } = volume;
    const log = (await store.find("a"))!;
    await deleteLog(log);
    expect(store.names()).toEqual([]);
    const typed = await fails("UNKNOWN_TOPIC", log.append([makeBatch(kernel, 600, 1)]));
    expect(typed.details["deleted"]).toBe(true);
    for (const refused of [
      log.read(0, 100, 600),
      log.flush(),
      log.roll(),
      log.trim(1),
      log.saveSettings({}),
      deleteLog(log),
    ])
      await fails("UNKNOWN_TOPIC", refused);
    await fill(store, "b", 60);
    expect(volume.slotCount).toBe(slotCount);
    expect((await open(volume)).names()).toEqual(["b"]);
  });

  it("of a deleted log's name begins at 0, has a later birth, and shows nothing of the one before", async () => {
    const volume = memory();
    const store = await open(volume);
    await fill(store, "a", 60);
    const { born } = (await store.find("a"))!;
    await deleteLog((await store.find("a"))!);
    await store.log("a");
    for (const now of [store, await open(volume)]) {
      const log = (await now.find("a"))!;
      expect([log.logStartOffset, log.logEndOffset, log.segments().length, log.settings]).toEqual([0, 0, 1, undefined]);
      expect(log.born).toBeGreaterThan(born!);
      expect((await log.read(0, 1000, 1000)).bytes).toHaveLength(0);
    }
  });

  it("names and births are never the same twice, whatever is made in between", async () => {
    const store = await open(memory());
    const births: number[] = [];
    for (let turn = 0; turn < 5; turn++) {
      births.push((await store.log("a")).born!);
      if (turn % 2) await store.log(`other-${turn}`);
      await deleteLog((await store.find("a"))!);
    }
    expect(births).toEqual([...new Set(births)].sort((a, b) => a - b));
  });
});

describe("death at every operation", () => {
  type Life = "absent" | { readonly end: number; readonly settings: unknown };
  /** Runs the history, and calls `now` with what a crash may leave from then on. */
  async function life(volume: Volume, now: (...found: Life[]) => void): Promise<void> {
    const store = await open(volume);
    const first = { end: 0, settings: { retention: { maxBytes: 1 } } };
    now("absent", first);
    const log = await store.log("t", first.settings);
    now(first);
    const filled = { ...first, end: 300 };
    now(...Array.from({ length: 31 }, (_, i) => ({ ...first, end: i * 10 })));
    await fill(store, "t", 30);
    now(filled);
    const changed = { ...filled, settings: { segmentMaxAgeMs: 9 } };
    now(filled, changed);
    await log.saveSettings(changed.settings);
    now(changed);
    now(changed, "absent");
    await deleteLog(log);
    now("absent");
    const again = { end: 0, settings: undefined };
    now("absent", again);
    await store.log("t");
    now(again);
    now(again, { ...again, end: 10 });
    await fill(store, "t", 1);
    now({ ...again, end: 10 });
  }

  it("finds the old or the new settings, and the log or none; never old records in a new log", async () => {
    const whole = new FragileVolume({ slotBytes: SLOT });
    await life(whole, () => undefined);
    expect(whole.operations).toBeGreaterThan(60);
    for (let left = 4; left < whole.operations; left++) {
      const volume = new FragileVolume({ slotBytes: SLOT });
      volume.left = left;
      let allowed: readonly Life[] = ["absent"];
      await life(volume, (...found) => (allowed = found)).catch(() => undefined);
      const powerCut = await volume.afterPowerCut();
      volume.left = Infinity;
      for (const [kind, survivor] of [
        ["kill", volume],
        ["power cut", powerCut],
      ] as const) {
        const store = await open(survivor);
        const log = await store.find("t");
        const found: Life = log ? { end: log.logEndOffset, settings: log.settings } : "absent";
        expect(allowed, `${kind} at operation ${left}`).toContainEqual(found);
        // Each record belongs to the log that the settings name.
        if (log)
          for (let at = 0; at < log.logEndOffset;) at = (await log.read(at, 4000, log.logEndOffset, true)).nextOffset;
      }
    }
  });
});

describe("a volume that is not the one expected", () => {
  it("is refused when it is new (nothing is made in it) or another one, and accepted when it is the same", async () => {
    const empty = memory();
    expect((await fails("CLOSED", open(empty, "mine"))).details["reason"]).toBe("cleared");
    expect(empty.slotCount).toBe(0);
    const blank = new MemoryVolume({ slotBytes: SLOT, slots: CATALOG_SLOTS + 1 });
    await fails("CLOSED", open(blank, "mine"));
    expect((await open(blank)).recovery.formatted).toBe(true);
    await fails("CLOSED", open(blank, "mine"));
    expect((await open(blank, "made")).recovery.formatted).toBe(false);
  });
});

describe("a log at work", () => {
  it("takes new settings at once: limits, age and retention", async () => {
    const { log, clock } = await fixture();
    await log.append(batchOf(["=1"]));
    expect((await log.clean()).rolled).toBe(false);
    log.configure({ segmentMaxAgeMs: 10, recordBytesMax: 100 });
    await fails("RECORD_TOO_LARGE", log.append(batchOf([`=${"x".repeat(200)}`])));
    clock.time += 10;
    expect((await log.clean()).rolled).toBe(true);
    await fails("INVALID_ARGUMENT", (async () => log.configure({ segmentMaxAgeMs: -1 }))());
    expect(log.settings.segmentMaxAgeMs).toBe(10);
  });

  it("that is deleted: commits under way are acked, later calls are UNKNOWN_TOPIC, waiting reads end", async () => {
    const made = await fixture();
    const { log, store, volume } = made;
    await log.append(batchOf(["=1"]));
    // Reads that wait at the log's end.
    const waiting = log.fetch(1, { wait: true }).then(() => log.fetch(2, { wait: true }));
    const ended = fails("UNKNOWN_TOPIC", waiting);
    let flush: () => void = () => undefined;
    volume.gate = new Promise((resolve) => (flush = resolve));
    const { flushes } = volume;
    const underWay = log.append(batchOf(["=2"]));
    while (volume.flushes === flushes) await Promise.resolve();
    const deleting = log.delete(async () => deleteLog((await store.find("t-0"))!), deleted("t"));
    const behind = [log.append(batchOf(["=3"])), log.append(batchOf(["=4"]), { acks: "written" })];
    const refused = Promise.all([
      ...behind.map((each) => fails("UNKNOWN_TOPIC", each)),
      fails("UNKNOWN_TOPIC", log.clean()),
    ]);
    volume.gate = undefined;
    flush();
    expect((await underWay).baseOffset).toBe(1);
    await ended;
    await deleting;
    await refused;
    for (const late of [
      log.append(batchOf(["=5"])),
      log.fetch(0),
      log.trim(0),
      log.delete(async () => undefined, deleted("t")),
    ])
      await fails("UNKNOWN_TOPIC", late);
    await log.close();
    await made.reopen();
    expect(made.log.logEndOffset).toBe(0);
  });

  it("that could not be deleted keeps working, unless the store failed", async () => {
    const { log } = await fixture();
    await fails(
      "LIMIT_EXCEEDED",
      log.delete(() => Promise.reject(new TidemarkError("LIMIT_EXCEEDED", "the catalog is full")), deleted("t")),
    );
    expect((await log.append(batchOf(["=1"]))).baseOffset).toBe(0);
  });
});
