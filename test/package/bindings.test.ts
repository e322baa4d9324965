/**
 * The bindings as an app has them: the packed package, the frameworks beside it, one page for each that Vite builds
 * (test/package/bindings), rendered on a server by Node, and walked in Chromium. The frameworks are built for
 * development, because only then do they warn.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import type { CDPSession, Page } from "playwright";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { type Running, startBrowser } from "../support/chromium.ts";
import { serveFolder, type Site } from "../support/packed.ts";
import { install } from "./apps.ts";

const root = path.join(import.meta.dirname, "../..");
const run = promisify(execFile);
const FRAMEWORKS = ["react", "vue", "svelte", "solid"] as const;
type Framework = (typeof FRAMEWORKS)[number];
/** Packages that an app with all four has. They come from the repository. */
const LINKED = ["react", "react-dom", "vue", "svelte", "solid-js"];
/** As many components as are mounted at once, twice. */
const MANY = 1000;
/** Far less than one object each would make. */
const HEAP_GROWTH_MAX = 400_000;
const RECORDS = 300;

let app = "";
let site: Site;
let browser: Running;

const page = (framework: string, { head, body }: { head: string; body: string }): string =>
  `<!doctype html><meta charset="utf-8"><title>${framework}</title><link rel="icon" href="data:,">${head}
<div id="app">${body}</div><script type="module" src="./${framework}-page.js"></script>`;

beforeAll(async () => {
  app = path.join(inject("packageFolder"), "bindings");
  cpSync(path.join(import.meta.dirname, "bindings"), app, { recursive: true });
  writeFileSync(path.join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  await install(app, [inject("tarball")]);
  for (const name of LINKED) symlinkSync(path.join(root, "node_modules", name), path.join(app, "node_modules", name));
  const vite = (config: string): Promise<unknown> =>
    run(
      process.execPath,
      [path.join(root, "node_modules/vite/bin/vite.js"), "build", "-c", config, "-m", "development"],
      { cwd: app, env: { ...process.env, NODE_ENV: "development", REPOSITORY: root } },
    );
  await vite("server.config.js");
  for (const framework of FRAMEWORKS) {
    const args = [path.join(app, "server/server.js"), framework];
    const { stdout } = await run(process.execPath, args, {
      cwd: app,
      env: { ...process.env, NODE_ENV: "development" },
    });
    const rendered = JSON.parse(stdout) as { head: string; body: string };
    expect(rendered.body).toContain("reading");
    writeFileSync(path.join(app, `${framework}-rendered.html`), page(framework, rendered));
    writeFileSync(path.join(app, `${framework}.html`), page(framework, { head: rendered.head, body: "" }));
  }
  await vite("pages.config.js");
  site = await serveFolder(path.join(app, "dist"));
  browser = await startBrowser(path.join(inject("packageFolder"), "bindings-profile"));
}, 120_000);
afterAll(async () => {
  if (browser) process.kill(-browser.child.pid!, "SIGKILL");
  await site?.close();
});

/** `window.walk` of a page (test/package/bindings/notes.js). */
interface Walk {
  readonly applied: { times: number };
  readonly evens: number[];
  readonly pendings: number;
  readonly tide: import("../../src/browser/index.ts").Tide;
  mount(): void;
  unmount(): void;
  many(count: number): void;
  fail(): void;
}
type WalkedWindow = typeof globalThis & { readonly walk: Walk; readonly opened: string[] };

/** A tab with the page of a framework. Whatever the page says in its console is a problem. */
class Tab {
  readonly problems: string[] = [];
  private constructor(
    readonly page: Page,
    readonly session: CDPSession,
  ) {}

  static async open(file: string, tide: string, tab: string): Promise<Tab> {
    const page = await browser.context.newPage();
    const opened = new Tab(page, await browser.context.newCDPSession(page));
    page.on("pageerror", (error) => opened.problems.push(error.message));
    page.on("console", (said) => {
      if (["error", "warning"].includes(said.type())) opened.problems.push(said.text());
    });
    // Each opening of a tide makes one channel of its name. Without devtools Vue keeps each component for some seconds,
    // in case they come.
    await page.addInitScript(() => {
      const opened: string[] = [];
      const Own = BroadcastChannel;
      Object.assign(globalThis, {
        opened,
        __VUE_DEVTOOLS_GLOBAL_HOOK__: { emit: () => undefined, on: () => undefined },
        BroadcastChannel: class extends Own {
          constructor(name: string) {
            super(name);
            opened.push(name);
          }
        },
      });
    });
    await page.goto(`${site.url}${file}.html?tide=${tide}&tab=${tab}`);
    return opened;
  }

  text(id: string): Promise<string> {
    return this.page.locator(`#${id}`).innerText();
  }
  async shows(id: string, text: string | RegExp): Promise<void> {
    const found = expect.poll(() => this.text(id), { timeout: 15_000 });
    await (typeof text === "string" ? found.toBe(text) : found.toMatch(text));
  }
  /** Also in a tab behind another one, which draws nothing. */
  click(id: string): Promise<void> {
    return this.page.locator(`#${id}`).dispatchEvent("click");
  }
  call<T>(work: (walk: Walk, given: number) => T | Promise<T>, given = 0): Promise<T> {
    const text = `(${String(work)})(globalThis.walk, ${given})`;
    return this.page.evaluate(text) as Promise<T>;
  }
  opened(): Promise<string[]> {
    return this.page.evaluate(() => (globalThis as WalkedWindow).opened);
  }
  async heap(): Promise<number> {
    await this.session.send("HeapProfiler.collectGarbage");
    return (await this.session.send("Runtime.getHeapUsage")).usedSize;
  }
  /** The names of locks that are held, by pages of this tide. */
  locks(tide: string): Promise<string[]> {
    return this.page.evaluate(async (name) => {
      const { held } = await navigator.locks.query();
      return held!.flatMap((lock) => (lock.name === `tidemark:${name}` ? [lock.name] : []));
    }, tide);
  }
}

let tides = 0;
const fresh = (framework: Framework): string => `${framework}-${tides++}`;
const mountMany = async (tab: Tab, count: number): Promise<void> => {
  await tab.call((walk, given) => walk.many(given), count);
  await expect.poll(() => tab.page.locator("#many i").count()).toBe(count);
};

describe.each(FRAMEWORKS)("tidemark/%s", (framework) => {
  it("hydrates what the server has rendered without a warning, opens once, and shows what is appended", async () => {
    const tide = fresh(framework);
    const tab = await Tab.open(`${framework}-rendered`, tide, "a");
    await tab.shows("state", "open leader");
    await tab.shows("count", "0 records");
    await tab.click("add");
    await tab.shows("count", "1 records");
    await tab.shows("last", "a0");
    expect(await tab.call((walk) => walk.pendings)).toBeGreaterThan(0);
    await tab.shows("pending", "");
    for (let i = 0; i < 4; i++) await tab.click("add");
    await tab.shows("count", "5 records");
    await tab.shows("last", "a2\na3\na4");
    expect([await tab.text("sync"), await tab.text("even")]).toEqual(["idle", "4"]);
    // Drawn again only where the selection differs; StrictMode mounts twice.
    const evens = await tab.call((walk) => walk.evens);
    expect(framework === "react" ? evens.slice(1) : evens).toEqual([0, 2, 4]);
    await tab.click("bad");
    await tab.shows("failed", "INVALID_ARGUMENT");
    await tab.click("dismiss");
    await tab.shows("failed", "");
    expect(await tab.opened()).toEqual([`tidemark:${tide}`]);
    expect(tab.problems).toEqual([]);
    await tab.page.close();
  });

  it("a thousand components share one follower, and leave none behind; the last unmount closes the tide", async () => {
    const tide = fresh(framework);
    const tab = await Tab.open(framework, tide, "a");
    await tab.shows("count", "0 records");
    await mountMany(tab, MANY);
    const before = await tab.call((walk) => walk.applied.times);
    const appended = await tab.call(async ({ tide }, given) => {
      const topic = tide.topic("notes");
      await Promise.all(Array.from({ length: given }, (_, i) => topic.append({ value: String(i) })));
      return given;
    }, RECORDS);
    await tab.shows("count", `${appended} records`);
    expect(await tab.page.locator("#many i").last().innerText()).toBe(String(appended));
    expect((await tab.call((walk) => walk.applied.times)) - before).toBe(appended);
    await mountMany(tab, 0);
    const heap = await tab.heap();
    for (const count of [MANY, 0, MANY, 0]) await mountMany(tab, count);
    expect((await tab.heap()) - heap).toBeLessThan(HEAP_GROWTH_MAX);

    const times = await tab.call((walk) => walk.applied.times);
    expect(await tab.locks(tide)).toEqual([`tidemark:${tide}`]);
    await tab.call((walk) => walk.unmount());
    await expect.poll(() => tab.locks(tide)).toEqual([]);
    // Mounted anew it is opened anew, and folds from the start.
    await tab.call((walk) => walk.mount());
    await tab.shows("count", `${appended} records`);
    expect((await tab.call((walk) => walk.applied.times)) - times).toBe(appended);
    expect((await tab.opened()).length).toBe(2);
    expect(tab.problems).toEqual([]);
    await tab.page.close();
  });

  it("two tabs show the same; the leader goes while the other draws, and nothing is lost", async () => {
    const tide = fresh(framework);
    const first = await Tab.open(framework, tide, "a");
    await first.shows("state", "open leader");
    const second = await Tab.open(framework, tide, "b");
    await second.shows("state", "open follower");
    await first.click("add");
    await second.shows("last", "a0");
    await second.click("add");
    await first.shows("count", "2 records");
    await mountMany(second, 200);
    const acked = second.call(async ({ tide }, given) => {
      const topic = tide.topic("notes");
      let acked = 0;
      for (let i = 0; i < given; i++) {
        await topic.append({ value: String(i) });
        acked++;
        await new Promise((resolve) => requestAnimationFrame(resolve));
      }
      return acked;
    }, 120);
    await second.shows("count", /^[3-9]\d records/);
    await first.page.close();
    expect(await acked).toBe(120);
    await second.shows("count", "122 records");
    await second.shows("state", "open leader");
    expect(await second.page.locator("#many i").last().innerText()).toBe("122");
    expect([...first.problems, ...second.problems]).toEqual([]);
    await second.page.close();
  });

  // React and Solid: the nearest error boundary. Vue and Svelte: `error`.
  it("an error of a view is shown where the framework's people look for it, and other views go on", async () => {
    const tab = await Tab.open(framework, fresh(framework), "a");
    await tab.shows("count", "0 records");
    await tab.call((walk) => walk.fail());
    await tab.click("add");
    await tab.shows("caught", "INTERNAL");
    await tab.shows("count", "1 records");
    await tab.page.close();
  });
});

describe("tidemark/react", () => {
  it("its file says that it is for clients, for bundlers of server components", () => {
    expect(readFileSync(path.join(app, "node_modules/tidemark/dist/react.js"), "utf8")).toMatch(/^"use client";\n/);
  });
});
