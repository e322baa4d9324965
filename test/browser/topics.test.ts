/**
 * A topic's life over tabs: settings that are its own, reading that makes nothing, deleting. Each open() is a tab of
 * its own.
 */
import { afterEach, describe, expect, it } from "vitest";
import { type OpenOptions, open, type Tide, type TideEvent, type TidemarkError } from "../../src/browser/index.ts";

let names = 0;
const fresh = () => `topics-${Date.now()}-${names++}`;
const opened: Tide[] = [];
afterEach(async () => {
  for (const tide of opened.splice(0).reverse()) await tide.close();
});

async function tab(name: string, options: OpenOptions = {}): Promise<Tide> {
  const tide = await open(name, { segmentBytes: 64 * 1024, ...options });
  opened.push(tide);
  return tide;
}

const code = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    (value) => `resolved: ${JSON.stringify(value)}`,
    (thrown: TidemarkError) => thrown.code,
  );
const next = <T extends TideEvent["type"]>(tide: Tide, type: T) =>
  new Promise<Extract<TideEvent, { type: T }>>((resolve) => {
    const stop = tide.on((event) => {
      if (event.type !== type) return;
      stop();
      resolve(event as Extract<TideEvent, { type: T }>);
    });
  });
async function values(tide: Tide, topic = "t"): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const { offset, value } of tide.topic(topic).read()) {
    expect(offset).toBe(found.length);
    found.push(value);
  }
  return found;
}

for (const engine of ["opfs", "indexeddb"] as const) {
  describe(`settings over ${engine}`, () => {
    it("belong to the topic: every tab has them, also after a change of the leader and after a reopening", async () => {
      const name = fresh();
      const first = await tab(name, { engine });
      const second = await tab(name);
      const retention = { maxBytes: 1000 };
      await first.topic("t", { retention, recordBytesMax: 300 }).append({ value: 1 });
      expect((await second.topic("t").state()).settings).toEqual({ retention, recordBytesMax: 300 });
      expect(await code(second.topic("t").append({ value: "x".repeat(400) }))).toBe("RECORD_TOO_LARGE");
      await first.close();
      expect((await second.topic("t").state()).settings).toEqual({ retention, recordBytesMax: 300 });
      await second.close();
      const third = await tab(name);
      // A tab that gives none leaves them as they are, and they count for it.
      for (let i = 0; i < 4; i++) {
        await third.topic("t").append({ value: "y".repeat(200) });
        for (let j = 0; j < 6; j++) await third.topic("t").append({ value: "y".repeat(200) });
        await third.topic("t").roll();
      }
      expect((await third.topic("t").clean()).retired.segments).toBeGreaterThan(0);
      expect((await third.topic("t").state()).settings).toEqual({ retention, recordBytesMax: 300 });
    });

    it("that differ change for good, one by one, in every tab; the same again changes nothing", async () => {
      const name = fresh();
      const first = await tab(name, { engine });
      const second = await tab(name);
      const events: TideEvent[] = [];
      first.on((event) => event.type === "settings" && events.push(event));
      await first.topic("t", { segmentMaxAgeMs: 5_000 }).append({ value: 1 });
      await expect.poll(() => events).toEqual([{ type: "settings", topic: "t", settings: { segmentMaxAgeMs: 5_000 } }]);
      const told = next(first, "settings");
      second.topic("t", { compaction: true });
      expect((await told).settings).toEqual({ segmentMaxAgeMs: 5_000, compaction: {} });
      second.topic("t", { segmentMaxAgeMs: 5_000, compaction: {} });
      first.topic("t", {});
      expect((await second.topic("t").state()).settings).toEqual({ segmentMaxAgeMs: 5_000, compaction: {} });
      second.topic("t", { compaction: false, retention: { maxRecords: 1 } });
      second.topic("t", { retention: {} });
      expect((await second.topic("t").state()).settings).toEqual({
        segmentMaxAgeMs: 5_000,
        compaction: false,
        retention: {},
      });
      // The leader that stored them ends; what a tab once gave does not come back with it.
      await first.close();
      await second.topic("t").append({ value: 2 });
      expect((await second.topic("t").state()).settings).toEqual({
        segmentMaxAgeMs: 5_000,
        compaction: false,
        retention: {},
      });
    });

    it("given before there is a topic are stored with its first record, whichever tab appends it", async () => {
      const name = fresh();
      const first = await tab(name, { engine });
      const second = await tab(name);
      second.topic("t", { segmentMaxAgeMs: 7_000 });
      expect(await values(second)).toEqual([]);
      expect(await first.topics()).toEqual([]);
      await first.topic("t").append({ value: 1 });
      expect((await first.topic("t").state()).settings).toEqual({ segmentMaxAgeMs: 7_000 });
    });
  });

  describe(`reading over ${engine}`, () => {
    it("never makes a topic: it is empty, not listed, and has no slot", async () => {
      const name = fresh();
      const first = await tab(name, { engine });
      const second = await tab(name);
      for (const tide of [first, second]) {
        const topic = tide.topic("nothing");
        expect(await values(tide, "nothing")).toEqual([]);
        for await (const batch of topic.readBatches({ from: { last: 5 } })) expect(batch).toBeUndefined();
        expect(await topic.state()).toMatchObject({
          name: "nothing",
          settings: {},
          logStartOffset: 0,
          highWatermark: 0,
          logEndOffset: 0,
          segments: [],
          quarantined: [],
        });
        expect(await topic.explainSeek({ offset: 0 })).toBeUndefined();
        expect(await topic.explainSeek({ timestamp: 5 })).toBeUndefined();
        expect(await code(topic.exportSegment(0))).toBe("INVALID_ARGUMENT");
        expect(await code(topic.trim(1))).toBe("OFFSET_OUT_OF_RANGE");
        await topic.trim(0);
        await topic.roll();
        expect((await topic.clean()).rolled).toBe(false);
        expect(await code(topic.read({ from: 3 }).next())).toBe("OFFSET_OUT_OF_RANGE");
        expect(await tide.topics()).toEqual([]);
      }
      await first.close();
      await second.close();
      const again = await tab(name);
      expect([again.recovery, await again.topics()]).toEqual([[], []]);
    });

    it("that follows waits until there is one, in any tab, also over a change of the leader", async () => {
      const name = fresh();
      const first = await tab(name, { engine });
      const second = await tab(name);
      const third = await tab(name);
      const following = [second, third].map((tide) =>
        tide.topic<number>("t").read({ follow: true, from: "latest" }).next(),
      );
      expect(await first.topics()).toEqual([]);
      await first.close();
      await third.topic("t").append({ value: 42 });
      for (const { value } of await Promise.all(following)) expect(value).toMatchObject({ offset: 0, value: 42 });
    });
  });

  describe(`a deleted topic over ${engine}`, () => {
    it("is gone for every tab; open handles fail; a new one of the name begins at 0 and is empty", async () => {
      const name = fresh();
      const first = await tab(name, { engine });
      const second = await tab(name);
      const old = [first, second].map((tide) => tide.topic<string>("t"));
      for (let i = 0; i < 5; i++) {
        for (const topic of old) await topic.append({ value: `old-${i}` });
        await old[0]!.roll();
      }
      await first.topic("other", { segmentMaxAgeMs: 9_000 }).append({ value: "stays" });
      const following = code(old[1]!.read({ follow: true, from: 10 }).next());
      const told = [next(first, "deleted"), next(second, "deleted")];
      await second.deleteTopic("t");
      for (const event of await Promise.all(told)) expect(event).toEqual({ type: "deleted", topic: "t" });
      expect(await following).toBe("UNKNOWN_TOPIC");
      expect(await first.topics()).toEqual(["other"]);
      for (const topic of old) {
        const late = [
          topic.append({ value: "late" }),
          topic.appendBatch([{ value: "late" }]),
          topic.appendAll([{ value: "late" }]),
          topic.read().next(),
          topic.readBatches().next(),
          topic.state(),
          topic.trim(0),
          topic.roll(),
          topic.clean(),
          topic.explainSeek({ offset: 0 }),
          topic.exportSegment(0),
        ];
        expect(new Set(await Promise.all(late.map(code)))).toEqual(new Set(["UNKNOWN_TOPIC"]));
      }
      expect(await first.topics()).toEqual(["other"]);
      for (const tide of [first, second]) {
        expect(await values(tide)).toEqual([]);
        expect((await tide.topic("t").state()).settings).toEqual({});
      }
      expect((await first.topic("t").append({ value: "new" })).offset).toBe(0);
      expect(await values(second)).toEqual(["new"]);
      expect(await values(second, "other")).toEqual(["stays"]);
      // Nothing to delete is nothing to do.
      await first.deleteTopic("never");
      await first.close();
      expect(await values(second)).toEqual(["new"]);
      await second.close();
      const again = await tab(name);
      expect(await values(again)).toEqual(["new"]);
      expect((await again.topic("other").state()).settings).toEqual({ segmentMaxAgeMs: 9_000 });
    });

    it("is not made again by what was on its way: each append is acked before, or fails", async () => {
      const name = fresh();
      const first = await tab(name, { engine });
      const second = await tab(name);
      const topics = [first, second].map((tide) => tide.topic<number>("t"));
      for (const topic of topics) await topic.append({ value: 0 });
      const outcomes: Promise<string>[] = [];
      for (let i = 1; i <= 200; i++) {
        for (const topic of topics) outcomes.push(code(topic.append({ value: i }).then(() => "acked")));
        if (i === 100) outcomes.push(code(first.deleteTopic("t").then(() => "acked")));
        if (i % 20 === 0) await new Promise((resolve) => setTimeout(resolve));
      }
      const found = new Set(await Promise.all(outcomes));
      expect([...found].every((each) => each === 'resolved: "acked"' || each === "UNKNOWN_TOPIC")).toBe(true);
      for (const topic of topics) expect(await code(topic.append({ value: 0 }))).toBe("UNKNOWN_TOPIC");
      expect(await second.topics()).toEqual([]);
    });

    it("stays deleted though its leader's page goes at once; a retry elsewhere does not bring it back", async () => {
      const name = fresh();
      const first = await tab(name, { engine });
      const second = await tab(name);
      const third = await tab(name);
      const topic = third.topic<number>("t");
      await topic.append({ value: 1 });
      await second.topic("t").append({ value: 2 });
      const deleting = second.deleteTopic("t");
      // Un-acked, and sent again to the next leader.
      const late = Array.from({ length: 50 }, (_, i) => code(topic.append({ value: i })));
      const closing = first.close();
      await deleting;
      await closing;
      for (const outcome of await Promise.all(late)) expect(outcome).toMatch(/^(UNKNOWN_TOPIC|resolved)/);
      expect(await code(topic.append({ value: 3 }))).toBe("UNKNOWN_TOPIC");
      for (const tide of [second, third]) expect(await tide.topics()).toEqual([]);
    });

    it("frees its space: as many records again need no further slot", async () => {
      const name = fresh();
      const tide = await tab(name, { engine });
      const slots = new Set<number>();
      for (let turn = 0; turn < 4; turn++) {
        const topic = tide.topic<string>("t");
        for (let i = 0; i < 20; i++) await topic.append({ value: "z".repeat(20_000) });
        for (const { slot } of (await topic.state()).segments) slots.add(slot!);
        expect((await topic.state()).segments.length).toBeGreaterThan(3);
        await tide.deleteTopic("t");
      }
      expect(slots.size).toBeLessThan(15);
    });
  });
}

describe("a topic in one page", () => {
  it("is the same object for the same options, and INVALID_ARGUMENT with others of the page's own", async () => {
    const tide = await tab(fresh());
    const mine = {
      serialize: (value: string) => new TextEncoder().encode(value),
      deserialize: (bytes: Uint8Array) => new TextDecoder().decode(bytes),
    };
    const text = tide.topic("text", {
      serializer: "text",
      codec: "gzip",
      acks: "written",
      batchBytes: 1000,
      inFlightBytesMax: 5000,
    });
    expect(tide.topic("text")).toBe(text);
    expect(
      tide.topic("text", {
        serializer: "text",
        codec: "gzip",
        acks: "written",
        batchBytes: 1000,
        inFlightBytesMax: 5000,
        retention: { maxBytes: 5 },
      }),
    ).toBe(text);
    for (const other of [
      { serializer: "json" },
      { serializer: mine },
      { codec: "none" },
      { acks: "flushed" },
      { batchBytes: 1001 },
      { inFlightBytesMax: 1 },
    ] as const) {
      const [field] = Object.keys(other);
      expect(() => tide.topic("text", other as never)).toThrow(
        expect.objectContaining({
          code: "INVALID_ARGUMENT",
          message: expect.stringContaining(field!) as string,
        }) as Error,
      );
    }
    const own = tide.topic("own", { serializer: mine });
    expect(tide.topic("own", { serializer: mine })).toBe(own);
    expect(() => tide.topic("own", { serializer: { ...mine } })).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }) as Error,
    );
    expect(tide.topic("json")).toBe(tide.topic("json", { serializer: "json" }));
  });

  it("is not made by an append whose condition needs records", async () => {
    const name = fresh();
    const [leader, follower] = [await tab(name), await tab(name)];
    for (const tide of [follower, leader])
      expect(await code(tide.topic("t").append({ value: 1 }, { ifEnd: 7 }))).toBe("OFFSET_CONFLICT");
    expect(await leader.topics()).toEqual([]);
    expect(await follower.topic("t").append({ value: 2 }, { ifEnd: 0 })).toMatchObject({ offset: 0 });
    expect([await leader.topics(), await values(leader)]).toEqual([["t"], [2]]);
  });

  it("refuses settings that a log can't have, at once, and leaves none behind", async () => {
    const tide = await tab(fresh());
    const topic = tide.topic("t", { retention: { maxRecords: 5 } });
    await topic.append({ value: 1 });
    for (const bad of [
      { retention: { maxBytes: -1 } },
      { segmentMaxAgeMs: NaN },
      { recordBytesMax: 0 },
      { compaction: { minLagMs: -1 } },
      { retention: null },
      { compaction: 1 },
    ]) {
      expect(() => tide.topic("t", bad as never), JSON.stringify(bad)).toThrow(
        expect.objectContaining({ code: "INVALID_ARGUMENT" }) as Error,
      );
      expect(() => tide.topic("fresh", bad as never), JSON.stringify(bad)).toThrow(
        expect.objectContaining({ code: "INVALID_ARGUMENT" }) as Error,
      );
    }
    expect((await topic.state()).settings).toEqual({ retention: { maxRecords: 5 } });
    await tide.topic("fresh").append({ value: 1 });
    expect((await tide.topic("fresh").state()).settings).toEqual({});
  });

  it("ends with its tide where that is disposed of", async () => {
    const tide = await tab(fresh());
    const topic = tide.topic("t");
    await topic.append({ value: 1 });
    await tide[Symbol.asyncDispose]();
    expect(await code(topic.append({ value: 2 }))).toBe("CLOSED");
  });
});
