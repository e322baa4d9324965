/** A real Chromium over a profile on disk, with everything that can happen to it. */
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { type BrowserContext, type CDPSession, chromium, type Page } from "playwright";
import type { CrashPage } from "./events.ts";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { CHROMIUM_ARGS, ensureChromium } from "../tooling/setup.mjs";

type Method = keyof CrashPage;

export class CrashBrowser {
  readonly #url: string;
  readonly #profile: string;
  #context: BrowserContext | undefined;
  #page: Page | undefined;
  /** Opened with the page: when it strikes, there is no time for it. */
  #session: CDPSession | undefined;
  #group = 0;

  /** An error that nobody caught in a page. */
  readonly #onError: (message: string) => void;

  private constructor(url: string, profile: string, onError: (message: string) => void) {
    this.#url = url;
    this.#profile = profile;
    this.#onError = onError;
  }

  static async make(url: string, onError: (message: string) => void): Promise<CrashBrowser> {
    return new CrashBrowser(url, await mkdtemp(path.join(os.tmpdir(), "tidemark-crash-")), onError);
  }

  /** A page that is ready, in a browser that may have to be started for it. */
  async ready(): Promise<void> {
    if (!this.#context) {
      this.#context = await chromium.launchPersistentContext(this.#profile, { executablePath: (ensureChromium as () => string)(), args: CHROMIUM_ARGS as string[] });
      this.#group = this.#processGroup();
    }
    if (this.#page) return;
    this.#page = await this.#context.newPage();
    this.#page.on("pageerror", (error) => this.#onError(`uncaught in the page: ${error.message}`));
    this.#session = await this.#context.newCDPSession(this.#page);
    await this.#page.goto(this.#url);
    await this.#page.waitForFunction(() => document.title === "ready");
  }

  /** Calls the page; rejects when the page goes meanwhile. */
  call<M extends Method>(method: M, ...args: Parameters<CrashPage[M]>): Promise<Awaited<ReturnType<CrashPage[M]>>> {
    const call = ([name, params]: readonly [string, readonly unknown[]]): unknown => (window as unknown as { crash: Record<string, (...args: readonly unknown[]) => unknown> }).crash[name]!(...params);
    return this.#page!.evaluate(call, [method, args] as const) as Promise<Awaited<ReturnType<CrashPage[M]>>>;
  }

  #processGroup(): number {
    const lines = execFileSync("ps", ["-eo", "pgid=,args="], { encoding: "utf8" }).split("\n");
    const main = lines.find((line) => line.includes(`--user-data-dir=${this.#profile}`) && !line.includes("--type="));
    const group = Number(/^\s*(\d+)/.exec(main ?? "")?.[1]);
    if (!(group > 1)) throw new Error("the browser's process is not to be found");
    return group;
  }

  async kill(): Promise<void> {
    const context = this.#context!;
    const closed = new Promise((resolve) => context.once("close", resolve));
    process.kill(-this.#group, "SIGKILL");
    await closed;
    this.#context = this.#page = undefined;
  }

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

  async freeze(frozen: boolean): Promise<void> {
    await this.#session!.send("Page.setWebLifecycleState", { state: frozen ? "frozen" : "active" });
  }

  async end(): Promise<void> {
    // Killed, not closed: nothing in the profile is needed any more, and a page that hangs may not close.
    if (this.#context) await this.kill();
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
