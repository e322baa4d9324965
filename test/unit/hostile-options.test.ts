/**
 * What plain JavaScript may pass to every public call: each option with a value of a wrong kind, with a getter that
 * throws, and options that are none. Always a TidemarkError that names the field; nothing else happens.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import type { Tide, Topic } from "../../src/browser/index.ts";
import { checkOpen } from "../../src/browser/page/open-options.ts";
import { checkSync, checkWait } from "../../src/browser/sync/sync-checks.ts";
import { connect } from "../../src/client/index.ts";
import { open } from "../../src/node/index.ts";
import { flushes, observe, type ProcessedRecord, processing, telemetry } from "../../src/otel/index.ts";
import { TidemarkError } from "../../src/errors.ts";
import { events } from "../../src/typed/events.ts";
import { openTopic } from "../../worker/client/topic.ts";

/** What a caller's own getter and proxies do. */
const trap = (): never => {
  throw new Error("planted");
};
const HOSTILE: Readonly<Record<string, unknown>> = {
  null: null,
  NaN,
  text: "5",
  "a negative number": -1,
  "a fraction": 0.5,
  "a large number": 1e21,
  "an array": [1],
  "an object": { a: 1 },
  "a function": () => 1,
  "a symbol": Symbol("x"),
  "a bigint": 5n,
  "a proxy that throws": new Proxy(
    {},
    Object.fromEntries(Object.getOwnPropertyNames(Reflect).map((name) => [name, trap])),
  ),
};
const NO_OPTIONS = Object.keys(HOSTILE).filter((kind) => kind !== "an object");

const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-hostile-"));
let tide: Tide;
/** Its records are anything. */
let topic: Topic<any>;
const requests: string[] = [];
const fetch = (url: string): Promise<Response> => {
  requests.push(url);
  return Promise.reject(new Error("nothing may be sent"));
};
const edge = connect("https://edge.example/", { fetch });
const remote = edge.topic("orders");
const record: ProcessedRecord = { offset: 1, headers: {} };
const env = { LOGS: { idFromName: trap, get: trap } };
const schema = z.number();
const unhandled: unknown[] = [];
const note = (thrown: unknown): void => void unhandled.push(thrown);

beforeAll(async () => {
  process.on("unhandledRejection", note);
  tide = await open(path.join(folder, "tide"));
  topic = tide.topic("plain");
  await topic.append({ value: 1 });
});
afterAll(async () => {
  process.off("unhandledRejection", note);
  await tide.close();
  rmSync(folder, { recursive: true });
});

let names = 0;
const fresh = (): string => `t${names++}`;
/** What is passed where options belong; a call's types would refuse most of it. */
type Given = never;
const VIEW = { name: "v", initial: () => 0, apply: (n: number) => n };
/** `given` with what the call needs at least; something that is no object stays as it is. */
const beside = (needed: object, given: Given): Given =>
  (given !== HOSTILE["a proxy that throws"] && Object.getPrototypeOf(Object(given ?? 1)) === Object.prototype
    ? Object.defineProperties({ ...needed }, Object.getOwnPropertyDescriptors(given as object))
    : given) as Given;

interface Entry {
  readonly call: (given: Given) => unknown;
  /** Its options, each with the kinds of HOSTILE that are right there. */
  readonly fields: Readonly<Record<string, readonly string[]>>;
}
const NUMBERS = ["a fraction", "a large number"];
const READ = { from: [], to: [], follow: [], isolation: [], signal: [], maxBytes: [] };
const SYNC = { url: "https://edge.example", topics: ["a"] };
const TYPING = { schemaName: ["text"], version: [], upcast: [], onInvalid: ["a function"], use: [] };

const TIDE: Readonly<Record<string, Entry>> = {
  "open() of Node": {
    call: (given) => open(path.join(folder, fresh()), given).then((opened) => opened.close()),
    fields: { segmentBytes: [], create: [], sync: [] },
  },
  "open() of a page": {
    call: (given) => checkOpen("a", given),
    fields: {
      ...{ engine: [], segmentBytes: [], persist: [], worker: ["a function"], signal: [], leaderTimeoutMs: [] },
    },
  },
  "topic()": {
    call: (given) => (tide.topic(fresh(), given) as Topic).append({ value: 1 }),
    fields: {
      ...{ retention: [], compaction: [], segmentMaxAgeMs: NUMBERS, recordBytesMax: [], serializer: [], codec: [] },
      ...{ acks: [], batchBytes: [], inFlightBytesMax: [], schema: [], use: [] },
    },
  },
  "topic() with a schema": {
    call: (given) => (tide.topic(fresh(), beside({ schema, version: 2 }, given)) as Topic).append({ value: 1 }),
    fields: TYPING,
  },
  "topic() of before": {
    call: (given) => (tide.topic("plain", given) as Topic).append({ value: 1 }),
    fields: { use: [] },
  },
  "append()": { call: (given) => topic.append({ value: 1 }, given), fields: { acks: [], ifEnd: [] } },
  "appendBatch()": { call: (given) => topic.appendBatch([{ value: 1 }], given), fields: { acks: [], ifEnd: [] } },
  "appendAll()": {
    call: (given) => topic.appendAll([{ value: 1 }], given),
    fields: { acks: [], signal: [], onProgress: ["a function"] },
  },
  "read()": { call: (given) => topic.read(given).next(), fields: READ },
  "readBatches()": { call: (given) => topic.readBatches(given).next(), fields: READ },
  "changes()": { call: (given) => topic.changes(given).next(), fields: { from: [], signal: [] } },
  "view()": {
    call: (given) => topic.view<number>(beside(VIEW, given)).ready(),
    fields: {
      ...{ name: ["text"], initial: ["a function"], apply: ["a function"], check: [], gap: ["a function"] },
      ...{ version: [], snapshot: ["an object"], signal: [] },
    },
  },
  "view({ snapshot })": {
    call: (given) => topic.view<number>({ ...VIEW, name: fresh(), snapshot: given }).ready(),
    fields: { everyRecords: NUMBERS, everyMs: NUMBERS, serialize: ["a function"], deserialize: ["a function"] },
  },
  "exportSegment()": { call: (given) => topic.exportSegment(0, given), fields: { leaderEpoch: [] } },
  "export()": { call: (given) => topic.export(given).next(), fields: { leaderEpoch: [] } },
  "importSegments()": { call: (given) => tide.topic(fresh()).importSegments([], given), fields: { damage: [] } },
  "sync()": {
    call: (given) => checkSync(beside(SYNC, given)),
    fields: { url: [], topics: ["an array"], token: ["text", "a function"], background: [] },
  },
  "sync({ topics })": {
    call: (given) => checkSync({ ...SYNC, topics: { a: given } }),
    fields: {
      ...{ path: ["text"], from: [], create: ["an object"], outboxBytesMax: [], keep: [], onTrimmed: [] },
      serializer: [],
    },
  },
  "a wait": { call: (given) => checkWait("drained()", given), fields: { topic: ["text"], signal: [] } },
};

const OTHERS: Readonly<Record<string, Entry>> = {
  "connect()": {
    call: (given) => connect("https://edge.example/", given),
    fields: {
      ...{ token: ["text", "a function"], transport: [], WebSocket: ["a function"], fetch: ["a function"] },
      ...{ timeoutMs: NUMBERS, inFlightBytesMax: [], onRetry: ["a function"], signal: [] },
    },
  },
  "topic() of the client": {
    call: (given) => edge.topic(fresh(), given),
    fields: { serializer: [], create: [], retention: [], compaction: [] },
  },
  "append() of the client": { call: (given) => remote.append({ value: 1 }, given), fields: { ifEnd: [], signal: [] } },
  "appendBatch() of the client": {
    call: (given) => remote.appendBatch([{ value: 1 }], given),
    fields: { ifEnd: [], signal: [] },
  },
  "appendAll() of the client": {
    call: (given) => remote.appendAll([{ value: 1 }], given),
    fields: { signal: [], onProgress: ["a function"] },
  },
  "read() of the client": { call: (given) => remote.read(given).next(), fields: READ },
  "state() of the client": { call: (given) => remote.state(given), fields: { signal: [] } },
  "create() of the client": { call: (given) => remote.create(given), fields: { signal: [] } },
  "end() of the client": { call: (given) => remote.end(given), fields: { signal: [] } },
  "delete() of the client": { call: (given) => remote.delete(given), fields: { signal: [] } },
  "openTopic()": {
    call: (given) => openTopic(env as never, "a", given),
    fields: {
      ...{ tenant: ["text"], serializer: [], codec: [], idempotent: [], retention: [], compaction: [] },
      ...{ schema: [], use: [] },
    },
  },
  "export() of openTopic()": {
    call: (given) =>
      openTopic(env as never, "a")
        .export(given)
        .next(),
    fields: { leaderEpoch: [] },
  },
  "openTopic() with a schema": {
    call: (given) => openTopic(env as never, "a", beside({ schema, version: 2 }, given)),
    fields: TYPING,
  },
  "telemetry()": {
    call: (given) => telemetry(given),
    fields: { tracer: [], meter: [], reads: [], attributes: ["an object"] },
  },
  "observe()": {
    call: (given) => observe(tide, given),
    fields: { tracer: [], meter: [], flushes: [], attributes: ["an object"] },
  },
  "flushes()": { call: (given) => flushes(given), fields: { meter: [], attributes: ["an object"] } },
  "processing()": {
    call: (given) => processing("a", record, () => 1, given),
    fields: { tracer: [], meter: [], attributes: ["an object"] },
  },
};

/** "CODE field: message", or what else came of the call. */
async function outcome(work: () => unknown): Promise<string> {
  try {
    await work();
    return "taken";
  } catch (thrown) {
    if (!(thrown instanceof TidemarkError)) return `not typed: ${String(thrown)}`;
    return `${thrown.code} ${String(thrown.details["field"])}: ${thrown.toWire().message}`;
  }
}
/** The field itself, or a part of it, or the options as a whole for what can't be listed. */
const isNamed = (said: string, field: string): boolean => said.startsWith("INVALID_ARGUMENT ") && said.includes(field);

/** What is not refused with an error that names the field. */
async function missed({ call, fields }: Entry): Promise<string[]> {
  const found: string[] = [];
  const look = async (what: string, field: string, given: unknown): Promise<void> => {
    const said = await outcome(() => call(given as Given));
    if (!isNamed(said, field)) found.push(`${what}: ${said}`);
  };
  for (const kind of NO_OPTIONS) await look(`options that are ${kind}`, "", HOSTILE[kind]);
  for (const [field, right] of Object.entries(fields)) {
    for (const [kind, value] of Object.entries(HOSTILE))
      if (!right.includes(kind)) await look(`${field}: ${kind}`, field, { [field]: value });
    const getter = Object.defineProperty({}, field, { get: trap, enumerable: true });
    await look(`${field}: a getter that throws`, field, getter);
  }
  return found;
}

test.each(Object.entries({ ...TIDE, ...OTHERS }))(
  "%s refuses values of a wrong kind by the option's name",
  async (_, entry) => {
    expect(await missed(entry)).toEqual([]);
  },
);

test.each(Object.entries({ ...TIDE, ...OTHERS }))("%s refuses a name that it does not know", async (_, { call }) => {
  const said = await outcome(() => call({ retenton: { maxBytes: 1 } } as Given));
  expect(said).toMatch(/^INVALID_ARGUMENT retenton: .* has no such option/);
});

test("the details name an option also where it has the name of a detail", async () => {
  for (const field of ["field", "allowed"])
    await expect(topic.append({ value: 1 }, { [field]: 5 } as Given)).rejects.toMatchObject({
      details: { field, allowed: "left out: append() has no such option" },
    });
});

test("options that are a proxy without an object are refused as others that can't be read", async () => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  for (const call of [
    () => topic.append({ value: 1 }, proxy),
    () => topic.read(proxy).next(),
    () => edge.topic("a", proxy),
  ])
    expect(await outcome(call)).toMatch(/^INVALID_ARGUMENT the options of \w+\(\): .* must be readable/);
});

test.each(["read()", "changes()", "read() of the client", "sync({ topics })"])(
  "%s refuses a place that says too much",
  async (name) => {
    const { call } = { ...TIDE, ...OTHERS }[name]!;
    for (const from of [{ lst: 10 }, { last: 5, offset: 3 }, { timestamp: 5, last: 3 }, { timestamp: 5, lsat: 3 }, {}])
      expect(await outcome(() => call({ from } as Given))).toMatch(/^INVALID_ARGUMENT from: from must be "earliest",/);
  },
);

test("options of export() are looked at where the topic is empty, and under that call's name", async () => {
  const said = await outcome(() =>
    tide
      .topic(fresh())
      .export({ leaderEpochs: 5 } as Given)
      .next(),
  );
  expect(said).toMatch(/^INVALID_ARGUMENT leaderEpochs: .* export\(\) has no such option/);
});

test("a message shows the beginning of a long text", async () => {
  const long = "x".repeat(100_000);
  for (const settings of [{ retention: long }, { retention: { maxBytes: long } }, { recordBytesMax: long }])
    expect((await outcome(() => tide.topic(fresh(), settings as Given))).length).toBeLessThan(200);
});

test("a name without a value is no mistake", async () => {
  await topic.append({ value: 1 }, { retenton: undefined } as Given);
});

test("a topic that the page has with a schema is not given again with another version", () => {
  const made = tide.topic("versioned", { schema, version: 2 });
  expect(tide.topic("versioned", { schema, version: 2 })).toBe(made);
  expect(() => tide.topic("versioned", { schema, version: 3 })).toThrow("version of topic versioned is");
});

test("functions of a schema that are written in place stay those of the first call", () => {
  const given = () => ({ schema, version: 2, upcast: { 1: (v: unknown) => v }, onInvalid: () => 0 });
  const made = tide.topic("upcast", given() as Given);
  expect(tide.topic("upcast", given() as Given)).toBe(made);
  const others: [object, string][] = [
    [{ ...given(), version: 3 }, "version of topic upcast is 2 in this page"],
    [{ ...given(), schema: { ...schema } }, "schema of topic upcast is another object"],
    [{ ...given(), onInvalid: "skip" }, "onInvalid of topic upcast is another object"],
    [{ ...given(), schemaName: "n" }, "schemaName of topic upcast is none"],
  ];
  for (const [other, message] of others) expect(() => tide.topic("upcast", other as Given)).toThrow(message);
  const call = Object.assign(() => undefined, schema);
  tide.topic("callable", { schema: call } as Given);
  expect(() => tide.topic("callable", { schema } as Given)).toThrow("is another object in this page");
  tide.topic("skips", { schema, onInvalid: "skip" } as Given);
  expect(() => tide.topic("skips", { schema, onInvalid: "throw" } as Given)).toThrow('is "skip" in this page');
});

test("an upcast that no record would ever pass through is refused by its key", async () => {
  const f = (v: unknown): unknown => v;
  const wrong: [field: string, version: number, upcast: object][] = [
    ...["01", "1.0", "1e0", " 1", "", "v1", "1.5", "0"].map((key): (typeof wrong)[number] => [key, 2, { [key]: f }]),
    ["2", 2, { 1: f, 2: f }],
    ["2", 4, { 1: f, 3: f }],
    ["3", 4, { 2: f }],
  ];
  for (const [key, version, upcast] of wrong) {
    const said = await outcome(() => openTopic(env as never, "a", { schema, version, upcast } as never));
    expect(said).toMatch(`INVALID_ARGUMENT upcast.${key}: `);
  }
  for (const version of [1.5, 0, "2", NaN])
    expect(await outcome(() => openTopic(env as never, "a", { schema, version } as never))).toMatch(
      "INVALID_ARGUMENT version: ",
    );
  // Older records than these were given up.
  expect(await outcome(() => openTopic(env as never, "a", { schema, version: 4, upcast: { 2: f, 3: f } }))).toBe(
    "taken",
  );
});

const HEADERS = ["null", "an object that is empty"];
test.each<[string, readonly string[]]>([
  ["key", ["null", "text"]],
  ["headers", HEADERS],
  ["timestamp", ["a negative number"]],
])("a record with a wrong %s is refused alone, in every call", async (field, right) => {
  const before = (await topic.state()).logEndOffset;
  const kinds = Object.keys(HOSTILE).filter((kind) => !right.includes(kind));
  const wrong = [
    ...kinds.map((kind) => ({ value: 1, [field]: HOSTILE[kind] })),
    Object.defineProperty({ value: 1 }, field, { get: trap, enumerable: true }),
  ] as Given[];
  for (const each of wrong) {
    const saids = [
      await outcome(() => topic.append(each)),
      await outcome(() => topic.appendBatch([{ value: 0 }, each])),
      await outcome(() => remote.append(each)),
    ];
    expect(saids.filter((said) => !/^INVALID_ARGUMENT .*(key|headers|timestamp|record)/.test(said))).toEqual([]);
  }
  expect((await topic.state()).logEndOffset).toBe(before);
});

test("what goes with an event is looked at as well", async () => {
  const made = events({ a: schema });
  const all = tide.topic("events", { schema: made });
  for (const kind of ["null", "NaN", "text", "an array"]) {
    expect(await outcome(() => made.record("a", 1, HOSTILE[kind] as Given))).toMatch(/^INVALID_ARGUMENT options/);
    expect(await outcome(() => all.emit("a", 1, HOSTILE[kind] as Given))).toMatch(/^INVALID_ARGUMENT options/);
  }
  expect(await outcome(() => all.emit("a", 1, { ifEnds: 5 } as Given))).toMatch(/^INVALID_ARGUMENT ifEnds/);
});

test("nothing was lost, nothing was sent, and no rejection was left unhandled", async () => {
  const { offset } = await topic.append({ value: "still here" });
  const { value } = await topic.read({ from: offset }).next();
  expect((value as { value: unknown }).value).toBe("still here");
  await new Promise((resolve) => setImmediate(resolve));
  expect([requests, unhandled]).toEqual([[], []]);
});
