/** One page of the crash test, the browser it runs in (test/support/chromium.ts), and all strikes against the two. */
import { appendFile, mkdtemp, readdir, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { CDPSession, Page } from "playwright";
import { crashRenderer, type Running, startBrowser } from "../support/chromium.ts";
import type { CrashPage } from "./events.ts";

type Method = keyof CrashPage;

/** The head of a record of LevelDB's log: checksum, 28 bytes of content that do not follow, and its type (whole). */
const TORN_RECORD = Buffer.from([0x71, 0xb3, 0xf7, 0x98, 28, 0, 1]);

export class CrashBrowser {
  readonly #url: string;
  readonly #profile: string;
  /** Called with each uncaught error of a page. */
  readonly #onError: (message: string) => void;
  #running: Running | undefined;
  #page: Page | undefined;
  /** Opened together with the page, because a strike must not wait for it. */
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

  /** Resolves when a page is ready. Starts the browser and opens the page if there is none. */
  async ready(): Promise<void> {
    this.#running ??= await startBrowser(this.#profile);
    if (this.#page) return;
    this.#page = await this.#running.context.newPage();
    this.#page.on("pageerror", (error) => this.#onError(`uncaught in the page: ${error.message}`));
    this.#session = await this.#running.context.newCDPSession(this.#page);
    await this.#page.goto(this.#url);
    await this.#page.waitForFunction(() => document.title === "ready");
  }

  /** Calls a function in the page. Rejects when the page ends during the call. */
  call<M extends Method>(method: M, ...args: Parameters<CrashPage[M]>): Promise<Awaited<ReturnType<CrashPage[M]>>> {
    const call = ([name, params]: readonly [string, readonly unknown[]]): unknown =>
      (window as typeof window & { crash: Record<string, (...args: readonly unknown[]) => unknown> }).crash[name]!(
        ...params,
      );
    return this.#page!.evaluate(call, [method, args] as const) as Promise<Awaited<ReturnType<CrashPage[M]>>>;
  }

  /** Kills the browser: its whole process group at once. */
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

  /**
   * Leaves the head of a record without its content at the end of the log in which a killed browser kept the names of
   * its files in OPFS: the kill came between two writes (src/browser/volume/torn-names.ts).
   */
  async tearNames(): Promise<void> {
    const folder = path.join(this.#profile, "Default", "File System", "000", "t", "Paths");
    const logs = (await readdir(folder)).filter((name) => name.endsWith(".log")).sort();
    await appendFile(path.join(folder, logs.at(-1)!), TORN_RECORD);
  }

  /** Crashes the renderer's process and closes its page. */
  async crash(): Promise<void> {
    const page = this.#page!;
    await crashRenderer(page, this.#session!);
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

  /** Kills the browser and removes its profile. It is not closed, since a page that hangs may never close. */
  async end(): Promise<void> {
    if (this.#running) await this.kill();
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
