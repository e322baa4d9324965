/** `tidemark/node`: the API of a page over a folder. */
import { cpSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it, vi } from "vitest";
import type { TideEvent, Topic } from "../../src/browser/api.ts";
import { open, type StandardSchema } from "../../src/node/index.ts";
import type { NodeTide } from "../../src/node/node-tide.ts";
import type { TidemarkError } from "../../src/errors.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { JUDGING_MS } from "../../src/typed/turns.ts";
import { fails } from "../contract/check.ts";
import { releaseKernel } from "../support/kernels.ts";
import { foldersOf, SMALL, valuesOf } from "../support/node-folders.ts";

const { newFolder } = foldersOf("node");
/** The lock is looked at once a millisecond. */
const afterMs = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("records", () => {
  it("an append whose condition needs records makes no topic; one that needs none does", async () => {
    const tide = await open(newFolder(), SMALL);
    const topic = tide.topic<number>("new");
    const error = await fails("OFFSET_CONFLICT", topic.append({ value: 1 }, { ifEnd: 7 }));
    expect(error.details).toEqual({ logEndOffset: 0, ifEnd: 7 });
    expect(await tide.topics()).toEqual([]);
    expect(await topic.append({ value: 2 }, { ifEnd: 0 })).toMatchObject({ offset: 0 });
    expect([await tide.topics(), await valuesOf(topic)]).toEqual([["new"], [2]]);
    await tide.close();
  });

  it("appended singly, in batches and in bulk are read after the next opening", async () => {
    const folder = newFolder();
    const tide = await open(folder, SMALL);
    const orders = tide.topic<number>("orders");
    const acks = await Promise.all([1, 2, 3].map((value) => orders.append({ key: "k", value })));
    expect(acks.map(({ offset, acks: level, duplicate }) => [offset, level, duplicate])).toEqual(
      [0, 1, 2].map((offset) => [offset, "flushed", false]),
    );
    expect(await orders.appendBatch([{ value: 4 }, { value: 5 }])).toMatchObject({ baseOffset: 3, offset: 4 });
    const many = Array.from({ length: 10_000 }, (_, i) => ({ value: i + 6 }));
    expect(await orders.appendAll(many)).toEqual({ appended: 10_000, firstOffset: 5, lastOffset: 10_004 });
    await fails("OFFSET_CONFLICT", orders.append({ value: 0 }, { ifEnd: 7 }));
    // The log's bound would take it, a batch of this volume does not; its headers count.
    await expect(orders.append({ value: 0, headers: { h: "x".repeat(60_000) } })).rejects.toMatchObject({
      code: "RECORD_TOO_LARGE",
      details: { bytes: 60_002 },
    });
    await tide.close();
    await fails("CLOSED", orders.append({ value: 0 }));
    const again = await open(pathToFileURL(folder));
    const expected = Array.from({ length: 10_005 }, (_, i) => i + 1);
    expect(await valuesOf(again.topic<number>("orders"))).toEqual(expected);
    expect(again.storage).toMatchObject({ engine: "files", durability: "device", segmentBytes: 64 * 1024 });
    expect([again.role, await again.topics()]).toEqual(["leader", ["orders"]]);
    const state = await again.topic("orders").state();
    expect([state.logEndOffset, state.recovery.cleanShutdown, state.segments.length > 1]).toEqual([10_005, true, true]);
    await again.close();
  });

  it("read from a position that a framework has wrapped, or a class made: what is sent is plain", async () => {
    await using tide = await open(newFolder());
    const topic = tide.topic<number>("t");
    for (const value of [0, 1, 2]) await topic.append({ value, timestamp: value });
    // In a page these requests are cloned.
    const sent = vi.spyOn((tide as NodeTide).connection, "call");
    class Since {
      get timestamp(): number {
        return 1;
      }
    }
    class Last {
      last = 2;
      f(): void {}
    }
    const froms = [new Proxy({ last: 2 }, {}), new Proxy({ timestamp: 1 }, {}), new Since(), new Last()];
    for (const from of froms) {
      const found: number[] = [];
      for await (const { value } of topic.read({ from })) found.push(value!);
      expect(found).toEqual([1, 2]);
    }
    const asked = sent.mock.calls.map(([request]) => structuredClone(request)).filter(({ op }) => op === "resolve");
    expect(asked).toContainEqual(expect.objectContaining({ position: { last: 2 } }));
    sent.mockRestore();
  });

  it("of the batch in which the log starts, or without a producer, are found by their id", async () => {
    await using tide = await open(newFolder());
    const topic = tide.topic<number>("t");
    await topic.appendBatch([0, 1, 2, 3].map((value) => ({ value })));
    const ids: string[] = [];
    for await (const { id } of topic.read()) ids.push(id);
    await topic.trim(2);
    const statuses = (from: Topic<number>, asked: readonly string[]) =>
      Promise.all(asked.map((id) => from.statusOf(id)));
    const unknown = { state: "unknown" };
    const expected = [unknown, unknown, { state: "committed", offset: 2 }, { state: "committed", offset: 3 }];
    expect(await statuses(topic, ids)).toEqual(expected);
    const copy = tide.topic<number>("copy");
    const builder = new BatchBuilder(kernel);
    for (let timestamp = 0; timestamp < 3; timestamp++) builder.tryAppend({ key: null, value: null, timestamp });
    await copy.importSegments([builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 })]);
    expect(await statuses(copy, ["0", "1", "2", "3"])).toEqual([
      ...[0, 1, 2].map((offset) => ({ state: "committed", offset })),
      unknown,
    ]);
  });

  it("that a schema never answers for are refused by close(), which ends, and those around them are kept", async () => {
    const folder = newFolder();
    const tide = await open(folder);
    const schema: StandardSchema<string, string> = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: (value) => (value === "open" ? new Promise(() => undefined) : { value: value as string }),
      },
    };
    const topic = tide.topic("t", { schema });
    await topic.append({ value: "a" });
    const waiting = Promise.allSettled(["b", "open", "c"].map((value) => topic.append({ value })));
    vi.useFakeTimers({ toFake: ["setTimeout"] });
    try {
      const closed = tide.close();
      await vi.advanceTimersByTimeAsync(2 * JUDGING_MS);
      vi.useRealTimers();
      await closed;
    } finally {
      vi.useRealTimers();
    }
    expect((await waiting).map((one) => (one.status === "fulfilled" ? one.value.offset : one.reason.code))).toEqual([
      1,
      "CLOSED",
      2,
    ]);
    await using again = await open(folder);
    expect(await valuesOf(again.topic<string>("t"))).toEqual(["a", "b", "c"]);
  });

  it("reach a reader that follows, until it is aborted, and changes", async () => {
    await using tide = await open(newFolder());
    const topic = tide.topic<string>("t");
    const ended = new AbortController();
    const reads = (async () => {
      const seen: (string | null)[] = [];
      for await (const { value } of topic.read({ follow: true, signal: ended.signal }))
        if (seen.push(value) === 3) ended.abort();
      return seen;
    })();
    const changed = (async () => {
      const seen: unknown[] = [];
      for await (const change of topic.changes())
        if (change.type === "append" && seen.push(change.record.value) === 3) break;
      return seen;
    })();
    for (const value of ["a", "b", "c"]) await topic.append({ value });
    expect(await reads).toEqual(["a", "b", "c"]);
    expect(await changed).toEqual(["a", "b", "c"]);
  });

  it("fold into a view, which goes on from its snapshot in the next opening", async () => {
    const folder = newFolder();
    let applied = 0;
    const options = {
      name: "sum",
      initial: () => 0,
      apply: (sum: number, { value }: { value: number | null }) => (applied++, sum + value!),
      snapshot: {},
    };
    const tide = await open(folder);
    const topic = tide.topic<number>("numbers");
    for (let value = 1; value <= 100; value++) void topic.append({ value });
    const { offset } = await topic.append({ value: 0 });
    const view = topic.view(options);
    await view.ready();
    expect([view.current, view.at.offset, applied]).toEqual([5050, offset + 1, 101]);
    await view.save();
    await tide.close();
    applied = 0;
    await using again = await open(folder);
    const later = again.topic<number>("numbers").view(options);
    await later.ready();
    expect([later.current, applied]).toEqual([5050, 0]);
    later.close();
  });
});

describe("topics", () => {
  it("keep their settings, are trimmed, deleted and made anew", async () => {
    const folder = newFolder();
    const tide = await open(folder, SMALL);
    const events: TideEvent[] = [];
    tide.on((event) => events.push(event));
    const topic = tide.topic<number>("t", { retention: { maxRecords: 10 } });
    for (let value = 0; value < 5; value++) await topic.append({ value });
    expect((await topic.state()).settings).toEqual({ retention: { maxRecords: 10 } });
    await topic.trim(3);
    expect(await valuesOf(topic)).toEqual([3, 4]);
    await fails("OFFSET_OUT_OF_RANGE", topic.trim(99));
    await fails("INVALID_ARGUMENT", topic.trim(-1));
    await tide.deleteTopic("t");
    await fails("UNKNOWN_TOPIC", topic.append({ value: 1 }));
    const anew = tide.topic<number>("t");
    expect((await anew.append({ value: 7 })).offset).toBe(0);
    expect(events.map(({ type }) => type)).toEqual(["settings", "deleted"]);
    await tide.close();
    const error = expect.objectContaining({ code: "CLOSED", details: { reason: "closed" } }) as TidemarkError;
    expect(events.at(-1)).toEqual({ type: "closed", reason: expect.stringContaining("closed") as string, error });
  });

  it("have a browser's tools: seeks, the status of a record, a segment as Kafka's files", async () => {
    await using tide = await open(newFolder());
    const topic = tide.topic<string>("t");
    const ack = await topic.append({ key: "k", value: "v", timestamp: 1000 });
    expect(await topic.statusOf(ack.id)).toEqual({ state: "committed", offset: 0 });
    expect((await topic.explainSeek({ timestamp: 1000 }))!.offset).toBe(0);
    const { name, log } = await topic.exportSegment(0);
    const batches = splitBatches(log).map((each) => decodeBatch(kernel, each));
    expect([name, batches.length]).toEqual(["00000000000000000000", 1]);
    expect(await ack.committed).toEqual({ offset: 0 });
    await fails("INVALID_ARGUMENT", topic.exportSegment(5));
  });
});

describe("refusals", () => {
  it("of wrong folders, options, names and levels name the field and say what to do", async () => {
    for (const folder of [undefined, "", 7, "a\0b", new URL("https://example.com")])
      expect((await fails("INVALID_ARGUMENT", open(folder as string))).message).toContain("folder");
    expect((await fails("INVALID_ARGUMENT", open(import.meta.filename))).message).toContain("must be a folder");
    await fails("NO_STORAGE", open(import.meta.filename, { create: false }));
    const folder = newFolder();
    await fails("INVALID_ARGUMENT", open(folder, { segmentBytes: 1000 }));
    await fails("INVALID_ARGUMENT", open(folder, { create: "no" as never }));
    await fails("INVALID_ARGUMENT", open(folder, { sync: {} } as never));
    await fails("NO_STORAGE", open(folder, { create: false }));
    await using tide = await open(folder);
    expect((await fails("ALREADY_OPEN", open(folder))).message).toContain("this process");
    await fails("INVALID_ARGUMENT", () => tide.topic("a/b"));
    await fails("INVALID_ARGUMENT", tide.sync({} as never));
    const topic = tide.topic("t");
    expect((await fails("INVALID_ARGUMENT", topic.append({ value: 1 }, { acks: "replicated" }))).message).toContain(
      "sync",
    );
  });

  it("damage is reported where it is, and what is beside it is read", async () => {
    const folder = newFolder();
    const tide = await open(folder, SMALL);
    const topic = tide.topic<string>("t");
    for (let i = 0; i < 40; i++) await topic.append({ value: `${i} `.repeat(1500) });
    const [first] = (await topic.state()).segments;
    await tide.close();
    const copy = newFolder();
    cpSync(folder, copy, { recursive: true });
    const file = path.join(copy, `slot-${String(first!.slot).padStart(4, "0")}`);
    const bytes = await import("node:fs").then(({ readFileSync }) => readFileSync(file));
    bytes[4096 + 200] = bytes[4096 + 200]! ^ 1;
    writeFileSync(file, bytes);
    await using damaged = await open(copy, { create: false });
    const error = await fails("CORRUPT_RANGE", valuesOf(damaged.topic("t")));
    const to = Number(error.details["to"]);
    let read = 0;
    for await (const _ of damaged.topic("t").read({ from: to })) read++;
    expect([Number(error.details["from"]), read]).toEqual([0, 40 - to]);
  });

  it("a lock that is removed by hand is taken again, and no append is lost or doubled", async () => {
    const folder = newFolder();
    await using tide = await open(folder, SMALL);
    const topic = tide.topic("t");
    const events: TideEvent[] = [];
    tide.on((event) => void events.push(event));
    await topic.append({ value: 1 });
    rmSync(path.join(folder, "lock"));
    await afterMs(2);
    await topic.append({ value: 2 });
    expect(await valuesOf(topic)).toEqual([1, 2]);
    expect(events.find(({ type }) => type === "reopened")).toMatchObject({
      reason: expect.stringContaining("the file lock in") as string,
    });
    await fails("ALREADY_OPEN", open(folder, SMALL));
  });

  it("a tide whose lock was removed ends when another has its folder, before it writes anything more", async () => {
    const folder = newFolder();
    const first = await open(folder, SMALL);
    await first.topic("t").append({ value: 1 });
    rmSync(path.join(folder, "lock"));
    await using second = await open(folder, SMALL);
    await second.topic("t").append({ value: 2 });
    const closed = new Promise<TideEvent>((resolve) => first.on("closed", resolve));
    const error = await fails("OUTCOME_UNKNOWN", first.topic("t").append({ value: "lost" }));
    expect(error.message).toContain("the file lock in");
    expect(await closed).toMatchObject({ error: { code: "ALREADY_OPEN" } });
    await second.topic("t").append({ value: 3 });
    await first.close();
    expect(await valuesOf(second.topic("t"))).toEqual([1, 2, 3]);
  });

  it("a folder that is removed ends the tide", async () => {
    const folder = newFolder();
    const tide = await open(folder, SMALL);
    const topic = tide.topic("t");
    const closed = new Promise((resolve) => tide.on("closed", resolve));
    rmSync(folder, { recursive: true });
    await topic.append({ value: 1 }).catch(() => undefined);
    await closed;
    await fails("CLOSED", topic.append({ value: 2 }));
    await tide.close();
    expect(() => readdirSync(folder)).toThrow("ENOENT");
  });
});

const kernel = await releaseKernel();
