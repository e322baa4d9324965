/**
 * A power cut may remove the name of a recently made slot, and with it acknowledged records. The log opens and reports
 * the loss.
 */
import { expect, it } from "vitest";
import { Log } from "../../src/log/log.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { fails } from "../contract/check.ts";
import { batchOf, dump, kernel } from "./log-fixtures.ts";

const SLOT = 32 * 1024;
const clock = { now: () => 1 };

async function open(volume: MemoryVolume): Promise<Log> {
  const store = await SegmentStore.open({ volume, kernel, now: clock.now });
  return Log.open({ store: await store.log("t-0"), kernel, clock });
}

it("a lost slot loses its records, and no offset is used again: the log continues behind all of them", async () => {
  const volume = new MemoryVolume({ slotBytes: SLOT });
  const log = await open(volume);
  for (let i = 0; i < 10; i++) await log.append(batchOf([`k=${i}`]));
  await log.trim(7);
  await volume.write(log.segments().at(-1)!.slot!, 0, new Uint8Array(SLOT));
  const lost = { from: 0, to: 2 ** 31, reason: "SLOT_LOST" };
  for (let turn = 0; turn < 2; turn++) {
    const again = await open(volume);
    expect([again.logStartOffset, again.logEndOffset, again.recovery.lost]).toEqual([
      7,
      2 ** 31 + turn,
      turn === 0 ? lost : undefined,
    ]);
    await fails("CORRUPT_RANGE", again.fetch(7));
    const { baseOffset } = await again.append(batchOf([`k=again ${turn}`]));
    expect(baseOffset).toBe(2 ** 31 + turn);
    expect(await dump(again, 2 ** 31)).toEqual([`${2 ** 31}:k=again 0`, `${2 ** 31 + 1}:k=again 1`].slice(0, turn + 1));
  }
});
