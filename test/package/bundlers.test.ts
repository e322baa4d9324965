/**
 * The packed package in more apps: development servers of older Vite versions and Next with a client component, without
 * configuration; esbuild and Rollup, with the package's files in a folder whose address open() gets. Each app uses both
 * engines, and has a second tab that goes on when the first one closes. With TIDEMARK_PACKAGE=all each runs the whole
 * many-tab story.
 */
import { existsSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { TabsBrowser } from "../tabs/browser.ts";
import { APPS, type Installed, installApp, serveApp } from "./apps.ts";
import { serveFolder, type Served } from "./serve.ts";
import { appPage, manyTabs, type Strike, tooSlow, USED } from "./story.ts";

const NAMES = ["vite7", "vite6", "vite5", "next", "esbuild", "rollup"] as const;
const strikes: readonly Strike[] | undefined = process.env["TIDEMARK_PACKAGE"] === "all" ? undefined : ["page closed"];

const installed = {} as Record<(typeof NAMES)[number], Installed>;
beforeAll(async () => {
  await Promise.all(
    NAMES.map(
      async (name) => (installed[name] = await installApp(APPS[name], inject("packageFolder"), inject("tarball"))),
    ),
  );
});

describe.each(NAMES)("an app: %s", (name) => {
  let served: Served;
  let browser: TabsBrowser;
  beforeAll(async () => {
    served = await serveApp(installed[name]);
    browser = await TabsBrowser.start(served.url);
  });
  afterAll(async () => {
    await browser?.end();
    await served?.close();
  });

  it("appends, reads, packs, compacts, over both engines", async () => {
    const tab = await browser.open({ name: "alone", engine: "opfs", noSharedWorker: false, pauseMs: 0 });
    const { opfs, indexeddb } = await appPage(tab).call("use", "use");
    expect([opfs, indexeddb]).toEqual([USED("opfs"), USED("indexeddb")]);
    if (name === "next") expect(await tab.page.textContent("#server")).toBe("TidemarkError NO_STORAGE");
    expect(browser.problems).toEqual([]);
  });

  it.runIf(name === "next")("server components show what the browser then hydrates, over tidemark/react", async () => {
    const rendered = await (await fetch(`${served.url}notes`)).text();
    expect(rendered).toContain('<p id="notes">reading</p>');
    expect(rendered).toContain('<p id="rest">opening,idle,0</p>');
    const context = await browser.incognito();
    const page = await context.newPage();
    const problems: string[] = [];
    page.on("pageerror", ({ message }) => problems.push(message));
    page.on("console", (said) => {
      if (["error", "warning"].includes(said.type())) problems.push(said.text());
    });
    const shows = (notes: string, rest: string): Promise<void> =>
      expect
        .poll(async () => [await page.textContent("#notes"), await page.textContent("#rest")])
        .toEqual([notes, rest]);
    await page.goto(`${served.url}notes`);
    await shows(".", "open,idle,0");
    await page.click("#add");
    await shows("milk.", "open,idle,1");
    await page.reload();
    await shows("milk.", "open,idle,1");
    expect(problems).toEqual([]);
    await context.close();
  });

  it("a second tab goes on when the first is closed", async () => {
    expect(tooSlow(await manyTabs(browser, "opfs", 1, strikes))).toEqual([]);
  });
});

/** Apps in which a bundler, or the app's owner, has moved the package's files. */
describe("an app whose files lie elsewhere", () => {
  const ALONE = { name: "elsewhere", engine: "opfs", noSharedWorker: false, pauseMs: 0 } as const;

  async function used(url: string): Promise<void> {
    const browser = await TabsBrowser.start(url);
    try {
      const { opfs, indexeddb } = await appPage(await browser.open(ALONE)).call("use", "use");
      expect([opfs, indexeddb]).toEqual([USED("opfs"), USED("indexeddb")]);
      expect(tooSlow(await manyTabs(browser, "opfs", 1, ["page closed"]))).toEqual([]);
    } finally {
      await browser.end();
    }
  }

  it.each(["vite7", "vite6", "vite5"] as const)(
    "%s with a cache folder of its own, which leaves the package as it is installed",
    async (name) => {
      const { serve, directory } = installed[name];
      const served = await serveApp({
        ...installed[name],
        serve: [...(serve as readonly string[]), "--config", "own-cache.config.js"],
      });
      try {
        await used(served.url);
        expect(existsSync(path.join(directory, "cache-of-its-own"))).toBe(true);
      } finally {
        await served.close();
      }
    },
  );

  it("Rollup's, on another origin", async () => {
    const app = path.join(installed.rollup.directory, "public");
    const [site, cdn] = await Promise.all([
      serveFolder(app),
      serveFolder(path.join(app, "tidemark"), { "access-control-allow-origin": "*" }),
    ]);
    try {
      await used(`${site.url}cdn.html?assets=${encodeURIComponent(cdn.url)}`);
    } finally {
      await Promise.all([site.close(), cdn.close()]);
    }
  });
});
