/** A full catalog refuses a change, and nothing happens that depends on that change. */
import { expect, test } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { fails } from "../contract/check.ts";
import { makeBatch } from "../contract/store-contract.ts";
import { kernel } from "./log-fixtures.ts";

const SLOT = 32 * 1024;
const open = (volume: MemoryVolume) => SegmentStore.open({ volume, kernel, now: () => 1, newId: () => "made" });

/** Fills the catalog with settings of the log `name`. */
async function fillCatalog(store: SegmentStore, name: string): Promise<void> {
  const log = (await store.find(name))!;
  let [fits, tooMuch] = [0, SLOT];
  while (tooMuch - fits > 1) {
    const bytes = Math.floor((fits + tooMuch) / 2);
    const refused = await log.saveSettings({ pad: "x".repeat(bytes) }).then(
      () => undefined,
      (thrown: TidemarkError) => thrown.code,
    );
    if (refused === undefined) fits = bytes;
    else {
      expect(refused).toBe("LIMIT_EXCEEDED");
      tooMuch = bytes;
    }
  }
}

test("a log takes no batch, at any try, when the full catalog has no room for its first append", async () => {
  const volume = new MemoryVolume({ slotBytes: SLOT });
  const first = await open(volume);
  for (const name of ["a", "b"]) await (await first.log(name)).append([makeBatch(kernel, 0, 10, 200)]);
  await first.close();
  const store = await open(volume);
  const log = (await store.find("a"))!;
  await fillCatalog(store, "b");
  for (let tries = 0; tries < 3; tries++) await fails("LIMIT_EXCEEDED", log.append([makeBatch(kernel, 10, 10, 200)]));
  expect(log.logEndOffset).toBe(10);
  // Once there is room the log takes batches, and what was flushed is there after a crash.
  await (await store.find("b"))!.saveSettings({});
  await log.append([makeBatch(kernel, 10, 10, 200)]);
  await log.flush();
  expect((await (await open(volume)).find("a"))!.logEndOffset).toBe(20);
});
