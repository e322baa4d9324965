/** What an application may pass as a record, a value, a header or an option, and the errors for anything else. */
import { describe, expect, test } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { checkOptions, elsewhere } from "../../src/topic/check.ts";
import { checkedCall, checkTarget } from "../../src/browser/tools/check-calls.ts";
import { recordOf, recordsOf } from "../../src/topic/input.ts";
import { APPEND_ALL_OPTIONS, APPEND_OPTIONS, PRODUCER_OPTIONS, READ_OPTIONS } from "../../src/topic/options.ts";
import { type Serializer, serializerOf } from "../../src/topic/serializer.ts";

const json = serializerOf();
const text = serializerOf("text");
const bytes = serializerOf("bytes");
const utf8 = (string: string): Uint8Array => new TextEncoder().encode(string);
const made = (record: unknown, serializer: Serializer<never> = json as never) =>
  recordOf(record as never, serializer, () => 7);
const plain = (view: Uint8Array | null): number[] | null => view && [...view];

/** The message of the INVALID_ARGUMENT that a call throws: it names the field and says what is allowed. */
function refusal(work: () => unknown): string {
  try {
    work();
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(TidemarkError);
    expect((thrown as TidemarkError).code).toBe("INVALID_ARGUMENT");
    return (thrown as TidemarkError).message.replace("INVALID_ARGUMENT: ", "");
  }
  return "taken";
}

class Own {
  readonly #hidden = 1;
  toString(): string {
    return `Own ${this.#hidden}`;
  }
}

describe("a record", () => {
  test("a value that is no record is refused, and so is a record without a value", () => {
    for (const none of ["hello", 5, true, null, undefined, [1, 2], [], () => 1, Symbol("x"), 5n]) {
      expect(refusal(() => made(none))).toMatch(/^a record must be an object with a value/);
    }
    for (const none of [
      {},
      { total: 42 },
      { key: "a" },
      { key: "a", value: undefined },
      { timestamp: 5 },
      new Map([["value", 1]]),
      Promise.resolve({ value: 1 }),
      new Date(),
    ]) {
      expect(refusal(() => made(none))).toMatch(/^value is missing: .*for a tombstone set value: null/);
    }
    expect(made({ key: "a", value: null })).toEqual({ key: utf8("a"), value: null, timestamp: 7 });
  });

  test("key, value, headers and timestamp may be a class's getters, and unknown names are ignored", () => {
    class Order {
      key = "k";
      get value() {
        return 1;
      }
    }
    expect(made(new Order())).toEqual({ key: utf8("k"), value: utf8("1"), timestamp: 7 });
    expect(made({ value: 1, offset: 17, valueBytes: null })).toEqual({ key: null, value: utf8("1"), timestamp: 7 });
  });

  test("a key is a string, bytes or null; each string has bytes of its own", () => {
    for (const key of [
      17,
      true,
      {},
      [1],
      new Date(),
      5n,
      () => 1,
      new ArrayBuffer(3),
      new Float64Array([1.5]),
      new Uint16Array(1),
      Symbol("k"),
    ]) {
      expect(refusal(() => made({ key, value: 1 }))).toMatch(/^key must be /);
    }
    for (const key of ["\ud800", "a\udc00b", "\udc00\ud800", `${"x".repeat(5000)}\ud83d`]) {
      expect(refusal(() => made({ key, value: 1 }))).toMatch(/^key has half of a surrogate pair/);
    }
    for (const key of ["", "😀", "\ufeffa", "\ufffd", "ä"]) expect(made({ key, value: 1 }).key).toEqual(utf8(key));
    expect(plain(made({ key: new Uint8Array([0, 255]), value: 1 }).key)).toEqual([0, 255]);
    expect(made({ key: undefined, value: 1 }).key).toBeNull();
  });

  test("headers are an object or pairs; a name may be repeated and may be any text", () => {
    const headersOf = (headers: unknown) =>
      made({ value: 1, headers }).headers?.map(([name, value]) => [name, plain(value)]);
    expect(headersOf({ a: "1", b: null, c: new Uint8Array([0, 255]) })).toEqual([
      ["a", [49]],
      ["b", null],
      ["c", [0, 255]],
    ]);
    expect(
      headersOf([
        ["a", "1"],
        ["a", null],
        ["", ""],
      ]),
    ).toEqual([
      ["a", [49]],
      ["a", null],
      ["", []],
    ]);
    expect(headersOf(new Map([["m", "1"]]))).toEqual([["m", [49]]]);
    expect(headersOf(JSON.parse('{"__proto__":"p","constructor":"c","toString":"t"}'))).toEqual([
      ["__proto__", [112]],
      ["constructor", [99]],
      ["toString", [116]],
    ]);
    expect(headersOf(undefined)).toBeUndefined();
    for (const value of [1, ["a", "b"], true, undefined, {}, 5n, new ArrayBuffer(2), new Float32Array(1)]) {
      expect(refusal(() => made({ value: 1, headers: { n: value } }))).toMatch(
        /^headers\.n must be a string, bytes \(a Uint8Array\) or null, not |^headers\.n must be bytes/,
      );
    }
    for (const headers of ["abc", 5, true, new Date(), new WeakMap(), new Uint8Array(2), Promise.resolve({})]) {
      expect(refusal(() => made({ value: 1, headers }))).toMatch(/^headers must be /);
    }
    for (const headers of [[1], ["ab"], [["a"]], [["a", "b", "c"]], [[1, "a"]]])
      expect(refusal(() => made({ value: 1, headers }))).toMatch(/^headers: /);
    expect(refusal(() => made({ value: 1, headers: { "\ud800": "a" } }))).toMatch(
      /^headers: a name has half of a surrogate pair/,
    );
    expect(refusal(() => made({ value: 1, headers: { a: "\ud800" } }))).toMatch(
      /^headers\.a has half of a surrogate pair/,
    );
  });

  test("a timestamp is a whole number", () => {
    for (const timestamp of [NaN, Infinity, 1.5, 2 ** 53, "5", null, new Date(), 5n, {}])
      expect(refusal(() => made({ value: 1, timestamp }))).toMatch(/^timestamp must be a whole number/);
    for (const timestamp of [0, -1, Number.MAX_SAFE_INTEGER])
      expect(made({ value: 1, timestamp }).timestamp).toBe(timestamp);
  });

  test("for several records the message has the number of the bad one", () => {
    expect(refusal(() => recordsOf([{ value: 1 }, { key: 5, value: 2 } as never], json, () => 7))).toMatch(
      /^records\[1\]\.key must be a string/,
    );
    expect(refusal(() => recordsOf([{ value: () => 1 }], json, () => 7))).toMatch(/^records\[0\]\.value/);
    for (const none of ["abc", 5, null, undefined, {}, { value: 1 }, []])
      expect(refusal(() => recordsOf(none as never, json, () => 7))).toMatch(/^records(\[0\])? must be /);
    expect(() => recordsOf([], json, () => 7)).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ field: "records" }) as object }),
    );
    expect(recordsOf([{ value: 1 }], json, () => 7)).toHaveLength(1);
  });
});

describe("a value", () => {
  test("on a bytes topic it is a view whose elements are bytes", () => {
    const valueOf = (value: unknown) => plain(made({ value }, bytes as never).value);
    const buffer = new Uint8Array([9, 1, 2, 9]).buffer;
    expect(
      [
        new Uint8Array(buffer, 1, 2),
        new Uint8ClampedArray(buffer, 1, 2),
        new Int8Array(buffer, 1, 2),
        new DataView(buffer, 1, 2),
        Buffer.from([1, 2]),
      ].map(valueOf),
    ).toEqual(Array(5).fill([1, 2]));
    expect(valueOf(new Uint8Array(0))).toEqual([]);
    for (const value of [
      "abc",
      5,
      {},
      [1, 2, 300],
      new ArrayBuffer(3),
      new Blob(["a"]),
      new Float64Array([1.5, 2.5]),
      new Uint16Array([0x1234]),
      true,
      () => 1,
      Promise.resolve(new Uint8Array(1)),
    ]) {
      expect(refusal(() => valueOf(value))).toMatch(/^value must be bytes/);
    }
    const gone = new Uint8Array(3);
    structuredClone(gone, { transfer: [gone.buffer] });
    expect(refusal(() => valueOf(gone))).toMatch(/that were not transferred/);
  });

  test("a view of a buffer that was made smaller is not taken for an empty one, in no field", () => {
    for (const View of [Uint8Array, Int8Array, Uint8ClampedArray, DataView]) {
      // The types of tests do not know of buffers that can be resized.
      const buffer = Reflect.construct(ArrayBuffer, [8, { maxByteLength: 8 }]) as { resize(bytes: number): void };
      const view = Reflect.construct(View, [buffer, 4, 4]) as Uint8Array;
      buffer.resize(4);
      const fields = [{ value: view }, { value: null, key: view }, { value: null, headers: { h: view } }] as const;
      for (const record of fields)
        expect(refusal(() => made(record, bytes as never))).toMatch(
          /^(value|key|headers\.h) must be bytes that were not transferred or cut off, not an? /,
        );
      expect(refusal(() => checkedCall("importSegments", { files: [view] }))).toMatch(/^files\[0\] must be /);
      const follows = Reflect.construct(View, [buffer, 4]) as Uint8Array;
      expect(plain(made({ value: follows }, bytes as never).value)).toEqual([]);
    }
  });

  test("on a text topic it is a string, and comes back as it was", () => {
    for (const value of [5, {}, true, ["a"], new Date(), new String("a")])
      expect(refusal(() => made({ value }, text as never))).toMatch(/^value must be a string or null/);
    expect(refusal(() => made({ value: "a\ud800" }, text as never))).toMatch(/^value has half of a surrogate pair/);
    for (const value of ["", "\ufeffa", "\ufeff", "ä😀", "\u0000"])
      expect(text.deserialize(made({ value }, text as never).value!)).toBe(value);
  });

  test("on a JSON topic a value that JSON cannot represent is refused", () => {
    for (const value of [
      () => 1,
      Symbol("x"),
      NaN,
      Infinity,
      -Infinity,
      new Date(NaN),
      5n,
      { a: 5n },
      { toJSON: () => undefined },
    ]) {
      expect(refusal(() => made({ value }))).toMatch(/^value/);
    }
    const cycle: Record<string, unknown> = {};
    cycle["self"] = cycle;
    expect(refusal(() => made({ value: cycle }))).toMatch(/^value: TypeError/);
    const lost = [
      new Map([[1, 2]]),
      new Set([1]),
      new WeakMap(),
      /x/,
      new Error("x"),
      Promise.resolve(1),
      new ArrayBuffer(3),
      new Uint8Array(3),
      new Uint8Array(0),
      new Blob(["x"]),
    ];
    for (const value of lost) {
      expect(refusal(() => made({ value }))).toMatch(/^value is an? \w+, which JSON can't hold/);
      expect(refusal(() => made({ value: { deep: [1, { value }] } }))).toMatch(
        /^value\.deep\[1\]\.value is an? \w+, which JSON can't hold/,
      );
    }
    const kept = [
      0,
      "",
      false,
      "{}",
      {},
      [],
      { a: {} },
      { 0: "zero", a: { 0: 1 } },
      '{"0":',
      { a: undefined, b: 1 },
      [null],
      { at: new Date(0) },
      new Own(),
      { toJSON: () => 1 },
      "\ufeff",
      "\ud800",
      new URL("http://a/"),
    ];
    for (const value of kept)
      expect(json.deserialize(made({ value }).value!)).toEqual(JSON.parse(JSON.stringify(value)));
    // JSON has no byte-order mark, but files often begin with one.
    expect(json.deserialize(new Uint8Array([0xef, 0xbb, 0xbf, 0x31]))).toBe(1);
  });

  test("a serializer of one's own fails the record with a typed error", () => {
    const of = (serialize: unknown) => refusal(() => made({ value: 1 }, { serialize, deserialize: String } as never));
    expect(
      of(() => {
        throw new RangeError("too odd");
      }),
    ).toBe("value: RangeError: too odd");
    for (const result of [Promise.resolve(new Uint8Array(1)), "abc", [1], new ArrayBuffer(2), undefined, null, 5]) {
      expect(of(() => result)).toMatch(/^what the serializer makes of value must be bytes/);
    }
    expect(of(() => new Uint8Array(2))).toBe("taken");
    for (const choice of ["xml", "toString", "constructor", 5, null, {}, { serialize: String }, []])
      expect(refusal(() => serializerOf(choice as never))).toMatch(
        /^serializer must be "json", "text", "bytes", or an object/,
      );
  });
});

describe("options", () => {
  const none = ["earliest", 5, null, true, [], "x"];
  const wrong = (checks: Parameters<typeof checkOptions>[2], name: string, values: readonly unknown[]) => {
    for (const value of values)
      expect(
        refusal(() => checkOptions("call()", { [name]: value }, checks)),
        `${name}: ${String(value)}`,
      ).toMatch(new RegExp(`^${name}\\b.* must be .*, not `));
  };
  const right = (checks: Parameters<typeof checkOptions>[2], name: string, values: readonly unknown[]) => {
    for (const value of values)
      expect(
        refusal(() => checkOptions("call()", { [name]: value }, checks)),
        `${name}: ${String(value)}`,
      ).toBe("taken");
  };
  const NO_COUNT = [-1, 1.5, NaN, Infinity, 2 ** 53, "5", null, true, {}, 5n];

  test("are an object; undefined counts as absent, and a name that the call does not know is refused", () => {
    for (const value of none)
      expect(refusal(() => checkOptions("read()", value, READ_OPTIONS))).toMatch(
        /^the options of read\(\) must be an object, not /,
      );
    expect(
      refusal(() => checkOptions("read()", { from: undefined, maxBytes: undefined, later: undefined }, READ_OPTIONS)),
    ).toBe("taken");
    expect(refusal(() => checkOptions("read()", { later: 5 }, READ_OPTIONS))).toBe(
      "later must be left out: read() has no such option, not 5",
    );
    // In a message it may be of a later version.
    expect(refusal(() => checkOptions("read()", { later: 5 }, READ_OPTIONS, elsewhere))).toBe("taken");
  });

  test("of a read", () => {
    wrong(READ_OPTIONS, "maxBytes", [0, ...NO_COUNT]);
    wrong(READ_OPTIONS, "to", NO_COUNT);
    wrong(READ_OPTIONS, "follow", ["yes", 1, 0, null]);
    wrong(READ_OPTIONS, "isolation", ["read_committed", "", null, 1, "toString"]);
    const partly = { aborted: false, addEventListener() {}, removeEventListener() {} };
    wrong(READ_OPTIONS, "signal", [new AbortController(), new EventTarget(), partly, {}, true, null]);
    wrong(READ_OPTIONS, "from", [
      -1,
      1.5,
      NaN,
      Infinity,
      "first",
      "",
      null,
      true,
      [],
      {},
      new Date(),
      { timestamp: 1, last: 1 },
      { last: -1 },
      { last: 1.5 },
      { last: "1" },
      { last: Infinity },
      { timestamp: "1" },
      { timestamp: NaN },
      { timestamp: new Date() },
    ]);
    right(READ_OPTIONS, "from", [0, 5, "earliest", "latest", { timestamp: -5 }, { timestamp: 1.5 }, { last: 0 }]);
    right(READ_OPTIONS, "maxBytes", [1, Number.MAX_SAFE_INTEGER]);
    right(READ_OPTIONS, "signal", [new AbortController().signal]);
  });

  test("of appends and producers", () => {
    for (const checks of [APPEND_OPTIONS, APPEND_ALL_OPTIONS, PRODUCER_OPTIONS])
      wrong(checks, "acks", ["all", "", 1, null, ["flushed"]]);
    wrong(APPEND_OPTIONS, "ifEnd", NO_COUNT);
    wrong(APPEND_ALL_OPTIONS, "onProgress", [{}, "f", 1, null]);
    wrong(APPEND_ALL_OPTIONS, "signal", [{}, null]);
    wrong(PRODUCER_OPTIONS, "codec", ["zstd", "lz4", "", null, 0, "GZIP"]);
    wrong(PRODUCER_OPTIONS, "batchBytes", [0, ...NO_COUNT]);
    wrong(PRODUCER_OPTIONS, "inFlightBytesMax", [0, ...NO_COUNT]);
  });

  test("of a tool: one target", () => {
    for (const target of [
      null,
      undefined,
      5,
      "x",
      {},
      { offset: 1, timestamp: 1 },
      { offset: -1 },
      { offset: NaN },
      { timestamp: NaN },
      { timestamp: "5" },
    ]) {
      expect(refusal(() => checkTarget("target", target))).toMatch(/^target.* must be /);
    }
    for (const target of [{ offset: 0 }, { timestamp: -5.5 }])
      expect(refusal(() => checkTarget("target", target))).toBe("taken");
  });

  test("of a tool: what goes to the worker can be sent there, also what a framework has wrapped", () => {
    const wrapped = <T extends object>(of: T): T => new Proxy(of, {});
    const sent = (what: string, given: unknown) => structuredClone(checkedCall(what, given));
    expect(sent("explainSeek", wrapped({ offset: 5 }))).toEqual({ offset: 5 });
    const shared = new Uint8Array(new SharedArrayBuffer(2)).fill(7);
    const given = { files: wrapped([wrapped({ log: shared })]), options: wrapped({ damage: "skip" }) };
    const { files, options } = sent("importSegments", given) as typeof given;
    expect(options).toEqual({ damage: "skip" });
    expect([files[0]!.log.buffer, [...files[0]!.log]]).toEqual([expect.any(ArrayBuffer), [7, 7]]);
    const gone = new Uint8Array(2);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    expect(refusal(() => checkedCall("importSegments", { files: [shared, gone] }))).toMatch(
      /^files\[1\] must be bytes that were not transferred/,
    );
  });
});
