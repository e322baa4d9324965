/** Calls that must be refused, each with its code, and change nothing. */
import type { Random } from "../prng.ts";
import type { World } from "./history.ts";
import { equal, type TopicModel } from "./model.ts";
import type { AnyTopic } from "./kinds.ts";

type Work = (topic: AnyTopic, world: World, model: TopicModel) => unknown;

const OFFSETS = [-1, 1.5, NaN, Infinity, -0.5, 2 ** 53, "5", 5n, {}, [], true, new Date(0)];
const TIMES = [1.5, NaN, Infinity, 2 ** 53, -(2 ** 53), "5", 5n, new Date(0), {}, true];
const ok = (model: TopicModel): object => ({
  value: null,
  ...(model.kind.type && { headers: { "tm.type": "added" } }),
});
const drain = async (reading: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of reading);
};

const INVALID: readonly (readonly [string, Work])[] = [
  ...[1, {}, [], true, 1n, "\ud800", "a\udc00b", new Uint16Array(2), new ArrayBuffer(2)].map(
    (key) =>
      ["key", (topic: AnyTopic, _: World, model: TopicModel) => topic.append({ ...ok(model), key } as never)] as const,
  ),
  ...TIMES.map(
    (timestamp) =>
      [
        "timestamp",
        (topic: AnyTopic, _: World, model: TopicModel) => topic.append({ ...ok(model), timestamp } as never),
      ] as const,
  ),
  ...TIMES.map(
    (timestamp) =>
      [
        "timestamp of a batch",
        (topic: AnyTopic, _: World, model: TopicModel) =>
          topic.appendBatch([ok(model), { ...ok(model), timestamp }] as never),
      ] as const,
  ),
  ...[
    1,
    "x",
    true,
    [1],
    [["a"]],
    [["a", 1]],
    { a: 1 },
    { a: undefined },
    { a: ["b"] },
    { "\ud800": "x" },
    { a: "\ud800" },
    new Uint8Array(2),
    [["a", "b", "c"]],
    new Set(["ab"]),
    new Date(0),
  ].map((headers) => ["headers", (topic: AnyTopic) => topic.append({ value: null, headers } as never)] as const),
  ...[undefined, null, 1, "x", [], [{ value: null }], {}, { value: undefined }, true, 1n, Symbol("x")].map(
    (record) => ["record", (topic: AnyTopic) => topic.append(record as never)] as const,
  ),
  ...[undefined, null, 1, [], {}, new Set(), "x", "", [undefined], [null], [1]].map(
    (records) => ["records", (topic: AnyTopic) => topic.appendBatch(records as never)] as const,
  ),
  ...[undefined, null, 1, {}, "x"].map(
    (records) => ["records of appendAll", (topic: AnyTopic) => topic.appendAll(records as never)] as const,
  ),
  ...OFFSETS.map(
    (ifEnd) =>
      [
        "ifEnd",
        (topic: AnyTopic, _: World, model: TopicModel) => topic.append(ok(model) as never, { ifEnd } as never),
      ] as const,
  ),
  ...OFFSETS.map(
    (ifEnd) =>
      [
        "ifEnd of a batch",
        (topic: AnyTopic, _: World, model: TopicModel) => topic.appendBatch([ok(model)] as never, { ifEnd } as never),
      ] as const,
  ),
  ...[{ ack: "flushed" }, { acks: "all" }, { acks: 1 }, { acks: null }, null, 1, [], "flushed"].map(
    (options) =>
      [
        "append options",
        (topic: AnyTopic, _: World, model: TopicModel) => topic.append(ok(model) as never, options as never),
      ] as const,
  ),
  ...[{ signal: {} }, { onProgress: 1 }, { acks: "x" }, { ifEnd: 1 }].map(
    (options) => ["appendAll options", (topic: AnyTopic) => topic.appendAll([], options as never)] as const,
  ),
  ...OFFSETS.map((from) => ["from", (topic: AnyTopic) => drain(topic.read({ from } as never))] as const),
  ...[
    null,
    "",
    "first",
    { timestamp: NaN },
    { timestamp: "1" },
    { timestamp: 1n },
    { last: -1 },
    { last: 1.5 },
    { last: "1" },
    { last: 1, timestamp: 1 },
    { timestamp: new Date(0) },
    { timestamp: Infinity },
  ].map((from) => ["from", (topic: AnyTopic) => drain(topic.readBatches({ from } as never))] as const),
  ...OFFSETS.map((to) => ["to", (topic: AnyTopic) => drain(topic.read({ to } as never))] as const),
  ...[
    { maxBytes: 0 },
    { maxBytes: -1 },
    { maxBytes: 1.5 },
    { maxBytes: NaN },
    { isolation: "all" },
    { follow: 1 },
    { signal: {} },
    { limit: 5 },
    { reverse: true },
    null,
    5,
    [],
  ].map((options) => ["read options", (topic: AnyTopic) => drain(topic.read(options as never))] as const),
  ...OFFSETS.map(
    (from) => ["from of changes", async (topic: AnyTopic) => topic.changes({ from } as never).next()] as const,
  ),
  ...[{ copy: 1 }, { copy: "x", from: "earliest" }, { to: 5 }].map(
    (options) => ["changes options", async (topic: AnyTopic) => topic.changes(options as never).next()] as const,
  ),
  ...OFFSETS.map((offset) => ["trim", (topic: AnyTopic) => topic.trim(offset as never)] as const),
  ...[undefined, null, {}, { offset: 1, timestamp: 1 }, { offset: -1 }, { timestamp: NaN }, { timestamp: "x" }, 5].map(
    (target) => ["explainSeek", (topic: AnyTopic) => topic.explainSeek(target as never)] as const,
  ),
  ...[undefined, null, "", "x", 5, "-1", {}, "1.5"].map(
    (id) => ["statusOf", (topic: AnyTopic) => topic.statusOf(id as never)] as const,
  ),
  ...OFFSETS.map((base) => ["exportSegment", (topic: AnyTopic) => topic.exportSegment(base as never)] as const),
  ...[undefined, null, 5, "x", [5], ["x"], [null], [{ log: "x" }], {}].map(
    (files) => ["importSegments", (topic: AnyTopic) => topic.importSegments(files as never)] as const,
  ),
  ...[undefined, null, 5, "x", {}].map((use) => ["use", (topic: AnyTopic) => topic.use(use as never)] as const),
  ...["", ".", "..", "a b", "a/b", "é", "x".repeat(250), 5, null, undefined, {}].map(
    (name) => ["topic name", (_: AnyTopic, world: World) => world.tide.topic(name as never)] as const,
  ),
  ...["", "a b", 5, null, undefined].map(
    (name) => ["deleteTopic name", (_: AnyTopic, world: World) => world.tide.deleteTopic(name as never)] as const,
  ),
  ...[
    { retenton: {} },
    { retention: null },
    { retention: { maxBytes: 0 } },
    { retention: { maxBytes: "1" } },
    { retention: { maxAge: 1 } },
    { retention: { maxRecords: Infinity } },
    { compaction: 1 },
    { compaction: { minLagMs: -1 } },
    { compaction: { keys: 1 } },
    { segmentMaxAgeMs: 0 },
    { segmentMaxAgeMs: NaN },
    { recordBytesMax: 0 },
    { recordBytesMax: 2 ** 40 },
    { serializer: "xml" },
    { serializer: {} },
    { codec: "zstd" },
    { acks: "all" },
    { batchBytes: 0 },
    { inFlightBytesMax: 0.5 },
  ].map(
    (options) =>
      [
        "topic options",
        (_: AnyTopic, world: World, model: TopicModel) => world.tide.topic(model.name, options as never),
      ] as const,
  ),
  ...[
    {},
    { name: "" },
    { name: "a b", initial: () => 1, apply: () => 1 },
    { name: "v" },
    { name: "v", initial: 1, apply: () => 1 },
    { name: "v", initial: () => 1 },
  ].map((options) => ["view", (topic: AnyTopic) => topic.view(options as never).ready()] as const),
  ["on", (_, world) => world.tide.on(5 as never)],
  ["on", (_, world) => world.tide.on("closed", undefined as never)],
];

async function codeOf(work: () => unknown): Promise<unknown> {
  try {
    await work();
    return "no error";
  } catch (thrown) {
    return (thrown as { code?: string }).code ?? String(thrown);
  }
}

export async function refusals(world: World, model: TopicModel, random: Random): Promise<void> {
  for (let calls = 0; calls < 25; calls++) {
    const at = random.int(INVALID.length);
    const [what, work] = INVALID[at]!;
    equal(
      await codeOf(() => work(model.topic, world, model)),
      "INVALID_ARGUMENT",
      `refusal ${at}, ${what}: ${String(work)}`,
    );
  }
  world.count("calls refused", 25);
  const { end, topic } = model;
  equal(await codeOf(() => topic.trim(end + 1)), "OFFSET_OUT_OF_RANGE", "trim behind the end");
  equal(await codeOf(() => drain(topic.read({ from: end + 1 }))), "OFFSET_OUT_OF_RANGE", "read behind the end");
}
