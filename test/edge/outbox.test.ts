/**
 * Outboxes at the edge, inside workerd: a device joins a log, pushes what it wrote, and is told of the tide; repeats,
 * fences, claims and refusals are as docs/sync.md says.
 */
import { abortAllDurableObjects, evictDurableObject, runInDurableObject, SELF } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { encodeFrame, FrameType } from "../../src/sync/frames.ts";
import { readTide } from "../../src/sync/sync-frames.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { Archive } from "../../worker/store/segment-archive.ts";
import type { Sql, SqlRow } from "../../worker/store/sql.ts";
import { Stream, type StreamHost } from "../../worker/stream/stream.ts";
import { formatOffset } from "../../worker/wire/offsets.ts";
import { crcOf, JOIN } from "./outbox-device.ts";
import { at, batchAt, connect, logObject, makeLog, textOf } from "./outbox-tools.ts";

let logs = 0;
const fresh = (): string => `outbox/${++logs}`;
const made = async (contentType?: string): Promise<string> => makeLog(fresh(), contentType);
const OTHER = "00000000000000ff";

describe("a device with an outbox", () => {
  it("joins, pushes, and follows its own records back, with a tide behind them", async () => {
    const path = await made();
    const device = await connect(path);
    expect(await device.hello).toMatchObject({ features: ["sync1"] });
    const joined = await device.join();
    expect(joined).toEqual({
      stream: expect.stringMatching(/^[0-9a-f]{8}$/) as string,
      owner: expect.stringMatching(/^[\w-]{12}$/) as string,
      contentType: "text/plain",
      closed: false,
      logStartOffset: 0,
      logEndOffset: 0,
      lineage: "same",
      agreedTo: 0,
      life: expect.stringMatching(/^[0-9a-f]{16}$/) as string,
      forgottenAt: 0,
      known: true,
      since: 0,
      generation: 1,
      term: 1,
      next: 0,
      lastOffset: -1,
      lastCrc: 0,
      limits: {
        batchBytes: 1_048_588,
        recordBytes: 1_048_527,
        frameBytes: 4_194_304,
        batches: 1_000,
        records: 131_072,
      },
      tombstonesTo: 0,
      serverTimeMs: expect.any(Number) as number,
    });
    const follow = device.follow(0);
    const { life } = joined;
    expect(await device.tide(follow)).toEqual({ logStartOffset: 0, nextOffset: 0, highWatermark: 0, life });
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
    const again = await (await connect(path)).join({ registered: true });
    expect(again).toMatchObject({ known: true, next: 3, lastOffset: 2, lastCrc: crcOf(batches[1]!), since: 0 });
  });

  it("sends frames without waiting: they share commits, and a wrong chain refuses what stands behind it", async () => {
    const device = await connect(await made());
    await device.join();
    const batches = Array.from({ length: 6 }, (_, i) => batchAt(i, [`${i} `]));
    const previous = (i: number): number => (i === 0 ? 0 : crcOf(batches[i - 1]!));
    const answers = batches.slice(0, 4).map((batch, i) => device.push([batch], { previous: previous(i) }));
    // As of another history.
    answers.push(device.push([batches[4]!], { previous: 7 }), device.push([batches[5]!], { previous: previous(5) }));
    const [a, b, c, d, e, f] = await Promise.all(answers);
    expect([a, b, c, d].map((ok) => ok!.lastOffset)).toEqual([0, 1, 2, 3]);
    for (const refused of [e, f])
      expect(refused).toMatchObject({ code: "OUTBOX_CONFLICT", details: { next: 4, lastOffset: 3, logEndOffset: 4 } });
  });

  it("repeats what it has pushed, and it is there once", async () => {
    const path = await made();
    const device = await connect(path);
    await device.join();
    const batch = batchAt(0, ["once "]);
    const [first, second] = await Promise.all([device.push([batch]), device.push([batch])]);
    expect([first, second]).toMatchObject([
      { duplicate: false },
      { duplicate: true, appended: [], next: 1, lastOffset: 0 },
    ]);
    await device.push([batchAt(1, ["more "])], { previous: crcOf(batch) });
    expect(await device.push([batch])).toMatchObject({ code: "OUTBOX_CONFLICT", details: { next: 2 } });
    expect(await textOf(path)).toBe("once more ");
  });

  it("is known to a log that slept, on the same socket; a new life is told before its first batch", async () => {
    const path = await made();
    const device = await connect(path);
    const { life } = await device.join();
    const follow = device.follow(0);
    const batch = batchAt(0, ["a "]);
    await device.push([batch]);
    await device.tide(follow, ({ nextOffset }) => nextOffset === 1);
    await evictDurableObject(logObject(path));
    expect(await device.push([batchAt(1, ["b "])], { previous: crcOf(batch) })).toMatchObject({
      next: 2,
      lastOffset: 1,
    });
    await device.tide(follow, ({ nextOffset }) => nextOffset === 2);
    const frames = device.frames.filter(({ id }) => id === follow).map(({ type }) => type);
    const { BATCHES, TIDE } = FrameType;
    expect(frames).toEqual([TIDE, BATCHES, TIDE, TIDE, BATCHES, TIDE]);
    const tides = device.frames.flatMap(({ type, payload }) => (type === TIDE ? [readTide(payload)!] : []));
    // The one before the batch says where the follow still stands.
    expect(tides.map(({ nextOffset }) => nextOffset)).toEqual([0, 1, 1, 2]);
    const lives = tides.map(({ life: each }) => each);
    expect(lives.slice(0, 2)).toEqual([life, life]);
    expect(new Set(lives.slice(2)).size).toBe(1);
    expect(lives[2]).not.toBe(life);
    const joined = await device.join({ registered: true, life: lives[2]!, end: 2 });
    expect(joined).toMatchObject({ lineage: "same", life: lives[2], next: 2 });
    expect(await device.join({ registered: true, life, end: 1 })).toMatchObject({ lineage: "same" });
    expect(await device.join({ registered: true, life, end: 2 })).toMatchObject({ lineage: "back" });
  });

  it("learns by a join what became of a push when the object was reset", async () => {
    const path = await made();
    const device = await connect(path);
    await device.join();
    const batch = batchAt(0, ["a "]);
    void device.push([batch]);
    await abortAllDurableObjects();
    expect(await device.closed).toBe(1012);
    const again = await connect(path);
    const { next } = await again.join({ registered: true });
    if (next === 0) await again.push([batch]);
    expect(await textOf(path)).toBe("a ");
  });
});

describe("several who speak for one outbox", () => {
  it("a later leader ends the earlier one's channel, whose pushes are refused from then on", async () => {
    const path = await made();
    const [old, young] = [await connect(path), await connect(path)];
    await old.join({ term: 4 });
    old.follow(0);
    await young.join({ term: 5, registered: true });
    expect(await old.end()).toMatchObject({ code: "FENCED_LEADER", details: { generation: 1, term: 5 } });
    expect(await old.push([batchAt(0, ["a "])])).toMatchObject({ code: "CLOSED" });
    expect(await young.push([batchAt(0, ["b "])])).toMatchObject({ next: 1 });
    const late = await connect(path);
    const refused = await late.join({ term: 4, registered: true });
    expect(refused).toMatchObject({
      code: "FENCED_LEADER",
      kind: "refresh",
      generation: 1,
      term: 5,
      next: 1,
      known: true,
    });
    expect(await late.push([batchAt(1, ["a "])])).toMatchObject({
      code: "FENCED_LEADER",
      details: { term: 5, next: 1 },
    });
    // The channel is open: it may follow.
    const follow = late.follow(0);
    await late.tide(follow, ({ nextOffset }) => nextOffset === 1);
    expect(await textOf(path)).toBe("b ");
  });

  it("a copy claims once it has read all that was pushed, and fences the original, who claims in turn", async () => {
    const path = await made();
    const [original, copy] = [await connect(path), await connect(path)];
    await original.join();
    await original.push([batchAt(0, ["a ", "b "])]);
    await copy.join({ registered: true });
    const mine = batchAt(1, ["c "]);
    expect(await copy.push([mine], { expected: 0 })).toMatchObject({ code: "BAD_REQUEST" });
    expect(await copy.push([mine], { expected: 0, readTo: 1 })).toMatchObject({
      code: "OUTBOX_CONFLICT",
      details: { lastOffset: 1, logEndOffset: 2, forgottenAt: 0 },
    });
    // Nobody can have read what is not there.
    expect(await copy.push([mine], { readTo: 9 })).toMatchObject({ code: "OUTBOX_CONFLICT" });
    expect(await copy.push([mine], { expected: 0, readTo: 2 })).toMatchObject({
      generation: 2,
      next: 2,
      lastOffset: 2,
    });
    // The session has the generation that it was granted.
    expect(await copy.push([batchAt(2, ["d "])], { previous: crcOf(mine) })).toMatchObject({ generation: 2, next: 3 });
    const late = batchAt(2, ["e "]);
    expect(await original.push([late])).toMatchObject({
      code: "FENCED_LEADER",
      details: { generation: 2, lastOffset: 3 },
    });
    expect(await original.push([late], { readTo: 4 })).toMatchObject({ generation: 3, next: 3, lastOffset: 4 });
    expect(await textOf(path)).toBe("a b c d e ");
  });

  it("a session of a greater pair than the log's, as after it was put back, raises it for good", async () => {
    const path = await made();
    const device = await connect(path);
    await device.join();
    await device.join({ generation: 7, term: 2, registered: true });
    await evictDurableObject(logObject(path), { webSockets: "close" });
    const again = await connect(path);
    expect(await again.join({ generation: 6, term: 9, registered: true })).toMatchObject({ code: "FENCED_LEADER" });
    expect(await again.join({ generation: 7, term: 2, registered: true })).toMatchObject({ generation: 7, term: 2 });
  });

  it("an outbox that was registered and is not known is never taken for new", async () => {
    const device = await connect(await made());
    expect(await device.join({ registered: true, outbox: OTHER })).toMatchObject({
      code: "UNKNOWN_OUTBOX",
      known: false,
      since: 0,
      logEndOffset: 0,
      limits: { batches: 1_000 },
    });
    expect(await device.push([batchAt(0, ["a "])])).toMatchObject({ code: "UNKNOWN_OUTBOX", details: { next: null } });
    expect(await device.push([batchAt(0, ["a "])], { readTo: 0 })).toMatchObject({ generation: 2, next: 1 });
  });
});

describe("logs of other kinds", () => {
  it("a closed log answers joins and takes no push", async () => {
    const path = await made();
    const device = await connect(path);
    await device.join();
    await SELF.fetch(at(path), { method: "POST", headers: { "stream-closed": "true" } });
    expect(await device.push([batchAt(0, ["a "])])).toMatchObject({ code: "STREAM_CLOSED" });
    expect(await device.join({ registered: true })).toMatchObject({ closed: true, next: 0 });
  });

  it("a deleted log ends the socket; one made anew at its path knows nobody", async () => {
    const path = await made();
    const device = await connect(path);
    const { stream } = await device.join();
    await device.push([batchAt(0, ["a "])]);
    await SELF.fetch(at(path), { method: "DELETE" });
    expect(await device.closed).toBe(4404);
    await makeLog(path);
    const again = await connect(path);
    const joined = await again.join({ registered: true, stream, end: 1 });
    expect(joined).toMatchObject({ known: false, next: 0 });
    expect(joined.stream).not.toBe(stream);
    expect(await again.join({ registered: true })).toMatchObject({ code: "UNKNOWN_OUTBOX" });
  });

  it("a log of JSON serves pushed messages over HTTP, and takes no other", async () => {
    const path = await made("application/json");
    const device = await connect(path);
    await device.join();
    expect(await device.push([batchAt(0, ["{}"]), batchAt(1, ["{"])])).toMatchObject({
      code: "BAD_REQUEST",
      details: { index: 1 },
    });
    await device.push([batchAt(0, ['{"a":1}', "[]"])]);
    expect(JSON.parse(await textOf(path))).toEqual([{ a: 1 }, []]);
  });

  it("a fork knows nobody: a device claims there, once it has read what the fork inherits", async () => {
    const [source, fork] = [await made(), fresh()];
    const device = await connect(source);
    await device.join();
    const batch = batchAt(0, ["a ", "b "]);
    await device.push([batch]);
    await makeLog(fork, "text/plain", {
      "stream-forked-from": `/v1/stream/${source}`,
      "stream-fork-offset": formatOffset(2),
    });
    const there = await connect(fork);
    const samples = [[0, crcOf(batch)] as const];
    expect(await there.join({ end: 2, samples })).toMatchObject({
      code: "UNKNOWN_OUTBOX",
      forgottenAt: 2,
      logStartOffset: 0,
      lineage: "same",
      agreedTo: 2,
    });
    const own = batchAt(2, ["c "]);
    expect(await there.push([own], { readTo: 1 })).toMatchObject({
      code: "OUTBOX_CONFLICT",
      details: { forgottenAt: 2 },
    });
    expect(await there.push([own], { readTo: 2 })).toMatchObject({ generation: 2, lastOffset: 2 });
    expect(await textOf(fork)).toBe("a b c ");
    expect(await device.push([batchAt(2, ["d "])], { previous: crcOf(batch) })).toMatchObject({
      generation: 1,
      next: 3,
    });
  });
});

describe("hostile frames", () => {
  const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
  it("are refused one by one, and the socket goes on", async () => {
    const path = await made();
    const device = await connect(path);
    const refused = async (type: FrameType, payload: Uint8Array): Promise<unknown> =>
      ((await device.ask(type, payload)).body as { code: string }).code;
    // The Worker's own words come before these, whatever they are.
    const wrong = [
      new Uint8Array(0),
      new Uint8Array(13),
      json([]),
      json("AAAAAAAAAAAAw{}"),
      json({ ...JOIN, term: -1 }),
      json({ ...JOIN, samples: Array.from({ length: 13 }, (_, i) => [i, 0]) }),
      new TextEncoder().encode("AAAAAAAAAAAAw{}"),
    ];
    for (const payload of wrong) expect(await refused(FrameType.JOIN, payload)).toBe("BAD_REQUEST");
    expect(await device.push([batchAt(0, ["a "])])).toMatchObject({ code: "BAD_REQUEST" });
    await device.join({ outbox: null });
    expect(await device.push([batchAt(0, ["a "])])).toMatchObject({ code: "BAD_REQUEST" });
    await device.join();
    for (const length of [0, 27, 28]) expect(await refused(FrameType.PUSH, new Uint8Array(length))).toBe("BAD_REQUEST");
    const torn = new Uint8Array(28 + 60).fill(7, 28);
    expect(["BAD_REQUEST", "INVALID_BATCH"]).toContain(await refused(FrameType.PUSH, torn));
    const spoiled = batchAt(0, ["a "]);
    spoiled[spoiled.length - 1]! ^= 1;
    expect(await device.push([spoiled])).toMatchObject({ code: "INVALID_BATCH", details: { index: 0 } });
    expect(await device.push([batchAt(0, ["a "])])).toMatchObject({ next: 1 });
    expect(await textOf(path)).toBe("a ");
  });

  it("of the edge's own types end the socket", async () => {
    const device = await connect(await made());
    device.wire.send(encodeFrame({ type: FrameType.TIDE, payload: new Uint8Array(32) }));
    expect(await device.closed).toBe(4400);
  });
});

describe("what it costs", () => {
  interface State {
    readonly storage: {
      readonly sql: { exec(query: string, ...bindings: unknown[]): Iterable<SqlRow> & { rowsWritten: number } };
      transactionSync<T>(work: () => T): T;
    };
  }

  it("a push is the row of its data and no other, also the first of a life; the rest is named", async () => {
    const billed = await runInDurableObject(logObject(fresh()), async (_: unknown, { storage }: State) => {
      let cursors: { readonly rowsWritten: number }[] = [];
      const sql: Sql = {
        exec(query, ...bindings) {
          const cursor = storage.sql.exec(query, ...bindings);
          cursors.push(cursor);
          return cursor;
        },
        transaction: (work) => storage.transactionSync(work),
      };
      const host: StreamHost = {
        sql,
        kernel: await edgeKernel(),
        archive: new Archive(undefined, await edgeKernel()),
        now: () => Date.now(),
        breathe: () => Promise.resolve(),
        readSource: () => Promise.reject(new Error("no source")),
        onChange: () => {},
        onSealed: () => {},
        abort: () => {},
      };
      const config = { id: "0", path: "a", tenant: "t", watched: false, contentType: "text/plain" };
      const rest = { ttl: undefined, expiresAt: undefined, fork: undefined, closed: false, closedBy: undefined };
      let stream = await Stream.create(host, { ...config, ...rest, deleted: false, releasing: false, touchedAt: 0 });
      const rows = async (work: () => unknown): Promise<number> => {
        cursors = [];
        await work();
        return cursors.reduce((sum, { rowsWritten }) => sum + rowsWritten, 0);
      };
      const owner = "AAAAAAAAAAAA";
      const join = (term: number, registered = true, outbox = OTHER) => {
        const joining = { outbox, generation: 1, term, owner, registered, first: 0, mayRegister: true };
        return stream.outboxes.join(joining, stream.tail);
      };
      let previous = 0;
      const push = async (position: number, term: number): Promise<void> => {
        const batch = batchAt(position, ["a "]);
        const asked = { expected: position, at: position, readTo: undefined, previous, batches: batch };
        const checked = await stream.pushes.check(asked);
        await stream.pushes.take({ outbox: OTHER, generation: 1, term, owner }, checked);
        previous = crcOf(batch);
      };
      const found = {
        "first join of a log": await rows(() => join(1, false)),
        registration: await rows(() => join(1, false, "00000000000000fe")),
        push: await rows(() => push(0, 1)),
        "join of the same leader": await rows(() => join(1)),
        "join of another leader": await rows(() => join(2)),
        seal: 0,
        "wake, and the first push of a life": 0,
      };
      found.seal = await rows(() => stream.log.roll());
      found["wake, and the first push of a life"] = await rows(async () => {
        stream = (await Stream.load(host))!;
        await push(1, 2);
      });
      return found;
    });
    expect(billed).toEqual({
      "first join of a log": 2,
      registration: 1,
      push: 1,
      "join of the same leader": 0,
      "join of another leader": 1,
      // The note of the segment, the two books of producers, and this one.
      seal: 4,
      "wake, and the first push of a life": 1,
    });
  });
});
