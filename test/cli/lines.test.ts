/** A record as a line, and back: without loss, or refused. And lines of files, packed ones and pipes. */
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import os from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { bytesOf, isKept, recordsOfLines } from "../../cli/inputs.ts";
import { type LineInput, lineOfRecord, type LinesAs, recordOfLine } from "../../cli/lines.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-lines-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

const text = fc.string({ unit: "grapheme", maxLength: 12 });
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 12 }),
  text.map((each) => encoder.encode(each)),
);
const json = fc.tuple(fc.jsonValue(), fc.nat({ max: 3 })).map(([value, space]) => JSON.stringify(value, null, space));
const number = fc.constantFrom("9007199254740993", "1e400", "1.0", "-0", '[1.50e3,"\\ud800"]', '{"b":1,"2":1,"b":3}');
const value = fc.oneof(
  bytes,
  json.map((each) => encoder.encode(each)),
  number.map((each) => encoder.encode(each)),
);
// Names that an object would sort, and one that is special there.
const name = fc.oneof(text, fc.constantFrom("2", "1", "10", "01", "__proto__", "toString"));
const record = fc.record({
  offset: fc.maxSafeNat(),
  timestamp: fc.maxSafeInteger(),
  keyBytes: fc.option(bytes),
  valueBytes: fc.option(value),
  rawHeaders: fc.array(fc.tuple(name, fc.option(bytes)), { maxLength: 4 }),
});
const plain = (given: Uint8Array | null): number[] | null => given && [...given];

describe("a record as a line", () => {
  it("comes back to the byte, whatever is in it", () => {
    fc.assert(
      fc.property(record, (given) => {
        const line = lineOfRecord(given);
        expect(line).not.toMatch(/[\r\n]/);
        const read = recordOfLine(line, 1);
        expect(plain(read.key)).toEqual(plain(given.keyBytes));
        expect(plain(read.value)).toEqual(plain(given.valueBytes));
        expect(read.headers.map(([each, of]) => [each, plain(of)])).toEqual(
          given.rawHeaders.map(([each, of]) => [each, plain(of)]),
        );
        expect(read.timestamp).toBe(given.timestamp);
      }),
      { numRuns: 2_000 },
    );
  });

  it("keeps a value's own words", () => {
    const line = '{"key":"a", "value" : {"id":9007199254740993, "a":1e400} ,"headers":{}}';
    expect(decoder.decode(recordOfLine(line, 1).value!)).toBe('{"id":9007199254740993, "a":1e400}');
    expect(recordOfLine('{"value":null,"tombstone":true}', 1).value).toBeNull();
  });

  it.each(["key", "valueText", "header"])("with half of a surrogate pair in its %s is refused", (field) => {
    const of = (text: string) => (): LineInput => {
      const value = field === "valueText" ? `"valueText":"${text}"` : '"value":1';
      return recordOfLine(
        `{${value},"key":"${field === "key" ? text : ""}","headers":{"a":"${field === "header" ? text : ""}"}}`,
        7,
      );
    };
    for (const half of ["\\ud800", "x\\udc00", "\\ud800\\ud800"])
      expect(of(half)).toThrow(/^line 7: .*half of a surrogate pair/);
    expect(of("\\ud83d\\ude00")).not.toThrow();
  });
});

async function read(pieces: AsyncIterable<Uint8Array>, as: LinesAs): Promise<string[]> {
  const found: LineInput[] = [];
  let failed = "";
  try {
    for await (const some of recordsOfLines(pieces, as)) found.push(...some);
  } catch (thrown) {
    failed = (thrown as Error).message;
  }
  return [...found.map((each) => decoder.decode(each.value!)), ...(failed === "" ? [] : [`! ${failed}`])];
}

async function* inPieces(given: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < given.length; at += size) yield await Promise.resolve(given.subarray(at, at + size));
}

describe("lines", () => {
  it.each([1, 2, 3, 7, 1000])("are the same in pieces of %i bytes", async (size) => {
    const of = (given: string | Uint8Array, as: LinesAs): Promise<string[]> =>
      read(inPieces(typeof given === "string" ? encoder.encode(given) : given, size), as);
    expect(await of("ä\r\n\n€ b\n😀\n\ufeffc", "text")).toEqual(["ä", "", "€ b", "😀", "\ufeffc"]);
    // A mark at the very beginning is none of the text.
    expect(await of('\ufeff{"a":1}\n \n"ü"\r\n', "json")).toEqual(['{"a":1}', '"ü"']);
    expect(await of("", "text")).toEqual([]);
    for (const as of ["text", "json"] as const)
      expect(await of(Buffer.from('"a"\n"caf\xe9"\n"b"\n', "latin1"), as)).toEqual([
        '"a"',
        expect.stringMatching(/^! line 2 is not UTF-8/),
      ]);
    // The end of a text is missing.
    expect(await of(encoder.encode('"a"\n"€').subarray(0, 7), "text")).toEqual([
      '"a"',
      expect.stringMatching(/^! line 2 is not UTF-8/),
    ]);
  });

  it("that are too long are named", async () => {
    const long = async function* (): AsyncGenerator<Uint8Array> {
      yield encoder.encode('"a"\n');
      for (let i = 0; i < 17; i++) yield await Promise.resolve(new Uint8Array(1024 * 1024).fill(0x61));
    };
    expect(await read(long(), "text")).toEqual(['"a"', "! line 2 has more than 16777216 bytes"]);
  });
});

describe("an input", () => {
  const lines = '{"value":1}\n{"value":2}\n';
  const file = (called: string, content: string | Uint8Array): string => {
    writeFileSync(path.join(folder, called), content);
    return path.join(folder, called);
  };

  it.each([false, true])("may be a named pipe, packed: %s", async (isPacked) => {
    const pipe = path.join(folder, `pipe-${isPacked}`);
    execFileSync("mkfifo", [pipe]);
    const writing = file(`write-${isPacked}`, isPacked ? gzipSync(lines) : lines);
    const writer = once(spawn("sh", ["-c", `cat "$1" > "$2"`, "sh", writing, pipe]), "exit");
    expect(await read(bytesOf(pipe), "records")).toEqual(["1", "2"]);
    await writer;
    expect([isKept(pipe), isKept("-"), isKept(writing), isKept(folder)]).toEqual([false, false, true, true]);
  });

  it("of one byte, none, and of a broken packing", async () => {
    expect(await read(bytesOf(file("one", "1")), "json")).toEqual(["1"]);
    expect(await read(bytesOf(file("none", "")), "json")).toEqual([]);
    const broken = file("broken.gz", gzipSync(lines.repeat(1000)).subarray(0, 40));
    expect((await read(bytesOf(broken), "records")).at(-1)).toMatch(/broken\.gz: unexpected end of file/);
  });

  it("that can't be opened is an error of this call, and no file stays open", async () => {
    const server = createServer().listen(path.join(folder, "socket"));
    await once(server, "listening");
    expect(await read(bytesOf(path.join(folder, "socket")), "json")).toEqual([expect.stringMatching(/^! ENXIO/)]);
    server.close();
    const open = (): number => readdirSync("/proc/self/fd").length;
    const one = file("kept", lines);
    await read(bytesOf(one), "records");
    const before = open();
    for (let i = 0; i < 20; i++) await read(bytesOf(one), "records");
    expect(open()).toBeLessThan(before + 5);
  });
});
