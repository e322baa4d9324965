/**
 * Stale bytes that look valid: old batches in slots that compaction has used, and a header page of an earlier term.
 */
import { expect, it } from "vitest";
import type { TidemarkError } from "../../src/errors.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import type { SegmentedLog } from "../../src/store/segmented-log.ts";
import { BODY_AT } from "../../src/store/slot-layout.ts";
import { makeBatch } from "../contract/store-contract.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const SLOT = 32 * 1024;
const open = (volume: MemoryVolume) => SegmentStore.open({ volume, kernel, now: () => 1 });

async function append(log: SegmentedLog, batches: number, size = 100): Promise<void> {
  for (let i = 0; i < batches; i++) await log.append([makeBatch(kernel, log.logEndOffset, 2, size)]);
  await log.flush();
}

it("a slot that had compaction's output gets a new epoch: another log's batches are never read in it", async () => {
  const volume = new MemoryVolume({ slotBytes: SLOT });
  const store = await open(volume);
  const log = await store.log("new");
  await append(log, 1);
  const old = await store.log("old");
  await append(old, 3, 50);
  await old.roll();
  // Compaction's output begins with the batch of offset 2, in a slot that no roll has used.
  const { bytes } = await old.read(2, 10_000, old.logEndOffset);
  await old.replace(0, 6, [{ baseOffset: 0, nextOffset: 6, bytes, sealedAt: 1 }]);
  const { slot } = old.segments()[0]!;
  await old.trim(6);
  // Free slots before that slot are used first, so other logs take these.
  for (let i = 0; log.segments().at(-1)!.slot !== slot && i < 8; i++) {
    const next = await store.log(`taker-${i}`);
    if (next.segments().at(-1)!.slot! === slot! - 1) await log.roll();
    if (next.segments().at(-1)!.slot! >= slot!) break;
    if (i === 0) await log.roll();
  }
  expect(log.segments().at(-1)!.slot).toBe(slot);
  const reopened = await (await open(volume)).log("new");
  expect(reopened.logEndOffset).toBe(2);
});

it("a stale header page of an earlier term: what later terms have appended is still there", async () => {
  for (const clean of [false, true]) {
    const volume = new MemoryVolume({ slotBytes: SLOT });
    let store = await open(volume);
    let log = await store.log("a");
    await append(log, 3);
    await append(log, 1);
    if (clean) await store.close();
    const slot = log.segments().at(-1)!.slot!;
    const page = new Uint8Array(BODY_AT);
    await volume.read(slot, 0, page);
    for (let term = 0; term < 2; term++) {
      store = await open(volume);
      log = await store.log("a");
      await append(log, 3);
      await append(log, 1);
    }
    await volume.write(slot, 0, page);
    log = await (await open(volume)).log("a");
    expect([clean, log.logEndOffset, log.recovery.cut, log.recovery.quarantined]).toEqual([clean, 24, undefined, []]);
  }
});

it("a segment that is trimmed while it is looked at is no damage, though another log has its slot", async () => {
  const volume = new MemoryVolume({ slotBytes: SLOT });
  const store = await open(volume);
  const log = await store.log("a");
  for (let i = 0; i < 2; i++) {
    await append(log, 2);
    await log.roll();
  }
  await append(log, 1);
  const { slot, bytes } = log.segments()[0]!;
  const other = await store.log("b");
  await append(other, 1);
  const read = volume.read.bind(volume);
  let isTrimmed = false;
  volume.read = async (of, position, target) => {
    // The footer is read last: then the log lets the segment go, and others take its slot.
    if (of === slot && position >= BODY_AT + bytes! && !isTrimmed) {
      isTrimmed = true;
      await log.trim(log.segments()[1]!.baseOffset);
      for (let i = 0; other.segments().at(-1)!.slot !== slot && i < 8; i++) {
        await other.roll();
        await append(other, 4);
      }
    }
    return read(of, position, target);
  };
  const { code } = (await log
    .read(0, 1000, log.logEndOffset, true)
    .catch((thrown: unknown) => thrown)) as TidemarkError;
  expect([isTrimmed, other.segments().at(-1)!.slot, code]).toEqual([true, slot, "OFFSET_OUT_OF_RANGE"]);
});
