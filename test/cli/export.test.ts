/** What export leaves in a file or a folder that was used before, and what import and verify take of it. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { exportCommand, exportLines } from "../../cli/commands/export.ts";
import { importCommand } from "../../cli/commands/import.ts";
import { trim } from "../../cli/commands/trim.ts";
import { verify } from "../../cli/commands/verify.ts";
import { FolderExport, readManifest } from "../../cli/manifest.ts";
import type { LogTarget } from "../../cli/target.ts";
import { openTarget } from "../../cli/targets.ts";
import { open } from "../../src/node/index.ts";
import { said } from "./in-process.ts";
import { Program } from "./program.ts";

/** Only for its folder: the commands run in this process. */
const program = new Program();
afterAll(() => program.remove());
const SEGMENT = 64 * 1024;
const inHome = (...names: readonly string[]): string => program.path(...names);

const offsetsIn = async (folder: string, topic: string): Promise<number[]> => {
  const tide = await open(inHome(folder));
  const offsets: number[] = [];
  for await (const { offset } of tide.topic(topic).read()) offsets.push(offset);
  await tide.close();
  return offsets;
};
const valuesIn = async (folder: string, topic: string): Promise<unknown[]> => {
  const tide = await open(inHome(folder));
  const values: unknown[] = [];
  for await (const { value } of tide.topic(topic).read()) values.push(value);
  await tide.close();
  return values;
};
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
const logsIn = (folder: string): string[] => readdirSync(inHome(folder)).filter((name) => name.endsWith(".log"));

beforeAll(async () => {
  const tide = await open(inHome("data"), { segmentBytes: SEGMENT });
  for (const [name, count] of [
    ["orders", 300],
    ["users", 20],
  ] as const)
    await tide.topic(name).appendAll(range(0, count).map((n) => ({ value: `${name} ${n} ${"x".repeat(500)}` })));
  await tide.close();
});

describe("an export of segments into a used folder", () => {
  it("refuses another topic's, another target's and .log files of nobody, and changes nothing", async () => {
    await said(exportCommand, [inHome("data"), "orders", inHome("used")]);
    expect(logsIn("used").length).toBeGreaterThan(2);
    const before = readdirSync(inHome("used")).map((name) => [name, readFileSync(inHome("used", name), "latin1")]);
    const refused = (words: readonly string[]) => said(exportCommand, words);
    await expect(refused([inHome("data"), "users", inHome("used")])).rejects.toThrow(
      /segments of orders: name another/,
    );
    cpSync(inHome("data"), inHome("data-2"), { recursive: true });
    await expect(refused([inHome("data-2"), "orders", inHome("used")])).rejects.toThrow(/orders of another target/);
    expect(readdirSync(inHome("used")).map((name) => [name, readFileSync(inHome("used", name), "latin1")])).toEqual(
      before,
    );
    mkdirSync(inHome("strange"));
    writeFileSync(inHome("strange", `${"0".repeat(20)}.log`), "somebody's");
    await expect(refused([inHome("data"), "users", inHome("strange")])).rejects.toThrow(/\.log files that no export/);
    expect(readdirSync(inHome("strange"))).toEqual([`${"0".repeat(20)}.log`]);
  });

  it("removes what is none of the topic's any more; import and verify take what the manifest names", async () => {
    await said(exportCommand, [inHome("data-2"), "orders", inHome("twice")]);
    const first = logsIn("twice");
    await said(trim, [inHome("data-2"), "orders"], { before: "200" });
    const left = inHome("twice", first[0]!);
    const old = readFileSync(left);
    await said(exportCommand, [inHome("data-2"), "orders", inHome("twice")]);
    expect(existsSync(left)).toBe(false);
    expect(first).toEqual(expect.arrayContaining(logsIn("twice")));
    // As after a kill before the rest was removed.
    writeFileSync(left, old);
    const noted = await said(importCommand, [inHome("to"), "orders", inHome("twice")]);
    expect(noted).toMatch(/0{20}\.log of .*: passed over, as manifest\.json does not name it\n/);
    expect(await offsetsIn("to", "orders")).toEqual(range(200, 300));
    await said(importCommand, [inHome("to"), "appended", inHome("twice")], { append: true });
    expect(await offsetsIn("to", "appended")).toEqual(range(0, 100));
    await expect(said(verify, [inHome("twice")])).rejects.toThrow(/0{20}\.log: manifest\.json does not name it/);
  });

  it("that is not whole is taken by nobody, and the same call makes it whole", async () => {
    await said(exportCommand, [inHome("data"), "orders", inHome("begun")]);
    writeFileSync(inHome("begun", "tidemark-export.json"), readFileSync(inHome("begun", "manifest.json")));
    await expect(said(importCommand, [inHome("to"), "begun", inHome("begun")])).rejects.toThrow(/export .* not whole/);
    await expect(said(verify, [inHome("begun")])).rejects.toThrow(/export is not whole/);
    await expect(said(exportCommand, [inHome("data"), "users", inHome("begun")])).rejects.toThrow(/segments of orders/);
    await said(exportCommand, [inHome("data"), "orders", inHome("begun")]);
    expect(await said(verify, [inHome("begun")])).toBe("");
    expect(readdirSync(inHome("begun"))).not.toContain("tidemark-export.json");
  });

  it("whose last batch ends before its topic did is told by verify", async () => {
    cpSync(inHome("used"), inHome("ends-early"), { recursive: true });
    const manifest = readManifest(inHome("ends-early"))!;
    FolderExport.begin(inHome("ends-early"), "orders", inHome("data")).end({ ...manifest, end: 301 });
    expect(await said(verify, [inHome("ends-early")])).toMatch(/no record is there from 300 on, and .* ended at 301/);
    expect(await said(verify, [inHome("used")])).toBe("");
  });

  it("of a topic without records is good, too", async () => {
    await said(trim, [inHome("data-2"), "users"], { before: "latest" });
    await said(exportCommand, [inHome("data-2"), "users", inHome("empty")]);
    expect(await said(verify, [inHome("empty")])).toBe("");
  });

  const TOLD = String.raw`it says that its topic begins at \d+, .*: export anew`;
  it.each<[string, (text: string) => string, advice?: string]>([
    ["no JSON", () => "{", "remove it to take all"],
    ["no start", (text) => text.replace('"start": 0,', ""), "remove it to take all"],
    ["a file that is null", (text) => text.replace(/"files": \[[^\]]*\]/, '"files": [null]')],
    ["a path for a name", (text) => text.replace('"name": "', '"name": "../')],
    ["another start", (text) => text.replace('"start": 0', '"start": 8')],
    ["another topic", (text) => text.replace("orders", "ordert")],
    ["another version", (text) => text.replace('"tidemark": 1', '"tidemark": 3')],
  ])("has a manifest that is damaged: %s", async (_, change, advice = TOLD) => {
    const folder = inHome("damaged-manifest");
    cpSync(inHome("used"), folder, { recursive: true });
    const file = path.join(folder, "manifest.json");
    const text = readFileSync(file, "utf8");
    expect(change(text)).not.toBe(text);
    writeFileSync(file, change(text));
    await expect(said(verify, [folder])).rejects.toThrow(/manifest\.json: .*can't be read: /);
    await expect(said(importCommand, [inHome("to"), "never", folder])).rejects.toThrow(new RegExp(advice));
    await expect(said(exportCommand, [inHome("data"), "orders", folder])).rejects.toThrow(/can't be read: /);
  });
});

describe("an import of several folders", () => {
  /** a has the trimmed beginning of its first segment, b is whole. */
  beforeAll(async () => {
    const tide = await open(inHome("two"));
    for (const name of ["a", "b"])
      await tide.topic(name).appendAll(range(0, 10).map((n) => ({ value: `${name}${n}` })));
    await tide.topic("a").trim(4);
    await tide.close();
    for (const name of ["a", "b"]) await said(exportCommand, [inHome("two"), name, inHome(`two-${name}`)]);
  });

  it("removes of each what was trimmed there, and keeps the folders in the order in which they are given", async () => {
    const values = (name: string, from: number): string[] => range(from, 10).map((n) => `${name}${n}`);
    await said(importCommand, [inHome("to"), "ab", inHome("two-a"), inHome("two-b")], { append: true });
    expect(await valuesIn("to", "ab")).toEqual([...values("a", 4), ...values("b", 0)]);
    await said(importCommand, [inHome("to"), "ba", inHome("two-b"), inHome("two-a")], { append: true });
    expect(await valuesIn("to", "ba")).toEqual([...values("b", 0), ...values("a", 4)]);
  });

  it("does not mix their files, though each begins at 0", async () => {
    await said(importCommand, [inHome("to"), "mixed", inHome("used"), inHome("two-b")], { append: true });
    expect((await valuesIn("to", "mixed")).slice(-10)).toEqual(range(0, 10).map((n) => `b${n}`));
  });

  it("with their offsets is refused where what was trimmed would stand amid the records", async () => {
    mkdirSync(inHome("later"));
    const tide = await open(inHome("parts"), { segmentBytes: SEGMENT });
    const topic = tide.topic("p");
    for (const n of range(0, 4)) {
      await topic.append({ value: n });
      await topic.append({ value: n });
      await topic.roll();
    }
    await tide.close();
    await said(exportCommand, [inHome("parts"), "p", inHome("early")]);
    await said(trim, [inHome("parts"), "p"], { before: "5" });
    await said(exportCommand, [inHome("parts"), "p", inHome("late")]);
    const [first, second] = logsIn("early");
    mkdirSync(inHome("part"));
    for (const name of [first!, second!]) cpSync(inHome("early", name), inHome("part", name));
    const both = [inHome("to"), "parts", inHome("late"), inHome("part")];
    await expect(said(importCommand, both)).rejects.toThrow(/topic begins at 5, .* amid those of .*part/);
    await said(importCommand, [inHome("to"), "parts", inHome("early")]);
    expect(await offsetsIn("to", "parts")).toEqual(range(0, 8));
  });

  it("with segments that overlap is refused", async () => {
    const [first, second] = logsIn("early");
    mkdirSync(inHome("overlap"));
    cpSync(inHome("early", second!), inHome("overlap", second!));
    cpSync(inHome("early", second!), inHome("overlap", `${"9".padStart(20, "0")}.log`));
    cpSync(inHome("early", first!), inHome("overlap", first!));
    const append = said(importCommand, [inHome("to"), "overlap", inHome("overlap")], { append: true });
    await expect(append).rejects.toThrow(/offset 2 stands there, and 4 comes next: segments overlap/);
    await expect(said(verify, [inHome("overlap")])).rejects.toThrow(/offsets must rise, and 9 comes next/);
  });
});

describe("a repair", () => {
  it("of a tide, or of an exported folder, does not bring back what was trimmed", async () => {
    expect(await said(verify, [inHome("two")], { repair: inHome("saved") })).toMatch(
      /^a: 10 records saved, offsets 0 to 10, and those before 4 were trimmed and are removed again; nothing .*\nb: /,
    );
    expect(await offsetsIn("saved", "a")).toEqual(range(4, 10));
    expect(await offsetsIn("saved", "b")).toEqual(range(0, 10));
    await said(verify, [inHome("two-a")], { repair: inHome("saved-a") });
    expect(await offsetsIn("saved-a", "two-a")).toEqual(range(4, 10));
    const [log] = logsIn("two-a");
    await said(verify, [inHome("two-a", log!)], { repair: inHome("saved-log"), topic: "a" });
    expect(await offsetsIn("saved-log", "a")).toEqual(range(4, 10));
  });
});

describe("an export of lines", () => {
  const topicOf = async (folder: string): Promise<LogTarget> => openTarget(inHome(folder));
  const lines = (out: string) =>
    readFileSync(inHome(out), "utf8")
      .split("\n")
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { offset: number }).offset);

  /** Stops once it has read so many records, in the middle of a read. */
  const stopping = (target: LogTarget, after: number, stop: AbortController): LogTarget =>
    new Proxy(target, {
      get: (_, name) => {
        if (name !== "read") {
          const found = Reflect.get(target, name) as unknown;
          return typeof found === "function" ? (found as () => unknown).bind(target) : found;
        }
        return async function* (topic: string, range: Parameters<LogTarget["read"]>[1]) {
          let read = 0;
          for await (const record of target.read(topic, { ...range, signal: undefined })) {
            if (read++ === after) {
              stop.abort();
              throw stop.signal.reason;
            }
            yield record;
          }
        };
      },
    });

  async function stopped(folder: string, args: { topic: string; from: string; out: string }, after: number) {
    const stop = new AbortController();
    const told = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    const target = stopping(await topicOf(folder), after, stop);
    await exportLines(target, { ...args, out: inHome(args.out) }, stop.signal);
    const text = String(told.mock.lastCall?.[0]);
    told.mockRestore();
    return text;
  }

  it("that is interrupted keeps what it has read, says so, and goes on", async () => {
    const args = { topic: "orders", from: "earliest", out: "stopped.ndjson" };
    expect(await stopped("data", args, 100)).toBe("stopped after 100 records; the same call goes on there\n");
    expect(lines(args.out)).toEqual(range(0, 100));
    const told = await said(exportCommand, [inHome("data"), "orders", inHome(args.out)]);
    expect(told).toMatch(/^300 records .*, 100 of them by an earlier call\n$/);
    expect(lines(args.out)).toEqual(range(0, 300));
  });

  it("that began with --from goes on with the same alone, from where that was", async () => {
    cpSync(inHome("data"), inHome("grown"), { recursive: true });
    const args = { topic: "users", from: "-5", out: "from.ndjson" };
    expect(await stopped("grown", args, 0)).toMatch(/^stopped after 0 records/);
    const tide = await open(inHome("grown"));
    await tide.topic("users").appendAll(range(0, 30).map((n) => ({ value: n })));
    await tide.close();
    const call = [inHome("grown"), "users", inHome("from.ndjson")];
    await expect(said(exportCommand, call)).rejects.toThrow(/was begun with --from -5: give that again/);
    await said(exportCommand, call, { from: "-5" });
    expect(lines("from.ndjson")).toEqual(range(15, 20));
  });

  it("says what was trimmed between two calls, and that a topic is another one", async () => {
    cpSync(inHome("data"), inHome("trimmed"), { recursive: true });
    const args = { topic: "orders", from: "earliest", out: "gap.ndjson" };
    await stopped("trimmed", args, 100);
    await stopped("trimmed", { ...args, out: "gone.ndjson" }, 100);
    await said(trim, [inHome("trimmed"), "orders"], { before: "250" });
    const call = (out: string): [string, string, string] => [inHome("trimmed"), "orders", inHome(out)];
    expect(await said(exportCommand, call("gap.ndjson"))).toMatch(
      /^150 records .*; offsets 100 to 250 were trimmed before they were read\n$/,
    );
    expect(lines("gap.ndjson")).toEqual([...range(0, 100), ...range(250, 300)]);
    await said(trim, [inHome("trimmed"), "orders"], { before: "latest" });
    expect(await said(exportCommand, call("gone.ndjson"))).toMatch(/; offsets 100 to 300 were trimmed/);
    await stopped("data", { ...args, topic: "users", out: "anew.ndjson" }, 3);
    const state = inHome("anew.ndjson.tidemark-export.json");
    writeFileSync(state, readFileSync(state, "utf8").replace('"end":20', '"end":21'));
    const again = said(exportCommand, [inHome("data"), "users", inHome("anew.ndjson")]);
    await expect(again).rejects.toThrow(/users ends at 20, and ended at 21 .* another topic by now/);
  });

  it("of an offset that is not there makes no file; a state that can't be read is refused", async () => {
    const call = [inHome("data"), "users", inHome("none.ndjson")];
    await expect(said(exportCommand, call, { from: "21" })).rejects.toThrow(/OFFSET_OUT_OF_RANGE/);
    expect(readdirSync(program.home).filter((name) => name.startsWith("none"))).toEqual([]);
    for (const text of ["{", "null", '{"target":1}']) {
      writeFileSync(inHome("none.ndjson.tidemark-export.json"), text);
      await expect(said(exportCommand, call)).rejects.toThrow(/is no state file of an export/);
    }
  });
});
