/** The store's contract over memory, with the reference kernel and the release kernel. */
import { describe, expect, it } from "vitest";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { mayHaveSealed, PEEK_HEAD_BYTES, peekHead, peekNewestSlots } from "../../src/store/catalog-preview.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { fill } from "../contract/log-store-contract.ts";
import { storeCases, type StoreHost } from "../contract/store-contract.ts";
import { releaseKernel, referenceKernel } from "../support/kernels.ts";

for (const load of [releaseKernel, referenceKernel]) {
  const kernel = await load();
  const host: StoreHost = {
    kernel,
    newVolume: async (slotBytes) => new MemoryVolume({ slotBytes }),
    reopen: async (volume) => volume,
  };
  describe(`segmented store over memory, ${kernel.build} kernel`, () => {
    for (const { name, run } of storeCases) it(name, () => run(host));
  });
}

describe("what the catalog says unread", () => {
  /** Slot 0, as the code that opens files early reads it (src/browser/volume/preopened-files.ts). */
  const readerOf =
    (bytes: Uint8Array) =>
    (target: Uint8Array, at: number): number => (
      target.set(bytes.subarray(at, at + target.length)),
      Math.min(target.length, bytes.length - at)
    );
  const peek = (bytes: Uint8Array): number[] => peekNewestSlots(readerOf(bytes));

  it("finds the newest slots after rolls, and nothing when the catalog cannot be read", async () => {
    const kernel = await releaseKernel();
    const volume = new MemoryVolume({ slotBytes: 64 * 1024 });
    const store = await SegmentStore.open({ volume, kernel, now: () => 0 });
    const catalog = new Uint8Array(volume.slotBytes);
    await volume.read(0, 0, catalog);
    expect(peek(catalog)).toEqual([]);
    const [a, b] = [await store.log("a"), await store.log("b")];
    await volume.read(0, 0, catalog);
    expect(mayHaveSealed(readerOf(catalog))).toBe(false);
    expect(mayHaveSealed(readerOf(new Uint8Array(64)))).toBe(true);
    for (let rolls = 0; rolls < 3; rolls++) {
      await fill(kernel, a, 1);
      await a.roll();
    }
    await volume.read(0, 0, catalog);
    const slotsOf = (log: typeof a): number[] => log.entry().segments.map(({ slot }) => slot);
    expect(mayHaveSealed(readerOf(catalog))).toBe(true);
    expect(peek(catalog)).toEqual([...slotsOf(a).slice(-2), ...slotsOf(b)]);
    const other = new Uint8Array(volume.slotBytes);
    await volume.read(1, 0, other);
    const head = peekHead(readerOf(catalog));
    expect(peekHead(readerOf(other)), "both copies are equal").toBe(head);
    await store.log("c");
    await volume.read(1, 0, other);
    expect(peekHead(readerOf(other)), "of another generation").not.toBe(head);
    expect(peekHead(readerOf(new Uint8Array(PEEK_HEAD_BYTES - 1))), "cut off").toBe("");
    catalog[28] = 0xff;
    expect(peek(catalog)).toEqual([]);
    expect(peek(new Uint8Array(0))).toEqual([]);
    catalog.fill(0xff, 12, 16);
    expect(peek(catalog), "a length that can't be").toEqual([]);
  });
});
