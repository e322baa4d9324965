/**
 * Real tabs of an app that has installed the package. The page has little more than the package's own API and is driven
 * from here. The pages belong to one browser with a profile on disk. Uncaught errors of pages and workers are kept.
 */
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { Page } from "playwright";
import { crashRenderer, type Running, startBrowser } from "../support/chromium.ts";
import { standStill } from "./stand-still.ts";

/** The app. Its pages are driven through `window.app`. */
export const APP = {
  "index.html": `<!doctype html><meta charset="utf-8"><title>app</title><script type="module" src="/main.ts"></script>`,
  "main.ts": `
import { open, TidemarkError } from "tidemark/browser";

const uncaught = [];
addEventListener("error", (event) => uncaught.push("error: " + event.message));
addEventListener("unhandledrejection", (event) => uncaught.push("rejection: " + String(event.reason)));
const tides = new Map();
const typed = (thrown) => {
  const { code, kind, message, details } = thrown ?? {};
  return { typed: thrown instanceof TidemarkError, code, kind, message: String(message), details };
};
window.app = {
  uncaught,
  async open(name, options) {
    const tide = await open(name, options);
    const events = [];
    tide.on((event) => events.push(event));
    tides.set(name, { tide, events, topic: tide.topic("t", { serializer: "text" }) });
  },
  /** The error of open(). */
  refused: (name, options) => open(name, options).then(() => undefined, typed),
  append: async (name, value) => (await tides.get(name).topic.append({ value })).offset,
  /** The error of append(), or the offset. */
  tried: (name, value) => tides.get(name).topic.append({ value }).then(({ offset }) => ({ offset }), typed),
  /** The error of sync(). Nobody answers at that address: the topic is synced all the same. */
  syncRefused: (name) =>
    tides.get(name).tide.sync({ url: "http://127.0.0.1:9", topics: ["t"] }).then(() => undefined, typed),
  async read(name) {
    const values = [];
    for await (const { value } of tides.get(name).topic.read()) values.push(value);
    return values;
  },
  state: (name) => tides.get(name).topic.state(),
  role: (name) => tides.get(name).tide.role,
  engine: (name) => tides.get(name).tide.storage.engine,
  events: (name) => tides.get(name).events,
  close: (name) => tides.get(name).tide.close(),
  async closeOften(name) {
    const all = await Promise.allSettled(Array.from({ length: 3 }, () => tides.get(name).tide.close()));
    return all.map(({ status, reason }) => status + (reason ? ": " + reason : ""));
  },
  /** A listener that throws at every event. */
  throwAlways(name) { tides.get(name).tide.on(() => { throw new Error("listener"); }); },
  /** The error of on() for these arguments. */
  refusedOn(name, ...args) { try { tides.get(name).tide.on(...args); } catch (thrown) { return typed(thrown); } },
  heardOf(name, type) {
    const heard = [];
    tides.get(name).tide.on(type, (event) => heard.push(event.type));
    tides.get(name).heard = heard;
  },
  heard: (name) => tides.get(name).heard,
  noSharedWorker() { delete globalThis.SharedWorker; },
  stateTried: (name) => tides.get(name).topic.state().then(() => ({}), typed),
  /** Blocks the page, as a long task, an alert or a breakpoint does. */
  busy(ms) { for (const until = performance.now() + ms; performance.now() < until; ); },
  now: () => performance.timeOrigin + performance.now(),
  async locks() {
    const { held = [], pending = [] } = await navigator.locks.query();
    return { held: held.map(({ name }) => name), pending: pending.map(({ name }) => name) };
  },
};
document.title = "ready";
`,
};

export type App = {
  uncaught: string[];
  open(name: string, options?: object): Promise<void>;
  refused(name: string, options?: object): Promise<Refusal | undefined>;
  append(name: string, value: string): Promise<number>;
  tried(name: string, value: string): Promise<Partial<Refusal> & { offset?: number }>;
  syncRefused(name: string): Promise<Refusal | undefined>;
  read(name: string): Promise<string[]>;
  state(name: string): Promise<{ logEndOffset: number }>;
  role(name: string): string;
  engine(name: string): string;
  events(name: string): { type: string; [field: string]: unknown }[];
  close(name: string): Promise<void>;
  closeOften(name: string): Promise<string[]>;
  throwAlways(name: string): void;
  refusedOn(name: string, ...args: unknown[]): Refusal | undefined;
  heardOf(name: string, type: string): void;
  heard(name: string): string[];
  noSharedWorker(): void;
  stateTried(name: string): Promise<Partial<Refusal>>;
  busy(ms: number): void;
  now(): number;
  locks(): Promise<{ held: string[]; pending: string[] }>;
};
export interface Refusal {
  readonly typed: boolean;
  readonly code: string;
  readonly kind: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export class AppTab {
  gone = false;
  constructor(readonly page: Page) {}

  call<M extends Exclude<keyof App, "uncaught">>(
    method: M,
    ...args: Parameters<App[M]>
  ): Promise<Awaited<ReturnType<App[M]>>> {
    const call = ([name, params]: readonly [string, readonly unknown[]]): unknown =>
      (window as typeof window & { app: Record<string, (...args: readonly unknown[]) => unknown> }).app[name]!(
        ...params,
      );
    return this.page.evaluate(call, [method, args] as const) as Promise<Awaited<ReturnType<App[M]>>>;
  }

  /** Resolves when `count` workers of this browser stand by: their locks are there. */
  async seesStandBy(count = 1): Promise<void> {
    for (;;) {
      const { held } = await this.call("locks");
      if (held.filter((name) => name.startsWith("tidemark-spare:")).length >= count) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async crash(): Promise<void> {
    this.gone = true;
    await crashRenderer(this.page, await this.page.context().newCDPSession(this.page));
  }

  async leave(): Promise<void> {
    this.gone = true;
    await this.page.close();
  }

  /** Makes every worker of this tab stand still for this time. */
  hangWorkers(ms: number): void {
    for (const worker of this.page.workers()) void worker.evaluate(standStill, ms).catch(() => undefined);
  }
}

export class AppBrowser {
  #running!: Running;
  #profile!: string;
  readonly tabs: AppTab[] = [];
  /** Uncaught errors. */
  readonly problems: string[] = [];

  static async start(): Promise<AppBrowser> {
    const made = new AppBrowser();
    made.#profile = await mkdtemp(path.join(os.tmpdir(), "tidemark-app-tabs-"));
    made.#running = await startBrowser(made.#profile);
    return made;
  }

  async open(url: string): Promise<AppTab> {
    const page = await this.#running.context.newPage();
    page.on("pageerror", (error) => this.problems.push(`${error.message} ${error.stack}`));
    await page.goto(url);
    await page.waitForFunction(() => document.title === "ready");
    const tab = new AppTab(page);
    this.tabs.push(tab);
    return tab;
  }

  /** Closes the pages and returns all uncaught errors, those noted by the pages too. */
  async clear(): Promise<string[]> {
    const told: string[] = [...this.problems.splice(0)];
    for (const tab of this.tabs.splice(0)) {
      if (!tab.gone)
        told.push(...(await tab.page.evaluate(() => (window as typeof window & { app?: App }).app?.uncaught ?? [])));
      await tab.page.close().catch(() => undefined);
    }
    return told;
  }

  async end(): Promise<void> {
    const { child, browser } = this.#running;
    const exit = new Promise((resolve) => child.once("exit", resolve));
    process.kill(-child.pid!, "SIGKILL");
    await exit;
    await browser.close().catch(() => undefined);
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
