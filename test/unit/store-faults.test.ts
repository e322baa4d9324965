/**
 * What the store does when its volume refuses or fails: a history is stopped at every single one of its volume
 * operations.
 */
import { describe, expect, it } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import type { Volume } from "../../src/store/volume.ts";
import { fails } from "../contract/check.ts";
import { makeBatch } from "../contract/store-contract.ts";
import { releaseKernel } from "../support/kernels.ts";
import { FragileVolume } from "./fragile-volume.ts";

const kernel = await releaseKernel();
const SLOT = 32 * 1024;
const now = () => 1;

const open = (volume: Volume) => SegmentStore.open({ volume, kernel, now });

/** A history of two logs with rolls, a trim and a replacement. Calls `acked` after each flush with what is durable. */
async function history(volume: Volume, acked: (log: string, end: number, start: number) => void): Promise<void> {
  const store = await open(volume);
  for (const name of ["a", "b"]) {
    const log = await store.log(name);
    for (let i = 0; i < 100; i++) {
      await log.append([
        makeBatch(kernel, log.logEndOffset, 10, 60 + ((i * 37) % 90)),
        makeBatch(kernel, log.logEndOffset + 10, 3, 200 + i),
      ]);
      await log.flush();
      acked(name, log.flushedOffset, log.logStartOffset);
    }
    const [first, second] = log.segments();
    const { bytes } = await log.read(second!.baseOffset, 3000, log.logEndOffset);
    await log.replace(second!.baseOffset, second!.nextOffset, [
      { baseOffset: second!.baseOffset, nextOffset: second!.nextOffset, bytes, sealedAt: 1 },
    ]);
    await log.trim(first!.nextOffset + 2);
    acked(name, log.flushedOffset, log.logStartOffset);
  }
  await store.close();
}

async function readsFromStartToEnd(store: SegmentStore, name: string): Promise<void> {
  const log = await store.log(name);
  for (let offset = log.logStartOffset; offset < log.logEndOffset;) {
    const { nextOffset } = await log.read(offset, 4000, log.logEndOffset, true);
    expect(nextOffset).toBeGreaterThan(offset);
    offset = nextOffset;
  }
}

describe("death at every operation of a history with rolls, trim and replacement", () => {
  it("loses nothing flushed, whether the process died or the power", async () => {
    const whole = new FragileVolume({ slotBytes: SLOT });
    await history(whole, () => undefined);
    expect(whole.operations).toBeGreaterThan(300);
    for (let left = 1; left < whole.operations; left += 3) {
      const volume = new FragileVolume({ slotBytes: SLOT });
      volume.left = left;
      const promised = new Map<string, { end: number; start: number }>();
      await history(volume, (log, end, start) => promised.set(log, { end, start })).catch(() => undefined);
      const powerCut = await volume.afterPowerCut();
      volume.left = Infinity;
      for (const [kind, survivor] of [
        ["kill", volume],
        ["power cut", powerCut],
      ] as const) {
        const store = await open(survivor);
        for (const [name, { end, start }] of promised) {
          const log = await store.log(name);
          const place = `${kind} at operation ${left}, log ${name}`;
          expect(log.logEndOffset, place).toBeGreaterThanOrEqual(end);
          expect(log.logStartOffset, place).toBeGreaterThanOrEqual(start);
          expect(log.quarantined, place).toEqual([]);
          await readsFromStartToEnd(store, name);
        }
        const again = await open(survivor);
        for (const name of store.names()) {
          const [first, second] = [await store.log(name), await again.log(name)];
          expect(second.logEndOffset).toBe(first.logEndOffset);
          expect(second.recovery.cut).toBeUndefined();
        }
      }
    }
  });
});

describe("a volume that refuses", () => {
  it("a full disk refuses an append as a whole, everything stays readable, and a trim makes room", async () => {
    const store = await open(new MemoryVolume({ slotBytes: SLOT, slotsMax: 5 }));
    const log = await store.log("a");
    let refused: TidemarkError | undefined;
    while (!refused) {
      const end = log.logEndOffset;
      const batches = [0, 1, 2].map((i) => makeBatch(kernel, end + i * 10, 10, 300));
      try {
        await log.append(batches);
      } catch (thrown) {
        refused = TidemarkError.from(thrown);
        expect(log.logEndOffset).toBe(end);
      }
    }
    expect(refused.code).toBe("QUOTA_EXCEEDED");
    expect(refused.details["poisoned"]).toBeUndefined();
    await log.flush();
    await readsFromStartToEnd(store, "a");
    await fails("QUOTA_EXCEEDED", store.log("b"));
    await log.trim(log.segments()[1]!.baseOffset);
    await log.append([makeBatch(kernel, log.logEndOffset, 10, 300)]);
    await log.flush();
    await store.close();
  });

  it("after a failed flush the store takes no more writes, and reads still work", async () => {
    const volume = new FragileVolume({ slotBytes: SLOT });
    const store = await open(volume);
    const log = await store.log("a");
    await log.append([makeBatch(kernel, 0, 10)]);
    await log.flush();
    await log.append([makeBatch(kernel, 10, 10)]);
    volume.left = 0;
    expect((await fails("STORAGE_FAILED", log.flush())).details["poisoned"]).toBe(true);
    volume.left = Infinity;
    expect(log.flushedOffset).toBe(10);
    const { operations } = volume;
    await fails("STORAGE_FAILED", log.append([makeBatch(kernel, 20, 1)]));
    await fails("STORAGE_FAILED", log.flush());
    await fails("STORAGE_FAILED", store.log("b"));
    expect(volume.operations).toBe(operations);
    expect((await log.read(0, 10_000, 20)).nextOffset).toBe(20);
    await store.close();
  });

  it("reads during a trim and the slot's next use never return the new bytes", async () => {
    const store = await open(new MemoryVolume({ slotBytes: SLOT }));
    const log = await store.log("a");
    const other = await store.log("b");
    for (let i = 0; i < 60; i++) await log.append([makeBatch(kernel, i * 10, 10, 200)]);
    await log.flush();
    const reads = Array.from({ length: 20 }, (_, i) =>
      log.read(i * 20, 2000, 600).then(
        (found) => found.nextOffset,
        (error: TidemarkError) => error.code,
      ),
    );
    await log.trim(500);
    for (let i = 0; i < 60; i++) await other.append([makeBatch(kernel, i * 10, 10, 200)]);
    for (const outcome of await Promise.all(reads)) {
      expect(typeof outcome === "number" ? outcome > 0 : outcome === "OFFSET_OUT_OF_RANGE", String(outcome)).toBe(true);
    }
    await store.close();
  });
});
