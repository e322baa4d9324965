/** A power cut may take away the name of a young slot, and with it what was acknowledged there. The log goes on, and says so. */
import { expect, it } from "vitest";
import { Log } from "../../src/log/log.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { batchOf, dump, kernel } from "./log-fixtures.ts";

const SLOT = 32 * 1024;
const clock = { now: () => 1 };

async function open(volume: MemoryVolume): Promise<Log> {
  const store = await SegmentStore.open({ volume, kernel, now: clock.now });
  return Log.open({ store: await store.log("t-0"), kernel, clock });
}

it("a lost slot that held the log start does not put the log's end before its start: what is appended next can be read", async () => {
  const volume = new MemoryVolume({ slotBytes: SLOT });
  const log = await open(volume);
  for (let i = 0; i < 10; i++) await log.append(batchOf([`k=${i}`]));
  await log.trim(7);
  await volume.write(log.segments().at(-1)!.slot!, 0, new Uint8Array(SLOT));
  for (let turn = 0; turn < 2; turn++) {
    const again = await open(volume);
    expect([again.logStartOffset, again.logEndOffset, again.recovery.cut?.reason]).toEqual([7, 7 + turn, turn === 0 ? "SLOT_LOST" : undefined]);
    const { baseOffset } = await again.append(batchOf([`k=again ${turn}`]));
    expect(baseOffset).toBe(7 + turn);
    expect(await dump(again)).toEqual(["7:k=again 0", "8:k=again 1"].slice(0, turn + 1));
  }
});
