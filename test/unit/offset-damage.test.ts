/**
 * Damage that ends inside the base offset of a batch, which no checksum covers: the batch looks intact, but has a wrong
 * offset. It must be reported as damage together with the batches before it. No record may be served at a wrong offset,
 * and batches further behind must be readable.
 */
import { describe, expect, it } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { readHeader, stampLeaderEpoch } from "../../src/record/format.ts";
import type { LogStore } from "../../src/store/log-store.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import type { SegmentedLog } from "../../src/store/segmented-log.ts";
import { BODY_AT } from "../../src/store/slot-layout.ts";
import { damageIn } from "../../worker/store/chunk-walk.ts";
import { makeBatch } from "../contract/store-contract.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const BATCHES = 8;
/** Each batch has two records, so number n begins at offset 2 n. */
const batches = Array.from({ length: BATCHES }, (_, n) => makeBatch(kernel, n * 2, 2, 100 + n));
for (const batch of batches) stampLeaderEpoch(batch, 1);
const positions = batches.map((_, n) => batches.slice(0, n).reduce((sum, { length }) => sum + length, 0));
/** Wrong base offsets that are plausible between the batches around the damage. */
const WRONG = [2, 4, 5, 7, 8, 10, 14];

const open = (volume: MemoryVolume) => SegmentStore.open({ volume, kernel, now: () => 1 });

async function written(slotBytes = 64 * 1024): Promise<{ volume: MemoryVolume; log: SegmentedLog; slot: number }> {
  const volume = new MemoryVolume({ slotBytes });
  const log = await (await open(volume)).log("a");
  for (const batch of batches) await log.append([batch.slice()]);
  await log.flush();
  await log.flush();
  return { volume, log, slot: log.segments()[0]!.slot! };
}

/** Damages everything from inside batch `first` up to batch `last`, which gets the base offset `offset`. */
function damaged(first: number, last: number, offset: number, at = 10): { position: number; bytes: Uint8Array } {
  const position = positions[first]! + at;
  const bytes = new Uint8Array(positions[last]! + 8 - position);
  new DataView(bytes.buffer).setBigInt64(bytes.length - 8, BigInt(offset));
  return { position, bytes };
}

/** The base offsets of all batches that can be read. Checks that each batch has its own offset. */
async function readable(log: LogStore, maxBytes = 1): Promise<number[]> {
  const found: number[] = [];
  for (let offset = log.logStartOffset; offset < log.logEndOffset;) {
    try {
      const { bytes, nextOffset } = await log.read(offset, maxBytes, log.logEndOffset);
      for (let at = 0; at < bytes.length; at += readHeader(bytes, at).sizeBytes) {
        const { baseOffset, sizeBytes } = readHeader(bytes, at);
        expect(sizeBytes, `size of the batch at ${baseOffset}`).toBe(batches[baseOffset / 2]?.length);
        found.push(baseOffset);
      }
      expect(nextOffset).toBeGreaterThan(offset);
      offset = nextOffset;
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError) || thrown.code !== "CORRUPT_RANGE") throw thrown;
      offset = Number(thrown.details["to"]);
    }
  }
  return found;
}

const ranges = (log: SegmentedLog) => log.quarantined.map(({ from, to }) => [from, to]);

describe("damage that ends inside a base offset, found by an open", () => {
  it.each(WRONG)("includes the batch when the next one contradicts its offset: %d", async (offset) => {
    const { volume, slot } = await written();
    const { position, bytes } = damaged(1, 3, offset);
    await volume.write(slot, BODY_AT + position, bytes);
    const log = await (await open(volume)).log("a");
    expect(ranges(log)).toEqual([[2, 8]]);
    expect([await readable(log), log.logEndOffset]).toEqual([[0, 8, 10, 12, 14], 16]);
  });

  it.each(WRONG)("includes the last batch when the log's known end contradicts its offset: %d", async (offset) => {
    const { volume, slot } = await written();
    const { position, bytes } = damaged(1, 7, offset === 14 ? 13 : offset);
    await volume.write(slot, BODY_AT + position, bytes);
    const log = await (await open(volume)).log("a");
    expect([ranges(log), await readable(log), log.logEndOffset]).toEqual([[[2, 16]], [0], 16]);
  });

  it("takes no batch along whose offset is its own", async () => {
    for (const last of [3, 7]) {
      const { volume, slot } = await written();
      const { position, bytes } = damaged(1, last, last * 2);
      await volume.write(slot, BODY_AT + position, bytes);
      const log = await (await open(volume)).log("a");
      expect(ranges(log)).toEqual([[2, last * 2]]);
    }
  });

  it("a whole batch between two damaged ones is kept if the header of either one says where it belongs", async () => {
    const flip = async (volume: MemoryVolume, slot: number, ...at: number[]) => {
      for (const position of at) await volume.write(slot, BODY_AT + position, Uint8Array.of(0xee));
    };
    const headers = await written();
    await flip(headers.volume, headers.slot, positions[1]! + 90, positions[3]! + 90, positions[5]! + 90);
    let log = await (await open(headers.volume)).log("a");
    expect(await readable(log)).toEqual([0, 4, 8, 12, 14]);
    const none = await written();
    await none.volume.write(none.slot, BODY_AT + positions[1]!, new Uint8Array(30));
    await none.volume.write(none.slot, BODY_AT + positions[3]!, new Uint8Array(30));
    log = await (await open(none.volume)).log("a");
    expect([ranges(log), await readable(log)]).toEqual([[[2, 8]], [0, 8, 10, 12, 14]]);
  });

  it("with both marks lost, the log continues behind a last batch that nothing confirms", async () => {
    for (const last of [3, 7]) {
      const { volume, slot } = await written();
      await volume.write(slot, 512, new Uint8Array(2 * 512));
      const { position, bytes } = damaged(1, last, last * 2);
      await volume.write(slot, BODY_AT + position, bytes);
      const log = await (await open(volume)).log("a");
      expect([ranges(log), log.logEndOffset]).toEqual([[[2, last === 3 ? 6 : 16]], 16]);
      expect(await readable(log)).toEqual(last === 3 ? [0, 6, 8, 10, 12, 14] : [0]);
    }
  });
});

describe("damage that ends inside a base offset, found by a reader", () => {
  it.each(WRONG)("is reported in the active and in a sealed segment: %d", async (offset) => {
    for (const seal of [false, true]) {
      for (const maxBytes of [1, 10_000]) {
        const { volume, log, slot } = await written();
        if (seal) await log.roll();
        const { position, bytes } = damaged(1, 3, offset);
        await volume.write(slot, BODY_AT + position, bytes);
        expect(await readable(log, maxBytes), `sealed: ${seal}`).toEqual([0, 8, 10, 12, 14]);
        expect(ranges(log)).toEqual([[2, 8]]);
      }
    }
  });

  it("is reported when a read begins at that batch, by the index or behind the read before", async () => {
    const volume = new MemoryVolume({ slotBytes: 256 * 1024 });
    const log = await (await open(volume)).log("a");
    const large = Array.from({ length: 12 }, (_, n) => makeBatch(kernel, n * 2, 2, 3000));
    for (const batch of large) await log.append([batch.slice()]);
    await log.flush();
    const size = large[0]!.length;
    const { slot } = log.segments()[0]!;
    // The index has an entry for the batch, so no header in front of it is read.
    const field = new Uint8Array(8);
    for (const [n, offset] of [
      [4, 6],
      [4, 9],
      [11, 21],
      [11, 3],
    ] as const) {
      await log.read(n * 2 - 2, 1, n * 2);
      new DataView(field.buffer).setBigInt64(0, BigInt(offset));
      await volume.write(slot!, BODY_AT + n * size, field);
      await expect(log.read(n * 2, 1, log.logEndOffset), `batch ${n} at ${offset}`).rejects.toMatchObject({
        code: "CORRUPT_RANGE",
        details: { from: n * 2, to: n * 2 + 2 },
      });
      if (n < 11) expect(readHeader((await log.read(n * 2 + 2, 1, 24)).bytes).baseOffset).toBe(n * 2 + 2);
      await volume.write(slot!, BODY_AT + n * size, large[n]!.slice(0, 8));
      await log.examine(log.segmentFor(0)!);
    }
  });

  it("is reported in what compaction wrote, and the batch behind it is read", async () => {
    for (const offset of [2, 4, 5, 7]) {
      const { volume, log } = await written();
      await log.roll();
      const kept = [0, 1, 3, 5, 7];
      const bytes = new Uint8Array(kept.reduce((sum, n) => sum + batches[n]!.length, 0));
      let size = 0;
      const at = kept.map((n) => (bytes.set(batches[n]!, size), (size += batches[n]!.length) - batches[n]!.length));
      await log.replace(0, 16, [{ baseOffset: 0, nextOffset: 16, bytes, sealedAt: 1 }]);
      const field = new Uint8Array(at[2]! + 8 - at[1]! - 10);
      new DataView(field.buffer).setBigInt64(field.length - 8, BigInt(offset));
      await volume.write(log.segments()[0]!.slot!, BODY_AT + at[1]! + 10, field);
      const again = await (await open(volume)).log("a");
      expect([await readable(again), ranges(again)]).toEqual([[0, 10, 14], [[2, 10]]]);
    }
  });
});

describe("damage that ends inside a base offset, in a row of the edge", () => {
  const row = (kept: readonly number[], first: number, last: number, offset: number) => {
    const at = kept.map((_, i) => kept.slice(0, i).reduce((sum, n) => sum + batches[n]!.length, 0));
    const bytes = new Uint8Array(at.at(-1)! + batches[kept.at(-1)!]!.length);
    kept.forEach((n, i) => bytes.set(batches[n]!, at[i]!));
    bytes.fill(0, at[first]! + 10, at[last]! + 8);
    new DataView(bytes.buffer).setBigInt64(at[last]!, BigInt(offset));
    return { baseOffset: 0, nextOffset: 16, crc: null, bytes };
  };
  const rangesIn = (run: ReturnType<typeof row>, gaps: boolean) =>
    damageIn(kernel, run, gaps).map(({ from, to }) => [from, to]);
  const all = [0, 1, 2, 3, 4, 5, 6, 7];

  it.each(WRONG)("includes the batch when what follows contradicts its offset: %d", (offset) => {
    expect(rangesIn(row(all, 1, 3, offset), false)).toEqual([[2, 8]]);
    expect(rangesIn(row(all, 1, 7, offset === 14 ? 13 : offset), false)).toEqual([[2, 16]]);
  });

  it("takes no batch along whose offset is its own", () => {
    expect(rangesIn(row(all, 1, 3, 6), false)).toEqual([[2, 6]]);
    expect(rangesIn(row(all, 1, 7, 14), false)).toEqual([[2, 14]]);
    const flipped = row(all, 1, 1, 2);
    flipped.bytes.set(batches[1]!, positions[1]!);
    for (const n of [1, 3, 5]) flipped.bytes[positions[n]! + 90]! ^= 1;
    expect(rangesIn(flipped, false)).toEqual([
      [2, 4],
      [6, 8],
      [10, 12],
    ]);
  });

  it("includes one more batch between gaps that compaction left", () => {
    for (const offset of [4, 5, 7]) expect(rangesIn(row([0, 1, 3, 5, 7], 1, 2, offset), true)).toEqual([[2, 10]]);
  });
});
