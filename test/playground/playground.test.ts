/**
 * The playground as a visitor uses it: a production build in real Chromium with a profile on disk, which is killed and
 * opened again.
 */
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript
import { startPlayground } from "../../tools/run/playground.mjs";
import { chromiumOptions, SHIFT_MAX, shiftOf, violationsIn, visit, watchShifts, tooWide } from "./visitor.ts";

let url = "";
let server: { url: string; close(): void };
let profile = "";
let context: BrowserContext;
let page: Page;
const problems: string[] = [];

async function launch(): Promise<void> {
  ({ context, page } = await visit(profile, url, problems));
}

const textOf = (id: string) => page.locator(`#${id}`).innerText();
const says = (id: string, pattern: RegExp) =>
  page.waitForFunction(([name, source]) => new RegExp(source!).test(document.getElementById(name!)!.textContent!), [
    id,
    pattern.source,
  ] as const);

beforeAll(async () => {
  server = await startPlayground({ port: 0 });
  ({ url } = server);
  profile = await mkdtemp(path.join(os.tmpdir(), "tidemark-playground-"));
  await launch();
});
afterAll(async () => {
  await context?.close();
  server?.close();
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
});

// The tests of this group build on each other: each begins with the page that the one before left.
describe("playground", () => {
  it("begins empty and says so, and loads real data: 200,000 flights, acknowledged after a flush", async () => {
    await says("progress-text", /The log is empty/);
    expect(await textOf("shore")).toContain("Nothing in flights yet");
    expect(await textOf("figures")).toMatch(/log end offset\s+0/i);
    await page.click("#load");
    await says("progress-text", /200,000 records acknowledged at “flushed”/);
    expect(await textOf("storage")).toContain("origin private file system");
    expect(await textOf("figures")).toMatch(/log end offset\s+200,000/i);
    await expect.poll(() => textOf("figures")).toMatch(/used by this origin\s+[1-9]\d*\.\d MiB/i);
    expect(await page.locator(".segment").count()).toBeGreaterThan(5);
    expect(await page.locator("#plot-rate canvas").count()).toBe(1);
  });

  it("finds a record by offset and by time, and shows the steps and the bytes", async () => {
    await page.fill("#seek-offset", "123456");
    await page.click("button[value=offset]");
    await says("seek-text", /Offset 123,456,/);
    expect(await page.locator("#steps li").count()).toBeGreaterThan(4);
    // Calls that are made in one turn share a batch, so one has 500 records or some times as many.
    const [, base] = /base offset\s+([\d,]+)/.exec(await page.locator("#batch").innerText())!;
    const first = Number(base!.replaceAll(",", ""));
    expect([first % 500, first <= 123_456, first > 123_456 - 5 * 500]).toEqual([0, true, true]);
    await page.click("#load-quakes");
    await says("progress-text", /1,707 records acknowledged/);
    await page.fill("#seek-time", "2018-02-03T12:00:05");
    await page.click("button[value=time]");
    await says("seek-text", /2018-02-03 12:0/);
  });

  it("says what is wrong with an offset or a time, and seeks nothing then", async () => {
    const before = await textOf("seek-text");
    const complaint = (id: string) =>
      page.evaluate((name) => (document.getElementById(name) as HTMLInputElement).validationMessage, id);
    for (const wrong of ["", "-5", "1.5", "abc"]) {
      await page.fill("#seek-offset", wrong);
      await page.click("button[value=offset]");
      expect(await complaint("seek-offset"), wrong).toMatch(/whole number from 0 on/);
    }
    for (const wrong of ["", "yesterday", "2018-13-45 00:00:00"]) {
      await page.fill("#seek-time", wrong);
      await page.click("button[value=time]");
      expect(await complaint("seek-time"), wrong).toMatch(/2001-01-01 12:00:00, in UTC/);
    }
    expect(await textOf("seek-text")).toBe(before);
  });

  it("shows the whole of a batch when asked", async () => {
    await page.click("#topics button:has-text('flights')");
    await page.fill("#seek-offset", "1000");
    await page.click("button[value=offset]");
    await says("seek-text", /Offset 1,000,/);
    expect(await page.locator("#batch .field").count()).toBe(13 + 12);
    const all = page.locator("#batch button:has-text('Show all')");
    const records = Number(/Show all ([\d,]+) records/.exec(await all.innerText())![1]!.replaceAll(",", ""));
    expect(records % 500).toBe(0);
    await all.click();
    expect(await page.locator("#batch .field").count()).toBe(13 + records);
    await page.click("#topics button:has-text('quakes')");
  });

  it("appends one and a thousand, replays, follows", async () => {
    await page.click("#follow");
    await says("read-text", /Following quakes/);
    await page.click("#burst");
    await says("read-text", /1,000 records of quakes have arrived/);
    // When another topic is shown, the page follows it, and the buttons write to it.
    await page.click("#topics button:has-text('flights')");
    await says("read-text", /Following flights/);
    await page.keyboard.press("Alt+B");
    await says("read-text", /1,000 records of flights have arrived/);
    await page.keyboard.press("Alt+A");
    await says("read-text", /1,001 records of flights have arrived/);
    await page.click("#follow");
    await says("read-text", /Stopped/);
    await page.click("#replay");
    await says("read-text", /^201,001 records/);
  });

  it("compacts, trims, and offers a segment as Kafka's three files", async () => {
    await page.click("#compact");
    await says("upkeep-text", /2,\d+ outdated records went/);
    await page.click("#retain-run");
    await says("upkeep-text", /segments left from the front/);
    let downloads = 0;
    page.on("download", () => downloads++);
    await page.click("#export");
    await says("upkeep-text", /Kafka's own tools read these files/);
    const files = await page.evaluate(() =>
      Promise.all(
        [...document.querySelectorAll<HTMLAnchorElement>("#files a")].map(async ({ download: name, href }) => ({
          name,
          bytes: (await (await fetch(href)).arrayBuffer()).byteLength,
        })),
      ),
    );
    expect(downloads, "nothing is pushed onto the visitor").toBe(0);
    expect(files.map(({ name }) => name.replace(/^\d{20}/, "")).sort()).toEqual([".index", ".log", ".timeindex"]);
    const size = Object.fromEntries(files.map(({ name, bytes }) => [name.slice(20), bytes]));
    expect(size[".log"]).toBeGreaterThan(900_000);
    expect((size[".index"]! % 8) + (size[".timeindex"]! % 12)).toBe(0);
  });

  it("survives the death of the whole browser", async () => {
    await page.click("#single");
    await says("progress-text", /Offset 201,001 of flights, flushed/);
    const { pid } = await browserProcess();
    process.kill(pid, "SIGKILL");
    await new Promise((resolve) => context.once("close", resolve));
    problems.length = 0;
    await launch();
    await says("progress-text", /Still here from last time/);
    expect(await textOf("figures")).toMatch(/log end offset\s+201,002/i);
  });

  it("tells a torn tail from damage, and continues in both cases", async () => {
    await page.click("#tear");
    await says("notice", /A torn tail was cut at offset 201,002/);
    await page.click("#flip");
    await says("notice", /CORRUPT_RANGE for offsets [\d,]+ to [\d,]+.*good records were read/);
    expect(await textOf("notice")).not.toContain("Nothing was lost");
    expect(await textOf("notice")).toMatch(/are damaged .* and set apart/);
    expect(await page.locator(".segment[data-damaged]").count()).toBe(1);
    await page.click("#leave");
    await says(
      "notice",
      /Records up to offset [\d,]+ had been acknowledged; the log ends at [\d,]+: none of them is missing/,
    );
  });

  it("a second tab shows the same log, and takes over when the first is closed", async () => {
    const second = await context.newPage();
    await second.goto(url);
    const told = (id: string) => second.locator(`#${id}`).innerText();
    await expect.poll(() => told("role")).toContain("Another tab writes");
    // Each page shows the other's writes without a click.
    await page.click("#single");
    const endOf = (figures: string): string => /log end offset\s+([\d,]+)/i.exec(figures)![1]!;
    await says("progress-text", /Offset [\d,]+ of flights, flushed/);
    const [written] = /[\d,]+(?= of flights)/.exec(await textOf("progress-text"))!;
    const after = (Number(written.replaceAll(",", "")) + 1).toLocaleString("en-US");
    await expect.poll(async () => endOf(await told("figures"))).toBe(after);
    // The following tab damages the log: the leader's tab closes the files, and opens them again.
    await second.click("#tear");
    await expect.poll(() => told("notice")).toMatch(/A torn tail was cut/);
    await says("notice", /Another tab did harm/);
    await expect
      .poll(
        async () => /Another tab writes/.test(await told("role")) !== /Another tab writes/.test(await textOf("role")),
      )
      .toBe(true);
    await second.click("#flip");
    await expect.poll(() => told("notice")).toMatch(/One bit was flipped/);
    await says("notice", /Another tab did harm/);
    const epochOf = (figures: string): number => Number(/leader epoch\s+(\d+)/i.exec(figures)![1]!);
    const before = epochOf(await told("figures"));
    const wasFollower = (await told("role")).includes("Another tab writes");
    await page.close();
    await expect.poll(() => told("role")).toContain("This tab writes");
    if (wasFollower) await expect.poll(async () => epochOf(await told("figures"))).toBeGreaterThan(before);
    const end = endOf(await told("figures"));
    await second.click("#single");
    await expect.poll(() => told("progress-text")).toContain(`Offset ${end} of flights, flushed`);
    page = second;
    page.on("pageerror", (error) => problems.push(error.message));
    await page.setViewportSize({ width: 1280, height: 900 });
  });

  it("can be used with the keyboard alone, and fits a phone", async () => {
    await page.locator("body").press("Tab");
    const reached = new Set<string>();
    for (let i = 0; i < 90; i++) {
      reached.add(await page.evaluate(() => document.activeElement?.id ?? ""));
      await page.keyboard.press("Tab");
    }
    for (const id of ["load", "acks", "single", "replay", "seek-offset", "compact", "tear", "export"])
      expect([...reached]).toContain(id);
    await page.click("#topics button:has-text('flights')");
    await page.locator("#seek-offset").fill("201000");
    await page.locator("#seek-offset").press("Enter");
    await says("seek-text", /Offset 201,000,/);
    await page.setViewportSize({ width: 360, height: 740 });
    await expect.poll(() => tooWide(page, ".shore, .hex, .records, .u-wrap")).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
    expect(problems).toEqual([]);
  });
});

describe("playground for everybody", () => {
  it.each([
    { width: 1280, height: 900 },
    { width: 390, height: 844 },
  ])("axe finds nothing at $width pixels, and nothing moves by itself", async (size) => {
    await page.setViewportSize(size);
    await page.addInitScript(watchShifts);
    await page.reload();
    await says("progress-text", /Still here/);
    await says("seek-text", /read in/);
    expect(await violationsIn(page)).toEqual([]);
    expect(await shiftOf(page), "loaded").toBeLessThanOrEqual(SHIFT_MAX);
    for (const [button, told] of [
      ["leave", /middle of writing/],
      ["tear", /tail was torn/],
      ["flip", /One bit/],
    ] as const) {
      await page.click(`#${button}`);
      await says("notice", told);
      await says("seek-text", /read in/);
      expect(await page.locator("#notice").isVisible()).toBe(true);
      const box = await page.locator("#notice").boundingBox();
      expect(box!.y + Math.min(box!.height, 100), "seen without scrolling").toBeLessThanOrEqual(size.height);
      expect(await violationsIn(page)).toEqual([]);
      expect(await shiftOf(page), button).toBeLessThanOrEqual(SHIFT_MAX);
    }
  });

  it("its plots change with the theme", async () => {
    const pixel = () =>
      page
        .locator("#plot-rate canvas")
        .evaluate((canvas) =>
          [...(canvas as HTMLCanvasElement).getContext("2d")!.getImageData(0, 0, 400, 100).data].reduce(
            (sum, value) => sum + value,
            0,
          ),
        );
    await page.emulateMedia({ colorScheme: "light" });
    const light = await pixel();
    await page.emulateMedia({ colorScheme: "dark" });
    await expect.poll(pixel).not.toBe(light);
    await page.emulateMedia({ colorScheme: "light" });
    await expect.poll(pixel).toBe(light);
  });

  it("says that no edge runs beside it", async () => {
    expect(await textOf("edge-state")).toContain("No edge beside this page");
    expect(await page.locator("#edge-send").isDisabled()).toBe(true);
  });
});

// A context without a profile on disk is what Chromium calls incognito.
describe("playground in a private window", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch(chromiumOptions);
  });
  afterAll(() => browser?.close());

  it("says that nothing is kept there", async () => {
    const incognito = await (await browser.newContext()).newPage();
    await incognito.goto(url);
    await expect.poll(() => incognito.locator("#storage").innerText()).toContain("An ack ends with this window");
    expect(await incognito.locator("#storage").innerText()).toContain("origin private file system");
    expect(await textOf("storage"), "and on disk that it is").toContain("flushed to the device");
  });

  it("no button can be clicked, and no form be sent, before the log is open", async () => {
    const visitor = await browser.newContext();
    // A page that does harm holds this lock, and others wait for it before they open the log.
    const holder = await visitor.newPage();
    await holder.goto(`${url}device.html`);
    await holder.evaluate(
      () =>
        new Promise<void>((resolve) => {
          void navigator.locks.request("playground-open", () => (resolve(), new Promise(() => undefined)));
        }),
    );
    const early = await visitor.newPage();
    await early.goto(url);
    expect(await early.locator("main button:enabled:visible").allInnerTexts()).toEqual([]);
    await early.locator("#seek-offset").press("Enter");
    expect(early.url()).toBe(url);
    await holder.close();
    await early.click("#single");
    await expect.poll(() => early.locator("#progress-text").innerText()).toContain("Offset 0 of flights, flushed");
  });
});

/** Finds Chromium's main process by the profile that it was started with. */
async function browserProcess(): Promise<{ pid: number }> {
  const { execFileSync } = await import("node:child_process");
  const line = execFileSync("ps", ["-eo", "pid=,args="], { encoding: "utf8" })
    .split("\n")
    .find((each) => each.includes(`--user-data-dir=${profile}`) && !each.includes("--type="));
  return { pid: Number(line!.trim().split(/\s+/)[0]) };
}
