/**
 * Batches of snappy, LZ4 and Zstandard: packed by the codecs' own libraries (test/golden/kafka-codecs.json: python-lz4
 * 4.4.5 and cramjam 2.14.0 over batches of `batchAt`), and what the commands make of .log files with them.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import zlib from "node:zlib";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { dump } from "../../cli/commands/dump.ts";
import { importCommand } from "../../cli/commands/import.ts";
import { verify } from "../../cli/commands/verify.ts";
import { Failure } from "../../cli/failure.ts";
import { repackBatch, unpackBatch } from "../../cli/kafka-codecs.ts";
import { TidemarkError } from "../../src/errors.ts";
import type { PackingKernel } from "../../src/kernel/types.ts";
import { open } from "../../src/node/index.ts";
import {
  BATCH_HEADER_BYTES,
  CODEC_GZIP,
  CODEC_NONE,
  readHeader,
  stampBaseOffset,
  stampLeaderEpoch,
} from "../../src/record/format.ts";
import { decodeBatch } from "../../src/record/record-batch.ts";
import { batchAt, joined, packedAs } from "../support/kafka-batches.ts";
import { releaseKernel } from "../support/kernels.ts";
import { Random } from "../simulation/prng.ts";
import { said, told } from "./in-process.ts";
import { Program } from "./program.ts";

interface Sample {
  readonly codec: "snappy" | "lz4" | "zstd";
  readonly of: "large" | "small";
  readonly base64: string;
}
const NUMBERS = { snappy: 2, lz4: 3, zstd: 4 } as const;
const file = path.join(import.meta.dirname, "../golden/kafka-codecs.json");
const hasZstd = zlib.zstdDecompressSync !== undefined;
const SAMPLES = Object.entries(JSON.parse(readFileSync(file, "utf8")) as Record<string, Sample>).filter(
  ([, { codec }]) => hasZstd || codec !== "zstd",
);

/** Only for its folder. */
const program = new Program();
afterAll(() => program.remove());

let kernel: PackingKernel;
let plain: Readonly<Record<Sample["of"], Uint8Array>>;
beforeAll(async () => {
  kernel = await releaseKernel();
  plain = { large: batchAt(kernel, 0, 70, 1000), small: batchAt(kernel, 0, 1, 4) };
});

const recordsOf = ({ base64 }: Sample): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));
/** The batch as a producer has packed it, from this offset on. */
function packed(sample: Sample, baseOffset = 0, records = recordsOf(sample)): Uint8Array {
  const batch = packedAs(kernel, plain[sample.of], records, NUMBERS[sample.codec]);
  stampBaseOffset(batch, baseOffset);
  stampLeaderEpoch(batch, 0);
  return batch;
}
const codecOf = (batch: Uint8Array): number => batch[22]! & 7;

describe("a batch of a foreign codec", () => {
  it.each(SAMPLES)("%s: is unpacked byte for byte, and packed anew with gzip", async (_, sample) => {
    const given = packed(sample);
    const wantedBytes = plain[sample.of].slice();
    stampLeaderEpoch(wantedBytes, 0);
    expect(unpackBatch(kernel, given)).toEqual(wantedBytes);
    const kept = repackBatch(kernel, given);
    expect(codecOf(kept)).toBe(CODEC_GZIP);
    const [read, wanted] = [await decodeBatch(kernel, kept), await decodeBatch(kernel, plain[sample.of])];
    expect(read.count).toBe(wanted.count);
    for (let i = 0; i < read.count; i++) expect(read.valueAt(i)).toEqual(wanted.valueAt(i));
    const { producerId, baseSequence, maxTimestamp, recordCount } = readHeader(kept);
    expect(readHeader(wantedBytes)).toMatchObject({ producerId, baseSequence, maxTimestamp, recordCount });
  });

  it("stays as it is if its checksum is wrong, and so do batches of other codecs", () => {
    for (const [, sample] of SAMPLES) {
      const bad = packed(sample);
      bad[BATCH_HEADER_BYTES + 3]! ^= 1;
      expect(unpackBatch(kernel, bad)).toBe(bad);
    }
    for (const codec of [CODEC_NONE, CODEC_GZIP, 5, 7]) {
      const other = packedAs(kernel, plain.small, Uint8Array.of(1, 2, 3), codec);
      expect(unpackBatch(kernel, other)).toBe(other);
    }
  });

  it("that is hostile, with a checksum that is right, is refused by one of two codes, and soon", () => {
    const random = new Random(1, 0);
    const codes = new Map<string, number>();
    for (let round = 0; round < 3_000; round++) {
      const [, sample] = random.pick(SAMPLES);
      const records = recordsOf(sample).slice(0, random.chance(0.5) ? random.between(0, 1100) : undefined);
      for (let flips = random.between(0, 3); flips > 0 && records.length > 0; flips--)
        records[random.between(0, records.length - 1)] = random.between(0, 255);
      try {
        expect(unpackBatch(kernel, packed(sample, 0, records)).length).toBeLessThan(3 * 1024 * 1024);
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(TidemarkError);
        const { code } = thrown as TidemarkError;
        codes.set(code, (codes.get(code) ?? 0) + 1);
      }
    }
    expect([...codes.keys()].filter((code) => code !== "DECOMPRESSION_LIMIT")).toEqual(["INVALID_BATCH"]);
    expect(codes.get("INVALID_BATCH")).toBeGreaterThan(500);
  });

  it("that unpacks to more than 2 MiB is DECOMPRESSION_LIMIT before the memory is taken", () => {
    // One literal, and a match that repeats it three million times.
    const run = [0x1f, 0x41, 1, 0, ...Array<number>(12_000).fill(255), 0];
    const size = [run.length & 255, run.length >> 8, 0, 0];
    const lz4 = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73, ...size, ...run, 0, 0, 0, 0];
    // The same by copies of 64 bytes.
    const snappy = [0xc0, 0x8d, 0xb7, 1, 0, 0x41, ...Array.from({ length: 40_000 }, () => [0xfe, 1, 0]).flat()];
    const bombs: [Sample["codec"], Uint8Array][] = [
      ["lz4", Uint8Array.from(lz4)],
      ["snappy", Uint8Array.from(snappy)],
    ];
    if (hasZstd) bombs.push(["zstd", new Uint8Array(zlib.zstdCompressSync(new Uint8Array(3 * 1024 * 1024)))]);
    for (const [codec, records] of bombs) {
      const bomb = packedAs(kernel, plain.small, records, NUMBERS[codec]);
      expect(() => unpackBatch(kernel, bomb), codec).toThrow(
        expect.objectContaining({ code: "DECOMPRESSION_LIMIT" }) as Error,
      );
    }
  });
});

describe("files with batches of foreign codecs", () => {
  /** A batch of each codec, one behind the other, from offset 100 on, and a plain one. */
  const large = (): Sample[] => SAMPLES.map(([, sample]) => sample).filter(({ of }) => of === "large");
  const write = (name: string, change = (batches: Uint8Array[]): Uint8Array[] => batches): string => {
    mkdirSync(program.path(name));
    const batches = large().map((sample, i) => packed(sample, 100 + 70 * i));
    const last = batchAt(kernel, 100 + 70 * batches.length, 3);
    stampLeaderEpoch(last, 0);
    program.write(path.join(name, "00000000000000000100.log"), joined(change([...batches, last])));
    return program.path(name);
  };
  const transactional = (batch: Uint8Array): Uint8Array => {
    batch[22]! |= 0x10;
    new DataView(batch.buffer, batch.byteOffset).setUint32(17, kernel.crc32c(batch.subarray(21)));
    return batch;
  };
  const total = (): number => 70 * large().length + 3;
  async function inTopic(folder: string, topic: string): Promise<{ offset: number; value: string }[]> {
    const tide = await open(program.path(folder));
    const found: { offset: number; value: string }[] = [];
    for await (const { offset, value } of tide.topic<string>(topic, { serializer: "text" }).read())
      found.push({ offset, value: value!.slice(0, 3) });
    await tide.close();
    return found;
  }
  const left = (): string[] => readdirSync(os.tmpdir()).filter((name) => name.startsWith("tidemark-import-"));

  it("verify finds them good, and dump prints their records", async () => {
    const folder = write("good");
    expect((await told(verify, [folder])).out).toEqual([expect.stringMatching(/good: \d batches, .*: good$/)]);
    const { out, thrown } = await told(dump, [folder], { records: true, json: true });
    expect(thrown).toBeUndefined();
    const [batch, record] = out.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(batch).toMatchObject({ kind: "batch", attributes: 2, isGood: true, position: 0 });
    expect(record).toMatchObject({ offset: 100, valueText: "0 ".padEnd(1000, ".") });
    expect(out).toHaveLength(large().length + 1 + total());
  });

  it("import keeps offsets and records, and the same call again has nothing to do", async () => {
    const folder = write("kept");
    const target = program.path("tide");
    const before = left();
    expect(await said(importCommand, [target, "kept", folder])).toBe(
      `${total()} records imported, offsets 100 to ${100 + total()}\n`,
    );
    expect(await said(importCommand, [target, "kept", folder])).toMatch(/^nothing to do/);
    const records = await inTopic("tide", "kept");
    expect(records.map(({ offset }) => offset)).toEqual(Array.from({ length: total() }, (_, i) => 100 + i));
    expect(records[71]!.value).toBe("1 .");
    expect(left()).toEqual(before);
    expect(await said(importCommand, [target, "appended", folder], { append: true })).toMatch(
      new RegExp(`^${total()} records imported; the log ends at ${total()}`),
    );
    expect((await inTopic("tide", "appended")).map(({ value }) => value)).toEqual(records.map(({ value }) => value));
  });

  it("where no temporary file can be made the error says where, and what to do", async () => {
    vi.stubEnv("TMPDIR", program.path("nowhere"));
    const { thrown } = await told(importCommand, [program.path("none"), "t", program.path("good")]);
    vi.unstubAllEnvs();
    expect(thrown).toBeInstanceOf(Failure);
    expect(String(thrown)).toMatch(/nowhere can't be written: .*name another place/);
  });

  it("damage is named by its place in the file, and nothing is taken", async () => {
    const folder = write("damaged", (batches) => {
      batches[1]![200]! ^= 1;
      return batches;
    });
    const at = packed(large()[0]!).length;
    const before = left();
    const { thrown } = await told(importCommand, [program.path("none"), "t", folder]);
    expect(String(thrown)).toMatch(`byte ${at}: bad record batch: BAD_CRC`);
    expect(left()).toEqual(before);
    const { out } = await told(verify, [folder]);
    expect(out.slice(1).map((line) => line.replace(/\u001b\[\d+m/g, ""))).toEqual([
      expect.stringMatching(`byte ${at}, offset 170: CORRUPT_RANGE: bad record batch: BAD_CRC$`),
    ]);
  });

  it("a repair takes what is whole, and names what is damaged or can't be unpacked", async () => {
    const folder = write("repaired", (batches) => {
      const [first, second, ...others] = batches;
      // A length that can't be, so that the next batch must be looked for; and records that are none of snappy's.
      first!.set([0x7f, 0xff, 0xff, 0xff], 8);
      const broken = packed({ codec: "snappy", of: "large", base64: "" }, 170, second!.slice(61, 300));
      return [first!, broken, ...others];
    });
    const { notes } = await told(verify, [folder], { repair: program.path("saved"), topic: "t" });
    expect(notes).toMatch(`t: ${total() - 140} records saved, offsets 240 to ${100 + total()}; lost: 0 to 240`);
    expect((await inTopic("saved", "t")).map(({ offset }) => offset)).toEqual(
      Array.from({ length: total() - 140 }, (_, i) => 240 + i),
    );
  });

  it("a repair that can't be done leaves no half-made folder", async () => {
    const folder = write("refused", ([, second]) => [transactional(second!)]);
    for (const _ of ["first", "again"]) {
      const { thrown } = await told(verify, [folder], { repair: program.path("unsaved") });
      expect(thrown).toMatchObject({ code: "UNSUPPORTED_FORMAT" });
      expect(existsSync(program.path("unsaved"))).toBe(false);
    }
  });

  it("a batch of a transaction is refused by its place", async () => {
    const folder = write("transaction", ([first, second]) => [first!, transactional(second!)]);
    const { thrown } = await told(importCommand, [program.path("none"), "t", folder]);
    expect(String(thrown)).toMatch(`byte ${packed(large()[0]!).length}: a batch of a transaction`);
    expect(existsSync(program.path("none")) ? readdirSync(program.path("none")) : []).not.toContain("t");
  });
});
