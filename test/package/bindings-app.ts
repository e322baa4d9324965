/**
 * The app of the tests of bindings: the packed package, the frameworks beside it, one page for each that Vite builds
 * (test/package/bindings), rendered on a server by Node, and a tab that shows one of them. The frameworks are built for
 * development, because only then do they warn.
 */
import { execFile } from "node:child_process";
import { cpSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import type { BrowserContext, CDPSession, Page } from "playwright";
import { expect, inject } from "vitest";
import { serveFolder, type Site } from "../support/packed.ts";
import { install } from "./apps.ts";
import { COUNT_RUNNING, type Running } from "./counting.ts";

const root = path.join(import.meta.dirname, "../..");
const run = promisify(execFile);
export const FRAMEWORKS = ["react", "vue", "svelte", "solid"] as const;
export type Framework = (typeof FRAMEWORKS)[number];

/** Packages that an app with all four has. They come from the repository, with its Vite and its plugins. */
const LINKED = ["react", "react-dom", "vue", "svelte", "solid-js", "zod"];
/** The lowest versions that package.json allows, with a Vite and plugins that know them. */
export const LOWEST = [
  "react@18.0.0",
  "react-dom@18.0.0",
  "vue@3.5.0",
  "svelte@5.20.0",
  "solid-js@1.8.0",
  "zod@4.0.0",
  "vite@6.4.6",
  "@vitejs/plugin-vue@5.2.4",
  "@sveltejs/vite-plugin-svelte@5.0.3",
  "vite-plugin-solid@2.11.0",
  "babel-preset-solid@1.8.4",
];

const page = (framework: string, { head, body }: { head: string; body: string }): string =>
  `<!doctype html><meta charset="utf-8"><title>${framework}</title><link rel="icon" href="data:,">${head}
<div id="app">${body}</div><script type="module" src="./${framework}-page.js"></script>`;

export interface BindingsApp {
  readonly directory: string;
  readonly site: Site;
}

/** Builds and serves all pages. `packages` are installed; without them the repository's are linked. */
export async function bindingsApp(name: string, packages?: readonly string[]): Promise<BindingsApp> {
  const directory = path.join(inject("packageFolder"), name);
  cpSync(path.join(import.meta.dirname, "bindings"), directory, { recursive: true });
  writeFileSync(path.join(directory, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  await install(directory, [inject("tarball"), ...(packages ?? [])]);
  const modules = path.join(directory, "node_modules");
  if (!packages)
    for (const each of LINKED) symlinkSync(path.join(root, "node_modules", each), path.join(modules, each));
  const env = { ...process.env, NODE_ENV: "development", ...(!packages && { REPOSITORY: root }) };
  const vite = path.join(packages ? directory : root, "node_modules/vite/bin/vite.js");
  const build = (config: string): Promise<unknown> =>
    run(process.execPath, [vite, "build", "-c", config, "-m", "development"], { cwd: directory, env });
  await build("server.config.js");
  for (const framework of FRAMEWORKS) {
    const args = [path.join(directory, "server/server.js"), framework];
    const { stdout } = await run(process.execPath, args, { cwd: directory, env });
    const rendered = JSON.parse(stdout) as { head: string; body: string };
    expect(rendered.body).toContain("reading");
    writeFileSync(path.join(directory, `${framework}-rendered.html`), page(framework, rendered));
    writeFileSync(path.join(directory, `${framework}.html`), page(framework, { head: rendered.head, body: "" }));
  }
  await build("pages.config.js");
  return { directory, site: await serveFolder(path.join(directory, "dist")) };
}

/** `window.walk` of a page (test/package/bindings/notes.js). */
interface Walk {
  readonly applied: { times: number };
  readonly evens: number[];
  readonly pasts: number[];
  readonly pendings: number;
  readonly tide: import("../../src/browser/index.ts").Tide;
  mount(): void;
  unmount(): void;
  many(count: number): void;
  base(count: number): void;
  ask(asked?: {
    readonly last: number;
    readonly follow?: boolean;
    readonly isOrders?: boolean;
    readonly isTwice?: boolean;
  }): void;
  fail(): void;
  refuse(isRefusing: boolean): void;
}
type WalkedWindow = typeof globalThis & { readonly opened: string[]; running(): Running };

/** Notes each opening of a tide, which makes one channel of its name, in `globalThis.opened`. */
function noteOpenings(): void {
  const opened: string[] = [];
  const Own = BroadcastChannel;
  Object.assign(globalThis, {
    opened,
    // Without devtools Vue keeps each component for some seconds, in case they come.
    __VUE_DEVTOOLS_GLOBAL_HOOK__: { emit: () => undefined, on: () => undefined },
    BroadcastChannel: class extends Own {
      constructor(name: string) {
        super(name);
        opened.push(name);
      }
    },
  });
}

/** A tab with the page of a framework. Whatever the page says in its console is a problem. */
export class Tab {
  readonly problems: string[] = [];
  private constructor(
    readonly page: Page,
    readonly session: CDPSession,
  ) {}

  /** `file` is of the app; `tab` begins the values that the page appends; `every`: each of many has every hook. */
  static async open(
    context: BrowserContext,
    site: Site,
    file: string,
    query: { tide: string; tab: string; every?: string },
  ) {
    const page = await context.newPage();
    const opened = new Tab(page, await context.newCDPSession(page));
    page.on("pageerror", (error) => opened.problems.push(error.message));
    page.on("console", (said) => {
      if (["error", "warning"].includes(said.type())) opened.problems.push(said.text());
    });
    await page.addInitScript(noteOpenings);
    await page.addInitScript(COUNT_RUNNING);
    await page.goto(`${site.url}${file}.html?${new URLSearchParams(query)}`);
    return opened;
  }

  text(id: string): Promise<string> {
    return this.page.locator(`#${id}`).innerText();
  }
  async shows(id: string, text: string | RegExp): Promise<void> {
    const found = expect.poll(() => this.text(id));
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
  async mountMany(count: number): Promise<void> {
    await this.call((walk, given) => walk.many(given), count);
    await expect.poll(() => this.page.locator("#many i").count()).toBe(count);
  }
  opened(): Promise<string[]> {
    return this.page.evaluate(() => (globalThis as WalkedWindow).opened);
  }
  /** What the bindings have running now. */
  running(): Promise<Running> {
    return this.page.evaluate(() => (globalThis as WalkedWindow).running());
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
