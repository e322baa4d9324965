/**
 * What the kernel does to its memory, tested from outside through the raw exports: each call may write only to its own
 * regions, may depend only on the bytes it was given, and never traps. All other memory is filled with a pattern before
 * a call and compared after it. The pattern differs from place to place, so that bytes copied too far are noticed.
 */
import fc from "fast-check";
import { readFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { KERNEL_BATCH_BYTES_MAX, Status } from "../../src/kernel/types.ts";
import * as format from "../../src/record/format.ts";
import { anyBytes, requests, SEED, wildRequests } from "../contract/kernel-arbitraries.ts";
import { concat, craft, recordBytes, utf8 } from "../contract/kernel-samples.ts";
import { kernelBytes, referenceKernel } from "../support/kernels.ts";

const assembly = path.join(import.meta.dirname, "../../assembly");
const reference = referenceKernel();
const any = anyBytes((request) => reference.encodeBatch(request).bytes);
const RUNS = { seed: SEED, numRuns: Number(process.env["RUNS"] ?? 40) };

type Call = (...values: number[]) => number;

/** A kernel's raw exports, without the wrapper. */
class Raw {
  readonly memory: Uint8Array;
  readonly #exports: WebAssembly.Exports;
  readonly #table: Uint8Array;
  readonly #patterns: readonly Uint8Array[];

  constructor(instance: WebAssembly.Instance) {
    this.#exports = instance.exports;
    this.memory = new Uint8Array((instance.exports["memory"] as WebAssembly.Memory).buffer);
    this.#table = this.memory.slice(this.at("TABLE"), this.at("TABLE") + 16 * 1024);
    this.#patterns = [2_654_435_761, 1_597_334_677].map((factor) =>
      new Uint8Array(this.at("END")).map((_, i) => Math.imul(i + 1, factor) >>> 24),
    );
  }

  at(name: string): number {
    return (this.#exports[name] as WebAssembly.Global).value as number;
  }

  /** [from, to) of a region. A guard of 64 bytes separates it from the next region. */
  region(name: string): [number, number] {
    const order = [
      "RESULT",
      "STEPS",
      "KEEP",
      "TABLE",
      "OFFSET_ENTRIES",
      "TIME_ENTRIES",
      "ROWS",
      "STAMPS",
      "IN",
      "OUT",
      "FOLD",
      "END",
    ];
    const next = order[order.indexOf(name) + 1] as string;
    return [this.at(name), this.at(next) - 64];
  }

  /** Writes the pattern everywhere but into the CRC tables, and then each input at the start of its region. */
  fill(pattern: Uint8Array, inputs: Readonly<Record<string, Uint8Array>>): void {
    this.memory.set(pattern);
    this.memory.set(this.#table, this.at("TABLE"));
    for (const [name, bytes] of Object.entries(inputs)) this.memory.set(bytes, this.at(name));
  }

  call(name: string, ...values: number[]): number {
    return (this.#exports[name] as Call)(...values);
  }

  /** Makes a call over two different patterns. Only the regions `writes` may change, and both answers must be equal. */
  checked(
    inputs: Readonly<Record<string, Uint8Array>>,
    writes: readonly string[],
    name: string,
    ...values: number[]
  ): number {
    const answers = this.#patterns.map((pattern) => {
      this.fill(pattern, inputs);
      const before = Buffer.from(this.memory);
      const answer = this.call(name, ...values);
      const after = this.memory;
      // Any call may use the CRC's working region.
      for (const region of [...writes, "FOLD"]) {
        const [from, to] = this.region(region);
        // The call may write these bytes, so they are not compared.
        before.set(after.subarray(from, to), from);
      }
      expect(Buffer.compare(before, after), `${name} wrote outside ${writes.join(", ") || "nothing"}`).toBe(0);
      return answer;
    });
    expect(answers[0], `${name} depends on bytes it was not given`).toBe(answers[1]);
    return answers[0] as number;
  }
}

const bytesOf = (array: Int32Array | Float64Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

describe.each(["release", "debug"] as const)("%s", (target) => {
  let raw: Raw;
  let module: WebAssembly.Module;
  beforeAll(async () => {
    module = await WebAssembly.compile(await kernelBytes(target));
    raw = new Raw(await WebAssembly.instantiate(module));
  });

  test("a write outside the regions is noticed", () => {
    const store = raw.call.bind(raw);
    const spy = vi.spyOn(raw, "call").mockImplementation((name, ...values) => {
      raw.memory[raw.at("OUT") - 1] = 1;
      return store(name, ...values);
    });
    expect(() => raw.checked({ IN: craft() }, ["OUT"], "validate", 100)).toThrow("wrote outside");
    spy.mockRestore();
  });

  test("imports nothing, cannot grow, and has its own data behind the regions", () => {
    expect(WebAssembly.Module.imports(module)).toEqual([]);
    const memory = raw.memory.buffer;
    expect(raw.at("END")).toBeLessThanOrEqual(
      JSON.parse(readFileSync(path.join(assembly, "asconfig.json"), "utf8")).options.memoryBase,
    );
    expect(memory.byteLength).toBe(113 * 65_536);
  });

  test("reading any bytes writes only rows and stamps", () => {
    fc.assert(
      fc.property(any, fc.integer({ min: 0, max: 1 }), (bytes, checkCrc) => {
        const reads = ["ROWS", "STAMPS"];
        expect(raw.checked({ IN: bytes }, reads, "validate", bytes.length)).toBe(reference.validateBatch(bytes));
        raw.checked({ IN: bytes }, reads, "decode", bytes.length, checkCrc);
        raw.checked({ IN: bytes.subarray(61) }, reads, "decodeRecords", Math.max(bytes.length - 61, 0), 3, 1000, 5, 0);
      }),
      RUNS,
    );
  });

  test("as many records as there are rows do not write to the guard", () => {
    const section = new Uint8Array(65_536 * 12);
    let size = 0;
    for (let i = 0; i < 65_536; i++) {
      const record = recordBytes({ timestampDelta: 0 }, i);
      section.set(record, size);
      size += record.length;
    }
    expect(
      raw.checked({ IN: section.subarray(0, size) }, ["ROWS", "STAMPS"], "decodeRecords", size, 65_536, 0, 65_535, 1),
    ).toBe(65_536);
  });

  test("writing a batch writes only OUT", () => {
    fc.assert(
      fc.property(fc.oneof(requests, wildRequests), (request) => {
        const { blob, lengths, timestamps, attributes, producerId, producerEpoch, baseSequence } = request;
        // The wrapper refuses a count beyond the columns, and the raw call relies on that.
        const count = Math.min(request.count | 0, timestamps.length, Math.floor(lengths.length / 3));
        const inputs = { IN: blob, ROWS: bytesOf(lengths), STAMPS: bytesOf(timestamps) };
        raw.checked(inputs, ["OUT"], "encode", blob.length, count, attributes, producerId, producerEpoch, baseSequence);
      }),
      RUNS,
    );
  });

  test("a batch that fills OUT to the last byte does not write to the guard", () => {
    for (const valueLength of [1, 7, 8, 9, 63, 64, 65]) {
      // A first record fills almost everything. Copying the last one in whole words ends exactly at the region's end.
      const sizes: number[] = [];
      for (let spare = 0; spare < 12; spare++) {
        const filler = KERNEL_BATCH_BYTES_MAX - 61 - 11 - 8 - valueLength - spare;
        const lengths = Int32Array.of(-1, filler, 0, -1, valueLength, 0);
        const inputs = {
          IN: new Uint8Array(filler + valueLength).fill(0xff),
          ROWS: bytesOf(lengths),
          STAMPS: new Uint8Array(16),
        };
        sizes.push(raw.checked(inputs, ["OUT"], "encode", filler + valueLength, 2, 0, -1, -1, -1));
      }
      expect(sizes).toContain(KERNEL_BATCH_BYTES_MAX);
      expect(sizes).toContain(-Status.TOO_LARGE);
    }
  });

  test("filtering writes only rows, stamps and OUT", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          any,
          requests.map((request) => reference.encodeBatch(request).bytes),
        ),
        fc.uint8Array({ maxLength: 4 }),
        (bytes, keep) => {
          raw.checked({ IN: bytes, KEEP: keep }, ["ROWS", "STAMPS", "OUT"], "filter", bytes.length, keep.length);
        },
      ),
      RUNS,
    );
  });

  test("scanning writes only its result and index entries", () => {
    fc.assert(
      fc.property(
        fc.array(any, { maxLength: 4 }),
        fc.nat(20_000),
        fc.integer({ min: 0, max: 1 }),
        (list, since, flag) => {
          const bytes = concat(...list);
          const writes = ["RESULT", "OFFSET_ENTRIES", "TIME_ENTRIES"];
          raw.checked({ IN: bytes }, writes, "scan", bytes.length, 0, flag, -1, 5, flag, 0, 0, since, -1, -1, -1);
        },
      ),
      RUNS,
    );
    // The most entries that there can be: 511 batches, each just larger than the index interval.
    const batch = (offset: number) =>
      craft({
        baseOffset: offset,
        section: new Array<number>(4097 - 61).fill(0),
        count: 1,
        maxTimestamp: 1000 + offset,
      });
    const full = concat(...Array.from({ length: 511 }, (_, i) => batch(i)));
    raw.checked(
      { IN: full },
      ["RESULT", "OFFSET_ENTRIES", "TIME_ENTRIES"],
      "scan",
      full.length,
      0,
      0,
      -1,
      5,
      1,
      0,
      0,
      9999,
      -1,
      -1,
      -1,
    );
    expect(new DataView(raw.memory.buffer).getFloat64(raw.at("RESULT") + 72, true)).toBe(511 * 8);
  });

  test("packing writes only rows, stamps, OUT and its result, and IN when it checks all sums together", () => {
    const list = fc.array(
      fc.oneof(
        any,
        requests.map((request) => reference.encodeBatch(request).bytes),
      ),
      { maxLength: 4 },
    );
    fc.assert(
      fc.property(list, fc.integer({ min: -1, max: 0 }), fc.nat(3), fc.nat(255), (batches, expected, from, mark) => {
        const bytes = concat(...batches);
        const together = raw.checked(
          { IN: bytes },
          ["ROWS", "STAMPS", "OUT", "RESULT", "IN"],
          "pack",
          bytes.length,
          expected,
          from,
          9,
          mark,
          1,
        );
        const each = raw.checked(
          { IN: bytes },
          ["ROWS", "STAMPS", "OUT", "RESULT"],
          "pack",
          bytes.length,
          expected,
          from,
          9,
          mark,
          0,
        );
        expect(together === Status.OK).toBe(each === Status.OK);
      }),
      RUNS,
    );
    // The most that fits: one large value, or as many values as there are rows.
    const largest = craft({
      section: recordBytes({ value: new Uint8Array(KERNEL_BATCH_BYTES_MAX - 61 - 16), timestampDelta: 0 }),
      count: 1,
      maxTimestamp: 1000,
    });
    expect(largest.length).toBeGreaterThan(KERNEL_BATCH_BYTES_MAX - 16);
    expect(
      raw.checked({ IN: largest }, ["ROWS", "STAMPS", "OUT", "RESULT"], "pack", largest.length, 0, 0, 9, 44, 0),
    ).toBe(Status.OK);
  });

  test("walking JSON writes only rows and a zero behind the bytes; elements also OUT and the result", () => {
    const pieces = fc.constantFrom("[", "]", "{", "}", '"a"', ":", ",", "1", '"', "\\", "é", " ");
    const texts = fc.array(pieces, { maxLength: 30 }).map((list) => utf8(list.join("")));
    fc.assert(
      fc.property(texts, fc.nat(200), fc.nat(5), (bytes, bytesMax, valueMax) => {
        expect(raw.checked({ IN: bytes }, ["ROWS", "IN"], "isJson", bytes.length)).toBe(+reference.isJson(bytes));
        const written = ["ROWS", "IN", "OUT", "RESULT"];
        raw.checked({ IN: bytes }, written, "encodeElements", bytes.length, 0, 1_000, 61 + bytesMax, valueMax);
      }),
      RUNS,
    );
    const deep = new Uint8Array(KERNEL_BATCH_BYTES_MAX).fill(0x5b);
    expect(raw.checked({ IN: deep }, ["ROWS", "IN"], "isJson", deep.length)).toBe(0);
    // As many elements as a batch may have, and one that fills it to the last byte.
    const full = new Uint8Array(KERNEL_BATCH_BYTES_MAX).map((_, i) => (i % 2 === 0 ? 0x31 : 0x2c));
    const written = ["ROWS", "IN", "OUT", "RESULT"];
    const most = KERNEL_BATCH_BYTES_MAX;
    expect(raw.checked({ IN: full }, written, "encodeElements", most, 0, 1_000, most, most)).toBe(Status.TOO_LARGE);
    const one = new Uint8Array(most).fill(0x31);
    for (let spare = 11; spare < 16; spare++) {
      one.set([0x5d, 0x20], most - 61 - spare);
      const status = raw.checked({ IN: one }, written, "encodeElements", most, 0, 1_000, most, most);
      const size = new DataView(raw.memory.buffer).getFloat64(raw.at("RESULT") + 8, true);
      expect([status, size === most]).toEqual(spare < 13 ? [Status.TOO_LARGE, false] : [Status.OK, spare === 13]);
    }
  });

  test("searching writes only its steps", () => {
    const entries = new Uint8Array(KERNEL_BATCH_BYTES_MAX);
    for (const target of [-1, 0, 1, Infinity, NaN]) {
      raw.checked({ IN: entries }, ["STEPS"], "search", entries.length / 8, 0, target);
      raw.checked({ IN: entries }, ["STEPS"], "search", Math.floor(entries.length / 12), 1, target);
    }
  });
});

describe("both sides of the language border mean the same", () => {
  /**
   * The constants of an AssemblyScript file: `NAME: type = value;`, where the value is made of names and small sums.
   */
  function constants(file: string): Map<string, number> {
    const found = new Map<string, number>();
    for (const [, name, source] of readFileSync(path.join(assembly, file), "utf8").matchAll(
      /^export const (\w+): \w+ = (.+);$/gm,
    )) {
      const terms = (source as string)
        .replace(/<\w+>/g, "")
        .split("+")
        .map((term) => term.trim());
      found.set(
        name as string,
        terms.reduce((sum, term) => sum + (found.get(term) ?? Number(term)), 0),
      );
    }
    return found;
  }

  test("statuses", () => {
    expect(Object.fromEntries(constants("status.ts"))).toEqual(Status);
  });

  test("places and masks of the header", () => {
    const ours = constants("batch.ts");
    for (const [name, value] of Object.entries(format)) {
      if (typeof value === "number" && ours.has(name)) expect([name, ours.get(name)]).toEqual([name, value]);
    }
    expect(ours.get("HEADER_BYTES")).toBe(format.BATCH_HEADER_BYTES);
    expect(ours.get("LOG_APPEND_TIME")).toBe(format.ATTRIBUTE_LOG_APPEND_TIME);
    expect(
      Object.keys(format).filter((name) => name.endsWith("_AT") && name !== "BASE_OFFSET_AT" && !ours.has(name)),
    ).toEqual([]);
  });
});
