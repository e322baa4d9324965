/**
 * Two devices and a fresh one, in real Chromium over profiles of their own, and an edge in real workerd, with a network
 * between them that is cut: what was written offline is at the edge once, in order, and everybody sees the same.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { build, preview } from "vite";
import type { Page } from "playwright";
import { afterAll, beforeAll, expect, it } from "vitest";
import { packageFiles } from "../../tools/package/package-files.mjs";
import { type LocalWorker, startWorker } from "../edge/local-worker.ts";
import { type Running, startBrowser } from "../support/chromium.ts";
import type { SyncPage } from "./page/main.ts";
import { CuttableNetwork } from "./proxy.ts";

const root = path.join(import.meta.dirname, "../..");
const folders: string[] = [];
const folder = (name: string): string => {
  const made = mkdtempSync(path.join(os.tmpdir(), `tidemark-sync-${name}-`));
  folders.push(made);
  return made;
};

let worker: LocalWorker;
let network: CuttableNetwork;
let stage: { readonly url: string; close(): Promise<void> };
const running: Running[] = [];

async function serve(): Promise<typeof stage> {
  const outDir = folder("page");
  const page = { configFile: false, root: path.join(root, "test/sync/page"), logLevel: "error", base: "./" } as const;
  const plugins = () => (process.env["TIDEMARK_DIST"] ? [packageFiles()] : []);
  await build({
    ...page,
    plugins: plugins(),
    worker: { format: "es", plugins },
    build: { outDir, emptyOutDir: true, target: "es2022", assetsInlineLimit: 0 },
  });
  const server = await preview({ ...page, build: { outDir }, preview: { host: "127.0.0.1", port: 0 } });
  const { port } = server.httpServer.address() as { port: number };
  return { url: `http://127.0.0.1:${port}/`, close: () => server.close() };
}

class Device {
  #page!: Page;
  readonly errors: string[] = [];

  constructor(readonly name: string) {}

  async start(): Promise<this> {
    const browser = await startBrowser(folder(this.name));
    running.push(browser);
    this.#page = await browser.context.newPage();
    this.#page.on("pageerror", (error) => this.errors.push(error.message));
    await this.load();
    return this;
  }
  async load(): Promise<void> {
    await this.#page.goto(stage.url);
    await this.#page.waitForFunction(() => document.title === "ready");
  }
  call<M extends keyof SyncPage>(
    method: M,
    ...args: Parameters<SyncPage[M]>
  ): Promise<Awaited<ReturnType<SyncPage[M]>>> {
    const call = ([name, params]: readonly [string, readonly unknown[]]): unknown =>
      (Reflect.get(window, "page") as Record<string, (...args: readonly unknown[]) => unknown>)[name]!(...params);
    return this.#page.evaluate(call, [method, args] as const) as Promise<Awaited<ReturnType<SyncPage[M]>>>;
  }
}

beforeAll(async () => {
  [worker, stage] = await Promise.all([startWorker(), serve()]);
  network = await new CuttableNetwork(Number(new URL(worker.url).port)).start();
}, 120_000);

afterAll(async () => {
  for (const { child } of running) process.kill(-child.pid!, "SIGKILL");
  await stage?.close();
  await network?.stop();
  await worker?.stop();
  for (const each of folders) rmSync(each, { recursive: true, force: true, maxRetries: 5 });
});

const PROVISIONAL_FROM = 2 ** 52;
const named = (name: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${name}-${i}`);

it("two devices write offline, one is loaded anew, and both become equal; nothing is lost or doubled", async () => {
  const edge = `http://127.0.0.1:${network.port}`;
  const log = "shared/orders";
  const [ann, ben] = await Promise.all([new Device("ann").start(), new Device("ben").start()]);
  // What a topic had before it was synced is its outbox.
  await ann.call("open", undefined, log);
  expect(await ann.call("write", "ann", 0, 20)).toEqual(Array.from({ length: 20 }, (_, i) => i));
  await ann.call("close");
  await ann.load();
  await ann.call("open", edge, log);
  await ann.call("level");
  await ben.call("open", edge, log);
  await ben.call("level");
  expect((await ben.call("read")).map(([, value]) => value)).toEqual(named("ann", 20));

  network.cut();
  const offsets = await ann.call("write", "ann", 20, 80);
  for (const offset of offsets) expect(offset).toBeGreaterThanOrEqual(PROVISIONAL_FROM);
  await ben.call("write", "ben", 0, 100);
  expect(await ben.call("seen")).toEqual([...named("ann", 20), ...named("ben", 100)]);
  // A page that is loaded anew offline shows what it had, and goes on.
  await ben.load();
  await ben.call("open", edge, log);
  expect(await ben.call("seen")).toEqual([...named("ann", 20), ...named("ben", 100)]);
  expect((await ben.call("status"))!.topics["orders"]!.pending.records).toBe(100);
  await ben.call("write", "ben", 100, 10);

  network.heal();
  await Promise.all([ann.call("level"), ben.call("level")]);
  await Promise.all([ann.call("level"), ben.call("level")]);
  const [annsRead, bensRead] = await Promise.all([ann.call("read"), ben.call("read")]);
  expect(annsRead).toEqual(bensRead);
  expect(annsRead.map(([offset]) => offset)).toEqual(Array.from({ length: 210 }, (_, i) => i));
  const values = annsRead.map(([, value]) => value);
  expect(values.filter((value) => value.startsWith("ann"))).toEqual(named("ann", 100));
  expect(values.filter((value) => value.startsWith("ben"))).toEqual(named("ben", 110));
  // Each promise of a place was kept, with the offset that a reader finds.
  const places = await ann.call("places");
  expect(places.slice(-80).map((offset) => values[offset!])).toEqual(named("ann", 100).slice(20));

  expect(await ann.call("writeThrough", "through")).toBe(210);
  const fresh = await new Device("fresh").start();
  await fresh.call("open", edge, log);
  await fresh.call("level");
  expect((await fresh.call("read")).map(([, value]) => value)).toEqual([...values, "through"]);
  expect(await fresh.call("topics")).toEqual(["orders"]);
  expect([...ann.errors, ...ben.errors, ...fresh.errors]).toEqual([]);
}, 120_000);
