/**
 * The folders of templates/ as somebody copies them: outside the repository, with the packed package, built by Vite and
 * walked in Chromium. What they need beside our package comes from the repository.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import type { Page } from "playwright";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { startWorker } from "../edge/local-worker.ts";
import { type Running, startBrowser } from "../support/chromium.ts";
import { serveFolder } from "../support/packed.ts";

const root = path.join(import.meta.dirname, "../..");
const run = promisify(execFile);
const TEMPLATES = ["react", "vanilla", "worker"];
const LINKED = ["react", "react-dom", "vite", "wrangler"];
let folder = "";
let browser: Running;

const inApp = (...names: string[]): string => path.join(folder, ...names);

beforeAll(async () => {
  folder = path.join(inject("packageFolder"), "templates");
  cpSync(path.join(root, "templates"), folder, { recursive: true });
  // One place of packages for all three, as of a workspace.
  mkdirSync(inApp("node_modules/tidemark"), { recursive: true });
  const unpack = ["-xzf", inject("tarball"), "--strip-components=1", "-C", inApp("node_modules/tidemark")];
  await run("tar", unpack);
  for (const name of LINKED) symlinkSync(path.join(root, "node_modules", name), inApp("node_modules", name));
  const vite = path.join(root, "node_modules/vite/bin/vite.js");
  const build = (name: string) => run(process.execPath, [vite, "build", "--logLevel", "warn"], { cwd: inApp(name) });
  for (const name of TEMPLATES) await build(name);
  browser = await startBrowser(path.join(inject("packageFolder"), "templates-profile"));
}, 120_000);
afterAll(() => {
  if (browser) process.kill(-browser.child.pid!, "SIGKILL");
});

class Notes {
  readonly problems: string[] = [];
  private constructor(readonly page: Page) {}
  static async open(url: string): Promise<Notes> {
    const notes = new Notes(await browser.context.newPage());
    notes.page.on("pageerror", (error) => notes.problems.push(error.message));
    await notes.page.goto(url);
    return notes;
  }
  async add(text: string): Promise<void> {
    await this.page.bringToFront();
    await this.page.getByLabel("Note").fill(text);
    await this.page.getByRole("button", { name: "Add" }).click();
  }
  async shows(...texts: string[]): Promise<void> {
    const items = this.page.locator("#notes li");
    await expect.poll(() => items.allTextContents(), { timeout: 15_000 }).toEqual(texts);
  }
}

it("the list of templates is whole, and each names what it needs", () => {
  const folders = readdirSync(path.join(root, "templates"), { withFileTypes: true }).filter((each) =>
    each.isDirectory(),
  );
  expect(folders.map(({ name }) => name).sort()).toEqual(TEMPLATES);
  for (const name of TEMPLATES) {
    const { dependencies, devDependencies } = JSON.parse(readFileSync(inApp(name, "package.json"), "utf8")) as Record<
      string,
      object
    >;
    const named = Object.keys({ ...dependencies, ...devDependencies });
    expect(named.filter((each) => each !== "tidemark" && !LINKED.includes(each))).toEqual([]);
    expect(named).toContain("tidemark");
  }
});

it.each(["vanilla", "react"])("%s: two tabs show the same list, and it is there after a reload", async (name) => {
  const site = await serveFolder(inApp(name, "dist"));
  try {
    const [first, second] = [await Notes.open(site.url), await Notes.open(site.url)];
    await first.add("milk");
    await second.shows("milk");
    await second.add("bread");
    await first.shows("milk", "bread");
    await first.page.reload();
    await first.shows("milk", "bread");
    expect([...first.problems, ...second.problems]).toEqual([]);
    await Promise.all([first.page.close(), second.page.close()]);
  } finally {
    await site.close();
  }
});

it("worker: two devices show the same list", async () => {
  const edge = await startWorker({ config: inApp("worker/wrangler.jsonc") });
  try {
    const laptop = await Notes.open(`${edge.url}/?device=laptop`);
    await laptop.add("milk");
    const phone = await Notes.open(`${edge.url}/?device=phone`);
    await phone.shows("milk");
    await phone.add("bread");
    await laptop.shows("milk", "bread");
    await expect.poll(() => laptop.page.locator("#status").textContent()).toBe("live");
    expect([...laptop.problems, ...phone.problems]).toEqual([]);
  } finally {
    await edge.stop();
  }
});
