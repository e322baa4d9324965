/**
 * The command lines of the scripts: a wrong value is refused and the message names its option; `--help` works
 * everywhere and starts nothing.
 */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import * as line from "../../tools/run/command-line.mjs";

const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-command-line-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const spec = {
  script: "sample",
  about: "Shows all kinds.",
  options: {
    seeds: line.integer({ default: 20, help: "histories" }),
    seed: line.seedNumber(),
    minutes: line.decimal({ default: 1, min: 0.5, max: 10, help: "how long" }),
    kind: line.choice(["one", "two"], { default: "one", help: "which" }),
    from: line.choices(["a", "b"], { default: ["a"], help: "beginnings" }),
    grep: line.text({ help: "a name" }),
    twice: line.flag({ help: "each twice" }),
    json: line.jsonFile(),
  },
  positionals: { sample: "STEP", help: "steps", words: ["unit", "edge"] },
} as const;
const read = (...args: string[]) => line.readCommandLine(spec, args).values;

describe("values", () => {
  test("an option that is given twice is refused, as the last one would count alone", () => {
    expect(() => read("--seeds", "3", "--seeds=4")).toThrow("--seeds is given twice");
    expect(() => read("--twice", "--twice")).toThrow("--twice is given twice");
  });

  test("options have their defaults, or the values that are given", () => {
    const defaults = {
      seeds: 20,
      seed: 1,
      minutes: 1,
      kind: "one",
      from: ["a"],
      grep: undefined,
      twice: false,
      json: undefined,
    };
    expect(read()).toEqual({ ...defaults, names: [] });
    const json = path.join(folder, "deep/figures.json");
    const said = ["--seeds", "3", "--seed=0", "--minutes", ".5", "--kind", "two", "--from", "all", "--grep", "x"];
    expect(read(...said, "--twice", "--json", json, "edge")).toEqual({
      seeds: 3,
      seed: 0,
      minutes: 0.5,
      kind: "two",
      from: ["a", "b"],
      grep: "x",
      twice: true,
      json,
      names: ["edge"],
    });
    expect(existsSync(path.dirname(json))).toBe(true);
  });

  test.each([
    ["--seeds", "abc", /--seeds must be a whole number of at least 1|from 1 to/],
    ["--seeds", "0", /--seeds must be a whole number/],
    ["--seeds", "-3", /seeds/],
    ["--seeds", "1.5", /--seeds must be a whole number/],
    ["--seeds", "", /--seeds must be a whole number/],
    ["--seeds", "0x10", /--seeds must be a whole number/],
    ["--seeds", "NaN", /--seeds must be a whole number/],
    ["--seeds", "1e999", /--seeds must be a whole number/],
    ["--seed", "-1", /seed/],
    ["--seed", "4294967296", /--seed must be a whole number from 0 to 2147483647/],
    ["--minutes", "Infinity", /--minutes must be a number from 0.5 to 10/],
    ["--minutes", "0", /--minutes must be a number from 0.5 to 10/],
    ["--minutes", "11", /--minutes/],
    ["--kind", "three", /--kind must be one of one, two, not «three»/],
    ["--from", "a,,b", /--from must be all, or some of a, b/],
    ["--grep", "", /--grep must not be empty/],
    ["--json", "", /--json must be the path of a file/],
    ["--json", os.tmpdir(), /--json must be the path of a file/],
    ["--json", "/dev/null/x", /--json can't be written/],
    ["--sedes", "3", /--sedes/],
    ["--twice=yes", "", /twice/],
  ])("%s %s is refused by name", (name, value, message) => {
    expect(() => read(name, value)).toThrow(line.UsageError);
    expect(() => read(name, value)).toThrow(message);
  });

  test("an unknown step is refused by name", () => {
    expect(() => read("unit", "egde")).toThrow(/STEP must be one of unit, edge, not «egde»/);
  });

  test("--help lists every option with its default, whatever other options there are", () => {
    const { help } = line.readCommandLine(spec, ["--help", "--seeds", "abc"]);
    for (const name of Object.keys(spec.options)) expect(help).toContain(`--${name}`);
    expect(help).toMatch(/^npm run sample -- \[STEP …\] \[options\]\n/);
    expect(help).toMatch(/--seeds N .*\[default 20\]/);
  });
});

const root = path.join(import.meta.dirname, "../..");
const { scripts } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as {
  scripts: Record<string, string>;
};
/** What npm itself runs takes no options. */
const LIFECYCLE = new Set(["prepack"]);
const ours = Object.keys(scripts).filter((name) => !LIFECYCLE.has(name));
const calls = [...ours, "sim --tabs", "bench --target edge"];

/** Runs a program as `npm run` does. */
function call(...args: readonly string[]): Promise<{ readonly code: number; readonly said: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, ["tools/run/run.mjs", ...args], { cwd: root }, (_, out, err) =>
      resolve({ code: child.exitCode!, said: out + err }),
    );
  });
}

const told = new Map<string, ReturnType<typeof call>>();
/** The help of a program. It is asked for once: a program takes a second to start. */
function helpOf(program: string): ReturnType<typeof call> {
  const known = told.get(program) ?? call(...program.split(" "), "--help");
  told.set(program, known);
  return known;
}

describe("npm scripts", () => {
  test.each(calls)("%s: --help says what the program does and does nothing else", async (program) => {
    const { code, said } = await helpOf(program);
    expect(said).toMatch(new RegExp(`^npm run ${program.split(" ")[0]}\\b`));
    expect(said).toContain("--help");
    expect(code).toBe(0);
  });

  test.each(calls)("%s: a wrong number or an unknown option makes the run fail", async (program) => {
    const { said } = await helpOf(program);
    const [, number] = /--([\w-]+) [NS] /.exec(said) ?? [];
    const { code, said: refusal } = await call(
      ...program.split(" "),
      ...(number === undefined ? ["--no-such"] : [`--${number}`, "abc"]),
    );
    expect(refusal).toContain(`--${number ?? "no-such"}`);
    expect(refusal.trim().split("\n")).toHaveLength(1);
    expect(code).toBe(2);
  });
});
