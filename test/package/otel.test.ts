/**
 * `tidemark/otel` as an app has it: the packed package and OpenTelemetry's own SDK, two devices in real Chromium and
 * the edge in real workerd. A trace goes from a page over the edge to whoever follows; the lag of sync and fail-overs
 * are measured.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import type { Page } from "playwright";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { connect } from "../../src/client/index.ts";
import type { Tide } from "../../src/browser/index.ts";
import { type LocalWorker, startWorker } from "../edge/local-worker.ts";
import { type Running, startBrowser } from "../support/chromium.ts";
import { serveFolder, type Site } from "../support/packed.ts";
import { install } from "./apps.ts";

const root = path.join(import.meta.dirname, "../..");
const run = promisify(execFile);
let site: Site;
let browser: Running;
let edge: LocalWorker;
const problems: string[] = [];

interface Told {
  readonly name: string;
  readonly context: { readonly traceId: string; readonly spanId: string };
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
}
interface Measured {
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly count: number;
  readonly sum: number;
}
/** `window.walk` of the page (test/package/pages/otel.js). */
declare const walk: {
  readonly tide: Tide;
  append(value: number): Promise<number>;
  processUntil(value: number): Promise<void>;
  spans(): Told[];
  histograms(): Promise<Record<string, Measured[]>>;
};

beforeAll(async () => {
  const app = path.join(inject("packageFolder"), "otel");
  mkdirSync(app);
  writeFileSync(path.join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  await install(app, [inject("tarball")]);
  symlinkSync(path.join(root, "node_modules/@opentelemetry"), path.join(app, "node_modules/@opentelemetry"));
  cpSync(path.join(import.meta.dirname, "pages/otel.js"), path.join(app, "main.js"));
  const page = `<!doctype html><title>otel</title><link rel="icon" href="data:,">
<script type="module" src="./main.js"></script>`;
  writeFileSync(path.join(app, "index.html"), page);
  const vite = path.join(root, "node_modules/vite/bin/vite.js");
  await run(process.execPath, [vite, "build", "--target", "es2022", "--logLevel", "warn"], { cwd: app });
  site = await serveFolder(path.join(app, "dist"));
  edge = await startWorker();
  browser = await startBrowser(path.join(inject("packageFolder"), "otel-profile"));
});
afterAll(async () => {
  if (browser) process.kill(-browser.child.pid!, "SIGKILL");
  await edge?.stop();
  await site?.close();
});

async function tab(tide: string): Promise<Page> {
  const page = await browser.context.newPage();
  page.on("pageerror", (error) => problems.push(error.message));
  await page.goto(`${site.url}?tide=${tide}&edge=${encodeURIComponent(edge.url)}`);
  await page.waitForFunction(() => "walk" in globalThis);
  return page;
}
const named = (spans: readonly Told[], name: string): Told[] => spans.filter((span) => span.name === name);
const spansOf = (page: Page): Promise<Told[]> => page.evaluate(() => walk.spans());
const histogramsOf = (page: Page): Promise<Record<string, Measured[]>> => page.evaluate(() => walk.histograms());

it("a trace goes from a page over the edge to another device and a client; the lag of sync is measured", async () => {
  const laptop = await tab("laptop");
  expect(await laptop.evaluate(() => walk.append(1))).toBe(0);
  const sent = await spansOf(laptop);
  const [click, append] = [named(sent, "click")[0]!, named(sent, "append orders")[0]!];
  expect(append.context.traceId).toMatch(/^[0-9a-f]{32}$/);
  expect(click.context.spanId).not.toBe(append.context.spanId);
  // At the edge, as any client sees it.
  const client = connect(edge.url, { transport: "http" });
  const { value: record } = await client.topic<number>("orders").read().next();
  const { traceId, spanId } = append.context;
  expect([record!.value, record!.headers["traceparent"]]).toEqual([1, `00-${traceId}-${spanId}-01`]);
  await client.close();
  // On another device, which follows.
  const phone = await tab("phone");
  await phone.evaluate(() => walk.processUntil(1));
  const followed = await spansOf(phone);
  for (const name of ["read orders", "process orders"])
    expect(named(followed, name)[0]!.links).toEqual([expect.objectContaining({ traceId, spanId })]);
  const { "tidemark.sync.lag": lag, "messaging.client.operation.duration": durations } = await histogramsOf(laptop);
  expect([lag!.length, lag![0]!.count, durations![0]!.count]).toEqual([1, 1, 1]);
  expect(lag![0]!.sum).toBeGreaterThan(0);
  expect((await histogramsOf(phone))["tidemark.sync.lag"]).toBeUndefined();
  // The laptop's own tide was flushed; how long that took came from its worker.
  await expect
    .poll(async () => (await histogramsOf(laptop))["tidemark.flush.duration"]?.[0]?.attributes)
    .toEqual({ "tidemark.tide": "laptop" });
  await Promise.all([laptop.close(), phone.close()]);
});

it("a fail-over is measured by the tab that leads next", async () => {
  const first = await tab("shared");
  const second = await tab("shared");
  expect(await second.evaluate(() => walk.tide.role)).toBe("follower");
  expect((await histogramsOf(second))["tidemark.failover.duration"]).toBeUndefined();
  await first.close();
  await second.waitForFunction(() => walk.tide.role === "leader");
  const { "tidemark.failover.duration": failOvers } = await histogramsOf(second);
  expect(failOvers).toEqual([
    { attributes: expect.objectContaining({ "tidemark.tide": "shared" }), count: 1, sum: expect.any(Number) },
  ]);
  expect(failOvers![0]!.sum).toBeGreaterThan(0);
  // It goes on: an append of the new leader gets its place, and its lag.
  await second.evaluate(() => walk.append(2));
  expect((await histogramsOf(second))["tidemark.sync.lag"]![0]!.count).toBe(1);
  // So do flushes: now those of the new leader.
  const flushed = async (): Promise<number> =>
    (await histogramsOf(second))["tidemark.flush.duration"]?.reduce((sum, { count }) => sum + count, 0) ?? 0;
  const before = await flushed();
  await expect.poll(async () => (await second.evaluate(() => walk.append(3)), await flushed())).toBeGreaterThan(before);
  expect(problems).toEqual([]);
  await second.close();
});
