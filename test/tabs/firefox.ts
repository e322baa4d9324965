/**
 * Firefox as it is shipped, driven by WebDriver BiDi through Playwright. The context is a persistent one. Playwright's
 * other contexts are no private windows, so a preference makes these.
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { type BrowserContext, firefox, type Page } from "playwright";
import { BURN, type EngineBrowser, type EngineTab, ProcessTab } from "./engine.ts";
import type { TabConfig, TabPage } from "./events.ts";
import { busiestOf, commandOf, descendantsOf, withCommand } from "./processes.ts";

type Method = keyof TabPage;

export function findFirefox(): string | undefined {
  const { FIREFOX_PATH, PATH = "" } = process.env;
  const places = PATH.split(path.delimiter).flatMap((folder) =>
    ["firefox-esr", "firefox"].map((name) => path.join(folder, name)),
  );
  return [FIREFOX_PATH, ...places].find((file) => file !== undefined && existsSync(file));
}

const PREFERENCES = {
  // Without this, the fifth and later tabs of a site share a process.
  "dom.ipc.processCount.webIsolated": 8,
  "dom.ipc.processPrelaunch.enabled": false,
  "browser.tabs.crashReporting.sendReport": false,
  "app.update.enabled": false,
};

class FirefoxTab extends ProcessTab {
  constructor(
    readonly number: number,
    readonly page: Page,
    readonly process: number,
  ) {
    super();
  }

  call<M extends Method>(method: M, ...args: Parameters<TabPage[M]>): Promise<Awaited<ReturnType<TabPage[M]>>> {
    const call = ([name, params]: readonly [string, readonly unknown[]]): unknown =>
      (window as typeof window & { tab: Record<string, (...args: readonly unknown[]) => unknown> }).tab[name]!(
        ...params,
      );
    return this.page.evaluate(call, [method, args] as const) as Promise<Awaited<ReturnType<TabPage[M]>>>;
  }

  protected closePage(): Promise<void> {
    return this.page.close();
  }
}

export class FirefoxBrowser implements EngineBrowser {
  #tabs = 0;
  readonly #processes = new Set<number>();

  private constructor(
    readonly url: string,
    readonly profile: string,
    readonly context: BrowserContext,
    readonly pid: number,
  ) {}

  static async start(url: string, executablePath: string, isPrivate = false): Promise<FirefoxBrowser> {
    const profile = await mkdtemp(path.join(os.tmpdir(), "tidemark-firefox-"));
    // Playwright sets a variable that ends Firefox with the first crashing tab. Only a launcher script can unset it.
    const launcher = path.join(profile, "firefox.sh");
    await writeFile(launcher, `#!/bin/sh\nunset MOZ_CRASHREPORTER_SHUTDOWN\nexec "${executablePath}" "$@"\n`, {
      mode: 0o755,
    });
    const firefoxUserPrefs = { ...PREFERENCES, ...(isPrivate && { "browser.privatebrowsing.autostart": true }) };
    // Playwright knows this name, but its types do not.
    const channel = "moz-firefox" as string;
    const context = await firefox.launchPersistentContext(profile, {
      channel,
      executablePath: launcher,
      headless: true,
      firefoxUserPrefs,
    });
    const pid = withCommand(profile).find((each) => !commandOf(each).includes("-contentproc"))!;
    return new FirefoxBrowser(url, profile, context, pid);
  }

  get version(): string {
    return `Firefox ${this.context.browser()?.version() ?? ""}`;
  }

  async open(config: Omit<TabConfig, "tab">): Promise<EngineTab> {
    const page = await this.context.newPage();
    await page.goto(this.url);
    await page.waitForFunction(() => document.title === "ready");
    const contents = descendantsOf(this.pid).filter((pid) => commandOf(pid).includes("-isForBrowser"));
    const process = await busiestOf(contents, () => page.evaluate(BURN));
    // A fault that strikes one tab must not strike another.
    if (this.#processes.has(process)) throw new Error("two tabs share a process");
    this.#processes.add(process);
    const tab = new FirefoxTab(++this.#tabs, page, process);
    await tab.call("open", { ...config, tab: tab.number });
    return tab;
  }

  async end(): Promise<void> {
    await this.context.close();
    await rm(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
