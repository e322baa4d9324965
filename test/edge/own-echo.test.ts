/** Own batches come back to a device as positions, if its join says so, and only while they are as they were pushed. */
import { describe, expect, it } from "vitest";
import { concat } from "../../src/record/bytes.ts";
import { FrameType } from "../../src/sync/frames.ts";
import { readOwn } from "../../src/sync/sync-frames.ts";
import { partsWithin, sentTo } from "../../worker/log-object/own-runs.ts";
import { RecentPushes } from "../../worker/stream/recent-pushes.ts";
import { batchAt, connect, makeLog } from "./outbox-tools.ts";
import { crcOf, type Device, JOIN } from "./outbox-device.ts";

const BROUGHT = new Set<number>([FrameType.BATCHES, FrameType.OWN]);
const OTHER = { ...JOIN, outbox: "00000000000000ff" };

/** What a follow from the log's start is brought up to an offset: sizes of bytes, or runs of own positions. */
async function brought(device: Device, to: number): Promise<unknown[]> {
  const follow = device.follow(0);
  await device.tide(follow, ({ nextOffset }) => nextOffset === to);
  return device.frames
    .filter(({ id, type }) => id === follow && BROUGHT.has(type))
    .map(({ type, payload }) => (type === FrameType.OWN ? readOwn(payload) : payload.length));
}

describe("the echo of own batches", () => {
  it("is where they stand, with others' batches as bytes between them", async () => {
    const path = await makeLog("echo");
    const [own, other, older] = [await connect(path), await connect(path), await connect(path)];
    await own.join({ echo: false });
    await other.join(OTHER);
    const [a, b, c, x] = [batchAt(0, ["a", "b"]), batchAt(2, ["c"]), batchAt(3, ["d"]), batchAt(0, ["x"], 9)];
    await own.push([a, b]);
    await other.push([x]);
    await own.push([c], { previous: crcOf(b) });
    expect(await brought(own, 5)).toEqual([
      { position: 0, next: 3, offset: 0, crcs: [crcOf(a), crcOf(b)] },
      x.length,
      { position: 3, next: 4, offset: 4, crcs: [crcOf(c)] },
    ]);
    const all = [a.length + b.length + x.length + c.length];
    expect(await brought(other, 5)).toEqual(all);
    // A device that says nothing of it gets all bytes, also of its own batches.
    await older.join({ registered: true });
    expect(await brought(older, 5)).toEqual(all);
    // A copy of the device is told what stands there, whichever of the two pushed it.
    const copy = await connect(path);
    await copy.join({ echo: false, registered: true });
    expect(await brought(copy, 5)).toHaveLength(3);
  });

  it("is bytes where nobody knows any more who pushed them, and credits are for bytes only", async () => {
    const path = await makeLog("echo-credits");
    const own = await connect(path);
    await own.join({ echo: false });
    const batches = [batchAt(0, ["x".repeat(900)]), batchAt(1, ["y".repeat(900)])];
    await own.push(batches);
    // Enough for one of the two: what is told by its position costs nothing.
    const follow = own.follow(0, batches[0]!.length);
    await own.tide(follow, ({ nextOffset }) => nextOffset === 2);
    const stored = batches.map((batch) => ({ outbox: "o", crc: crcOf(batch) }));
    const known = new RecentPushes();
    known.add(0, { ...stored[0]!, position: 7 });
    // Compaction has thinned the second one, so it is another batch now.
    known.add(1, { outbox: "o", crc: crcOf(batches[1]!) ^ 1, position: 8 });
    const sent = sentTo("o", concat(batches), known);
    expect(sent).toEqual([{ own: { position: 7, next: 8, offset: 0, crcs: [stored[0]!.crc] } }, { bytes: batches[1] }]);
    expect(sentTo("another", concat(batches), known)).toEqual([{ bytes: concat(batches) }]);
  });

  it("comes without a word of credits, up to the first bytes that they do not allow", async () => {
    const path = await makeLog("echo-free");
    const [own, other] = [await connect(path), await connect(path)];
    await own.join({ echo: false });
    await other.join(OTHER);
    const batches = [0, 1, 2].map((at) => batchAt(at, ["x".repeat(900)]));
    const foreign = batchAt(0, ["y".repeat(900)], 9);
    await own.push(batches);
    await other.push([foreign]);
    const follow = own.follow(0, 1);
    const starved = await own.next(({ id, type }) => id === follow && type === FrameType.STARVE);
    expect(new DataView(starved.payload.slice().buffer).getUint32(0)).toBe(foreign.length);
    const before = own.frames.filter(({ id, type }) => id === follow && BROUGHT.has(type));
    expect(before.map(({ payload }) => readOwn(payload))).toEqual([
      { position: 0, next: 3, offset: 0, crcs: batches.map(crcOf) },
    ]);
  });

  it("is cut where the credits end", () => {
    const bytes = [0, 1, 2].map((at) => batchAt(at, ["z".repeat(100)]));
    const own = { own: { position: 0, next: 1, offset: 3, crcs: [1] } };
    const parts = [{ bytes: concat(bytes) }, own];
    const [{ length }] = bytes as [Uint8Array];
    expect(partsWithin(parts, length - 1)).toBe(length);
    expect(partsWithin(parts, 2 * length + 1)).toEqual({
      parts: [{ bytes: concat(bytes.slice(0, 2)) }],
      bytes: 2 * length,
    });
    expect(partsWithin(parts, 3 * length)).toEqual({ parts, bytes: 3 * length });
    expect(partsWithin([own, ...parts], 0)).toEqual({ parts: [own], bytes: 0 });
  });

  it("a wrong wish is refused by its name", async () => {
    const device = await connect(await makeLog("echo-wrong"));
    expect(await device.join({ echo: "no" as never })).toMatchObject({
      code: "BAD_REQUEST",
      message: expect.stringContaining("echo") as string,
    });
  });
});
