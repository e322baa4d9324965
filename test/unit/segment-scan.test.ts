/** The cost of damaged segments: places that can't begin a batch are gone over, and a refusal looks no further. */
import { describe, expect, it } from "vitest";
import type { ImportDamage } from "../../src/store/segment-files.ts";
import { damageError, SegmentScan } from "../../src/store/segment-scan.ts";
import { batchAt, joined } from "../support/kafka-batches.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const PIECE = 64 * 1024;
const BATCH_MAX = 100_000;

/** Walks one file in pieces. Counts the places that were looked at as whole batches. */
function scanned(bytes: Uint8Array, skips: boolean) {
  const damage: ImportDamage[] = [];
  let looked = 0;
  const counting = {
    validateBatch(batch: Uint8Array) {
      looked++;
      return kernel.validateBatch(batch);
    },
  };
  const bounds = { batchBytesMax: BATCH_MAX, pieceBytesMax: Infinity, skips };
  const scan = new SegmentScan(Object.setPrototypeOf(counting, kernel) as typeof kernel, bounds, (found) => {
    if (!skips) throw damageError(found);
    damage.push(found);
  });
  const positions: number[] = [];
  for (let [position, wants] = [0, 0]; position < bytes.length;) {
    const piece = bytes.subarray(position, position + Math.max(wants, PIECE));
    const walk = scan.batchesIn({ file: "a.log", fileBytes: bytes.length, position, bytes: piece });
    let step = walk.next();
    for (; !step.done; step = walk.next()) positions.push(step.value.position);
    ({ position, wants } = step.value);
  }
  scan.end();
  return { damage, positions, looked };
}

/** Lengths of small batches at every fourth place, and nowhere the magic byte of one. */
const lengths = (bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => (i % 4 === 3 ? 100 : 0));

describe("damage", () => {
  const [before, behind] = [batchAt(kernel, 0), batchAt(kernel, 9)];

  it("is gone over to the next magic byte, also from piece to piece", () => {
    for (const bytes of [1, 16, 60, 61, 62, 200, PIECE - 1, 3 * PIECE + 5]) {
      const { damage, positions, looked } = scanned(joined([before, lengths(bytes), behind]), true);
      expect(damage).toMatchObject([{ position: before.length, bytes, from: 3, to: 9 }]);
      expect(positions).toEqual([0, before.length + bytes]);
      expect(looked).toBeLessThan(70);
    }
  });

  it("before zeros that end a file does not count them", () => {
    const { damage } = scanned(joined([before, lengths(1000), new Uint8Array(3 * PIECE)]), true);
    expect(damage).toMatchObject([{ position: before.length, bytes: 1000, from: 3, to: undefined }]);
  });

  it("is refused without its end once no batch is so long", () => {
    const refusal = (bytes: number): unknown => {
      try {
        return scanned(joined([before, new Uint8Array(bytes).fill(2), behind]), false);
      } catch (thrown) {
        return (thrown as { details: unknown }).details;
      }
    };
    expect(refusal(BATCH_MAX - 100)).toMatchObject({ bytes: BATCH_MAX - 100, to: 9 });
    expect(refusal(10 * BATCH_MAX)).toMatchObject({ position: before.length, bytes: BATCH_MAX + 1, to: undefined });
  });
});
