/**
 * Real tabs: pages of one Chromium over one profile on disk, each with a process of its own, and what can happen to
 * each.
 */
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { BrowserContext, CDPSession, Page } from "playwright";
import { type Running, startBrowser } from "../support/chromium.ts";
import { commandOf, ofGroup, TICKS, ticksOf } from "./processes.ts";
import type { TabConfig, TabPage, TabState } from "./events.ts";

type Method = keyof TabPage;

const PROCESS_TRIES = 20;

export class Tab {
  /** It is gone, or soon will be. */
  struck = false;

  constructor(
    readonly number: number,
    readonly page: Page,
    readonly session: CDPSession,
  ) {}

  call<M extends Method>(method: M, ...args: Parameters<TabPage[M]>): Promise<Awaited<ReturnType<TabPage[M]>>> {
    const call = ([name, params]: readonly [string, readonly unknown[]]): unknown =>
      (window as unknown as { tab: Record<string, (...args: readonly unknown[]) => unknown> }).tab[name]!(...params);
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

  async reload(): Promise<void> {
    this.struck = true;
    await this.page.reload();
  }

  async slowDown(rate: number): Promise<void> {
    await this.session.send("Emulation.setCPUThrottlingRate", { rate });
  }

  /**
   * Its renderer's process: the browser's own, by name or not, tell nobody; so by the processor time that both name.
   */
  async process(browserPid: number): Promise<number> {
    await this.session.send("Performance.enable");
    let candidates = ofGroup(browserPid).filter((pid) => commandOf(pid).includes("--type=renderer"));
    for (let tries = 0; tries < PROCESS_TRIES; tries++) {
      const before = candidates.map(ticksOf);
      const { metrics } = await this.session.send("Performance.getMetrics");
      const ticks = metrics.find(({ name }) => name === "ProcessTime")!.value * TICKS;
      const near = candidates.filter((pid, i) => before[i]! - 1 <= ticks && ticks <= ticksOf(pid) + 1);
      if (near.length === 1) return near[0]!;
      if (near.length > 1) candidates = near;
      await this.page.evaluate((ms) => {
        for (const until = performance.now() + ms; performance.now() < until;);
      }, 30);
    }
    throw new Error(`nobody knows the process of tab ${this.number}`);
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

/** The page's side is in test/crash/page/wire.ts. */
async function hear(session: CDPSession, onPost: (body: string) => void): Promise<void> {
  session.on("Runtime.bindingCalled", ({ payload }) => {
    const [number] = payload.split(" ", 1);
    onPost(payload.slice(number!.length));
    session.send("Runtime.evaluate", { expression: `ledgerHas(${number})` }).catch(() => undefined);
  });
  await session.send("Runtime.enable");
  await session.send("Runtime.addBinding", { name: "ledgerHears" });
}

export class TabsBrowser {
  #running!: Running;
  #tabs = 0;
  readonly problems: string[] = [];

  private constructor(
    readonly url: string,
    readonly profile: string,
    readonly onPost: ((body: string) => void) | undefined,
  ) {}

  /** `onPost`: what pages tell the ledger comes over the driver, which costs far less than requests. */
  static async start(url: string, onPost?: (body: string) => void): Promise<TabsBrowser> {
    const made = new TabsBrowser(url, await mkdtemp(path.join(os.tmpdir(), "tidemark-tabs-")), onPost);
    made.#running = await startBrowser(made.profile);
    return made;
  }

  get version(): string {
    return this.#running.browser.version();
  }
  /** Of the browser, and of its group. */
  get pid(): number {
    return this.#running.child.pid!;
  }

  /** A new tab; it is in front then, and the others are hidden. */
  async open(config: Omit<TabConfig, "tab">): Promise<Tab> {
    return this.openIn(await this.newPage(), config);
  }

  /** The page, with no tide open in it yet. `place`: below the stage's address. */
  async newPage(place = "", context: BrowserContext = this.#running.context): Promise<Page> {
    const page = await context.newPage();
    await page.goto(this.url + place);
    return page;
  }

  /** A profile that lives in memory, of the same browser. */
  incognito(): Promise<BrowserContext> {
    return this.#running.browser.newContext();
  }

  /** In a page that was loaded anew. */
  async openIn(page: Page, config: Omit<TabConfig, "tab">): Promise<Tab> {
    const number = ++this.#tabs;
    page
      .removeAllListeners("pageerror")
      .on("pageerror", (error) => this.problems.push(`uncaught in tab ${number}: ${error.message} ${error.stack}`));
    const tab = new Tab(number, page, await page.context().newCDPSession(page));
    await page.waitForFunction(() => document.title === "ready");
    if (this.onPost) await hear(tab.session, this.onPost);
    await tab.call("open", { ...config, tab: number });
    return tab;
  }

  /** The whole group at once, and again over the same profile. */
  async killAndStart(): Promise<void> {
    await this.#kill();
    this.#running = await startBrowser(this.profile);
  }

  /** All but the one that the browser began with. */
  async closeAll(): Promise<void> {
    for (const page of this.#running.context.pages().slice(1)) await page.close();
  }

  async #kill(): Promise<void> {
    const { child, browser } = this.#running;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    if (child.exitCode === null && child.signalCode === null) {
      process.kill(-child.pid!, "SIGKILL");
      await gone;
    }
    await browser.close().catch(() => undefined);
  }

  async end(): Promise<void> {
    await this.#kill();
    await rm(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
