/**
 * JSON in the kernel: `isJson` takes exactly the bytes that a strict UTF-8 decoder and JSON.parse take, and
 * `encodeElements` makes of an array the batch that the reference kernel makes. Documents are random, and damaged ones
 * are as many as good ones.
 */
import { beforeAll, describe, expect, test } from "vitest";
import { type ElementsRequest, KERNEL_BATCH_BYTES_MAX, type PackingKernel, Status } from "../../src/kernel/types.ts";
import { encodeHeaders } from "../../src/record/batch-builder.ts";
import { decodeBatch, type RecordBatch } from "../../src/record/record-batch.ts";
import { equal } from "../contract/check.ts";
import { SEED } from "../contract/kernel-arbitraries.ts";
import { Random } from "../simulation/prng.ts";
import { debugKernel, releaseKernel, referenceKernel } from "../support/kernels.ts";

const DOCUMENTS = Number(process.env["RUNS"] ?? 100_000);
const reference = referenceKernel();
const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

function isJsonHere(bytes: Uint8Array): boolean {
  try {
    JSON.parse(strict.decode(bytes));
    return true;
  } catch {
    return false;
  }
}

const SPACES = ["", "", "", " ", "\n", "\t\r\n  "];
const TEXTS = ["", "a", "é", "日本", "😀", "\u007f", "\\n", "\\\\", '\\"', "\\/", "\\u00e9", "\\uD800", "x".repeat(15)];
const NUMBERS = ["0", "-0", "1", "-12.5", "1e9", "1E-09", "0.0", "9007199254740993", "1e400", "-1.5e+3"];
const WORDS = ["true", "false", "null"];
/** Bytes that damage is made of: all that JSON knows, and some of UTF-8. */
const PIECES = bytesOf('[]{}:,"\\/ \n\t\r\0\x1f+-.0123eEtrufalsn\x7f\x80\xbf\xc0\xc2\xe0\xed\xef\xf0\xf4\xf5\xff');

class Documents {
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  below(n: number): number {
    return this.#random.int(n);
  }
  #pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }
  #text(): string {
    return `"${Array.from({ length: this.below(4) }, () => this.#pick(TEXTS)).join("")}"`;
  }
  #space(): string {
    return this.#pick(SPACES);
  }

  value(depth = 0): string {
    const kind = this.below(depth > 4 ? 4 : 7);
    const inner = (make: () => string): string =>
      Array.from({ length: this.below(4) }, () => `${this.#space()}${make()}${this.#space()}`).join(",");
    if (kind < 2) return this.#text();
    if (kind === 2) return this.#pick(NUMBERS);
    if (kind === 3) return this.#pick(WORDS);
    return kind === 4
      ? `{${inner(() => `${this.#text()}${this.#space()}:${this.#space()}${this.value(depth + 1)}`)}}`
      : `[${inner(() => this.value(depth + 1))}${this.#space()}]`;
  }

  /** A text of JSON. Of four, two are damaged in one to three bytes, and one is cut off. */
  bytes(): Uint8Array {
    const bytes = [...encoder.encode(`${this.#space()}${this.value()}${this.#space()}`)];
    const kind = this.below(4);
    if (kind === 0) return Uint8Array.from(bytes.slice(0, this.below(bytes.length + 1)));
    for (let n = kind === 1 ? 0 : 1 + this.below(3); n > 0; n--) {
      const at = this.below(bytes.length + 1);
      const isInsert = this.below(3) === 0;
      if (this.below(3) === 0) bytes.splice(at, 1);
      else bytes.splice(at, isInsert ? 0 : 1, PIECES[this.below(PIECES.length)]!);
    }
    return Uint8Array.from(bytes);
  }
}

describe.each([
  ["release", releaseKernel],
  ["debug", debugKernel],
] as const)(`JSON in the %s kernel (seed ${SEED})`, (name, open) => {
  let kernel: PackingKernel;
  beforeAll(async () => {
    kernel = await open();
  });
  const agree = (bytes: Uint8Array): boolean => {
    const isOne = isJsonHere(bytes);
    if (kernel.isJson(bytes) !== isOne)
      throw new Error(`JSON.parse ${isOne ? "takes" : "refuses"} ${Buffer.from(bytes).toString("latin1")}`);
    return isOne;
  };

  test(`${DOCUMENTS} documents are taken and refused as by JSON.parse`, () => {
    const documents = new Documents(SEED);
    let taken = 0;
    for (let n = 0; n < DOCUMENTS; n++) taken += agree(documents.bytes()) ? 1 : 0;
    expect(taken).toBeGreaterThan(DOCUMENTS / 5);
    expect(taken).toBeLessThan((DOCUMENTS * 4) / 5);
  });

  test("each byte in each place of short documents", () => {
    const places = ['["a",1]', '{"a":tru}', "-1.0e+1", '"\\u00fF"', '"\\n\u00e9"', "[[],{}]", "nul", "  0  "];
    for (const text of places) {
      const bytes = encoder.encode(text);
      for (let at = 0; at <= bytes.length; at++)
        for (let byte = 0; byte < 256; byte++) {
          const inserted = Uint8Array.from([...bytes.subarray(0, at), byte, ...bytes.subarray(at)]);
          agree(inserted);
          if (at === bytes.length) continue;
          const replaced = bytes.slice();
          replaced[at] = byte;
          agree(replaced);
        }
    }
  });

  test("characters of UTF-8: all pairs of bytes, and each length at its bounds", () => {
    const bounds = [0x22, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0];
    const tails = bounds.flatMap((a) => [[a], ...bounds.map((b) => [a, b])]);
    for (let first = 0; first < 256; first++)
      for (let second = 0; second < 256; second++) {
        agree(Uint8Array.of(0x22, first, second, 0x22));
        if (first < 0xe0) continue;
        // Behind a byte that continues nothing, what follows is not looked at.
        const isCut = second < 0x7f || second > 0xc0;
        for (const tail of isCut ? tails.slice(0, 2) : tails) agree(Uint8Array.of(0x22, first, second, ...tail, 0x22));
      }
  });

  test("a string's end, an escape and a bad byte are found wherever they stand", () => {
    for (const inside of ["", "\\n", "é", "\u0001", '"', "\\x", "\\", "\\u12"])
      for (let before = 0; before < 40; before++)
        for (const after of [0, 1, 15, 16, 17])
          agree(encoder.encode(`"${"x".repeat(before)}${inside}${"y".repeat(after)}"`));
  });

  test("nesting is as deep as the bytes allow", () => {
    const half = KERNEL_BATCH_BYTES_MAX / 2;
    expect(kernel.isJson(encoder.encode("[".repeat(half) + "]".repeat(half)))).toBe(true);
    expect(kernel.isJson(encoder.encode("[".repeat(KERNEL_BATCH_BYTES_MAX)))).toBe(false);
    expect(kernel.isJson(encoder.encode(`${"[{".repeat(1000)}${"}]".repeat(1000)}`))).toBe(false);
    expect(kernel.isJson(encoder.encode(`${'[{"":'.repeat(1000)}0${"}]".repeat(1000)}`))).toBe(true);
    expect(kernel.isJson(encoder.encode(`${'[{"":'.repeat(1000)}0${"}]".repeat(999)}]}`))).toBe(false);
    expect(kernel.isJson(new Uint8Array(KERNEL_BATCH_BYTES_MAX + 1).fill(0x31))).toBe(false);
    expect(kernel.isJson(new Uint8Array(KERNEL_BATCH_BYTES_MAX).fill(0x31))).toBe(true);
  });

  test("elements become the batch that the reference kernel makes, wherever the bytes end", () => {
    const documents = new Documents(SEED + 1);
    const seen = new Map<Status, number>();
    const sections = [new Uint8Array(0), encodeHeaders([["a", encoder.encode("b")]]), Uint8Array.of(2, 2)];
    for (let n = 0; n < DOCUMENTS / (name === "release" ? 10 : 40); n++) {
      const elements = Array.from({ length: documents.below(6) }, () => documents.value());
      let text = `${elements.join(" , ")}]`;
      if (documents.below(3) === 0) text = text.slice(0, documents.below(text.length + 1));
      const bytes = encoder.encode(text);
      if (documents.below(3) === 0 && bytes.length > 0)
        bytes[documents.below(bytes.length)] = PIECES[documents.below(PIECES.length)]!;
      const request: ElementsRequest = {
        bytes,
        headers: sections[documents.below(20) % 3 === 0 ? documents.below(3) : 0]!,
        timestamp: [1_000, -5, 0.5, 2 ** 53][documents.below(40)] ?? 1_764_000_000_000,
        bytesMax: [60, 61, 90, 200, 2 ** 22, 0.5][documents.below(12)] ?? 2 ** 20,
        valueMax: documents.below(4) === 0 ? documents.below(30) : 2 ** 20,
      };
      const found = kernel.encodeElements(request);
      equal(found, reference.encodeElements(request), text);
      if (found.batch.length > 0) expect(kernel.validateBatch(found.batch)).toBe(Status.OK);
      seen.set(found.status, (seen.get(found.status) ?? 0) + 1);
    }
    const counts = [Status.OK, Status.NEED_MORE, Status.BAD_RECORD, Status.TOO_LARGE, Status.BAD_ARGUMENT].map(
      (status) => seen.get(status) ?? 0,
    );
    if (DOCUMENTS >= 10_000) expect(Math.min(...counts), counts.join(" ")).toBeGreaterThan(50);
  });

  test("a batch holds at most 65,536 elements, and goes on behind them", () => {
    const bytes = encoder.encode(`${"7,".repeat(65_536)}8]`);
    const request = { headers: new Uint8Array(0), timestamp: 1, bytesMax: 2 ** 20, valueMax: 9 };
    const first = kernel.encodeElements({ ...request, bytes });
    expect([first.status, first.records, first.takenBytes]).toEqual([Status.TOO_LARGE, 65_536, 131_072]);
    const second = kernel.encodeElements({ ...request, bytes: bytes.subarray(first.takenBytes) });
    expect([second.status, second.records]).toEqual([Status.OK, 1]);
    const batch = decodeBatch(kernel, first.batch) as RecordBatch;
    expect([batch.count, batch.valueAt(65_535)]).toEqual([65_536, encoder.encode("7")]);
  });
});
