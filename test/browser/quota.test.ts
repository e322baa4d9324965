/** A full disk, by Chromium's own switch for it, through its DevTools protocol. */
import { afterEach, describe, expect, it } from "vitest";
import { open, TidemarkError } from "../../src/browser/index.ts";
import { leaveRoom, leaveRoomAnew } from "./devtools.ts";

let names = 0;
const fresh = () => `quota-${Date.now()}-${names++}`;
const MIB = 1024 * 1024;

afterEach(() => leaveRoom());

describe("a full disk", () => {
  it("is QUOTA_EXCEEDED, keeps what was acked readable, and takes more once room was made", async () => {
    const name = fresh();
    const tide = await open(name, { engine: "opfs", segmentBytes: MIB });
    const topic = tide.topic<Uint8Array>("t", { serializer: "bytes" });
    const value = crypto.getRandomValues(new Uint8Array(50_000));
    await topic.append({ value });
    await leaveRoom(12 * MIB);
    let acked = 1;
    let refused: TidemarkError | undefined;
    while (!refused && acked < 2000) {
      const attempts = await Promise.allSettled(Array.from({ length: 10 }, () => topic.append({ value })));
      acked += attempts.filter(({ status }) => status === "fulfilled").length;
      refused = attempts.find((attempt) => attempt.status === "rejected")?.reason as TidemarkError | undefined;
    }
    expect(refused, `${acked} acked`).toBeInstanceOf(TidemarkError);
    expect([refused!.code, refused!.kind]).toEqual(["QUOTA_EXCEEDED", "retry"]);
    expect(refused!.message).toContain("trim or delete topics");
    expect(acked).toBeGreaterThan(20);
    let read = 0;
    for await (const batch of topic.readBatches())
      for (const record of batch) read += record.valueBytes![7] === value[7] ? 1 : 0;
    expect(read).toBeGreaterThanOrEqual(acked);
    const { segments } = await topic.state();
    await topic.trim(segments.at(-1)!.baseOffset);
    for (let more = 0; more < 60; more++) expect((await topic.append({ value })).offset).toBeGreaterThanOrEqual(acked);
    await tide.close();
    await leaveRoom();
    const again = await open(name);
    expect(again.recovery[0]!.quarantined).toEqual([]);
    await again.close();
  });
});

describe("a full disk under IndexedDB, which can't reserve space", () => {
  it("is QUOTA_EXCEEDED, keeps what was acked readable, and goes on by itself once there is room", async () => {
    const name = fresh();
    await leaveRoomAnew(6 * MIB);
    const tide = await open(name, { engine: "indexeddb", segmentBytes: MIB });
    const topic = tide.topic<Uint8Array>("t", { serializer: "bytes" });
    const value = new Uint8Array(50_000);
    const acked = new Set<number>();
    const codes: string[] = [];
    for (let tries = 0; codes.length < 3 && tries < 4000; tries++) {
      crypto.getRandomValues(value);
      await topic.append({ value }).then(
        ({ offset }) => acked.add(offset),
        (error: TidemarkError) => codes.push(error.code),
      );
    }
    // The first one's transaction failed, so its producer asked again; from then on it is certain.
    expect(codes.slice(1), `${acked.size} acked`).toEqual(["QUOTA_EXCEEDED", "QUOTA_EXCEEDED"]);
    expect(acked.size).toBeGreaterThan(20);
    const read = new Set<number>();
    for await (const { offset } of topic.read()) read.add(offset);
    expect([...acked].filter((offset) => !read.has(offset))).toEqual([]);
    await leaveRoom();
    let offset: number | undefined;
    await expect
      .poll(
        () =>
          topic.append({ value }).then(
            (ack) => (offset = ack.offset),
            (error: TidemarkError) => error.code,
          ),
        { timeout: 20_000 },
      )
      .toBeTypeOf("number");
    expect(acked.has(offset!)).toBe(false);
    await tide.close();
    const again = await open(name);
    expect(again.recovery[0]!.quarantined).toEqual([]);
    await again.close();
  });
});

describe("a full disk in the middle of upkeep", () => {
  it("a compaction that gets no slot changes nothing, says so, and is done once there is room", async () => {
    const name = fresh();
    const tide = await open(name, { engine: "opfs", segmentBytes: MIB });
    const topic = tide.topic<Uint8Array>("t", { serializer: "bytes", compaction: true });
    const value = new Uint8Array(100_000);
    for (let i = 0; i < 60; i++) {
      value[0] = i;
      await topic.append({ key: `k${i % 40}`, value });
    }
    await topic.roll();
    const all = async () => {
      const seen: string[] = [];
      for await (const { key, offset, valueBytes } of topic.read()) seen.push(`${offset} ${key} ${valueBytes![0]}`);
      return seen;
    };
    const before = await all();
    expect(before).toHaveLength(60);
    // Every slot there is gets used, so that compaction needs new ones.
    await leaveRoom(0);
    const filler = tide.topic<Uint8Array>("filler", { serializer: "bytes" });
    let refused = "";
    while (!refused) await filler.append({ value }).catch((error: TidemarkError) => (refused = error.code));
    expect(refused).toBe("QUOTA_EXCEEDED");
    await expect(topic.clean()).rejects.toMatchObject({ code: "QUOTA_EXCEEDED", kind: "retry" });
    expect(await all()).toEqual(before);
    await leaveRoom();
    expect((await topic.clean()).compacted.recordsRemoved).toBe(20);
    expect(await all()).toEqual(before.slice(20));
    await tide.close();
    const again = await open(name);
    expect(again.recovery.flatMap(({ quarantined, cut }) => [...quarantined, cut])).toEqual([undefined, undefined]);
    await again.close();
  });
});
