/** Logs with notes: saved together, kept over crashes, renamed without moving a byte, and what old libraries see. */
import { describe, expect, it } from "vitest";
import { Log } from "../../src/log/log.ts";
import { Catalog } from "../../src/store/catalog.ts";
import { renameLog, saveNotes } from "../../src/store/noted-logs.ts";
import { readHeader } from "../../src/record/format.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import type { SegmentedLog } from "../../src/store/segmented-log.ts";
import { deleteLog, trimSegments } from "../../src/store/trim-and-replace.ts";
import { readExactly, type Volume } from "../../src/store/volume.ts";
import { fill, makeBatch, readAll } from "../contract/log-store-contract.ts";
import { releaseKernel } from "../support/kernels.ts";
import { imagesOf } from "../worlds/images.ts";
import { type Moment, RecordingVolume } from "../worlds/recording-volume.ts";

const SLOT = 16 * 1024;
const kernel = await releaseKernel();
const open = (volume: Volume) => SegmentStore.open({ volume, kernel, now: () => 5_000, newId: () => "noted" });
const versionOf = async (volume: Volume): Promise<number> =>
  new DataView((await readExactly(volume, 0, 0, 12)).buffer).getUint32(8);
const basesOf = async (log: SegmentedLog): Promise<number[]> =>
  (await readAll(log)).map((batch) => readHeader(batch).baseOffset);
const NOTE = { v: 1, next: 7 };

describe("the catalog's version", () => {
  it("is 2 until a log has a note, 3 while one has, and 2 again", async () => {
    const volume = new RecordingVolume(SLOT);
    let store = await open(volume);
    const log = await store.log("a-0");
    expect(await versionOf(volume)).toBe(2);
    await saveNotes(store, [[log, NOTE]]);
    expect(await versionOf(volume)).toBe(3);
    await store.close();
    store = await open(volume);
    expect([await versionOf(volume), store.keptOf("a-0")?.note]).toEqual([3, NOTE]);
    await saveNotes(store, [[await store.log("a-0"), undefined]]);
    expect(await versionOf(volume)).toBe(2);
  });

  it("is 3 as well while a log has another name than its slots say", async () => {
    const volume = new RecordingVolume(SLOT);
    const store = await open(volume);
    await renameLog(store, await store.log("a-0"), "b-0", undefined);
    expect(await versionOf(volume)).toBe(3);
    await deleteLog(await store.log("b-0"));
    expect(await versionOf(volume)).toBe(2);
  });

  it("beyond 3 is refused, as 3 is by a library that knows 2", async () => {
    const volume = new RecordingVolume(SLOT);
    await open(volume);
    for (const slot of [0, 1]) {
      const head = await readExactly(volume, slot, 0, SLOT);
      const view = new DataView(head.buffer);
      view.setUint32(8, 4);
      const bytes = view.getUint32(12);
      view.setUint32(24, kernel.crc32c(head.subarray(28, 28 + bytes), kernel.crc32c(head.subarray(0, 24))));
      await volume.write(slot, 0, head);
    }
    await expect(open(volume)).rejects.toMatchObject({ code: "UNSUPPORTED_FORMAT", details: { version: 4 } });
  });
});

describe("a log that begins elsewhere", () => {
  it("takes its first batch at its base, and is found there again, empty or not", async () => {
    const volume = new RecordingVolume(SLOT);
    let store = await open(volume);
    const from = 2 ** 40;
    await store.log("a-0", undefined, { from, note: NOTE });
    // Killed with nothing in it.
    store = await open(volume);
    let log = await store.log("a-0");
    expect([log.logStartOffset, log.logEndOffset, log.note]).toEqual([from, from, NOTE]);
    await log.append([makeBatch(kernel, from, 3)]);
    await log.flush();
    store = await open(volume);
    log = await store.log("a-0");
    expect([log.logStartOffset, log.logEndOffset]).toEqual([from, from + 3]);
    expect(await basesOf(log)).toEqual([from]);
  });
});

describe("a renamed log", () => {
  it("keeps its records, in use, over openings, rolls and compaction; its first name is free", async () => {
    const volume = new RecordingVolume(SLOT);
    let store = await open(volume);
    let log = await store.log("a-0");
    await fill(kernel, log, 3);
    await log.roll();
    await fill(kernel, log, 2);
    const before = await readAll(log);
    const born = store.bornOf("a-0")!;
    await renameLog(store, log, "a-0.out", NOTE);
    expect(store.names()).toEqual(["a-0.out"]);
    // In use as before, and the new one of its first name is another log.
    await fill(kernel, log, 1);
    const other = await store.log("a-0", undefined, { from: 40 });
    await other.append([makeBatch(kernel, 40, 2)]);
    await other.flush();
    expect(store.bornOf("a-0")).toBeGreaterThan(born);
    for (const isClean of [false, true]) {
      if (isClean) await store.close();
      store = await open(volume);
      log = await store.log("a-0.out");
      expect([log.recovery.lost, log.quarantined, log.note]).toEqual([undefined, [], NOTE]);
      await log.roll();
      await fill(kernel, log, 1);
      const records = await readAll(log);
      expect(records.slice(0, before.length)).toEqual(before);
      expect(await basesOf(await store.log("a-0"))).toEqual([40]);
    }
    const [first] = log.segments();
    await log.replace(first!.baseOffset, first!.nextOffset, []);
    store = await open(volume);
    log = await store.log("a-0.out");
    expect([log.recovery.lost, log.quarantined]).toEqual([undefined, []]);
    await readAll(log);
  });

  it("goes on taking appends through the log above it", async () => {
    const volume = new RecordingVolume(SLOT);
    const store = await open(volume);
    const segments = await store.log("a-0");
    const log = await Log.open({ store: segments, kernel, clock: { now: () => 5_000 } });
    await log.append(makeBatch(kernel, 0, 2));
    const waiting = log.fetch(2, { wait: true });
    waiting.catch(() => undefined);
    await log.alone(() => renameLog(store, segments, "a-0.out", NOTE));
    expect((await log.append(makeBatch(kernel, 0, 2))).baseOffset).toBe(2);
    expect(log.name).toBe("a-0.out");
    await waiting;
  });

  it("does not take a name that is in use", async () => {
    const store = await open(new RecordingVolume(SLOT));
    const log = await store.log("a-0");
    await store.log("b-0");
    await expect(renameLog(store, log, "b-0", NOTE)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect([log.name, log.note]).toEqual(["a-0", undefined]);
  });
});

/** Everything that a power cut may leave behind each call of `work`. */
async function momentsOf(
  begin: (store: SegmentStore) => Promise<void>,
  work: (store: SegmentStore) => Promise<void>,
): Promise<Moment[]> {
  const volume = new RecordingVolume(SLOT);
  const store = await open(volume);
  await begin(store);
  const moments: Moment[] = (volume.moments = [volume.now("begin")]);
  await work(store);
  volume.moments = undefined;
  return moments;
}

interface Found {
  readonly names: readonly string[];
  readonly notes: readonly unknown[];
  readonly starts: readonly number[];
}

async function statesAfter(moments: readonly Moment[]): Promise<Found[]> {
  const found = new Map<string, Found>();
  for (const moment of moments) {
    for (const { image } of imagesOf(moment)) {
      const volume = new RecordingVolume(SLOT, image);
      const { state } = await Catalog.read(volume, kernel);
      const store = await open(volume);
      for (const name of store.names()) {
        const log = await store.log(name);
        expect([log.recovery.lost, log.quarantined]).toEqual([undefined, []]);
      }
      const logs = state!.logs;
      const one = {
        names: logs.map(({ name }) => name),
        notes: logs.map(({ note }) => note),
        starts: logs.map(({ logStartOffset }) => logStartOffset),
      };
      found.set(JSON.stringify(one), one);
    }
  }
  return [...found.values()];
}

describe("a power cut at every write", () => {
  it("leaves both notes as they were, or both new", async () => {
    const moments = await momentsOf(
      async (store) => {
        for (const name of ["a-0.out", "a-0"]) await store.log(name, undefined, { note: { v: 1 } });
      },
      async (store) => {
        const logs = await Promise.all(["a-0.out", "a-0"].map((name) => store.log(name)));
        await saveNotes(
          store,
          logs.map((log) => [log, NOTE]),
        );
      },
    );
    const found = await statesAfter(moments);
    expect(found.map(({ notes }) => notes)).toEqual([
      [{ v: 1 }, { v: 1 }],
      [NOTE, NOTE],
    ]);
  });

  it("leaves start and note as they were, or both new (W9)", async () => {
    const moments = await momentsOf(
      async (store) => {
        await fill(kernel, await store.log("a-0.out", undefined, { note: { v: 1 } }), 3);
      },
      async (store) => trimSegments(await store.log("a-0.out"), 2, NOTE),
    );
    const found = await statesAfter(moments);
    expect(found.map(({ notes, starts }) => [notes[0], starts[0]])).toEqual([
      [{ v: 1 }, 0],
      [NOTE, 2],
    ]);
  });

  it("leaves a local log, or an outbox (W16)", async () => {
    const moments = await momentsOf(
      async (store) => {
        await fill(kernel, await store.log("a-0"), 3);
      },
      async (store) => renameLog(store, await store.log("a-0"), "a-0.out", NOTE),
    );
    const found = await statesAfter(moments);
    expect(found.map(({ names, notes }) => [names, notes])).toEqual([
      [["a-0"], [undefined]],
      [["a-0.out"], [NOTE]],
    ]);
  });
});
