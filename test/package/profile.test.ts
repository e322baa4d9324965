/**
 * A profile that real Chromium has written, with two tides of the built package in OPFS. The browser is closed, and the
 * program `tidemark` looks into its files: verify, dump, repair, and an export of what was saved.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { chromium, type Page } from "playwright";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { CHROMIUM_ARGS, ensureChromium } from "../../tools/run/setup.mjs";
import { type Served, serveFolder } from "./serve.ts";

const root = path.join(import.meta.dirname, "../..");
const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-profile-"));
const profile = path.join(folder, "profile");
const COUNT = 300;
let served: Served;

interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const tidemark = (...args: readonly string[]): Promise<Ran> =>
  new Promise((resolve) =>
    execFile(
      process.execPath,
      [path.join(root, "bin/tidemark.mjs"), ...args],
      { cwd: folder, maxBuffer: 256 * 1024 * 1024, env: { ...process.env, NO_COLOR: "1" } },
      (error, stdout, stderr) => resolve({ status: error === null ? 0 : Number(error.code), stdout, stderr }),
    ),
  );

interface Item {
  readonly kind: string;
  readonly where?: string;
  readonly file?: string;
  readonly log?: string | null;
  readonly topic?: string;
  readonly slot?: number;
  readonly at?: number;
  readonly baseOffset?: number;
  readonly recordCount?: number;
  readonly isGood?: boolean;
}
const dumped = async (given: string): Promise<readonly Item[]> =>
  (await tidemark("dump", given, "--json")).stdout
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Item);

/** Writes both tides: one is closed, the other is open when the browser goes. */
async function write(page: Page): Promise<void> {
  await page.evaluate(async (count) => {
    const { open } = (window as typeof window & { browser: { open(name: string): Promise<any> } }).browser;
    for (const name of ["first", "second"]) {
      const tide = await open(name);
      const topic = tide.topic("orders");
      for (let n = 0; n < count; n++)
        await topic.append({ key: `k${n % 7}`, value: { tide: name, n, text: "x".repeat(n) } });
      await tide.topic("kept").appendAll([{ value: "a" }, { value: "b" }, { value: "c" }]);
      await tide.topic("kept").trim(1);
      if (name === "first") await tide.close();
    }
  }, COUNT);
}

beforeAll(async () => {
  const site = path.join(folder, "site");
  mkdirSync(site);
  cpSync(path.join(root, "dist"), path.join(site, "dist"), { recursive: true });
  writeFileSync(
    path.join(site, "index.html"),
    `<!doctype html><meta charset="utf-8"><title>profile</title><script type="module" src="/page.js"></script>`,
  );
  writeFileSync(
    path.join(site, "page.js"),
    `import * as browser from "/dist/browser.js"; Object.assign(window, { browser }); document.title = "ready";`,
  );
  served = await serveFolder(site);
  const executablePath = (ensureChromium as () => string)();
  const context = await chromium.launchPersistentContext(profile, { executablePath, args: CHROMIUM_ARGS as string[] });
  const page = await context.newPage();
  await page.goto(served.url);
  await page.waitForFunction(() => document.title === "ready");
  await write(page);
  await context.close();
});
afterAll(async () => {
  await served.close();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** The profile with one bit flipped, and nothing of it that is not the tides'. */
function flipped(name: string, file: string, at: number): string {
  const copy = path.join(folder, name);
  const from = path.join(profile, "Default", "File System");
  cpSync(from, path.join(copy, "Default", "File System"), { recursive: true });
  const planted = path.join(copy, path.relative(profile, file));
  const bytes = readFileSync(planted);
  bytes[at]! ^= 2;
  writeFileSync(planted, bytes);
  return copy;
}

/** The values of a topic in a folder, by offset. */
async function exported(saved: string, topic: string): Promise<ReadonlyMap<number, { tide: string; n: number }>> {
  const { stdout } = await tidemark("export", saved, topic);
  const lines = stdout.split("\n").slice(0, -1);
  const records = lines.map((line) => JSON.parse(line) as { offset: number; value: { tide: string; n: number } });
  return new Map(records.map(({ offset, value }) => [offset, value]));
}

describe("a profile of Chromium", () => {
  let items: readonly Item[] = [];
  /** Ids of the tides. */
  let ids: readonly string[] = [];
  beforeAll(async () => {
    items = await dumped(profile);
    ids = items.filter(({ kind }) => kind === "tide").map(({ where }) => where!.replace(/.* /, ""));
  });

  it("has two tides, each good, and dump shows their slots, roles, marks and batches", async () => {
    const { status, stdout } = await tidemark("verify", profile);
    expect([status, stdout.split("\n").map((line) => line.replace(/^.*: /, ""))]).toEqual([0, ["good", "good", ""]]);
    expect(new Set(ids).size).toBe(2);
    expect(items.filter(({ kind, topic }) => kind === "log" && topic === "orders").length).toBe(2);
    const kinds = new Set(items.map(({ kind }) => kind));
    expect(kinds).toEqual(new Set(["tide", "catalog", "log", "slot", "mark", "batch"]));
    expect(items.filter(({ isGood }) => isGood === false)).toEqual([]);
    const records = items
      .filter(({ kind }) => kind === "batch")
      .reduce((sum, { recordCount }) => sum + recordCount!, 0);
    expect(records).toBe(2 * (COUNT + 3));
  });

  it("one tide after the other is saved whole, and exported: what was trimmed is not there", async () => {
    const found: string[] = [];
    for (const id of ids) {
      const saved = path.join(folder, `saved-${id}`);
      const { status, stderr } = await tidemark("verify", profile, "--tide", id, "--repair", saved);
      expect([status, stderr]).toEqual([0, expect.not.stringContaining("lost:")]);
      const orders = await exported(saved, "orders");
      expect([...orders].map(([offset, { n }]) => [offset, n])).toEqual(
        Array.from({ length: COUNT }, (_, n) => [n, n]),
      );
      found.push(...new Set([...orders.values()].map(({ tide }) => tide)));
      expect([...(await exported(saved, "kept"))]).toEqual([
        [1, "b"],
        [2, "c"],
      ]);
    }
    expect(found.sort()).toEqual(["first", "second"]);
    expect((await tidemark("verify", profile, "--repair", path.join(folder, "both"))).status).toBe(2);
  });

  it("with a flip in a batch, a role and a copy of the catalog: each is found, in its tide alone", async () => {
    const slot = items.find(({ kind, log }) => kind === "slot" && log === "orders-0")!;
    const batch = items.find((each) => each.kind === "batch" && each.slot === slot.slot && each.baseOffset === 250)!;
    const plants: readonly (readonly [name: string, file: string, at: number, said: RegExp])[] = [
      ["batch", slot.file!, batch.at! + 70, /orders, segment 0 .*offset 250: CORRUPT_RANGE/],
      ["role", slot.file!, 20, /orders, segment 0 .*the role: its checksum fails/],
      ["mark", slot.file!, 520, /orders, segment 0 .*mark 0: its checksum fails/],
      ["catalog", items.find(({ kind }) => kind === "catalog")!.file!, 30, /catalog: one of its two copies/],
    ];
    const planted = async ([name, file, at, said]: (typeof plants)[number]): Promise<void> => {
      const copy = flipped(name, file, at);
      const { status, stdout } = await tidemark("verify", copy);
      expect([status, stdout], name).toEqual([1, expect.stringMatching(said)]);
      expect(stdout.match(/: 1 fault\n/g)?.length, name).toBe(1);
      expect(stdout, name).toMatch(/: good\n/);
      const saved = path.join(folder, `saved-${name}`);
      const { stderr } = await tidemark("verify", copy, "--tide", ids[0]!, "--repair", saved);
      const offsets = [...(await exported(saved, "orders")).keys()];
      const expected = Array.from({ length: COUNT }, (_, n) => n).filter((n) => name !== "batch" || n !== 250);
      expect(offsets, name).toEqual(expected);
      if (name === "batch") expect(stderr).toContain("lost: 250 to 251");
    };
    await Promise.all(plants.map(planted));
  });
});
