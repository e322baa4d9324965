/** A page of the crash test in its browser (test/support/chromium.ts), with everything that can happen to the two. */
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { CDPSession, Page } from "playwright";
import { type Running, startBrowser } from "../support/chromium.ts";
import type { CrashPage } from "./events.ts";

type Method = keyof CrashPage;

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
