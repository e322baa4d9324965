/**
 * Kinds of topics, as applications have them: what is appended, what must be read, and what must be refused. Each
 * record is drawn from a stream of random numbers of its own.
 */
import type { RecordInput, Topic, TopicOptions } from "./api.ts";
import type { Random } from "../prng.ts";

export interface Kind {
  readonly name: string;
  /** Made anew for each opening of the tide. */
  options(events: EventsOf): TopicOptions;
  /** A value that is taken. */
  value(random: Random, bytes: number): unknown;
  /** How the value is read. */
  read(value: never): unknown;
  /** Values that are refused, each with its code. */
  readonly bad: readonly (readonly [code: string, value: unknown])[];
  /** Type of event, if the topic has some. */
  type?(value: never): string;
  /** Headers that the topic itself adds. */
  readonly added: readonly (readonly [string, string])[];
  /** Values may be refused after later ones were taken. */
  readonly isTyped: boolean;
}

export type EventsOf = (types: Record<string, Schema>) => unknown;

interface Schema {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => unknown;
  };
}

const ALPHABET = 'abcxyz-äß€😀 \u0000\n"\\';

export function text(random: Random, length: number): string {
  const letters = [...ALPHABET];
  let all = "";
  while (all.length < length)
    all += random.chance(0.02) ? random.pick(letters) : String.fromCharCode(97 + random.int(26));
  return all;
}

export function bytes(random: Random, length: number): Uint8Array {
  const made = new Uint8Array(length);
  random.fill(made);
  return made;
}

const schemaOf = (validate: (value: unknown) => unknown): Schema => ({
  "~standard": { version: 1, vendor: "histories", validate },
});

const isItem = (value: unknown): value is { n: number; tags?: string[] } =>
  typeof value === "object" && value !== null && typeof (value as { n?: unknown }).n === "number";

const item = schemaOf((value) =>
  isItem(value) ? { value: { tags: [], ...value } } : { issues: [{ message: "n must be a number", path: ["n"] }] },
);
const slowItem = schemaOf(async (value) => {
  for (let i = isItem(value) ? value.n % 4 : 1; i > 0; i--) await undefined;
  return (item["~standard"].validate as (value: unknown) => object)(value);
});

const same = (value: unknown): unknown => value;
const anItem = (random: Random, bytes: number) => ({
  n: random.int(1000),
  ...(random.chance(0.5) && { tags: [text(random, bytes)] }),
});
const BAD_JSON: Kind["bad"] = [
  ["INVALID_ARGUMENT", undefined],
  ["INVALID_ARGUMENT", NaN],
  ["INVALID_ARGUMENT", () => 1],
  ["INVALID_ARGUMENT", Symbol("s")],
  ["INVALID_ARGUMENT", 1n],
  ["INVALID_ARGUMENT", new Map()],
  ["INVALID_ARGUMENT", { a: [new Set()] }],
  ["INVALID_ARGUMENT", { toJSON: () => undefined }],
];

const json: Kind = {
  name: "json",
  options: () => ({}),
  value: (random, bytes) =>
    random.pick([
      () => text(random, bytes),
      () => random.u32() - 2 ** 31,
      () => random.chance(0.5),
      () => ({ text: text(random, bytes), n: random.u32(), none: undefined, deep: [{ a: null }, []] }),
      () => [],
      () => ({}),
      () => "",
      () => 0,
      () => new Date(random.u32()),
      () => ({ ["__proto__"]: 1, toString: "x", length: 3 }),
      () => JSON.parse('{"__proto__": {"a": 1}}') as unknown,
      () => -0,
    ])(),
  read: (value) => JSON.parse(JSON.stringify(value)) as unknown,
  bad: BAD_JSON,
  added: [],
  isTyped: false,
};

const utf8 = new TextEncoder();

export const KINDS: readonly Kind[] = [
  json,
  { ...json, name: "gzip", options: () => ({ codec: "gzip" }) },
  { ...json, name: "small-batches", options: () => ({ batchBytes: 200, inFlightBytesMax: 4000, acks: "written" }) },
  {
    ...json,
    name: "text",
    options: () => ({ serializer: "text" }),
    value: (random, bytes) => (random.chance(0.1) ? `\ufeff${text(random, bytes)}` : text(random, bytes)),
    read: same,
    bad: [
      ["INVALID_ARGUMENT", 1],
      ["INVALID_ARGUMENT", "\ud800"],
      ["INVALID_ARGUMENT", utf8.encode("a")],
    ],
  },
  {
    ...json,
    name: "bytes",
    options: () => ({ serializer: "bytes" }),
    value: (random, length) =>
      random.pick([
        () => bytes(random, length),
        () => new DataView(bytes(random, length).buffer),
        () => bytes(random, length + 3).subarray(3),
        () => new Uint8ClampedArray(bytes(random, length)),
      ])(),
    read: (value: ArrayBufferView) => new Uint8Array(value.buffer, value.byteOffset, value.byteLength),
    bad: [
      ["INVALID_ARGUMENT", "a"],
      ["INVALID_ARGUMENT", new ArrayBuffer(3)],
      ["INVALID_ARGUMENT", new Uint16Array(3)],
      ["INVALID_ARGUMENT", [1]],
    ],
  },
  {
    ...json,
    name: "own",
    options: () => ({
      serializer: {
        serialize(value: string) {
          if (value === "throw") throw new RangeError("no");
          return value === "later" ? (Promise.resolve(utf8.encode("x")) as never) : utf8.encode(value.toUpperCase());
        },
        deserialize: (bytes: Uint8Array) => new TextDecoder().decode(bytes).toLowerCase(),
      } as never,
    }),
    value: (random, bytes) => text(random, bytes).toLowerCase().replaceAll("ß", "s"),
    read: same,
    bad: [
      ["INVALID_ARGUMENT", "throw"],
      ["INVALID_ARGUMENT", "later"],
    ],
  },
  {
    ...json,
    name: "schema",
    options: () => ({ schema: item, version: 2, schemaName: "item", upcast: { 1: same } }) as object,
    value: anItem,
    read: (value: object) => ({ tags: [], ...value }),
    bad: [["SCHEMA_MISMATCH", { n: "1" }], ["SCHEMA_MISMATCH", "x"], ...BAD_JSON],
    added: [["tm.schema", "item/2"]],
    isTyped: true,
  },
  {
    ...json,
    name: "slow-schema",
    options: () => ({ schema: slowItem }) as object,
    value: anItem,
    read: (value: object) => ({ tags: [], ...value }),
    bad: [["SCHEMA_MISMATCH", { n: "1" }], ["SCHEMA_MISMATCH", []], ...BAD_JSON],
    isTyped: true,
  },
  {
    ...json,
    name: "events",
    options: (events) => ({ schema: events({ added: item, removed: slowItem }) }) as object,
    value: anItem,
    read: (value: object) => ({ tags: [], ...value }),
    bad: [["SCHEMA_MISMATCH", { n: "1" }], ...BAD_JSON],
    type: (value: { n?: number } | null) => (value === null || value.n! % 2 === 0 ? "added" : "removed"),
    isTyped: true,
  },
  {
    ...json,
    name: "middleware",
    options: () =>
      ({
        use: [
          async (step: Step, next: () => Promise<unknown>) => {
            if (step.operation === "append")
              for (const record of step.records) {
                record.headers.add("by", "m");
                record.valueBytes &&= record.valueBytes.map((byte) => byte ^ 0x5a);
              }
            await next();
            if (step.operation === "read")
              for (const record of step.records) record.valueBytes &&= record.valueBytes.map((byte) => byte ^ 0x5a);
          },
        ],
      }) as object,
    added: [["by", "m"]],
    isTyped: true,
  },
];

interface Step {
  readonly operation: "append" | "read";
  readonly records: readonly {
    valueBytes: Uint8Array | null;
    readonly headers: { add(name: string, value: string): void };
  }[];
}

export type AnyTopic = Topic<unknown> & { emit?(type: string, value: unknown, extras?: object): Promise<never> };
export type AnyRecord = RecordInput<unknown>;
