/**
 * A real Chromium over a profile on disk, with everything that can happen to it. Started here, as the head of a process
 * group of its own, and driven without Playwright's defaults: those keep every page "visible", and Chromium freezes hidden
 * pages only.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { type Browser, type BrowserContext, type CDPSession, chromium, type Page } from "playwright";
import type { CrashPage } from "./events.ts";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { CHROMIUM_ARGS, ensureChromium } from "../../tools/run/setup.mjs";

type Method = keyof CrashPage;

const START_MS = 30_000;
const QUIET_ARGS = [
  "--headless",
  "--remote-debugging-port=0",
  "--no-default-browser-check",
  "--disable-extensions",
  "--disable-default-apps",
  "--password-store=basic",
  "--mute-audio",
];

export interface Running {
  readonly child: ChildProcess;
  readonly browser: Browser;
  readonly context: BrowserContext;
}

/** A browser over this profile, its process group its own, and nothing of Playwright's defaults in it. */
export async function startBrowser(profile: string): Promise<Running> {
  const args = [...(CHROMIUM_ARGS as string[]), ...QUIET_ARGS, `--user-data-dir=${profile}`, "about:blank"];
  const child = spawn((ensureChromium as () => string)(), args, {
    detached: true,
    stdio: ["ignore", "ignore", "pipe"],
  });
  // It would outlive us otherwise: its group is its own.
  const reap = (): boolean => process.kill(-child.pid!, "SIGKILL");
  process.once("exit", reap);
  child.once("exit", () => process.off("exit", reap));
  const address = await new Promise<string>((resolve, reject) => {
    let said = "";
    const timer = setTimeout(() => reject(new Error(`Chromium did not start: ${said}`)), START_MS);
    child.stderr!.on("data", (bytes: Buffer) => {
      said += bytes.toString();
      const [, found] = /DevTools listening on (ws:\S+)/.exec(said) ?? [];
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(found);
    });
    child.once("exit", () => reject(new Error(`Chromium ended at its start: ${said}`)));
  });
  // Nobody reads on; a full pipe would stop it.
  child.stderr!.removeAllListeners("data").resume();
  const browser = await chromium.connectOverCDP(address, { noDefaults: true });
  return { child, browser, context: browser.contexts()[0]! };
}

export class CrashBrowser {
  readonly #url: string;
  readonly #profile: string;
  /** An error that nobody caught in a page. */
  readonly #onError: (message: string) => void;
  #running: Running | undefined;
  #page: Page | undefined;
  /** Opened with the page: when it strikes, there is no time for it. */
  #session: CDPSession | undefined;

  private constructor(url: string, profile: string, onError: (message: string) => void) {
    this.#url = url;
    this.#profile = profile;
    this.#onError = onError;
  }

  static async make(url: string, onError: (message: string) => void): Promise<CrashBrowser> {
    return new CrashBrowser(url, await mkdtemp(path.join(os.tmpdir(), "tidemark-crash-")), onError);
  }

  get version(): string {
    return this.#running?.browser.version() ?? "";
  }

  /** A page that is ready, in a browser that may have to be started for it. */
  async ready(): Promise<void> {
    this.#running ??= await startBrowser(this.#profile);
    if (this.#page) return;
    this.#page = await this.#running.context.newPage();
    this.#page.on("pageerror", (error) => this.#onError(`uncaught in the page: ${error.message}`));
    this.#session = await this.#running.context.newCDPSession(this.#page);
    await this.#page.goto(this.#url);
    await this.#page.waitForFunction(() => document.title === "ready");
  }

  /** Calls the page; rejects when the page goes meanwhile. */
  call<M extends Method>(method: M, ...args: Parameters<CrashPage[M]>): Promise<Awaited<ReturnType<CrashPage[M]>>> {
    const call = ([name, params]: readonly [string, readonly unknown[]]): unknown =>
      (window as unknown as { crash: Record<string, (...args: readonly unknown[]) => unknown> }).crash[name]!(
        ...params,
      );
    return this.#page!.evaluate(call, [method, args] as const) as Promise<Awaited<ReturnType<CrashPage[M]>>>;
  }

  /** The whole process group at once. */
  async kill(): Promise<void> {
    const { child, browser } = this.#running!;
    this.#running = this.#page = undefined;
    if (child.signalCode !== null || child.exitCode !== null) return;
    const gone = Promise.all([
      new Promise((resolve) => browser.once("disconnected", resolve)),
      new Promise((resolve) => child.once("exit", resolve)),
    ]);
    process.kill(-child.pid!, "SIGKILL");
    await gone;
  }

  /** The renderer's process. */
  async crash(): Promise<void> {
    const page = this.#page!;
    const crashed = new Promise((resolve) => page.once("crash", resolve));
    this.#session!.send("Page.crash").catch(() => undefined);
    await crashed;
    await this.closePage();
  }

  async closePage(): Promise<void> {
    await this.#page!.close();
    this.#page = undefined;
  }

  async reload(): Promise<void> {
    await this.#page!.reload();
    await this.#page!.waitForFunction(() => document.title === "ready");
  }

  async freeze(): Promise<void> {
    await this.#running!.context.pages()[0]!.bringToFront();
    await this.#session!.send("Page.setWebLifecycleState", { state: "frozen" });
  }
  async thaw(): Promise<void> {
    await this.#session!.send("Page.setWebLifecycleState", { state: "active" });
    await this.#page!.bringToFront();
  }

  /** Killed, not closed: nothing in the profile is needed any more, and a page that hangs may not close. */
  async end(): Promise<void> {
    if (this.#running) await this.kill();
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
