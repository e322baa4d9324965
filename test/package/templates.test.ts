/**
 * The folders of templates/ as somebody copies them: out of the package, with what `npm install` brings, built by Vite
 * and walked in Chromium. The package comes from the tarball and Wrangler from the repository; npm fetches the rest.
 */
import { execFile } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, symlinkSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import type { Page } from "playwright";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { startDevServer } from "../edge/local-worker.ts";
import { type Running, startBrowser } from "../support/chromium.ts";
import { serveFolder } from "../support/packed.ts";
import { install } from "./apps.ts";

const root = path.join(import.meta.dirname, "../..");
const run = promisify(execFile);
const TEMPLATES = ["react", "vanilla", "worker"];
let folder = "";
let browser: Running;

const inApp = (...names: string[]): string => path.join(folder, ...names);

/** What templates/README.md says: copy, rename, install, build. */
async function make(name: string): Promise<void> {
  cpSync(path.join(inject("unpacked"), "templates", name), inApp(name), { recursive: true });
  renameSync(inApp(name, "_gitignore"), inApp(name, ".gitignore"));
  await install(inApp(name), [inject("tarball"), "--omit=dev"]);
  // Vite and Wrangler are the repository's: they are large, and test/package/bundlers.test.ts installs Vite.
  for (const tool of ["vite", "wrangler"])
    symlinkSync(path.join(root, "node_modules", tool), inApp(name, "node_modules", tool));
  const vite = inApp(name, "node_modules/vite/bin/vite.js");
  const { stdout, stderr } = await run(process.execPath, [vite, "build", "--logLevel", "warn"], { cwd: inApp(name) });
  // The first thing that a newcomer sees is no warning.
  expect(stdout + stderr, name).toBe("");
}

beforeAll(async () => {
  folder = path.join(inject("packageFolder"), "templates");
  await Promise.all(TEMPLATES.map(make));
  browser = await startBrowser(path.join(inject("packageFolder"), "templates-profile"));
});
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
    await expect.poll(() => items.allTextContents()).toEqual(texts);
  }
}

type Manifest = Record<"dependencies" | "devDependencies" | "scripts", Record<string, string>>;
const manifestOf = (file: string): Manifest => JSON.parse(readFileSync(file, "utf8")) as Manifest;

it("the list of templates is whole, and each names what it needs, of versions that are tested", () => {
  const folders = readdirSync(path.join(inject("unpacked"), "templates"), { withFileTypes: true }).filter((each) =>
    each.isDirectory(),
  );
  expect(folders.map(({ name }) => name).sort()).toEqual(TEMPLATES);
  const repository = manifestOf(path.join(root, "package.json")) as Manifest & { version: string };
  const tested = { ...repository.devDependencies, tidemark: repository.version };
  const apps = [...TEMPLATES.map((name) => `templates/${name}`), "docs/example-app"];
  for (const app of apps) {
    const { dependencies, devDependencies, scripts } = manifestOf(path.join(inject("unpacked"), app, "package.json"));
    const named = { ...dependencies, ...devDependencies };
    expect(Object.keys(named)).toEqual(expect.arrayContaining(["tidemark", "vite"]));
    for (const [name, range] of Object.entries(named)) {
      // A range of a first version takes its patches alone.
      const [major, minor] = tested[name as keyof typeof tested]!.split(".");
      expect([`^${major}.0.0`, `^${major}.${minor}.0`], `${app}: ${name}`).toContain(range);
    }
    expect(Object.keys(scripts), app).toEqual(expect.arrayContaining(["start", "dev", "build"]));
    for (const [program] of [...scripts["start"]!.matchAll(/\b(vite|wrangler)\b/g)])
      expect(Object.keys(named), app).toContain(program);
  }
});

it("a copy of each has a .gitignore, which npm itself would have left out", () => {
  for (const name of TEMPLATES)
    expect(readFileSync(inApp(name, ".gitignore"), "utf8").split("\n")).toEqual(
      expect.arrayContaining(["node_modules", "dist", ".dev.vars", ".wrangler"]),
    );
  expect(existsSync(path.join(inject("unpacked"), "docs/example-app/_gitignore"))).toBe(true);
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

it.each(TEMPLATES)("%s says what keeps the list from being opened", async (name) => {
  const site = await serveFolder(inApp(name, "dist"));
  const page = await browser.context.newPage();
  try {
    await page.addInitScript(() => Object.defineProperty(globalThis, "isSecureContext", { value: false }));
    await page.goto(site.url);
    await expect.poll(() => page.locator("body").innerText()).toMatch(/can't be opened: NO_STORAGE: .*https/);
    if (name === "react") return;
    // The typed text is not lost with it.
    await page.getByLabel("Note").fill("milk");
    await page.getByRole("button", { name: "Add" }).click();
    await expect.poll(() => page.locator("#status").textContent()).toMatch(/^Not saved: NO_STORAGE/);
    expect(await page.getByLabel("Note").inputValue()).toBe("milk");
  } finally {
    await page.close();
    await site.close();
  }
});

it("worker: two devices show the same list", async () => {
  const edge = await startDevServer({ config: inApp("worker/wrangler.jsonc") });
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
