/** What opening and closing cost when most topics are not used, counted in operations of the volume. */
import { describe, expect, it } from "vitest";
import type { TideEvent } from "../../src/browser/api.ts";
import { Topics } from "../../src/browser/worker/topics.ts";
import type { Log } from "../../src/log/log.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { fails } from "../contract/check.ts";
import { fill, readAll } from "../contract/log-store-contract.ts";
import { kernel } from "./log-fixtures.ts";

const SLOT = 512 * 1024;

class CountingVolume extends MemoryVolume {
  readonly calls = { read: 0, write: 0, flush: 0, slotsFlushed: 0 };
  /** The slots that were read or written, without the catalog's. */
  readonly touched = new Set<number>();

  override async read(slot: number, position: number, target: Uint8Array): Promise<number> {
    this.calls.read++;
    if (slot > 1) this.touched.add(slot);
    return super.read(slot, position, target);
  }
  override async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    this.calls.write++;
    if (slot > 1) this.touched.add(slot);
    return super.write(slot, position, bytes);
  }
  override async flush(slots: readonly number[] = []): Promise<void> {
    this.calls.flush++;
    this.calls.slotsFlushed += slots.length;
    for (const slot of slots) if (slot > 1) this.touched.add(slot);
  }
  reset(): void {
    Object.assign(this.calls, { read: 0, write: 0, flush: 0, slotsFlushed: 0 });
    this.touched.clear();
  }
}

const open = (volume: CountingVolume): Promise<SegmentStore> =>
  SegmentStore.open({ volume, kernel, now: () => 1, newId: () => "tide" });

/** The closed volume of a tide with `count` topics that have a few records each. */
async function tideOf(topics: number): Promise<CountingVolume> {
  const volume = new CountingVolume({ slotBytes: SLOT });
  const store = await open(volume);
  for (let i = 0; i < topics; i++) await fill(kernel, await store.log(`t${i}-0`), 2);
  await store.close();
  volume.reset();
  return volume;
}

it("a tab gets one event for what a topic's first use finds lost, and none if nothing is lost", async () => {
  const volume = await tideOf(3);
  const slot = (await (await open(volume)).log("t1-0")).segments()[0]!.slot!;
  await volume.write(slot, 0, new Uint8Array(SLOT));
  const store = await open(volume);
  const told: TideEvent[] = [];
  const logs = new Map<string, Promise<Log>>();
  const topics = new Topics({
    kernel: () => kernel,
    open: async () => ({ store, logs }),
    breathe: async () => undefined,
    tell: (event) => void told.push(event),
    due: () => undefined,
  });
  await Promise.all([topics.log("t0"), topics.log("t1"), topics.log("t1")]);
  expect(told).toMatchObject([
    {
      type: "recovery",
      report: [
        {
          log: "t1",
          lost: { from: 0, to: 20, reason: "SLOT_LOST" },
          quarantined: [{ from: 0, to: 20 }],
          logEndOffset: 20,
        },
      ],
    },
  ]);
  await topics.log("t1");
  expect(told).toHaveLength(1);
});

describe("topics that nobody uses", () => {
  it("cost nothing at open and close: 300 take as many operations as 3", async () => {
    const counts = [];
    for (const topics of [3, 300]) {
      const volume = await tideOf(topics);
      const store = await open(volume);
      expect(store.recovery.logs).toHaveLength(topics);
      expect(
        store.recovery.logs.every(
          ({ cleanShutdown, scannedBytes, logEndOffset }) => cleanShutdown && scannedBytes === 0 && logEndOffset === 20,
        ),
      ).toBe(true);
      const opened = { ...volume.calls };
      await store.close();
      expect(volume.calls, "nothing was used, so there is nothing to say").toEqual(opened);
      expect(volume.touched.size).toBe(1);
      counts.push(opened);
    }
    expect(counts[1]).toEqual(counts[0]);
  });

  it("cost nothing either when the process dies, also twice, and in the next opening", async () => {
    const volume = await tideOf(300);
    const store = await open(volume);
    await fill(kernel, await store.log("t7-0"), 2);
    for (let turn = 0; turn < 2; turn++) {
      volume.reset();
      const again = await open(volume);
      expect(volume.touched.size, "the first one is asked whose it is; the one in use is scanned").toBe(
        turn === 0 ? 2 : 1,
      );
      expect(again.recovery.logs.filter(({ cleanShutdown }) => !cleanShutdown).map(({ log }) => log)).toEqual(
        turn === 0 ? ["t7-0"] : [],
      );
      expect((await again.log("t7-0")).logEndOffset).toBe(40);
      expect((await readAll(await again.log("t8-0"))).length).toBe(2);
    }
  });

  it("closing costs what is used", async () => {
    const flushed = [];
    for (const topics of [3, 300]) {
      const volume = await tideOf(topics);
      const store = await open(volume);
      await fill(kernel, await store.log("t1-0"), 1);
      volume.reset();
      await store.close();
      flushed.push({ ...volume.calls });
      expect([...volume.touched]).toHaveLength(1);
    }
    expect(flushed[1]).toEqual(flushed[0]);
  });

  it("first appends to many in one turn are one commit of the catalog", async () => {
    const volume = await tideOf(30);
    const store = await open(volume);
    const logs = await Promise.all(store.names().map((name) => store.log(name)));
    const { nextGeneration } = store;
    await Promise.all(logs.map((log) => fill(kernel, log, 1)));
    expect(store.nextGeneration - nextGeneration).toBe(1);
    expect((await open(volume)).recovery.logs.every(({ logEndOffset }) => logEndOffset === 30)).toBe(true);
  });

  it("a log is recovered once for any number of callers, and reports its own damage only", async () => {
    const volume = await tideOf(3);
    const slot = (await (await open(volume)).log("t1-0")).segments()[0]!.slot!;
    await volume.write(slot, 0, new Uint8Array(SLOT));
    const store = await open(volume);
    expect(
      store.recovery.logs.every(({ lost }) => lost === undefined),
      "nobody has looked",
    ).toBe(true);
    const [log, same] = await Promise.all([store.log("t1-0"), store.find("t1-0"), store.log("t0-0")]);
    expect(same).toBe(log);
    expect([log.recovery.lost, log.logEndOffset]).toEqual([{ from: 0, to: 20, reason: "SLOT_LOST" }, 20]);
    await fails("CORRUPT_RANGE", log.read(0, 1000, 20));
    await fill(kernel, log, 1);
    expect(await readAll(log, 20)).toHaveLength(1);
  });
});
