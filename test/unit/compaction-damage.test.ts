/**
 * Compaction of a log with unreadable batches: it continues around those that are intact, and reports damage instead of
 * stopping for ever.
 */
import { describe, expect, it } from "vitest";
import { compressBatch } from "../../src/record/codec.ts";
import { BATCH_HEADER_BYTES, CRC_AT, CRC_FROM } from "../../src/record/format.ts";
import { BODY_AT } from "../../src/store/slot-layout.ts";
import { batchOf, fixture, kernel } from "./log-fixtures.ts";

const SETTINGS = { compaction: {} };
const values = (from: number) => Array.from({ length: 20 }, (_, i) => `k${i % 4}=${from + i}`);

describe("compaction beside damage", () => {
  it("keeps a gzip batch whose stream is garbage under a good checksum, and compacts around it", async () => {
    const { log } = await fixture(SETTINGS);
    await log.append(batchOf(values(0)));
    const opaque = await compressBatch(kernel, batchOf(["k0=in gzip", "k9=in gzip"]));
    opaque.fill(0xee, BATCH_HEADER_BYTES + 10);
    new DataView(opaque.buffer, opaque.byteOffset).setUint32(CRC_AT, kernel.crc32c(opaque.subarray(CRC_FROM)));
    await log.append(opaque);
    await log.append(batchOf(values(100)));
    await log.roll();
    const { compacted } = await log.clean();
    expect(compacted.recordsRemoved).toBe(36);
    const { bytes } = await log.fetch(20);
    expect(bytes.subarray(CRC_FROM, opaque.length)).toEqual(opaque.subarray(CRC_FROM));
    expect((await log.clean()).compacted.segments, "nothing more to do").toBe(0);
  });

  it("has damage quarantined, and from then on compacts what lies before it", async () => {
    const made = await fixture(SETTINGS);
    const { log, volume } = made;
    for (let segment = 0; segment < 3; segment++) {
      for (let batch = 0; batch < 3; batch++) await log.append(batchOf(values(segment * 100 + batch)));
      await log.roll();
    }
    const third = log.segments()[2]!;
    const rotten = new Uint8Array(1);
    await volume.read(third.slot!, BODY_AT + BATCH_HEADER_BYTES + 30, rotten);
    await volume.write(third.slot!, BODY_AT + BATCH_HEADER_BYTES + 30, Uint8Array.of(rotten[0]! ^ 1));
    expect((await log.clean()).compacted).toMatchObject({ segments: 0, recordsRemoved: 0 });
    expect(log.quarantined()).toMatchObject([{ from: third.baseOffset, to: third.baseOffset + 20 }]);
    expect((await log.clean()).compacted.recordsRemoved).toBe(120 - 4);
    expect(log.quarantined()).toMatchObject([{ from: third.baseOffset, to: third.baseOffset + 20 }]);
  });
});
