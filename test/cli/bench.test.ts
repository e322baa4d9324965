/** `npx tidemark bench`: the shape of what it prints and writes, what it refuses, and that it leaves nothing behind. */
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { BareFile } from "../../cli/bare-file.ts";
import { bench } from "../../cli/commands/bench.ts";
import { NodeTide } from "../../src/node/node-tide.ts";
import { Program } from "./program.ts";

const program = await new Program().build();
afterAll(() => program.remove());
afterEach(() => vi.restoreAllMocks());
mkdirSync(program.path("disk"));

/** Figures become #. */
const shapeOf = (text: string): string => text.replace(/\d[\d,]*(\.\d+)?/g, "#").replace(/ +/g, " ");

it("prints each figure beside a bare write, writes them to a file, and cleans up", () => {
  const args = ["bench", "disk", "--records", "40", "--size", "50", "--batch", "20", "--json", "figures.json"];
  const { status, stdout, stderr } = program.run(args);
  expect([status, stderr]).toEqual([0, expect.stringMatching(/^40 records of 50 bytes, in .*tidemark-bench-\w+\n$/)]);
  expect(shapeOf(stdout)).toBe(
    [
      "append, awaited p# # ms p# # ms # records/s # × a bare write and fsync (# ms)",
      "batches of # p# # ms p# # ms # records/s # × a bare write and fsync (# ms)",
      "append to follower p# # ms p# # ms",
      "read from the start # records/s # MiB/s",
      "",
    ].join("\n"),
  );
  const { figures, host, ...rest } = JSON.parse(readFileSync(program.path("figures.json"), "utf8")) as {
    figures: Record<string, number>;
    host: object;
  };
  expect(rest).toEqual({ tidemark: 1, target: "folder", records: 40, size: 50, batch: 20 });
  expect(Object.keys(host)).toEqual(["node", "platform", "cpus"]);
  const names = ["append", "batches"].flatMap((part) =>
    ["p50Ms", "p99Ms", "recordsPerSecond", "bareP50Ms", "ratio"].map((figure) => `${part}.${figure}`),
  );
  names.push("append.bareP99Ms", "batches.mibPerSecond", "read.recordsPerSecond", "read.mibPerSecond");
  expect(Object.keys(figures).sort()).toEqual([...names, "live.p50Ms", "live.p99Ms"].sort());
  for (const [name, figure] of Object.entries(figures)) expect(figure, name).toBeGreaterThan(0);
  expect(figures["append.ratio"]).toBeCloseTo(figures["append.p50Ms"]! / figures["append.bareP50Ms"]!);
  expect(readdirSync(program.path("disk"))).toEqual([]);
});

it.each<[readonly string[], number, RegExp]>([
  [["nowhere"], 1, /nowhere is no folder/],
  [["disk", "--records", "9"], 2, /--records 9: .* from 10 to/],
  [["disk", "--records", "many"], 2, /--records many/],
  [["disk", "--size", "0"], 2, /--size 0/],
  [["disk", "--size", "1000001"], 2, /--size 1000001/],
  [["disk", "--batch", "0"], 2, /--batch 0/],
  [["disk", "--size", "100000", "--batch", "100"], 2, /a batch has at most 1000000 bytes/],
  [["disk", "--json", "nowhere/figures.json"], 2, /--json .*can't be written/],
  [["http://127.0.0.1:9", "--records", "ten"], 2, /--records ten/],
])("%j is refused before anything is measured: exit code %i", (args, code, message) => {
  const { status, stdout, stderr } = program.run(["bench", ...args]);
  expect([status, stdout, stderr]).toEqual([code, "", expect.stringMatching(message)]);
  expect(readdirSync(program.path("disk"))).toEqual([]);
});

it("cleans up when it is interrupted", async () => {
  const child = program.start(["bench", "disk", "--records", "1000000"]);
  const ended = once(child, "exit");
  await once(child.stderr!, "data");
  child.kill("SIGINT");
  expect(await ended).toEqual([130, null]);
  expect(readdirSync(program.path("disk"))).toEqual([]);
});

it("compares with a file that has its size from the start, and is written from its beginning again", () => {
  const file = program.path("bare");
  const bare = new BareFile(file, 10);
  const contents = (): string => readFileSync(file, "latin1").replaceAll("\0", ".");
  expect(contents()).toBe("..........");
  const seen = ["aaaa", "bbbb", "cccc"].map((text) => {
    bare.write(Buffer.from(text));
    return contents();
  });
  bare.close();
  expect(seen).toEqual(["aaaa......", "aaaabbbb..", "ccccbbbb.."]);
});

it("begins with that file on the disk", async () => {
  const child = program.start(["bench", "disk", "--records", "1000000"]);
  const ended = once(child, "exit");
  await once(child.stderr!, "data");
  const [folder = ""] = readdirSync(program.path("disk"));
  const { size, blocks } = statSync(program.path("disk", folder, "bare"));
  child.kill("SIGINT");
  await ended;
  expect([size, blocks * 512 >= size]).toEqual([8 * 1024 * 1024, true]);
});

describe("where something fails", () => {
  /** What it prints, and how it ends. */
  async function ran(): Promise<{ readonly printed: string; readonly noted: string; readonly error: unknown }> {
    const heard = (["stdout", "stderr"] as const).map((name) => {
      const texts: string[] = [];
      vi.spyOn(process[name], "write").mockImplementation((text) => texts.push(String(text)) > 0);
      return texts;
    });
    const args = { target: program.path("disk"), records: "10" };
    const error: unknown = await Promise.resolve(bench.run({ args: args as never })).catch((thrown: unknown) => thrown);
    const [printed = "", noted = ""] = heard.map((texts) => texts.join(""));
    return { printed, noted, error };
  }

  /** The tide is closed, and says all the same that it failed. */
  function failToClose(): void {
    const { close } = NodeTide.prototype;
    vi.spyOn(NodeTide.prototype, "close").mockImplementation(async function (this: NodeTide) {
      await close.call(this);
      throw new Error("not closed");
    });
  }

  it("in the cleaning, the figures are there and the folder is gone", async () => {
    failToClose();
    const { printed, error } = await ran();
    expect(printed).toMatch(/^append, awaited .*\n.*\n.*\nread from the start .*\n$/);
    expect(error).toMatchObject({ message: "not closed" });
    expect(readdirSync(program.path("disk"))).toEqual([]);
  });

  it("in the work and in the cleaning, the work's error counts and the other is told", async () => {
    failToClose();
    vi.spyOn(BareFile.prototype, "write").mockImplementation(() => {
      throw new Error("not written");
    });
    const { printed, noted, error } = await ran();
    expect([printed, error]).toEqual(["", expect.objectContaining({ message: "not written" })]);
    expect(noted).toMatch(/not closed/);
    expect(readdirSync(program.path("disk"))).toEqual([]);
  });
});
