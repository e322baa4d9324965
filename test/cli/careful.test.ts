/** State files, options and outputs that go wrong: two calls at once, empty values, a reader that leaves, no room. */
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { type Command, checkedArguments } from "../../cli/arguments.ts";
import { COMMANDS } from "../../cli/all-commands.ts";
import { exportCommand } from "../../cli/commands/export.ts";
import { importCommand, takeSegments } from "../../cli/commands/import.ts";
import { tail } from "../../cli/commands/tail.ts";
import { trim } from "../../cli/commands/trim.ts";
import { lineOf, UsageError } from "../../cli/failure.ts";
import { segmentFiles } from "../../cli/inputs.ts";
import { Journal } from "../../cli/journal.ts";
import { LineFile } from "../../cli/line-file.ts";
import { batchesOfFile, recordsOfSegments } from "../../cli/segment-files.ts";
import type { LogTarget } from "../../cli/target.ts";
import { openTarget, ownKernel } from "../../cli/targets.ts";
import { open } from "../../src/node/index.ts";
import { ATTRIBUTES_AT, BATCH_HEADER_BYTES, CRC_AT, CRC_FROM } from "../../src/record/format.ts";
import { batchAt, joined, packedAs } from "../support/kafka-batches.ts";
import { releaseKernel } from "../support/kernels.ts";
import { said } from "./in-process.ts";
import { Program } from "./program.ts";

const program = await new Program().build();
afterAll(() => program.remove());
afterEach(() => vi.restoreAllMocks());

const commandOf = (name: string): Command => COMMANDS.find(({ meta }) => meta.name === name)!;

describe("a state file", () => {
  const journalIn = (file: string, producerId: number): Journal =>
    Journal.open(program.path(file), "https://edge.example", "t", producerId);
  const stateIn = (file: string) => JSON.parse(readFileSync(program.path(file), "utf8")) as { producerId: number };
  const pending = { records: 1, timestamp: 1, since: 0, crc: 1 };

  it("with which two processes begin at once has the producer of one, and the other ends", () => {
    const [first, second] = [journalIn("begun", 1), journalIn("begun", 2)];
    first.save({ ...first.state, pending });
    expect(() => second.save({ ...second.state, pending })).toThrow(/another process has changed .*begun: let/);
    first.save({ ...first.state, appended: 1 });
    expect(stateIn("begun")).toMatchObject({ producerId: 1, appended: 1 });
    expect(readdirSync(program.home).filter((name) => name.endsWith(".new"))).toEqual([]);
  });

  it("with which a second process goes on meanwhile ends the first, before it sends anything more", () => {
    const first = journalIn("meanwhile", 1);
    first.save({ ...first.state, pending });
    const second = journalIn("meanwhile", 2);
    expect(second.state.producerId).toBe(1);
    second.save({ ...second.state, appended: 1 });
    expect(() => first.save({ ...first.state, appended: 2 })).toThrow(/another process has changed/);
    expect(stateIn("meanwhile")).toMatchObject({ producerId: 1, appended: 1 });
  });

  it("that is a folder, or can't be written, is named with what to do", () => {
    mkdirSync(program.path("folder"));
    expect(() => journalIn("folder", 1)).toThrow(/folder can't be read: EISDIR.*name another file$/);
    const nowhere = journalIn("nowhere/state", 1);
    expect(() => nowhere.save(nowhere.state)).toThrow(/nowhere\/state can't be written: ENOENT.*name another place/);
    const full = Object.assign(new Error("ENOSPC: no space left"), { code: "ENOSPC" });
    expect(lineOf(full)).toMatch(/ENOSPC.*make room on the disk/);
  });

  it("of an export is its call's alone, and a file of no lines is gzip, too", async () => {
    const asked = { target: program.home, topic: "t", from: "earliest" };
    const begin = (): Promise<LineFile> =>
      LineFile.open(program.path("none.gz"), asked, async () => ({ start: 0, end: 0 }));
    const first = await begin();
    const second = await begin();
    second.step(0, true);
    second.close(true);
    expect(gunzipSync(readFileSync(program.path("none.gz"))).length).toBe(0);
    expect(() => first.step(0, true)).toThrow(/another process has changed/);
    first.close(false);
    expect(existsSync(program.path("none.gz.tidemark-export.json"))).toBe(false);
  });
});

describe("an option", () => {
  it.each([
    ["verify", ["d", "--repair", ""], "--repair is empty"],
    ["import", ["d", "t", "a", "--state="], "--state is empty"],
    ["dev", ["--folder", ""], "--folder is empty"],
    ["token", ["--issuer", ""], "--issuer is empty"],
  ] as const)("of %s that is empty is refused, as of a variable that is not set: %j", (name, words, message) => {
    expect(() => checkedArguments(commandOf(name), words)).toThrow(new UsageError(message, name));
  });

  it("or argument that is wrong is named as the help names it, and a file is no folder to repair into", async () => {
    const { run } = commandOf("completion");
    expect(() => run({ args: { shell: "tcsh" } as never })).toThrow(/^SHELL tcsh: it must be one of bash, zsh, fish$/);
    expect(() => checkedArguments(commandOf("verify"), [])).toThrow(/^PATH is missing$/);
    const good = program.write("good.log", batchAt(await releaseKernel(), 0));
    await expect(said(commandOf("verify"), [good], { repair: good })).rejects.toThrow(/must be a folder that is new/);
  });

  it("may be empty where that says something", () => {
    expect(checkedArguments(tail, ["d", "t", "-k", "", "--grep="])).toEqual(["--key=", "--grep=", "--", "d", "t"]);
  });
});

describe("a place that is none", () => {
  it("is told with what the log has, and a file is no folder", async () => {
    writeFileSync(program.path("file"), "");
    await expect(openTarget(program.path("file"))).rejects.toThrow(/file is a file: a TARGET is a folder/);
    const folder = program.path("places");
    const tide = await open(folder, { segmentBytes: 64 * 1024 });
    await tide.topic("t").append({ value: 1 });
    await tide.close();
    const range = /offset 9 is not in the log, which has 0 to 1/;
    await expect(said(tail, [folder, "t"], { offset: "9" })).rejects.toThrow(range);
    await expect(said(trim, [folder, "t"], { before: "9" })).rejects.toThrow(range);
    await expect(said(exportCommand, [folder, "t"], { from: "9" })).rejects.toThrow(range);
    await expect(said(exportCommand, [folder, "t", program.path("nine.ndjson")], { from: "9" })).rejects.toThrow(range);
    await expect(said(exportCommand, [folder, "t", program.path("file")], { to: "kafka" })).rejects.toThrow(
      /is a file/,
    );
  });
});

describe("an import of segments", () => {
  it("of a topic that was empty has nothing to do, and a folder without any is none", async () => {
    const folder = program.path("empty");
    const tide = await open(folder, { segmentBytes: 64 * 1024 });
    await tide.topic("t").append({ value: 1 });
    await tide.topic("t").trim(1);
    await tide.close();
    await said(exportCommand, [folder, "t", program.path("of-empty")]);
    expect(segmentFiles([program.path("of-empty")])).toEqual([]);
    const given = { _: [program.path("to"), "t", program.path("of-empty")], target: program.path("to"), topic: "t" };
    expect(await said(importCommand, given._, given)).toBe(
      "0 records imported: the topic was empty when it was exported\n",
    );
    expect(() => segmentFiles([folder])).toThrow(/no .log file is in the folder/);
  });

  it("with new offsets ends at zeros, however few, and calls a codec that nobody has no damage", async () => {
    const kernel = await releaseKernel();
    const batch = batchAt(kernel, 0);
    const zeros = program.write("zeros.log", joined([batch, new Uint8Array(10)]));
    expect([...batchesOfFile(zeros)].map(({ position }) => position)).toEqual([0]);
    // A lost page is no end: what stands behind it would be left out in silence.
    const lost = program.write("lost.log", joined([batch, new Uint8Array(100), batch]));
    expect(() => [...batchesOfFile(lost)]).toThrow(/lost\.log, byte \d+: no whole batch stands there/);
    const packed = packedAs(kernel, batch, batch.subarray(BATCH_HEADER_BYTES), 5);
    const records = recordsOfSegments([program.write("five.log", packed)], kernel);
    await expect(records.next()).rejects.toThrow(/codec of number 5.*\(let a broker write the topic anew with gzip\)$/);
  });

  it("takes nothing where the log does not end at --expect", async () => {
    const take = vi.fn();
    const fake: Partial<LogTarget> = { kernel: await ownKernel(), place: async () => undefined, take };
    const taken = takeSegments(fake as LogTarget, "t", [program.path("0.log")], undefined, 5);
    await expect(taken).rejects.toMatchObject({ code: "OFFSET_CONFLICT", message: /ends at 0, not 5/ });
    expect(take).not.toHaveBeenCalled();
  });
});

describe("a reader of stdout that leaves", () => {
  it("keeps no append from its end, and hides no damage", async () => {
    const lines = "line\n".repeat(60_000);
    const child = program.start(["append", "left", "t", "--as", "text", "--acks"]);
    const told = text(child.stderr!);
    const ended = once(child, "close");
    child.stdin!.write(lines);
    await once(child.stdout!, "data");
    child.stdout!.destroy();
    child.stdin!.end(lines);
    expect([(await ended)[0], await told]).toEqual([0, "120000 records appended; the log ends at 120000\n"]);
    writeFileSync(program.path("left", "slot-0001"), "damaged");
    const verify = program.start(["verify", "left"]);
    verify.stdout!.destroy();
    const [[code]] = (await Promise.all([once(verify, "close"), text(verify.stderr!)])) as [[number], string];
    expect(code).toBe(1);
  });
});
