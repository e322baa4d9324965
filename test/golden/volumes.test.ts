/**
 * Volumes that earlier versions wrote: today's code reads them completely and appends to them, and their bytes are
 * where docs/format.md says.
 */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { Log } from "../../src/log/log.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { decodeBatch, type RecordBatch, splitBatches } from "../../src/record/record-batch.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { readExactly } from "../../src/store/volume.ts";
import { releaseKernel } from "../support/kernels.ts";

const SLOT = 16 * 1024;
const kernel = await releaseKernel();
const clock = { now: () => 1_700_000_100_000 };
const text = new TextEncoder();

async function volumeOf(name: string): Promise<MemoryVolume> {
  const bytes = gunzipSync(readFileSync(new URL(`volumes/${name}.gz`, import.meta.url)));
  const volume = new MemoryVolume({ slotBytes: SLOT, slots: bytes.length / SLOT });
  for (let slot = 0; slot < volume.slotCount; slot++)
    await volume.write(slot, 0, bytes.subarray(slot * SLOT, (slot + 1) * SLOT));
  return volume;
}

const open = (volume: MemoryVolume) => SegmentStore.open({ volume, kernel, now: clock.now, newId: () => "fresh" });
const logOf = async (store: SegmentStore, name: string) => Log.open({ store: await store.log(name), kernel, clock });

async function valuesOf(log: Log): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  for (let offset = log.logStartOffset; offset < log.highWatermark;) {
    const { bytes, nextOffset } = await log.fetch(offset, { verify: true });
    for (const each of splitBatches(bytes)) {
      const batch = (await decodeBatch(kernel, each)) as RecordBatch;
      for (let i = 0; i < batch.count; i++)
        if (batch.offsetAt(i) >= log.logStartOffset)
          found.set(batch.offsetAt(i), new TextDecoder().decode(batch.valueAt(i)!).replace(/ x+$/, ""));
    }
    if (nextOffset === offset) break;
    offset = nextOffset;
  }
  return found;
}

function batchOf(name: string, from: number, sequence: number): Uint8Array {
  const builder = new BatchBuilder(kernel);
  for (let i = 0; i < 4; i++)
    builder.tryAppend({
      key: text.encode(`k${(from + i) % 7}`),
      value: text.encode(`${name} ${from + i} `.padEnd(60, "x")),
      timestamp: 1_700_000_000_000 + from + i,
    });
  return builder.build({ producerId: 7, producerEpoch: 0, baseSequence: sequence });
}

const plainValues = (to: number) => new Map(Array.from({ length: to - 3 }, (_, i) => [i + 3, `plain ${i + 3}`]));

describe.each(["v1-closed", "v1-killed", "v2-closed", "v2-killed"])("the volume %s", (name) => {
  it("is read completely, knows its producers, takes appends, and has today's format from then on", async () => {
    const volume = await volumeOf(name);
    let store = await open(volume);
    expect(store.id).toBe(name.startsWith("v2") ? "golden" : "fresh");
    expect(
      store.recovery.logs.map(({ log, logStartOffset, logEndOffset, cut, lost, quarantined, cleanShutdown }) => [
        log,
        logStartOffset,
        logEndOffset,
        cut,
        lost,
        quarantined.length,
        cleanShutdown,
      ]),
    ).toEqual([
      ["plain-0", 3, 212, undefined, undefined, 0, name.endsWith("closed")],
      ["keyed-0", 0, 200, undefined, undefined, 0, name.endsWith("closed")],
    ]);
    let plain = await logOf(store, "plain-0");
    expect(await valuesOf(plain)).toEqual(plainValues(212));
    expect(await plain.append(batchOf("plain", 208, 208))).toMatchObject({ duplicate: true, baseOffset: 208 });
    expect((await plain.append(batchOf("plain", 212, 212))).baseOffset).toBe(212);
    expect([...(await valuesOf(await logOf(store, "keyed-0"))).keys()].slice(-7)).toEqual([
      193, 194, 195, 196, 197, 198, 199,
    ]);
    for (let turn = 0; turn < 2; turn++) {
      // The first turn ends without a close, like a kill.
      if (turn > 0) await store.close();
      store = await open(volume);
      plain = await logOf(store, "plain-0");
      expect([await valuesOf(plain), plain.quarantined(), store.id]).toEqual([
        plainValues(216),
        [],
        name.startsWith("v2") ? "golden" : "fresh",
      ]);
    }
    const head = new DataView((await readExactly(volume, 0, 0, 28)).buffer);
    expect(head.getUint32(8)).toBe(2);
  });
});

describe("the bytes of version 2", () => {
  const hex = async (volume: MemoryVolume, slot: number, at: number, length: number) =>
    Buffer.from(await readExactly(volume, slot, at, length)).toString("hex");
  const long = (value: number) => value.toString(16).padStart(16, "0");
  const int = (value: number) => value.toString(16).padStart(8, "0");
  const ascii = (value: string) => Buffer.from(value).toString("hex");

  it("catalog, role, marks, footer and producers are where the format says", async () => {
    const volume = await volumeOf("v2-closed");
    const [length] = new Uint32Array([Number.parseInt(await hex(volume, 0, 12, 4), 16)]);
    expect(await hex(volume, 0, 0, 12)).toBe(ascii("TIDECAT1") + int(2));
    const catalog = JSON.parse(Buffer.from(await readExactly(volume, 0, 28, length!)).toString());
    expect([
      catalog.id,
      catalog.logs.map(({ name, logStartOffset, end, appending }: never) => [name, logStartOffset, end, appending]),
    ]).toEqual([
      "golden",
      [
        ["plain-0", 3, [212, expect.any(Number)], undefined],
        ["keyed-0", 0, [200, 0], undefined],
      ],
    ]);
    const [slot, base, epoch, , begun] = catalog.logs[0].segments.at(-1);
    const [position] = [catalog.logs[0].end[1]];
    expect(await hex(volume, slot, 0, 28)).toBe(ascii("TIDESLOT") + int(2) + int(epoch) + long(base) + int(7));
    expect(await hex(volume, slot, 32, 12 + 7 + 6)).toBe(long(begun) + int(6) + ascii("plain-0golden"));
    const roleCrc = kernel.crc32c(
      await readExactly(volume, slot, 32, 25),
      kernel.crc32c(await readExactly(volume, slot, 0, 28)),
    );
    expect(await hex(volume, slot, 28, 4)).toBe(int(roleCrc));
    const marks = await Promise.all([512, 1024].map((at) => hex(volume, slot, at, 36)));
    const newest = marks.sort((a, b) => Number.parseInt(b.slice(8, 16), 16) - Number.parseInt(a.slice(8, 16), 16))[0]!;
    expect([newest.slice(0, 8), newest.slice(16)]).toEqual([
      ascii("MARK"),
      long(base) + int(position) + long(212) + int(1) + int(1),
    ]);
    const [
      sealedSlot,
      sealedBase,
      sealedEpoch,
      ,
      sealedBegun,
      next,
      bytes,
      batches,
      records,
      maxTimestamp,
      ,
      compacted,
      offsetBytes,
      timeBytes,
      producersBytes,
      footerCrc,
    ] = catalog.logs[0].segments[0];
    const footerAt = 4096 + bytes + offsetBytes + timeBytes + producersBytes;
    expect(await hex(volume, sealedSlot, footerAt, 16)).toBe(ascii("TIDEFOOT") + int(1) + int(compacted));
    expect(await hex(volume, sealedSlot, footerAt + 16, 40)).toBe(
      long(sealedBase) +
        long(next) +
        int(bytes) +
        int(offsetBytes) +
        int(timeBytes) +
        int(producersBytes) +
        int(batches) +
        int(records),
    );
    expect(await hex(volume, sealedSlot, footerAt + 64, 8)).toBe(long(maxTimestamp));
    expect(await hex(volume, sealedSlot, footerAt + 92, 12)).toBe(
      int(sealedEpoch) + int(kernel.crc32c(text.encode(`golden/plain-0/${sealedBegun}`))) + int(footerCrc),
    );
    expect(await hex(volume, sealedSlot, footerAt - producersBytes, 4)).toMatch(/^505244/);
  });
});
