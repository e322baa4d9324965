/**
 * A real Chromium over a profile on disk. It is started here, as the head of its own process group, and driven without
 * Playwright's defaults: those keep every page "visible", and Chromium only freezes hidden pages.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { type Browser, type BrowserContext, type CDPSession, chromium, type Page } from "playwright";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { CHROMIUM_ARGS, ensureChromium } from "../../tools/run/setup.mjs";

const START_MS = 30_000;
const QUIET_ARGS = [
  "--headless",
  "--remote-debugging-port=0",
  "--no-default-browser-check",
  "--disable-extensions",
  "--disable-default-apps",
  "--password-store=basic",
  "--mute-audio",
  // The address bar's popups are pages of the browser's own: their process takes as long as all else of a start.
  "--disable-features=WebUIOmniboxAimPopup,WebUIOmniboxPopup",
];

export interface Running {
  readonly child: ChildProcess;
  readonly browser: Browser;
  readonly context: BrowserContext;
}

/** Starts a browser over this profile, in a process group of its own. `address` is where a driver connects to. */
export async function launchBrowser(
  profile: string,
): Promise<{ readonly child: ChildProcess; readonly address: string }> {
  const args = [...(CHROMIUM_ARGS as string[]), ...QUIET_ARGS, `--user-data-dir=${profile}`, "about:blank"];
  const child = spawn((ensureChromium as () => string)(), args, {
    detached: true,
    stdio: ["ignore", "ignore", "pipe"],
  });
  // A process group of its own outlives this process unless it is killed.
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
  // Nobody reads the output from here on. It must still be drained, because a full pipe would stop the browser.
  child.stderr!.removeAllListeners("data").resume();
  return { child, address };
}

/** The same, driven by Playwright. */
export async function startBrowser(profile: string): Promise<Running> {
  const { child, address } = await launchBrowser(profile);
  const browser = await chromium.connectOverCDP(address, { noDefaults: true });
  return { child, browser, context: browser.contexts()[0]! };
}

/**
 * Crashes the process of a page's renderer, and waits for that. The browser tells it to each session of the page; on a
 * busy machine one of them was seen not to hear it. The command itself is never answered.
 */
export async function crashRenderer(page: Page, session: CDPSession): Promise<void> {
  const crashed = Promise.race([
    new Promise((resolve) => page.once("crash", resolve)),
    new Promise((resolve) => session.once("Inspector.targetCrashed", resolve)),
  ]);
  session.send("Page.crash").catch(() => undefined);
  await crashed;
}
