/**
 * Outboxes at the edge, inside workerd: a device joins a log, pushes what it wrote, and is told of the tide; repeats,
 * fences, claims and refusals are as docs/sync.md says.
 */
import { describe, expect, it } from "vitest";
import { FrameType } from "../../src/sync/frames.ts";
import { batchAt, crcOf, Device, makeLog, textOf } from "./outbox-tools.ts";

let logs = 0;
const fresh = (): string => `outbox/${++logs}`;

describe("a device with an outbox", () => {
  it("joins, pushes, and follows its own records back, with a tide behind them", async () => {
    const path = await makeLog(fresh());
    const device = await Device.of(path);
    expect(await device.hello).toMatchObject({ features: ["sync1"] });
    const joined = await device.join();
    expect(joined).toMatchObject({
      contentType: "text/plain",
      closed: false,
      logStartOffset: 0,
      logEndOffset: 0,
      lineage: "same",
      agreedTo: 0,
      forgottenAt: 0,
      known: true,
      since: 0,
      generation: 1,
      term: 1,
      next: 0,
      lastOffset: -1,
      lastCrc: 0,
    });
    const follow = device.follow(0);
    expect(await device.tide(follow)).toEqual({
      logStartOffset: 0,
      nextOffset: 0,
      highWatermark: 0,
      life: joined.life,
    });
    const batches = [batchAt(0, ["a ", "b "]), batchAt(2, ["c "])];
    const ok = await device.push(batches);
    expect(ok).toEqual({
      generation: 1,
      next: 3,
      appended: [
        { baseOffset: 0, lastOffset: 1 },
        { baseOffset: 2, lastOffset: 2 },
      ],
      duplicate: false,
      lastOffset: 2,
    });
    expect(await device.tide(follow, ({ nextOffset }) => nextOffset === 3)).toMatchObject({ highWatermark: 3 });
    const seen = device.batchesOf(follow);
    // What is under the checksum has not changed.
    expect(seen.map((batch) => [...batch.subarray(16)])).toEqual(batches.map((batch) => [...batch.subarray(16)]));
    const types = device.frames.filter(({ id }) => id === follow).map(({ type }) => type);
    expect(types).toEqual([FrameType.TIDE, FrameType.BATCHES, FrameType.TIDE]);
    expect(await textOf(path)).toBe("a b c ");
    const again = await (await Device.of(path)).join({ registered: true });
    expect(again).toMatchObject({ known: true, next: 3, lastOffset: 2, lastCrc: crcOf(batches[1]!), since: 0 });
  });
});
