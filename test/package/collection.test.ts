/**
 * `tidemark/tanstack-db` as an app has it: the packed package beside TanStack DB, built by Vite, in two tabs of real
 * Chromium. Writes are shown before they are stored, and those that the log refuses are taken back.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import type { Page } from "playwright";
import { afterAll, afterEach, beforeAll, expect, inject, it } from "vitest";
import { type Running, startBrowser } from "../support/chromium.ts";
import { serveFolder, type Site } from "../support/packed.ts";
import { install } from "./apps.ts";

const root = path.join(import.meta.dirname, "../..");
const run = promisify(execFile);
let site: Site;
let browser: Running;
const problems: string[] = [];

interface Outcome {
  readonly optimistic: readonly string[];
  readonly error: string | undefined;
  readonly state: string;
  readonly settled: readonly string[];
}
/** `window.walk` of the page (test/package/pages/collection.js). */
declare const walk: {
  add(id: string, text: string): Promise<Outcome>;
  tick(id: string): Promise<Outcome>;
  remove(id: string): Promise<Outcome>;
  spoil(id: string): Promise<Outcome>;
  addMany(from: number, count: number): Promise<number>;
  size(): number;
};

beforeAll(async () => {
  const app = path.join(inject("packageFolder"), "collection");
  mkdirSync(app);
  writeFileSync(path.join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  await install(app, [inject("tarball")]);
  symlinkSync(path.join(root, "node_modules/@tanstack"), path.join(app, "node_modules/@tanstack"));
  cpSync(path.join(import.meta.dirname, "pages/collection.js"), path.join(app, "main.js"));
  const page = `<!doctype html><meta charset="utf-8"><title>todos</title><link rel="icon" href="data:,"><ul></ul>
<script type="module" src="./main.js"></script>`;
  writeFileSync(path.join(app, "index.html"), page);
  const vite = path.join(root, "node_modules/vite/bin/vite.js");
  await run(process.execPath, [vite, "build", "--target", "es2022", "--logLevel", "warn"], { cwd: app });
  site = await serveFolder(path.join(app, "dist"));
  browser = await startBrowser(path.join(inject("packageFolder"), "collection-profile"));
});
afterAll(async () => {
  if (browser) process.kill(-browser.child.pid!, "SIGKILL");
  await site?.close();
});
afterEach(() => expect(problems).toEqual([]));

async function tab(tide: string): Promise<Page> {
  const page = await browser.context.newPage();
  page.on("pageerror", (error) => problems.push(error.message));
  await page.goto(`${site.url}?tide=${tide}`);
  await page.waitForFunction(() => "walk" in globalThis);
  return page;
}
const shows = (page: Page, ...items: string[]): Promise<void> =>
  expect.poll(() => page.locator("li").allTextContents()).toEqual(items);

it("two tabs show the same rows; a write is shown at once, and again after a reload", async () => {
  const [first, second] = [await tab("rows"), await tab("rows")];
  expect(await first.evaluate(() => walk.add("a", "milk"))).toEqual({
    optimistic: ["- milk"],
    error: undefined,
    state: "completed",
    settled: ["- milk"],
  });
  await shows(second, "- milk");
  expect((await second.evaluate(() => walk.tick("a"))).optimistic).toEqual(["x milk"]);
  await shows(first, "x milk");
  await second.evaluate(() => walk.add("b", "bread"));
  expect((await first.evaluate(() => walk.remove("a"))).settled).toEqual(["- bread"]);
  await shows(second, "- bread");
  await first.reload();
  await shows(first, "- bread");
  await Promise.all([first.close(), second.close()]);
});

it("a write that the log refuses is shown, and taken back with the error", async () => {
  const [first, second] = [await tab("spoiled"), await tab("spoiled")];
  await first.evaluate(() => walk.add("a", "milk"));
  await shows(second, "- milk");
  expect(await first.evaluate(() => walk.spoil("a"))).toEqual({
    optimistic: ["- 5"],
    error: "TidemarkError INVALID_ARGUMENT",
    state: "failed",
    settled: ["- milk"],
  });
  // Later writes are not held up, and the other tab has never seen it.
  await first.evaluate(() => walk.tick("a"));
  await shows(second, "x milk");
  await Promise.all([first.close(), second.close()]);
});

it("the leader goes while another tab writes: each write is there once", async () => {
  const [first, second] = [await tab("going"), await tab("going")];
  await first.evaluate(() => walk.add("0", "first"));
  const written = second.evaluate(() => walk.addMany(1, 500));
  await first.close();
  expect(await written).toBe(501);
  const third = await tab("going");
  expect(await third.evaluate(() => walk.size())).toBe(501);
  await Promise.all([second.close(), third.close()]);
});
