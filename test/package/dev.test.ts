/**
 * `npx tidemark dev` of the installed package, in an app outside the repository: real Chromium opens the playground at
 * the address that it prints, and the edge beside it is the app's own Wrangler.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type IncomingMessage, request } from "node:http";
import { createInterface } from "node:readline";
import type { Frame, Page } from "playwright";
import { beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { visit } from "../playground/visitor.ts";
import { install } from "./apps.ts";

/** What the playground adds to the package, unpacked. */
const PLAYGROUND_BYTES_MAX = 640 * 1024;

let app = "";
const dist = (...names: string[]): string => path.join(app, "node_modules/tidemark/dist", ...names);

beforeAll(async () => {
  app = path.join(inject("packageFolder"), "dev");
  mkdirSync(app);
  writeFileSync(path.join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  await install(app, [inject("tarball")]);
});

function start(...args: string[]): ChildProcess {
  const program = path.join(app, "node_modules/tidemark/bin/tidemark.mjs");
  const child = spawn(process.execPath, [program, "dev", ...args], { cwd: app });
  onTestFinished(() => void child.kill("SIGINT"));
  return child;
}

/** The status of the answer to exactly this path: fetch() would make another one of some. */
async function statusOf(url: string, wanted: string): Promise<number> {
  const asked = request(url, { path: wanted }).end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  answer.resume();
  return answer.statusCode!;
}

/** The addresses that it prints, by what they are. Ends with the line that has this one. */
async function addresses(child: ChildProcess, last: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  let said = "";
  child.stderr!.on("data", (chunk: Buffer) => (said += chunk.toString()));
  for await (const line of createInterface({ input: child.stdout! })) {
    const [, url, what] = /^(http\S+) {3}(the playground|an edge)/.exec(line) ?? [];
    if (what !== undefined) found[what] = url!;
    if (what === last) return found;
  }
  throw new Error(`it ended before it said where it is: ${said}`);
}

async function interrupted(child: ChildProcess): Promise<void> {
  const ended = once(child, "close");
  child.kill("SIGINT");
  expect(await ended).toEqual([130, null]);
}

/** Stands in one tab with a profile of its own. */
async function visited(name: string, url: string, work: (page: Page) => Promise<void>): Promise<void> {
  const problems: string[] = [];
  const { context, page } = await visit(path.join(app, name), url, problems);
  try {
    await work(page);
    expect(problems).toEqual([]);
  } finally {
    await context.close();
  }
}

const text = (page: Page | Frame, id: string): Promise<string> => page.locator(`#${id}`).innerText();

async function appendsAndSees(page: Page): Promise<void> {
  await expect.poll(() => text(page, "progress-text")).toMatch(/The log is empty/);
  await page.click("#single");
  await expect.poll(() => text(page, "progress-text")).toMatch(/Offset 0 of flights, flushed/);
  await page.click("#load-quakes");
  await expect.poll(() => text(page, "progress-text")).toMatch(/1,700 records acknowledged/);
  await page.click("#load");
  await expect.poll(() => text(page, "progress-text")).toMatch(/200,000 records acknowledged at “flushed”/);
  await expect.poll(() => text(page, "figures")).toMatch(/log end offset\s+200,001/i);
}

describe("the playground of the package", () => {
  it("is small, and brings no data along", () => {
    const files = readdirSync(dist("playground"), { recursive: true, encoding: "utf8" })
      .map((name) => ({ name, stat: statSync(dist("playground", name)) }))
      .filter(({ stat }) => stat.isFile());
    expect(files.map(({ name }) => path.extname(name))).not.toContain(".json");
    const bytes = files.reduce((sum, { stat }) => sum + stat.size, 0);
    expect(bytes).toBeGreaterThan(100 * 1024);
    expect(bytes).toBeLessThan(PLAYGROUND_BYTES_MAX);
  });

  it("runs alone where the app has no Wrangler, and says that it has no edge", async () => {
    const child = start("--alone");
    const { "the playground": url } = await addresses(child, "the playground");
    for (const wrong of ["/../cli.js", "/%2e%2e/cli.js", "/..%2fcli.js", "/missing.js", "/%", "//"])
      expect(await statusOf(url!, wrong), wrong).toBeGreaterThanOrEqual(400);
    await visited("alone", url!, async (page) => {
      await expect.poll(() => text(page, "sync-state")).toMatch(/no edge beside this page.*npx tidemark dev/);
      await appendsAndSees(page);
    });
    await interrupted(child);
  });

  it("stands beside the edge: its panels know the edge, and two devices sync over it", async () => {
    symlinkSync(path.join(import.meta.dirname, "../../node_modules/wrangler"), path.join(app, "node_modules/wrangler"));
    const child = start("--folder", "edge");
    const { "the playground": url, "an edge": edge } = await addresses(child, "an edge");
    expect(new URL(url!).port).not.toBe(new URL(edge!).port);
    await visited("beside", url!, async (page) => {
      await expect.poll(() => text(page, "edge-state")).toContain(`Running at ${edge}`);
      await expect.poll(() => page.locator("#sync-start").isEnabled()).toBe(true);
      await expect.poll(() => text(page, "progress-text")).toMatch(/The log is empty/);
      await page.click("#single");
      await expect.poll(() => text(page, "progress-text")).toMatch(/Offset 0 of flights, flushed/);
      await page.click("#sync-start");
      const frames = (): Frame[] => page.frames().filter((frame) => new URL(frame.url()).searchParams.has("device"));
      await expect.poll(() => frames().length).toBe(2);
      for (const frame of frames()) {
        await expect.poll(() => frame.locator("#one").isEnabled()).toBe(true);
        await frame.locator("#one").click();
      }
      await expect.poll(() => text(page, "sync-verdict")).toMatch(/^Level: .* the same 2 records in the same order/);
    });
    await interrupted(child);
  });
});
