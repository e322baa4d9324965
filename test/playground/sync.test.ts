/**
 * The playground's two devices as a visitor uses them: a production build in real Chromium, real workerd as the edge,
 * and links that are cut for real.
 */
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { BrowserContext, Frame, Page } from "playwright";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript
import { startPlayground } from "../../tools/run/playground.mjs";
import { RawWorkerd } from "../edge/raw-workerd.ts";
import { SHIFT_MAX, shiftOf, violationsIn, visit, watchShifts, tooWide } from "./visitor.ts";

const DEVICES = ["phone", "laptop"] as const;
type Device = (typeof DEVICES)[number];
/** A device shows its last ones. */
const ROWS_SHOWN = 8;

/** The page is told of the edge's address by this object. */
const edge: { url?: string } = {};
const problems: string[] = [];
let folder = "";
let worker: RawWorkerd;
let server: { url: string; close(): void };
let context: BrowserContext;
let page: Page;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "tidemark-devices-"));
  [worker, server] = await Promise.all([
    RawWorkerd.create({ directory: path.join(folder, "edge") }),
    startPlayground({ port: 0, edge }),
  ]);
  await worker.start();
  ({ context, page } = await visit(path.join(folder, "profile"), server.url, problems));
  await context.addInitScript(watchShifts);
});
afterAll(async () => {
  await context?.close();
  server?.close();
  await worker?.kill();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

const textOf = (id: string): Promise<string> => page.locator(`#${id}`).innerText();
const frameOf = (device: Device): Frame =>
  page.frames().find((frame) => new URL(frame.url()).searchParams.get("device") === device)!;
const told = (device: Device, id: string): Promise<string> => frameOf(device).locator(`#${id}`).innerText();
const says = (device: Device, id: string, text: string): Promise<void> =>
  expect.poll(() => told(device, id)).toBe(text);
const level = (text: RegExp): Promise<void> => expect.poll(() => textOf("sync-verdict")).toMatch(text);

async function start(): Promise<void> {
  await page.focus("#sync-start");
  await page.keyboard.press("Enter");
  for (const device of DEVICES) await expect.poll(() => frameOf(device)?.locator("#one").isEnabled()).toBe(true);
}

interface Line {
  readonly text: string;
  readonly isProvisional: boolean;
  /** Where the row stands, as it is seen. The line has a label on it, which no row covers. */
  readonly at: "above" | "across" | "below";
}

/** A device's rows from the top, once they have come to rest. */
const rowsOf = (device: Device): Promise<Line[]> =>
  frameOf(device).evaluate(async () => {
    await Promise.all(document.getAnimations().map(({ finished }) => finished));
    const line = document.querySelector("#log .mark")!.getBoundingClientRect();
    const at = ({ top, bottom }: DOMRect) =>
      bottom <= line.top + 0.5 ? "above" : top >= line.bottom - 0.5 ? "below" : "across";
    return [...document.querySelectorAll<HTMLElement>("#log li")].map((row) => ({
      text: [...row.children].map(({ textContent }) => textContent).join(" "),
      isProvisional: row.classList.contains("provisional"),
      at: at(row.getBoundingClientRect()),
    }));
  });

/**
 * This many rows stand above the line, provisional, and this many below it, agreed. The page writes its figures and its
 * rows each when it hears of them.
 */
const stand = (device: Device, above: number, below: number): Promise<void> =>
  expect
    .poll(async () => (await rowsOf(device)).map(({ at, isProvisional }) => [at, isProvisional]))
    .toEqual([...Array<unknown>(above).fill(["above", true]), ...Array<unknown>(below).fill(["below", false])]);

/** What the edge holds, read as anybody can. */
async function edgeHolds(): Promise<string[]> {
  const log = new URL(frameOf("phone").url()).searchParams.get("log")!;
  const values = (await (await fetch(`${worker.url}/v1/stream/${log}?offset=-1`)).json()) as Record<string, string>[];
  return values.map(({ text, from }) => `${text} ${from}`);
}

// The tests build on each other: each begins with the page that the one before left.
describe("the playground's two devices", () => {
  it("without an edge the page says so, loads nothing of sync, and the rest works", async () => {
    const asked: string[] = [];
    page.on("request", (request) => asked.push(request.url()));
    await page.reload();
    await expect.poll(() => textOf("sync-state")).toMatch(/no edge beside this page.*npm start/);
    expect(await page.locator("#sync-start").isDisabled()).toBe(true);
    await expect.poll(() => textOf("progress-text")).toMatch(/The log is empty/);
    await page.click("#single");
    await expect.poll(() => textOf("progress-text")).toMatch(/Offset 0 of flights, flushed/);
    expect(asked.length).toBeGreaterThan(3);
    expect(asked.filter((url) => /sync|device|tide-box|leading/.test(url))).toEqual([]);
  });

  it("written offline, records stand above the line of their device alone; a reload keeps them", async () => {
    edge.url = worker.url;
    await page.reload();
    await expect.poll(() => page.locator("#sync-start").isEnabled()).toBe(true);
    await start();
    await page.keyboard.press("Tab");
    expect(await frameOf("phone").evaluate(() => document.activeElement?.id)).toBe("link");
    for (const device of DEVICES) await frameOf(device).locator("#one").click();
    await level(/^Level: .* the same 2 records in the same order/);
    for (const device of DEVICES) {
      await frameOf(device).locator("#link").click();
      await says(device, "state", "offline");
    }
    for (let i = 0; i < 2; i++) await frameOf("phone").locator("#one").click();
    await frameOf("laptop").locator("#ten").click();
    await says("phone", "pending", "2");
    await says("laptop", "pending", "10");
    await level(/^Not level: the phone has 2 that nobody else has; the laptop has 10 that nobody else has\.$/);
    expect(await edgeHolds()).toHaveLength(2);

    await page.reload();
    await start();
    await says("phone", "pending", "2");
    await says("laptop", "pending", "10");
    for (const [device, above] of [
      ["phone", 2],
      ["laptop", 5],
    ] as const) {
      await stand(device, above, 2);
      await says(device, "watermark", "2");
      await expect.poll(() => frameOf(device).locator("#log .mark").innerText()).toBe("tidemark 2");
    }
    await expect.poll(async () => (await rowsOf("laptop"))[4]!.text).toMatch(/^only here and 6 more/);
    await expect.poll(() => told("phone", "next")).toMatch(/pending\. Next try in \d+ s\./);
  });

  it.each([
    { width: 1280, height: 900 },
    { width: 360, height: 740 },
  ])("axe finds nothing at $width pixels, and all fits", async (size) => {
    await page.setViewportSize(size);
    for (const each of [page, ...DEVICES.map(frameOf)]) {
      expect(await violationsIn(each)).toEqual([]);
      expect(await tooWide(each, ".shore, .hex, .records, .u-wrap")).toEqual([]);
    }
    for (const device of DEVICES) {
      const [height, room] = await frameOf(device).evaluate(() => [
        document.documentElement.scrollHeight,
        document.documentElement.clientHeight,
      ]);
      expect(height, "nothing of a device is cut off").toBe(room);
    }
  });

  it("online again, by the keyboard, the tide rises, and all three become equal", async () => {
    await page.setViewportSize({ width: 1280, height: 900 });
    const all = [page, ...DEVICES.map(frameOf)];
    // The new size of the window has moved everything.
    const before = await Promise.all(all.map(shiftOf));
    await frameOf("phone").locator("#link").focus();
    await page.keyboard.press("Space");
    await says("phone", "state", "live");
    await says("phone", "watermark", "4");
    await stand("phone", 0, 4);
    await level(/^Not level: the laptop has 10 that nobody else has; the laptop lacks 2 of the edge's\.$/);
    await frameOf("laptop").locator("#link").focus();
    await page.keyboard.press("Enter");
    await level(/^Level: .* the same 14 records in the same order/);
    const held = await edgeHolds();
    expect(held).toHaveLength(14);
    expect(new Set(held.slice(0, 2))).toEqual(new Set(["milk phone", "paint laptop"]));
    expect(held.slice(2, 4)).toEqual(["bread phone", "apples phone"]);
    for (const device of DEVICES) {
      await says(device, "pending", "0");
      await says(device, "behind", "0");
      await says(device, "watermark", "14");
      await stand(device, 0, ROWS_SHOWN);
      const rows = await rowsOf(device);
      const seen = rows.map(({ text }) => text.toLowerCase()).reverse();
      expect(seen).toEqual(held.map((value, offset) => `${offset} ${value}`).slice(-rows.length));
    }
    await frameOf("phone").locator("#text").fill("by hand");
    await page.keyboard.press("Enter");
    await expect.poll(() => told("phone", "told")).toMatch(/^“by hand”: at the edge after .*, at offset 14\.$/);
    const after = await Promise.all(all.map(shiftOf));
    for (const [i, shift] of after.entries())
      expect(shift - before[i]!, `moved in ${i}`).toBeLessThanOrEqual(SHIFT_MAX);
  });

  it("a window of its own is a second tab of the device; begun anew, both are empty", async () => {
    const [second] = await Promise.all([context.waitForEvent("page"), frameOf("phone").locator("#own-window").click()]);
    const seen = (id: string): Promise<string> => second.locator(`#${id}`).innerText();
    await expect.poll(() => seen("watermark")).toBe("15");
    await second.click("#link");
    await expect.poll(() => frameOf("phone").locator("#link").getAttribute("aria-checked")).toBe("false");
    await second.click("#one");
    await says("phone", "pending", "1");
    await second.click("#link");
    await level(/the same 16 records/);
    expect(await violationsIn(second)).toEqual([]);
    await page.bringToFront();
    await page.click("#sync-anew");
    await level(/^Level: nobody has written anything yet\.$/);
    expect(await edgeHolds()).toEqual([]);
    await expect.poll(() => seen("told")).toMatch(/closed/i);
    expect(problems).toEqual([]);
  });
});
