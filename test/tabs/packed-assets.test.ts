/**
 * The package in apps whose bundler does not copy its files, or that serve them from another origin: `npx tidemark
 * assets` and `open(name, { assets })`, with bundles of esbuild, in real Chromium.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { PackedApp, serveFolder, type Site } from "../support/packed.ts";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { root } from "../../tools/run/setup.mjs";
import { APP, AppBrowser, type AppTab } from "./packed-tabs.ts";

const FILES = [
  "answers.js",
  "core.js",
  "extras.js",
  "indexeddb.js",
  "kernel.wasm",
  "recovery.js",
  "segments.js",
  "sync.js",
  "tabs.js",
  "tunnel.js",
  "typed.js",
  "views.js",
];
/** core.js as bundlers leave it that take it for a script of nobody: it runs, and exports nothing. */
const BARE = "globalThis.bare = true;";
const FAIL_OVER_MS = 1_500;
const page = (script: string): string =>
  `<!doctype html><meta charset="utf-8"><title>app</title><script type="module" src="${script}"></script>`;

let app: PackedApp;
/** The app with the files in its own folder, and other origins that have the files, with and without CORS. */
let site: Site;
let cdn: Site;
let closedCdn: Site;
let browser: AppBrowser;

const cli = (...args: readonly string[]) =>
  spawnSync(process.execPath, [path.join(app.folder, "node_modules/.bin/tidemark"), ...args], {
    cwd: app.folder,
    encoding: "utf8",
  });

beforeAll(async () => {
  const pages = { "out/index.html": page("/main.js"), "out/classic.html": page("/classic.js") };
  app = await PackedApp.make({ ...APP, ...pages, "out/bare/core.js": BARE });
  const esbuild = path.join(root as string, "node_modules/esbuild/bin/esbuild");
  for (const [file, format] of [
    ["main", "esm"],
    ["classic", "iife"],
  ] as const) {
    execFileSync(
      esbuild,
      ["main.ts", "--bundle", "--minify", `--format=${format}`, `--outfile=out/${file}.js`, "--log-level=error"],
      { cwd: app.folder, stdio: "pipe" },
    );
  }
  expect(cli("assets", "out/static/tidemark").status).toBe(0);
  site = await serveFolder(path.join(app.folder, "out"));
  cdn = await serveFolder(path.join(app.folder, "out/static/tidemark"), { "access-control-allow-origin": "*" });
  closedCdn = await serveFolder(path.join(app.folder, "out/static/tidemark"));
  browser = await AppBrowser.start();
});
afterAll(async () => {
  await browser?.end();
  for (const each of [site, cdn, closedCdn]) await each?.close();
  await app?.remove();
});
afterEach(async () => expect(await browser.clear()).toEqual([]));

let names = 0;
const fresh = (): string => `assets-${names++}`;

/** Two tabs with a standby worker: the leader's page is closed, and the other tab takes over. */
async function manyTabs(url: string, options: object): Promise<AppTab> {
  const name = fresh();
  const first = await browser.open(url);
  await first.call("open", name, options);
  expect(await first.call("append", name, "1")).toBe(0);
  expect(await first.call("stateTried", name)).toEqual({});
  const second = await browser.open(url);
  await second.call("open", name, options);
  expect(await second.call("append", name, "2")).toBe(1);
  await second.seesStandBy();
  const leader = (await first.call("role", name)) === "leader" ? first : second;
  const other = leader === first ? second : first;
  const struckAt = Date.now();
  await leader.leave();
  expect(await other.call("append", name, "3")).toBe(2);
  expect(Date.now() - struckAt).toBeLessThan(FAIL_OVER_MS);
  expect(await other.call("read", name)).toEqual(["1", "2", "3"]);
  return other;
}

describe("npx tidemark", () => {
  it("assets <folder> copies what open() loads, and makes the folder", () => {
    expect(readdirSync(path.join(app.folder, "out/static/tidemark")).sort()).toEqual(FILES);
    for (const file of FILES)
      expect(readFileSync(path.join(app.folder, "out/static/tidemark", file))).toEqual(
        readFileSync(path.join(app.installed, "dist", file)),
      );
  });

  it.each([
    [["assets"], 2, "FOLDER is missing"],
    [["assets", "a", "b"], 2, "one argument too many"],
    [["asset", "a"], 2, "there is no command"],
    [["assets", "main.ts"], 1, "the files could not be copied"],
  ])("%j ends with %i and the reason", (args, code, reason) => {
    const { status, stderr } = cli(...args);
    expect(status).toBe(code);
    expect(stderr).toContain(reason);
  });
});

describe("a bundle of esbuild", () => {
  it.each(["", "classic.html"])("works with a folder of the same origin: /%s", async (place) => {
    await manyTabs(site.url + place, { assets: "/static/tidemark" });
  });

  it("also over IndexedDB, and with an address that is relative to the page", async () => {
    await manyTabs(site.url, { assets: "static/tidemark/", engine: "indexeddb" });
  });

  it.each(["", "classic.html"])("without one it is told what to do: /%s", async (place) => {
    const tab = await browser.open(site.url + place);
    const refused = await tab.call("refused", fresh());
    expect(refused).toMatchObject({ typed: true, code: "LOAD_FAILED", details: { file: "core.js" } });
    expect(refused!.message).toContain("npx tidemark assets");
    expect(refused!.message).toContain("assets:");
  });

  it("a file without its exports is told from one that is not there", async () => {
    const tab = await browser.open(site.url);
    const refused = await tab.call("refused", fresh(), { assets: "/bare" });
    expect(refused).toMatchObject({ typed: true, code: "LOAD_FAILED", details: { file: "core.js" } });
    expect(refused!.message).toMatch(
      /core\.js can't be loaded from .*: a bundler left its exports out\. .*npx tidemark assets/,
    );
  });

  it.each([[5], [{}], ["http://"]])("assets: %j is refused by name", async (assets) => {
    const tab = await browser.open(site.url);
    const refused = await tab.call("refused", fresh(), { assets });
    expect(refused).toMatchObject({ typed: true, code: "INVALID_ARGUMENT" });
    expect(refused!.message).toContain("assets");
  });
});

describe("files on another origin", () => {
  it("that allows it work, with channels in place of the broker's ports", async () => {
    const other = await manyTabs(site.url, { assets: cdn.url });
    expect(other.page.url()).not.toContain(new URL(cdn.url).host);
  });

  it("that does not allow it is LOAD_FAILED", async () => {
    const tab = await browser.open(site.url);
    expect(await tab.call("refused", fresh(), { assets: closedCdn.url })).toMatchObject({
      typed: true,
      code: "LOAD_FAILED",
      details: { file: "core.js" },
    });
  });
});
