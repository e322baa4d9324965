/** The playground as a person meets it: a production build in real Chromium with a profile on disk, killed and opened again. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript
import { startPlayground } from "../tooling/playground.mjs";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { CHROMIUM_ARGS, findChromium } from "../tooling/setup.mjs";

let url = "";
let server: { url: string; close(): void };
let profile = "";
let context: BrowserContext;
let page: Page;
const problems: string[] = [];

async function launch(): Promise<void> {
  const executablePath = process.env["CHROMIUM_PATH"] ?? (findChromium() as string);
  context = await chromium.launchPersistentContext(profile, { executablePath, args: CHROMIUM_ARGS as string[], viewport: { width: 1280, height: 900 }, acceptDownloads: true });
  page = await context.newPage();
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  await page.goto(url);
}

const textOf = (id: string) => page.locator(`#${id}`).innerText();
const says = (id: string, pattern: RegExp) => page.waitForFunction(([name, source]) => new RegExp(source!).test(document.getElementById(name!)!.textContent!), [id, pattern.source] as const);

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

// One story; each part begins where the one before ended.
describe("playground", () => {
  it("opens on real data: 200,000 flights, acknowledged after a flush", async () => {
    await says("progress-text", /200,000 records acknowledged at “flushed”/);
    expect(await textOf("storage")).toContain("origin private file system");
    expect(await textOf("figures")).toMatch(/log end\s+200,000/i);
    expect(await page.locator(".segment").count()).toBeGreaterThan(5);
    expect(await page.locator("#plot-rate canvas").count()).toBe(1);
  });

  it("finds a record by offset and by time, and shows the steps and the bytes", async () => {
    await page.fill("#seek-offset", "123456");
    await page.click("button[value=offset]");
    await says("seek-text", /Offset 123,456,/);
    expect(await page.locator("#steps li").count()).toBeGreaterThan(4);
    expect(await page.locator("#batch").innerText()).toMatch(/base offset\s+123,000/);
    await page.click("#load-quakes");
    await says("progress-text", /1,707 records acknowledged/);
    await page.fill("#seek-time", "2018-02-03T12:00:05");
    await page.click("button[value=time]");
    await says("seek-text", /2018-02-03 12:0/);
  });

  it("appends one and a thousand, replays, follows", async () => {
    await page.click("#topics button:has-text('flights')");
    await page.click("#follow");
    await says("read-text", /Following/);
    await page.click("#burst");
    await says("read-text", /1,000 records have arrived/);
    await page.click("#single");
    await says("read-text", /1,001 records have arrived/);
    await page.click("#follow");
    await says("read-text", /Stopped/);
    await page.click("#replay");
    await says("read-text", /^201,001 records/);
  });

  it("compacts, trims, and gives a segment away as Kafka's three files", async () => {
    await page.click("#compact");
    await says("upkeep-text", /1,\d+ outdated records went/);
    await page.click("#retain-run");
    await says("upkeep-text", /segments left from the front/);
    const files: { name: string; bytes: number }[] = [];
    page.on("download", (download) => void download.path().then(async (file) => files.push({ name: download.suggestedFilename(), bytes: (await readFile(file)).length })));
    await page.click("#download");
    await expect.poll(() => files.length).toBe(3);
    expect(files.map(({ name }) => name.replace(/^\d{20}/, "")).sort()).toEqual([".index", ".log", ".timeindex"]);
    const size = Object.fromEntries(files.map(({ name, bytes }) => [name.slice(20), bytes]));
    expect(size[".log"]).toBeGreaterThan(900_000);
    expect(size[".index"]! % 8 + (size[".timeindex"]! % 12)).toBe(0);
  });

  it("survives the death of the whole browser", async () => {
    await page.click("#single");
    await says("progress-text", /Offset 201,001, flushed/);
    const { pid } = await browserProcess();
    process.kill(pid, "SIGKILL");
    await new Promise((resolve) => context.once("close", resolve));
    problems.length = 0;
    await launch();
    await says("progress-text", /Still here from last time/);
    expect(await textOf("figures")).toMatch(/log end\s+201,002/i);
  });

  it("tells a torn tail from rot, and goes on in both cases", async () => {
    await page.click("#tear");
    await says("notice", /A torn tail was cut at offset 201,002/);
    await page.click("#flip");
    await says("notice", /CORRUPT_RANGE: offsets [\d,]+ to [\d,]+.*good records were read/);
    expect(await page.locator(".segment[data-damaged]").count()).toBe(1);
    await page.click("#kill");
    await says("notice", /The tab was killed/);
  });

  it("a second tab shows the same log, and takes over when the first is closed", async () => {
    const second = await context.newPage();
    await second.goto(url);
    const told = (id: string) => second.locator(`#${id}`).innerText();
    await expect.poll(() => told("role"), { timeout: 20_000 }).toContain("Another tab writes");
    const end = /log end\s+([\d,]+)/i.exec(await textOf("figures"))![1]!;
    await expect.poll(() => told("figures")).toMatch(new RegExp(`log end\\s+${end}`, "i"));
    await page.close();
    await expect.poll(() => told("role")).toContain("This tab writes");
    await second.click("#single");
    await expect.poll(() => told("progress-text")).toContain(`Offset ${end}, flushed`);
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
    for (const id of ["load", "acks", "single", "replay", "seek-offset", "compact", "tear", "download"]) expect([...reached]).toContain(id);
    await page.locator("#seek-offset").fill("201000");
    await page.locator("#seek-offset").press("Enter");
    await says("seek-text", /Offset 201,000,/);
    await page.setViewportSize({ width: 360, height: 740 });
    const wide = () => [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > 361 && !each.closest(".shore, .hex, .records, .u-wrap")).map((each) => each.id || each.className);
    await expect.poll(() => page.evaluate(wide)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
    expect(problems).toEqual([]);
  });
});

describe("playground in a private window", () => {
  it("says that nothing is kept there", async () => {
    // A context without a profile on disk is what Chromium calls incognito.
    const executablePath = process.env["CHROMIUM_PATH"] ?? (findChromium() as string);
    const browser = await chromium.launch({ executablePath, args: CHROMIUM_ARGS as string[] });
    try {
      const incognito = await (await browser.newContext()).newPage();
      await incognito.goto(url);
      await expect.poll(() => incognito.locator("#storage").innerText(), { timeout: 20_000 }).toContain("An ack ends with this window");
      expect(await incognito.locator("#storage").innerText()).toContain("origin private file system");
      expect(await textOf("storage"), "and on disk that it is").toContain("flushed to the device");
    } finally {
      await browser.close();
    }
  });
});

/** Chromium's main process, by the profile it was started with. */
async function browserProcess(): Promise<{ pid: number }> {
  const { execFileSync } = await import("node:child_process");
  const line = execFileSync("ps", ["-eo", "pid=,args="], { encoding: "utf8" })
    .split("\n")
    .find((each) => each.includes(`--user-data-dir=${profile}`) && !each.includes("--type="));
  return { pid: Number(line!.trim().split(/\s+/)[0]) };
}
