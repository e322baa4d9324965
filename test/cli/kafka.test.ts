/** kafkajs, another reader of Kafka's record batches, sees in what `tidemark export` writes what the topic has. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exportCommand } from "../../cli/commands/export.ts";
import { importCommand } from "../../cli/commands/import.ts";
import { verify } from "../../cli/commands/verify.ts";
import { Failure, lineOf } from "../../cli/failure.ts";
import { open } from "../../src/node/index.ts";
import { stampBaseOffset } from "../../src/record/format.ts";
import { kafkaFetch, type KafkaRecord, kafkaWrite } from "../golden/kafkajs.ts";
import { packedBatches } from "../support/kafka-batches.ts";
import { releaseKernel } from "../support/kernels.ts";
import { said, told } from "./in-process.ts";
import { Program } from "./program.ts";

/** Only for its folder. */
const program = new Program();
afterAll(() => program.remove());
const T0 = 1_764_400_000_000;
const COMPRESSION = 7;

interface Seen {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: string | null;
  readonly value: string | null;
  /** kafkajs gives headers of one name as a list. */
  readonly headers: Readonly<Record<string, readonly (string | null)[]>>;
}

const textOf = (bytes: Uint8Array | null): string | null => bytes && Buffer.from(bytes).toString("latin1");

/** What the topic's reader sees. */
async function inTopic(name: string): Promise<Seen[]> {
  const tide = await open(program.path("tide"));
  const seen: Seen[] = [];
  for await (const record of tide.topic<Uint8Array>(name, { serializer: "bytes" }).read()) {
    const headers: Record<string, (string | null)[]> = {};
    for (const [header, value] of record.rawHeaders) (headers[header] ??= []).push(textOf(value));
    const { offset, timestamp, keyBytes, valueBytes } = record;
    seen.push({ offset, timestamp, key: textOf(keyBytes), value: textOf(valueBytes), headers });
  }
  await tide.close();
  return seen;
}

const seenByKafka = ({ offset, timestamp, key, value, headers }: KafkaRecord): Seen => ({
  offset: Number(offset),
  timestamp: Number(timestamp),
  key: textOf(key),
  value: textOf(value),
  headers: Object.fromEntries(Object.entries(headers).map(([name, found]) => [name, [found].flat().map(textOf)])),
});

/** What kafkajs sees in the files, and how they are. */
async function inFiles(folder: string): Promise<{ seen: Seen[]; files: number; packed: number }> {
  const names = readdirSync(program.path(folder)).filter((name) => name.endsWith(".log"));
  const seen: Seen[] = [];
  let packed = 0;
  for (const name of names.sort()) {
    const log = new Uint8Array(readFileSync(program.path(folder, name)));
    seen.push(...(await kafkaFetch(log)).map(seenByKafka));
    for (let at = 0; at < log.length; at += Buffer.from(log).readInt32BE(at + 8) + 12)
      packed += Buffer.from(log).readInt16BE(at + 21) & COMPRESSION ? 1 : 0;
  }
  return { seen, files: names.length, packed };
}

beforeAll(async () => {
  // A topic that begins with packed batches of a broker.
  mkdirSync(program.path("broker"));
  const batches: Uint8Array[] = [];
  for (const [n, gzip] of [true, false, true].entries()) {
    const messages = Array.from({ length: 30 }, (_, i) => ({
      key: i % 4 === 0 ? null : Buffer.from(`k${i % 5}`),
      value: i % 9 === 0 ? null : Buffer.from(`${"x".repeat(i * 20)} ${n}-${i} \u00fc`),
      timestamp: String(T0 + 30 * n + i),
      headers: i % 3 === 0 ? { trace: Buffer.from([0xff, i]), many: [Buffer.from("a"), Buffer.from("b")] } : {},
    }));
    const batch = await kafkaWrite(messages, { gzip });
    stampBaseOffset(batch, 30 * n);
    batches.push(batch);
  }
  writeFileSync(program.path("broker", `${"0".repeat(20)}.log`), Buffer.concat(batches));
  const tide = await open(program.path("tide"), { segmentBytes: 64 * 1024 });
  await tide.close();
  for (const topic of ["orders", "keyed"])
    await said(importCommand, [program.path("tide"), topic, program.path("broker")]);
  const again = await open(program.path("tide"));
  for (const name of ["orders", "keyed"]) {
    const topic = again.topic<string>(name, name === "keyed" ? { compaction: true } : {});
    for (let i = 0; i < 12; i++)
      await topic.appendAll(
        Array.from({ length: 20 }, (_, n) => ({
          key: `k${n % 5}`,
          value: `${i} ${n} ${"y".repeat(700)}`,
          timestamp: T0 + 100 + 20 * i + n,
          headers: n % 2 === 0 ? { trace: `t${n}`, empty: "" } : {},
        })),
      );
    if (name !== "keyed") continue;
    await topic.roll();
    await topic.clean();
  }
  await again.close();
});

describe("kafkajs", () => {
  it("reads several segments, batches in gzip, headers, tombstones and bytes as the topic has them", async () => {
    await said(exportCommand, [program.path("tide"), "orders", program.path("orders")]);
    const { seen, files, packed } = await inFiles("orders");
    const expected = await inTopic("orders");
    expect(seen).toEqual(expected);
    expect([files > 2, packed, expected.length]).toEqual([true, 2, 90 + 240]);
    expect(expected.filter(({ headers }) => (headers["many"]?.length ?? 0) === 2).length).toBe(30);
    expect(expected.filter(({ value }) => value === null).length).toBe(12);
  });

  it("reads a compacted topic, with its holes", async () => {
    await said(exportCommand, [program.path("tide"), "keyed", program.path("keyed")]);
    const { seen } = await inFiles("keyed");
    const expected = await inTopic("keyed");
    expect(seen).toEqual(expected);
    expect(expected.length).toBeGreaterThan(4);
    expect(expected.length).toBeLessThan(100);
  });
});

describe("a batch of gzip whose checksum is right and whose content can't be read", () => {
  it("is refused by import with its place, also with --append, and verify --repair leaves it out", async () => {
    const packed = await packedBatches(await releaseKernel(), 0);
    mkdirSync(program.path("bad"));
    const file = program.path("bad", `${"0".repeat(20)}.log`);
    writeFileSync(file, Buffer.concat(packed));
    const at = `byte ${packed[0]!.length}`;
    const whole = await told(importCommand, [program.path("bad-whole"), "t", file]);
    expect(lineOf(whole.thrown)).toMatch(
      new RegExp(`^INVALID_BATCH: 0+\\.log is damaged at ${at} \\(BAD_GZIP\\), offset 3: nothing was taken \\(`),
    );
    const anew = await told(importCommand, [program.path("bad-anew"), "t", file], { append: true });
    expect([anew.thrown instanceof Failure, lineOf(anew.thrown)]).toEqual([
      true,
      expect.stringMatching(new RegExp(`^0+\\.log, ${at}: bad record batch: gzip \\(.*--repair FOLDER`)),
    ]);
    const { notes } = await told(verify, [program.path("bad")], { repair: program.path("mended") });
    expect(notes).toMatch(/lost: 3 to 15$/m);
    const saved = await open(program.path("mended"));
    const [topic] = await saved.topics();
    const offsets: number[] = [];
    for await (const { offset } of saved.topic(topic!, { serializer: "bytes" }).read()) offsets.push(offset);
    await saved.close();
    expect(offsets).toEqual([0, 1, 2, 15, 16, 17]);
  });
});
