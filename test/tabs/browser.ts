/** Real tabs: pages of one Chromium over one profile on disk, each with a process of its own, and what can happen to each. */
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { CDPSession, Page } from "playwright";
import { type Running, startBrowser } from "../crash/browser.ts";
import type { TabConfig, TabPage, TabState } from "./events.ts";

type Method = keyof TabPage;

export class Tab {
  /** It is gone, or soon will be. */
  struck = false;

  constructor(
    readonly number: number,
    readonly page: Page,
    readonly session: CDPSession,
  ) {}

  call<M extends Method>(method: M, ...args: Parameters<TabPage[M]>): Promise<Awaited<ReturnType<TabPage[M]>>> {
    const call = ([name, params]: readonly [string, readonly unknown[]]): unknown => (window as unknown as { tab: Record<string, (...args: readonly unknown[]) => unknown> }).tab[name]!(...params);
    return this.page.evaluate(call, [method, args] as const) as Promise<Awaited<ReturnType<TabPage[M]>>>;
  }
  state(): Promise<TabState> {
    return this.call("state");
  }

  async close(): Promise<void> {
    this.struck = true;
    await this.page.close();
  }

  /** The renderer's process. */
  async crash(): Promise<void> {
    this.struck = true;
    const crashed = new Promise((resolve) => this.page.once("crash", resolve));
    this.session.send("Page.crash").catch(() => undefined);
    await crashed;
  }

  async killWorkers(): Promise<void> {
    await this.call("killWorkers");
  }

  /** In front; the others are hidden then. */
  show(): Promise<void> {
    return this.page.bringToFront();
  }
  async freeze(): Promise<void> {
    await this.session.send("Page.setWebLifecycleState", { state: "frozen" });
  }
  async thaw(): Promise<void> {
    await this.session.send("Page.setWebLifecycleState", { state: "active" });
  }

  async navigateAway(): Promise<void> {
    this.struck = true;
    await this.page.goto("about:blank");
  }
}

export class TabsBrowser {
  #running!: Running;
  #tabs = 0;
  readonly problems: string[] = [];

  private constructor(
    readonly url: string,
    readonly profile: string,
  ) {}

  static async start(url: string): Promise<TabsBrowser> {
    const made = new TabsBrowser(url, await mkdtemp(path.join(os.tmpdir(), "tidemark-tabs-")));
    made.#running = await startBrowser(made.profile);
    return made;
  }

  /** A new tab; it is in front then, and the others are hidden. */
  async open(config: Omit<TabConfig, "tab">): Promise<Tab> {
    const number = ++this.#tabs;
    const page = await this.#running.context.newPage();
    page.on("pageerror", (error) => this.problems.push(`uncaught in tab ${number}: ${error.message}`));
    const tab = new Tab(number, page, await this.#running.context.newCDPSession(page));
    await page.goto(this.url);
    await page.waitForFunction(() => document.title === "ready");
    await tab.call("open", { ...config, tab: number });
    return tab;
  }

  /** All but the one that the browser began with. */
  async closeAll(): Promise<void> {
    for (const page of this.#running.context.pages().slice(1)) await page.close();
  }

  async end(): Promise<void> {
    const { child, browser } = this.#running;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    if (child.exitCode === null && child.signalCode === null) {
      process.kill(-child.pid!, "SIGKILL");
      await gone;
    }
    await browser.close().catch(() => undefined);
    await rm(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
