/**
 * Real tabs: pages of one Chromium over one profile on disk, each with a process of its own, and the faults that can
 * strike each of them.
 */
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { BrowserContext, CDPSession, Page } from "playwright";
import { crashRenderer, type Running, startBrowser } from "../support/chromium.ts";
import { commandOf, ofGroup, TICKS, ticksOf } from "./processes.ts";
import type { TabConfig, TabPage, TabState } from "./events.ts";

const PROCESS_TRIES = 20;

type Returned<F> = F extends (...args: never) => infer R ? Awaited<R> : never;
type Taken<F> = F extends (...args: infer A) => unknown ? A : never;

/** A page that is driven through the functions in its `window.tab`, and the faults that can strike it. */
export class DrivenPage<P> {
  /** True when the tab is gone or about to go. */
  struck = false;

  constructor(
    readonly number: number,
    readonly page: Page,
    readonly session: CDPSession,
  ) {}

  call<M extends keyof P & string>(method: M, ...args: Taken<P[M]>): Promise<Returned<P[M]>> {
    const call = ([name, params]: readonly [string, readonly unknown[]]): unknown =>
      (window as typeof window & { tab: Record<string, (...args: readonly unknown[]) => unknown> }).tab[name]!(
        ...params,
      );
    return this.page.evaluate(call, [method, args] as const) as Promise<Returned<P[M]>>;
  }

  async close(): Promise<void> {
    this.struck = true;
    await this.page.close();
  }

  /** Crashes the renderer's process. */
  async crash(): Promise<void> {
    this.struck = true;
    await crashRenderer(this.page, this.session);
  }

  async reload(): Promise<void> {
    this.struck = true;
    await this.page.reload();
  }

  async slowDown(rate: number): Promise<void> {
    await this.session.send("Emulation.setCPUThrottlingRate", { rate });
  }

  /**
   * Finds its renderer's process. The browser does not name it, so it is recognised by its processor time, which both
   * Linux and the page's metrics know.
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
    throw new Error(`the process of tab ${this.number} was not found`);
  }

  /** Brings the tab to the front; the other tabs are hidden then. */
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

/** A tab of the tests of many tabs. */
export class Tab extends DrivenPage<TabPage> {
  state(): Promise<TabState> {
    return this.call("state");
  }
  async killWorkers(): Promise<void> {
    await this.call("killWorkers");
  }
}

/** Receives a page's messages; the page's side is in test/crash/page/wire.ts. */
export async function hear(session: CDPSession, onPost: (body: string) => void): Promise<void> {
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

  /** `onPost` gets the pages' messages to the ledger over the driver, which costs far less than requests. */
  static async start(url: string, onPost?: (body: string) => void): Promise<TabsBrowser> {
    const made = new TabsBrowser(url, await mkdtemp(path.join(os.tmpdir(), "tidemark-tabs-")), onPost);
    made.#running = await startBrowser(made.profile);
    return made;
  }

  get version(): string {
    return this.#running.browser.version();
  }
  /** The process id of the browser, and of its process group. */
  get pid(): number {
    return this.#running.child.pid!;
  }

  /** Opens a new tab in front; the others are hidden then. */
  async open(config: Omit<TabConfig, "tab">): Promise<Tab> {
    return this.openIn(await this.newPage(), config);
  }

  /** Opens a page without a tide. `place` is relative to the stage's address. */
  async newPage(place = "", context: BrowserContext = this.#running.context): Promise<Page> {
    const page = await context.newPage();
    await page.goto(this.url + place);
    return page;
  }

  /** Makes a context of the same browser whose profile is in memory. */
  incognito(): Promise<BrowserContext> {
    return this.#running.browser.newContext();
  }

  /** Opens the tide in a page that was reloaded. */
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

  /** Kills the whole process group at once and starts the browser again over the same profile. */
  async killAndStart(): Promise<void> {
    await this.#kill();
    this.#running = await startBrowser(this.profile);
  }

  /** Closes all tabs except the one that the browser began with. */
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
