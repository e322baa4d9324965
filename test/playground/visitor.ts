/** A visitor's browser, and what is checked of each page: accessibility, room, and that nothing moves by itself. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type BrowserContext, chromium, type Frame, type Page } from "playwright";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { CHROMIUM_ARGS, findChromium } from "../../tools/run/setup.mjs";

export const chromiumOptions = {
  executablePath: process.env["CHROMIUM_PATH"] ?? (findChromium() as string),
  args: CHROMIUM_ARGS as string[],
};

/** Chromium with a profile on disk, and a page in it whose errors are collected in `problems`. */
export async function visit(
  profile: string,
  url: string,
  problems: string[],
): Promise<{ context: BrowserContext; page: Page }> {
  const viewport = { width: 1280, height: 900 };
  const context = await chromium.launchPersistentContext(profile, {
    ...chromiumOptions,
    viewport,
    acceptDownloads: true,
  });
  const page = await context.newPage();
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  await page.goto(url);
  return { context, page };
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The accessibility rules that are broken, each with the elements that break it. */
export async function violationsIn(page: Page | Frame): Promise<string[]> {
  await page.evaluate(axe);
  return page.evaluate(async () => {
    // Wait for animations: an element that is still fading in has less contrast.
    await Promise.all(document.getAnimations().map(({ finished }) => finished));
    const { axe: tool } = window as typeof window & {
      axe: { run(how: object): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
    };
    // All rules run; of what passes nothing is written down, which takes most of the time.
    const found = (await tool.run({ resultTypes: ["violations"] })).violations;
    return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`);
  });
}

/** Bound of the cumulative layout shift, the browser's metric: up to 0.1 is rated "good". */
export const SHIFT_MAX = 0.1;

/** Runs in the page, before anything of it. */
export const watchShifts = (): void => {
  const seen = { shift: 0 };
  Object.assign(window, { seen });
  const add = (list: PerformanceObserverEntryList): void => {
    for (const entry of list.getEntries() as (PerformanceEntry & { value: number; hadRecentInput: boolean })[])
      if (!entry.hadRecentInput) seen.shift += entry.value;
  };
  new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });
};

/** Read once what has changed is drawn: a shift is told behind the frame in which it happened. */
export const shiftOf = (page: Page | Frame): Promise<number> =>
  page.evaluate(async () => {
    for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
    await new Promise((resolve) => setTimeout(resolve));
    return (window as typeof window & { seen: { shift: number } }).seen.shift;
  });

/** Elements that stand out of their page at its right side, but for those that scroll inside of these. */
export const tooWide = (page: Page | Frame, scrolling: string): Promise<string[]> =>
  page.evaluate(
    (within) =>
      [...document.querySelectorAll("body *")]
        .filter((each) => each.getBoundingClientRect().right > innerWidth + 1 && !each.closest(within))
        .map((each) => each.id || each.className),
    scrolling,
  );
