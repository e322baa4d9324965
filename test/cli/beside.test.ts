/**
 * Reading a folder beside the process that has it open. The writer is killed, again and again; the ledger of its acks
 * is kept here. A reader that follows sees each acked record once, at its offset, and nothing that is not in the log
 * afterwards; and it never writes.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { afterAll, afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { bundleTs } from "../../tools/run/run-ts.mjs";
import { FolderReader } from "../../cli/folder-reader.ts";
import { ViewedLog } from "../../cli/folder-view.ts";
import { ReadOnlyFiles } from "../../cli/read-only-files.ts";
import { ownKernel } from "../../cli/targets.ts";
import { UpkeepTimer } from "../../src/browser/worker/upkeep.ts";
import { TidemarkError } from "../../src/errors.ts";
import { open } from "../../src/node/index.ts";
import { slotFile } from "../../src/node/file-volume.ts";
import { textOf } from "../crash/node/words.ts";
import { Random } from "../simulation/prng.ts";
import { Program } from "./program.ts";

const home = mkdtempSync(path.join(os.tmpdir(), "tidemark-beside-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));
afterEach(() => vi.restoreAllMocks());
const SEED = 23;
const LIVES = 5;
/** Numbers of records of one life. */
const LIFE = 1_000_000;

interface Found {
  readonly offset: number;
  readonly value: { readonly n: number; readonly text: string };
}
const foundOf = (record: { offset: number; valueBytes: Uint8Array | null }): Found => ({
  offset: record.offset,
  value: JSON.parse(new TextDecoder().decode(record.valueBytes!)) as Found["value"],
});

/** Kills the writer after so many acks. What it had said by then counts as well. */
async function live(writer: ChildProcess, acks: number, acked: Map<number, number>): Promise<void> {
  let seen = 0;
  for await (const line of createInterface({ input: writer.stdout! })) {
    const [what, n, offset] = line.split(" ");
    // The kill may cut the last line.
    if (what === "ack" && offset) acked.set(Number(n), Number(offset));
    if (what === "ack" && ++seen === acks) writer.kill("SIGKILL");
  }
}

/** The record that is appended when all lives are over. */
const LAST = -1;

/** Follows a topic to the last record; from its new start whenever it fell behind a trim. */
async function follow(folder: string, topic: string): Promise<Found[]> {
  const found: Found[] = [];
  for (;;) {
    const reader = new FolderReader(folder, await ownKernel());
    const from = found.length === 0 ? "earliest" : found.at(-1)!.offset + 1;
    const { start = 0 } = (await reader.place(topic)) ?? {};
    try {
      const begin = from === "earliest" ? from : Math.max(from, start);
      for await (const record of reader.read(topic, { from: begin, follow: true })) {
        found.push(foundOf(record));
        if (found.at(-1)!.value.n === LAST) return found;
      }
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError) || thrown.code !== "OFFSET_OUT_OF_RANGE") throw thrown;
    } finally {
      await reader.close();
    }
  }
}

/** Resolves once the topic is there. */
async function appeared(folder: string, topic: string): Promise<void> {
  for (;;) {
    const reader = new FolderReader(folder, await ownKernel());
    const place = await reader.place(topic).catch((thrown: unknown) => {
      if (!(thrown instanceof TidemarkError) || thrown.code !== "NO_STORAGE") throw thrown;
      return undefined;
    });
    if (place && place.end > 0) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("a reader beside a writer that is killed", () => {
  it("sees each acked record once, and none that is not in the log", { timeout: 240_000 }, async () => {
    const folder = path.join(home, "killed");
    const program = (await bundleTs("test/cli/busy-writer.ts")) as string;
    const random = new Random(SEED, 1);
    const acked = new Map<number, number>();
    let reading: Promise<Found[][]> | undefined;
    for (let life = 0; life < LIVES; life++) {
      const writer = spawn(process.execPath, [program, folder, String(life * LIFE)], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      onTestFinished(() => void writer.kill("SIGKILL"));
      const ended = once(writer, "exit");
      if (life === 0) await Promise.all([appeared(folder, "ledger"), appeared(folder, "trimmed")]);
      reading ??= Promise.all(["ledger", "trimmed"].map((topic) => follow(folder, topic)));
      reading.catch(() => writer.kill("SIGKILL"));
      await live(writer, 60 + random.int(240), acked);
      expect(await ended, `life ${life} of seed ${SEED}`).toEqual([null, "SIGKILL"]);
    }
    // What a reader that begins now finds is what all of them must have seen by then.
    const last = new FolderReader(folder, await ownKernel());
    const all: Found[] = [];
    for await (const record of last.read("ledger", { from: "earliest" })) all.push(foundOf(record));
    const tide = await open(folder);
    const [end, trimmedEnd] = await Promise.all(
      ["ledger", "trimmed"].map((name) => tide.topic(name).append({ value: { n: LAST, text: "" } })),
    );
    await tide.close();
    const [ledger, trimmed] = await reading!;
    expect(ledger!.map(({ offset }) => offset)).toEqual(Array.from({ length: end!.offset + 1 }, (_, n) => n));
    for (const { value } of ledger!.slice(0, -1)) expect(value.text).toBe(textOf(value.n));
    expect(new Set(ledger!.map(({ value }) => value.n)).size).toBe(ledger!.length);
    for (const [n, offset] of acked) expect(ledger![offset]?.value.n, `the acked record ${n}`).toBe(n);
    expect(ledger!.slice(0, all.length)).toEqual(all);
    // Behind a trim a reader has missed records, and has seen none twice and none that is another's.
    expect(trimmed!.at(-1)!.offset).toBe(trimmedEnd!.offset);
    for (const [i, { offset }] of trimmed!.entries()) expect(offset).toBeGreaterThan(trimmed![i - 1]?.offset ?? -1);
    for (const { value } of trimmed!.slice(0, -1)) expect(value.text).toBe(textOf(value.n));
    expect(acked.size).toBeGreaterThan(LIVES * 60);
  });
});

describe("a reader", () => {
  const made = async (name: string) => {
    const folder = path.join(home, name);
    const tide = await open(folder, { segmentBytes: 64 * 1024 });
    return { folder, tide, topic: tide.topic<string>("t", { serializer: "text" }) };
  };

  it("takes no lock and changes no byte", async () => {
    const { folder, tide, topic } = await made("untouched");
    for (let n = 0; n < 40; n++) await topic.append({ value: textOf(n) });
    const bytes = (): string[] =>
      readdirSync(folder)
        .sort()
        .map((name) => `${name} ${readFileSync(path.join(folder, name)).toString("base64")}`);
    const before = bytes();
    const reader = new FolderReader(folder, await ownKernel());
    let records = 0;
    for await (const _ of reader.read("t", { from: "earliest" })) records++;
    for await (const { log } of reader.segments("t", 0)) expect(log.length).toBeGreaterThan(0);
    expect([await reader.topics(), records, (await reader.place("t"))?.end]).toEqual([["t"], 40, 40]);
    expect(bytes()).toEqual(before);
    await tide.close();
  });

  it("never takes what a slot holds now for what it held", async () => {
    const { folder, tide, topic } = await made("reused");
    for (let segment = 0; segment < 2; segment++) {
      for (let n = 0; n < 3; n++) await topic.append({ value: "mine" });
      await topic.roll();
    }
    const { slot } = (await topic.state()).segments[0]!;
    const reader = new FolderReader(folder, await ownKernel());
    expect(await reader.place("t")).toMatchObject({ start: 0, end: 6 });
    const { read } = ReadOnlyFiles.prototype;
    let isTaken = false;
    vi.spyOn(ReadOnlyFiles.prototype, "read").mockImplementation(async function (this: ReadOnlyFiles, ...args) {
      if (args[0] === slot && !isTaken) {
        isTaken = true;
        await topic.trim(3);
        for (let n = 0, taken: number | undefined; taken !== slot; n++) {
          const other = tide.topic<string>(`other-${n}`, { serializer: "text" });
          for (let i = 0; i < 3; i++) await other.append({ value: "other's" });
          taken = (await other.state()).segments[0]!.slot;
        }
      }
      return read.apply(this, args);
    });
    const values: unknown[] = [];
    const reading = (async () => {
      for await (const { valueBytes } of reader.read("t", { from: 0 }))
        values.push(Buffer.from(valueBytes!).toString());
    })();
    await expect(reading).rejects.toMatchObject({ code: "OFFSET_OUT_OF_RANGE" });
    expect([isTaken, values]).toEqual([true, []]);
    await tide.close();
  });

  it("shows what the writer has not synced only once it has synced it itself", async () => {
    // The writer's upkeep would sync, and say so, two seconds after an append.
    vi.spyOn(UpkeepTimer.prototype, "arm").mockImplementation(() => setTimeout(() => undefined, 0));
    const { folder, tide, topic } = await made("unsynced");
    await topic.append({ value: "flushed" });
    const reader = new FolderReader(folder, await ownKernel());
    const synced: number[][] = [];
    const sync = vi.spyOn(ReadOnlyFiles.prototype, "sync").mockImplementation(async (slots) => {
      synced.push([...slots]);
      return true;
    });
    const reading = reader.read("t", { from: "earliest", follow: true });
    expect((await reading.next()).value?.key).toBe(null);
    synced.length = 0;
    await topic.append({ value: "written" }, { acks: "written" });
    expect((await reading.next()).value?.offset).toBe(1);
    expect(synced.flat()).toContain(2);
    await reading.return(undefined);
    await reader.close();
    // A system that lets no reader sync: the limit is what the writer says of itself, which is behind.
    sync.mockResolvedValue(false);
    const careful = new FolderReader(folder, await ownKernel());
    expect((await careful.place("t"))!.end).toBeLessThan(2);
    await tide.close();
    expect((await careful.place("t"))!.end).toBe(2);
  });

  it.each([0, 1])("takes copy %i of the catalog for zeros where its file is lost", async (copy) => {
    const { folder, tide, topic } = await made(`copy-${copy}`);
    for (const value of ["one", "two"]) await topic.append({ value });
    await tide.close();
    rmSync(path.join(folder, slotFile(copy)));
    const reader = new FolderReader(folder, await ownKernel());
    expect(await reader.topics()).toEqual(["t"]);
    expect((await reader.place("t"))?.details.settings).toBeDefined();
  });

  it("names the records that were lost with the active slot's file, and shows the others", async () => {
    const { folder, tide, topic } = await made("lost-slot");
    await topic.append({ value: "kept" });
    await topic.roll();
    await topic.append({ value: "lost" });
    const { slot } = (await topic.state()).segments.at(-1)!;
    await tide.close();
    rmSync(path.join(folder, slotFile(slot!)));
    const reader = new FolderReader(folder, await ownKernel());
    expect(await reader.place("t")).toMatchObject({ start: 0, end: 2 });
    const reading = reader.read("t", { from: "earliest" });
    expect((await reading.next()).value?.offset).toBe(0);
    await expect(reading.next()).rejects.toMatchObject({ code: "CORRUPT_RANGE" });
  });

  it("finds no topic in a folder whose writer has made only the first file", async () => {
    const { folder, tide } = await made("young");
    await tide.close();
    const young = path.join(home, "younger");
    mkdirSync(young);
    writeFileSync(path.join(young, slotFile(0)), new Uint8Array(statSync(path.join(folder, slotFile(0))).size));
    const reader = new FolderReader(young, await ownKernel());
    expect([await reader.topics(), await reader.place("t")]).toEqual([[], undefined]);
  });

  it("gives up a topic whose slots are freed each time that it has looked", async () => {
    const { folder, tide, topic } = await made("restless");
    await topic.append({ value: "one" });
    const looks = vi.spyOn(ViewedLog.prototype, "stillHas").mockResolvedValue(false);
    const reader = new FolderReader(folder, await ownKernel());
    await expect(reader.place("t")).rejects.toMatchObject({ code: "TIMEOUT", details: { topic: "t" } });
    expect(looks).toHaveBeenCalledTimes(100);
    await tide.close();
  });

  it("says that a topic is gone, and that the folder holds no tide any more", async () => {
    const { folder, tide, topic } = await made("gone");
    await topic.append({ value: "one" });
    const reader = new FolderReader(folder, await ownKernel());
    const reading = reader.read("t", { from: 1, follow: true });
    const refused = expect(reading.next()).rejects.toMatchObject({ code: "UNKNOWN_TOPIC" });
    await tide.deleteTopic("t");
    await refused;
    expect(await reader.place("t")).toBe(undefined);
    await tide.close();
    for (const name of readdirSync(folder))
      if (name.startsWith(slotFile(0).slice(0, 4))) rmSync(path.join(folder, name));
    await expect(new FolderReader(folder, await ownKernel()).topics()).rejects.toMatchObject({ code: "NO_STORAGE" });
  });
});

it("tail -f prints what is there and what comes, until it is interrupted", async () => {
  const program = await new Program().build();
  try {
    const writer = program.start(["append", "data", "t", "--as", "text", "--acks"]);
    writer.stdin!.write("one\n");
    await once(writer.stdout!, "data");
    const tail = program.start(["tail", "data", "t", "-f", "-o", "earliest", "--format", "%o %v\\n"]);
    const lines = createInterface({ input: tail.stdout! })[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe("0 one");
    writer.stdin!.write("two\nthree\n");
    expect([(await lines.next()).value, (await lines.next()).value]).toEqual(["1 two", "2 three"]);
    const ended = once(tail, "exit");
    tail.kill("SIGINT");
    expect(await ended).toEqual([130, null]);
    const closed = once(writer, "exit");
    writer.stdin!.end();
    await closed;
  } finally {
    program.remove();
  }
});
