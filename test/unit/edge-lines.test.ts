/** Lines of records: what is cut from them, in slices or not, is what they say, and what is written reads the same. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeBatch } from "../../src/record/record-batch.ts";
import { encodeBody, encodeInSlices } from "../../worker/stream/body-encoder.ts";
import { textOfMember } from "../../src/topic/json-member.ts";
import { LineCutter } from "../../worker/stream/line-cutter.ts";
import { EdgeError } from "../../worker/errors.ts";
import { recordLine } from "../../worker/wire/record-lines.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const encoder = new TextEncoder();
const NOW = 1_796_000_000_000;
const asked = (body: string, mediaType: string) =>
  ({ body: encoder.encode(body), mediaType, timestamp: NOW, isLines: true }) as const;

/** The lines of these batches. */
async function linesOf(batches: readonly Uint8Array[], type: string): Promise<string> {
  let text = "";
  for (const bytes of batches) {
    const batch = await decodeBatch(kernel, bytes);
    for (let i = 0; i < batch.count; i++) text += `${recordLine(batch, i, type)}\n`;
  }
  return text;
}

const base64 = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString("base64"));
const header = fc.oneof(fc.string({ unit: "grapheme" }), fc.constant(null), fc.record({ base64 }));
// Names that an object would sort, and one that is special there.
const name = fc.oneof(fc.string({ unit: "grapheme", maxLength: 5 }), fc.constantFrom("2", "1", "10", "__proto__"));
const common = {
  timestamp: fc.oneof(fc.maxSafeInteger(), fc.constant(undefined)),
  key: fc.oneof(fc.string({ unit: "grapheme" }), fc.constant(null), fc.constant(undefined)),
  headers: fc.array(fc.tuple(name, header), { maxLength: 3 }),
};
/** Names and bytes of headers in their order, whichever form they have. */
function pairsOf(headers: unknown): unknown[] {
  const pairs = Array.isArray(headers) ? headers : Object.entries(headers as object);
  return pairs.map(([each, given]: [string, unknown]) => {
    const { base64 } = Object(given) as { base64?: string };
    return [each, base64 === undefined ? given !== null && Buffer.from(String(given)).toString("base64") : base64];
  });
}
const line = (value: fc.Arbitrary<object>) =>
  fc.tuple(fc.record(common), value).map(([fields, given]) => JSON.stringify({ ...fields, ...given }));
const KINDS: Readonly<Record<string, fc.Arbitrary<string>>> = {
  "application/json": line(fc.record({ value: fc.jsonValue() })),
  "text/plain": line(fc.record({ value: fc.option(fc.string({ unit: "grapheme" })) })),
  "application/octet-stream": line(fc.record({ valueBase64: base64 })),
};

describe.each(Object.entries(KINDS))("lines of %s", (type, kind) => {
  it("that were written, read and written again are the same, in slices or at once", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(kind, { minLength: 1, maxLength: 20 }), async (lines) => {
        const batches = encodeBody(kernel, asked(lines.join("\n"), type));
        const shown = await linesOf(batches, type);
        const again = await encodeInSlices(kernel, asked(shown, type), () => Promise.resolve());
        expect(await linesOf(again, type)).toBe(shown);
        for (const [i, text] of shown.trimEnd().split("\n").entries()) {
          const [given, found] = [lines[i]!, text].map((each) => JSON.parse(each) as Record<string, unknown>);
          expect(found!["value"]).toEqual(given!["value"]);
          expect(found!["valueBase64"]).toEqual(given!["valueBase64"]);
          expect(found!["key"]).toEqual(given!["key"] ?? null);
          expect(found!["timestamp"]).toEqual(given!["timestamp"] ?? NOW);
          expect(pairsOf(found!["headers"])).toEqual(pairsOf(given!["headers"]));
        }
      }),
      { numRuns: 200 },
    );
  });

  it("noise is refused by a typed error, which names the line", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.string(), (noise, text) => {
        for (const body of [noise, encoder.encode(text), encoder.encode(`{"value":1,"x":${text}}`)]) {
          const cutter = new LineCutter(body, type, NOW);
          try {
            while (cutter.next()) continue;
          } catch (thrown) {
            expect(thrown).toBeInstanceOf(EdgeError);
            expect((thrown as EdgeError).details["line"]).toBeGreaterThan(0);
          }
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

it.each([
  ['{"key":"\\ud800","value":"a"}', "key"],
  ['{"value":"\\udc00\\ud800"}', "value"],
  ['{"value":"a","headers":{"h":"\\ud800"}}', "headers.h"],
  ['{"value":"a","headers":[["\\ud800","a"]]}', "headers"],
])("half of a surrogate pair is refused, where it would become another character: %s", (body, field) => {
  const cut = (text: string) => () => new LineCutter(encoder.encode(text), "text/plain", NOW).next();
  expect(cut(body)).toThrow(expect.objectContaining({ code: "BAD_REQUEST", details: { line: 1, field } }));
  expect(cut(body.replace(/(\\u\w{4})+/, "\\ud83d\\ude00"))).not.toThrow();
});

describe("a member's own text", () => {
  it("is what stands there, whatever is in it or around it", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), fc.integer({ min: 0, max: 3 }), (value, other, spaces) => {
        const text = JSON.stringify(value, null, spaces);
        const object = `{ "a" : ${JSON.stringify(other)} ,"value":${text},"z":{"value":1} }`;
        expect(textOfMember(object, "value")).toBe(text);
      }),
    );
    expect(textOfMember('{"value":1,"v\\u0061lue":2.0}', "value")).toBe("2.0");
    expect(textOfMember('{"a":"\\\\","value":-1.50e3}', "value")).toBe("-1.50e3");
  });
});
