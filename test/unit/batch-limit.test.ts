/**
 * The largest batch is the same in browser and edge, Kafka's default: a batch that one takes, the other takes as well.
 * Larger batches that older versions stored are still read.
 */
import { describe, expect, it } from "vitest";
import { Log } from "../../src/log/log.ts";
import { BATCH_BYTES_MAX, DEFAULT_SETTINGS } from "../../src/log/limits.ts";
import { stampBaseOffset } from "../../src/record/format.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { Archive } from "../../worker/store/segment-archive.ts";
import { Stream } from "../../worker/stream/stream.ts";
import type { StreamConfig } from "../../worker/stream/stream-config.ts";
import { fails } from "../contract/check.ts";
import { nodeSql } from "../support/node-sql.ts";
import { STREAM_CONFIG } from "../support/stream-config.ts";
import { batchOf, dump, fixture, kernel } from "./log-fixtures.ts";

const CONFIG: StreamConfig = { ...STREAM_CONFIG, contentType: "application/octet-stream" };
const edge = (): Promise<Stream> =>
  Stream.create(
    {
      sql: nodeSql(),
      kernel,
      archive: new Archive(undefined, kernel),
      now: () => 1_764_000_000_000,
      breathe: () => Promise.resolve(),
      readSource: () => Promise.reject(new Error()),
      onChange: () => {},
      onSealed: () => {},
      abort: (reason: string) => expect.fail(reason),
    },
    CONFIG,
  );
/** A batch of exactly this size, with one record. */
function batchOfBytes(bytes: number): Uint8Array {
  const overhead = batchOf([`b=${"x".repeat(bytes - 200)}`]).length - (bytes - 200);
  const batch = batchOf([`b=${"x".repeat(bytes - overhead)}`]);
  expect(batch.length).toBe(bytes);
  return batch;
}

describe("a batch of at most 1,048,588 bytes", () => {
  it("is what Kafka takes by default, and its one record may fill it", () => {
    expect([BATCH_BYTES_MAX, DEFAULT_SETTINGS.batchBytesMax, DEFAULT_SETTINGS.recordBytesMax]).toEqual([
      1_048_588,
      1_048_588,
      1_048_588 - 61,
    ]);
  });

  it("is taken, to the byte, by a browser's log and by the edge", async () => {
    const { log } = await fixture({}, { slotBytes: 8 * 1024 * 1024 });
    const stream = await edge();
    for (const bytes of [1_048_588, 1_048_576, 1_048_587]) {
      expect(await log.append(batchOfBytes(bytes))).toMatchObject({ duplicate: false });
      expect(await stream.appendBatches([batchOfBytes(bytes)], undefined)).toMatchObject([{ duplicate: false }]);
    }
    for (const bytes of [1_048_589, 1_048_632, 1_114_112]) {
      await fails("BATCH_TOO_LARGE", log.append(batchOfBytes(bytes)));
      await fails("BATCH_TOO_LARGE", stream.appendBatches([batchOfBytes(bytes)], undefined));
    }
    expect([log.logEndOffset, stream.log.logEndOffset]).toEqual([3, 3]);
  });

  it("a larger one that an older version stored is read, found, compacted over and opened again", async () => {
    const volume = new MemoryVolume({ slotBytes: 8 * 1024 * 1024 });
    const clock = { now: () => 1_764_000_000_000 };
    const open = async () => {
      const store = await SegmentStore.open({ volume, kernel, now: clock.now });
      const logStore = await store.log("t-0");
      return { logStore, log: await Log.open({ store: logStore, kernel, clock, settings: { compaction: {} } }) };
    };
    const { logStore } = await open();
    const large = batchOfBytes(1_114_112);
    stampBaseOffset(large, 0);
    await logStore.append([large]);
    await logStore.flush();
    const { log } = await open();
    await log.append(batchOf(["c=1"]));
    await log.append(batchOf(["c=2"]));
    await log.roll();
    expect((await log.clean()).compacted.recordsRemoved).toBe(1);
    expect((await dump(log)).map((record) => record.slice(0, 5))).toEqual(["0:b=x", "2:c=2"]);
    expect(await log.resolve({ timestamp: 1_000_000 })).toBe(0);
    expect((await dump((await open()).log)).map((record) => record.slice(0, 5))).toEqual(["0:b=x", "2:c=2"]);
  });
});
