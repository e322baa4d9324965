/** Bodies of appends become records, in slices and within limits: the same records as by parsing the whole body. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeBatch } from "../../src/record/record-batch.ts";
import { encodeBody, encodeInSlices } from "../../worker/stream/body-encoder.ts";
import { ENCODE_SLICE_BYTES, RECORDS_MAX, VALUE_BYTES_MAX } from "../../worker/stream/body-limits.ts";
import { EncodeQueue } from "../../worker/stream/encode-queue.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const encoder = new TextEncoder();
const decoder = new TextDecoder();

const asked = (body: Uint8Array | string, mediaType = "application/json") => ({
  body: typeof body === "string" ? encoder.encode(body) : body,
  mediaType,
  timestamp: 1_000,
});
function valuesIn(batches: readonly Uint8Array[]): Uint8Array[] {
  return batches.flatMap((bytes) => {
    const batch = decodeBatch(kernel, bytes);
    if (batch instanceof Promise) throw new Error("not compressed");
    return Array.from({ length: batch.count }, (_, i) => batch.valueAt(i)!.slice());
  });
}
const textsOf = (body: string): string[] =>
  valuesIn(encodeBody(kernel, asked(body))).map((value) => decoder.decode(value));
const codeOf = (body: Uint8Array | string): string => {
  try {
    encodeBody(kernel, asked(body));
    return "taken";
  } catch (thrown) {
    return (thrown as { code: string }).code;
  }
};
const seed = Number(process.env["SEED"] ?? 20261128);

describe("JSON bodies", () => {
  it(`give the messages that JSON.parse sees, seed ${seed}`, () => {
    const space = fc.constantFrom("", " ", "\n", "\t \r\n");
    const text = fc.tuple(space, fc.json({ maxDepth: 3 }), space);
    fc.assert(
      fc.property(fc.array(text, { maxLength: 12 }), space, (messages, gap) => {
        const inner = messages.length === 0 ? gap : messages.map((parts) => parts.join("")).join(",");
        const body = `${gap}[${inner}]${gap}`;
        const values = textsOf(body);
        expect(values.map((value) => JSON.parse(value) as unknown)).toEqual(JSON.parse(body));
        expect(values).toEqual(messages.map(([, message]) => message));
      }),
      { seed, numRuns: 500 },
    );
  });

  it(`are refused exactly where JSON.parse refuses them, large or small, seed ${seed}`, () => {
    const piece = fc.constantFrom(
      "[",
      "]",
      "{",
      "}",
      ",",
      ":",
      '"',
      "\\",
      '"a"',
      '"]"',
      '"\\""',
      "1",
      "-",
      "null",
      " ",
      "\u00a0",
      "\ufeff",
      "{}",
      "[]",
      '{"a":[1,{}]}',
    );
    const filler = `"${"x".repeat(70_000)}"`;
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 10 }), fc.boolean(), (pieces, isLarge) => {
        const inner = pieces.join("");
        // So large that the body is parsed in groups.
        const body = isLarge ? `[${inner}${inner.trim() === "" ? "" : ","}${filler}]` : inner;
        let parsed: unknown;
        try {
          parsed = JSON.parse(body);
        } catch {
          expect([body.slice(0, 40), codeOf(body)]).toEqual([body.slice(0, 40), "BAD_REQUEST"]);
          return;
        }
        const expected = Array.isArray(parsed) ? parsed : [parsed];
        expect(textsOf(body).map((value) => JSON.parse(value) as unknown)).toEqual(expected);
      }),
      { seed, numRuns: 4_000 },
    );
  });

  it.each([
    ["a comma at the end", `[1,2,]`],
    ["two commas", `[1,,2]`],
    ["a comma first", `[,1]`],
    ["closed by the other bracket", `[1}`],
    ["brackets that cross", `[{"a":[1}]]`],
    ["text behind", `[1] x`],
    ["a second array", `[1][2]`],
    ["not closed", `[1,2`],
    ["a string not closed", `["a`],
    ["an escape at the end", `["a\\`],
    ["a byte-order mark", "\ufeff[1]"],
    ["nothing", "  "],
  ])("%s is no JSON, also in a large body", (_, body) => {
    expect(codeOf(body)).toBe("BAD_REQUEST");
    const filler = `${`"${"y".repeat(1_000)}",`.repeat(100)}`;
    expect(codeOf(body.replace(/^(\ufeff?)\[/, `$1[${filler}`))).toBe("BAD_REQUEST");
  });

  it("bytes that are no UTF-8 are refused wherever they are", () => {
    const bytes = encoder.encode(`[${`"${"é".repeat(1_000)}",`.repeat(100)}"é"]`);
    expect(codeOf(bytes)).toBe("taken");
    bytes[bytes.length - 3] = 0x22;
    expect(codeOf(bytes)).toBe("BAD_REQUEST");
  });

  it("numbers keep their digits, keys their order and their doubles", () => {
    const messages = ["9007199254740993", "1e400", "1.0", '{"b":1,"a":2,"b":3}', '"\\ud800"', "[[]]"];
    expect(textsOf(`[${messages.join(" , ")}]`)).toEqual(messages);
  });

  it("have at most RECORDS_MAX messages, whatever their size: one more is 413", () => {
    const of = (count: number): string => `[${"1,".repeat(count - 1)}1]`;
    expect(valuesIn(encodeBody(kernel, asked(of(RECORDS_MAX))))).toHaveLength(RECORDS_MAX);
    expect(codeOf(of(RECORDS_MAX + 1))).toBe("TOO_LARGE");
    // Refused before the rest of the body is parsed.
    expect(codeOf(`${of(RECORDS_MAX + 1).slice(0, -1)},nonsense`)).toBe("TOO_LARGE");
  });

  it("have messages of at most a row, alone or in an array, however deep", () => {
    const text = `"${"x".repeat(VALUE_BYTES_MAX - 2)}"`;
    for (const of of [
      (value: string) => value,
      (value: string) => `[${value}]`,
      (value: string) => ` [1, ${value} ] `,
    ]) {
      expect([codeOf(of(text)), codeOf(of(`"x${text.slice(1)}`))]).toEqual(["taken", "RECORD_TOO_LARGE"]);
    }
    expect(codeOf(`[[${"{},".repeat(2_000_000)}{}]]`)).toBe("RECORD_TOO_LARGE");
    expect(codeOf(`[${"[".repeat(500_000)}${"]".repeat(500_000)}]`)).toBe("taken");
  });
});

describe("slices", () => {
  it.each([
    ["application/json", `[${`{"n":${"1".repeat(100)}},`.repeat(20_000)}0]`],
    ["text/plain", "é".repeat(2_000_000)],
    ["application/octet-stream", "x".repeat(5_000_000)],
  ])("of %s are no larger than they may be, and give the same as all at once", async (type, text) => {
    const request = asked(text, type);
    let turns = 0;
    const sliced = await encodeInSlices(kernel, request, async () => void turns++);
    // A record that is larger than a slice is a slice of its own.
    expect(turns).toBeGreaterThanOrEqual(Math.floor(request.body.length / (ENCODE_SLICE_BYTES + VALUE_BYTES_MAX)));
    if (type === "application/json")
      expect(turns).toBeGreaterThanOrEqual(Math.floor(request.body.length / ENCODE_SLICE_BYTES) - 1);
    expect(sliced).toEqual(encodeBody(kernel, request));
  });

  it("two bodies that are encoded in turns do not disturb each other", async () => {
    const bodies = ["a", "b", "c"].map((name) => asked(`[${`"${name.repeat(200)}",`.repeat(5_000)}"end of ${name}"]`));
    const encoded = await Promise.all(bodies.map((body) => encodeInSlices(kernel, body, () => Promise.resolve())));
    expect(encoded).toEqual(bodies.map((body) => encodeBody(kernel, body)));
  });

  it("a body that fails leaves nothing behind for the next one", () => {
    const before = encodeBody(kernel, asked("[1,2]"));
    expect(codeOf('[1,2,"a')).toBe("BAD_REQUEST");
    expect(encodeBody(kernel, asked("[1,2]"))).toEqual(before);
  });
});

describe("the queue of large bodies", () => {
  it("takes them in the order in which they came, one at a time, whatever fails in between", async () => {
    const queue = new EncodeQueue();
    const events: string[] = [];
    const run = (name: string, turns: number, fails = false) =>
      queue.run(
        10,
        async () => {
          events.push(`encode ${name}`);
          for (let i = 0; i < turns; i++) await Promise.resolve();
          if (fails) throw new Error(name);
          return name;
        },
        async (encoded) => {
          events.push(`take ${encoded}`);
        },
      );
    const all = Promise.allSettled([run("a", 20), run("b", 1), run("c", 5, true), run("d", 0)]);
    expect([queue.isIdle, queue.bytes]).toEqual([false, 40]);
    expect((await all).map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected", "fulfilled"]);
    expect(events).toEqual(["encode a", "take a", "encode b", "take b", "encode c", "encode d", "take d"]);
    expect([queue.isIdle, queue.bytes]).toEqual([true, 0]);
  });
});
