/**
 * The package as its users get it: `npm pack`, installed into a plain Vite app outside this repository, built with Vite's
 * defaults and run in real Chromium; its types read by a consumer's compiler. The development server is tried too.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { chromium } from "playwright";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { CHROMIUM_ARGS, findChromium, root } from "./setup.mjs";

const repository = root as string;
let app = "";

const APP = {
  "package.json": JSON.stringify({ name: "app", private: true, type: "module" }),
  "index.html": `<!doctype html><title>app</title><script type="module" src="/main.ts"></script>`,
  "main.ts": `
import { open, TidemarkError } from "tidemark/browser";

interface Order { readonly total: number }

const tide = await open("my-app");
const orders = tide.topic<Order>("orders");
const { offset } = await orders.append({ key: "o-17", value: { total: 42 }, headers: { trace: "a1" } });
await Promise.all(Array.from({ length: 1000 }, (_, i) => orders.append({ key: "k", value: { total: i } })));
let sum = 0;
for await (const record of orders.read({ from: "earliest" })) sum += record.value?.total ?? 0;
const packed = tide.topic<string>("packed", { codec: "gzip", serializer: "text", compaction: true });
for (let i = 0; i < 50; i++) await packed.append({ key: "same", value: "x".repeat(500) });
await packed.roll();
await packed.clean();
const left: number[] = [];
for await (const record of packed.read()) left.push(record.offset);
const second = await open("my-app");
const { role } = second;
const also = (await second.topic<Order>("orders").append({ value: { total: 1 } })).offset;
const refused: unknown = await second.topic<Order>("orders").append({ value: { total: 1 } }, { ifEnd: 0 }).catch((thrown: unknown) => thrown);
const code = refused instanceof TidemarkError ? refused.code : "not typed";
await tide.close();
const led = (await second.topic<Order>("orders").append({ value: { total: 1 } })).offset;
await second.close();
const idb = await open("in-idb", { engine: "indexeddb" });
const there = (await idb.topic("t").append({ value: 1 })).offset;
const state = await idb.topic("t").state();
await idb.close();
document.title = JSON.stringify({ offset, sum, left: left.length, code, role, also, led, engine: tide.storage.engine, there, end: state.logEndOffset });
`,
  "node.mjs": `
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { BatchBuilder, decodeBatch, loadKernel, Log, MemoryVolume, SegmentStore } from "tidemark";
const kernel = await loadKernel(await readFile(fileURLToPath(import.meta.resolve("tidemark/kernel.wasm"))));
const store = await SegmentStore.open({ volume: new MemoryVolume({ slotBytes: 1 << 20 }), kernel, now: Date.now });
const log = await Log.open({ store: await store.log("t-0"), kernel, clock: { now: Date.now } });
const builder = new BatchBuilder(kernel);
builder.tryAppend({ key: null, value: new TextEncoder().encode("hello"), timestamp: 1 });
await log.append(builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 }));
const { bytes } = await log.fetch(0);
console.log(new TextDecoder().decode((await decodeBatch(kernel, bytes)).valueAt(0)));
`,
};

const npm = (args: readonly string[], cwd: string) => execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

beforeAll(async () => {
  execFileSync(process.execPath, [path.join(repository, "test/tooling/run.mjs"), "build"], { cwd: repository, stdio: "pipe" });
  app = await mkdtemp(path.join(os.tmpdir(), "tidemark-app-"));
  for (const [name, text] of Object.entries(APP)) await writeFile(path.join(app, name), text);
  const [packed] = JSON.parse(npm(["pack", "--json", "--ignore-scripts", "--pack-destination", app], repository)) as { filename: string }[];
  const { devDependencies } = JSON.parse(await readFile(path.join(repository, "package.json"), "utf8")) as { devDependencies: Record<string, string> };
  const wanted = [`./${packed!.filename}`, `vite@${devDependencies["vite"]}`, `typescript@${devDependencies["typescript"]}`];
  npm(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", ...wanted], app);
});
afterAll(() => rm(app, { recursive: true, force: true, maxRetries: 5 }));

const vite = () => path.join(app, "node_modules/vite/bin/vite.js");

/** What the app's page says once it is through. */
async function runPage(args: readonly string[]): Promise<unknown> {
  const server = spawn(process.execPath, [vite(), ...args, "--host", "127.0.0.1", "--port", "0"], { cwd: app, stdio: ["ignore", "pipe", "inherit"] });
  const profile = await mkdtemp(path.join(os.tmpdir(), "tidemark-app-profile-"));
  try {
    const url = await new Promise<string>((resolve) => {
      let said = "";
      // Vite colours its address.
      server.stdout.on("data", (chunk: Buffer) => {
        said += chunk.toString().replace(/\u001b\[\d+m/g, "");
        const found = /http:\/\/127\.0\.0\.1:\d+\//.exec(said);
        if (found) resolve(found[0]);
      });
    });
    const executablePath = process.env["CHROMIUM_PATH"] ?? (findChromium() as string);
    const context = await chromium.launchPersistentContext(profile, { executablePath, args: CHROMIUM_ARGS as string[] });
    try {
      const page = await context.newPage();
      const problems: string[] = [];
      page.on("pageerror", (error) => problems.push(error.message));
      await page.goto(url);
      await page.waitForFunction(() => document.title.startsWith("{"), null, { timeout: 30_000 }).catch(() => expect(problems).toEqual([]));
      return JSON.parse(await page.title());
    } finally {
      await context.close();
    }
  } finally {
    server.kill();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

describe("the package in a plain Vite app", () => {
  const told = { offset: 0, sum: 499_542, left: 1, code: "OFFSET_CONFLICT", role: "follower", also: 1001, led: 1002, engine: "opfs", there: 0, end: 1 };

  it("built with the defaults, appends and reads in Chromium", async () => {
    execFileSync(process.execPath, [vite(), "build", "--target", "es2022"], { cwd: app, stdio: "pipe" });
    expect(await runPage(["preview"])).toEqual(told);
  });

  it("works in the development server without any configuration", async () => {
    expect(await runPage([])).toEqual(told);
  });

  it("its types are found and hold in a strict consumer", () => {
    const options = ["--noEmit", "--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "--lib", "es2022,dom,dom.iterable", "--types", ""];
    execFileSync(process.execPath, [path.join(app, "node_modules/typescript/bin/tsc"), ...options, "main.ts"], { cwd: app, stdio: "pipe" });
  });

  it("the host-free entry and the kernel file work in Node", () => {
    expect(execFileSync(process.execPath, ["node.mjs"], { cwd: app, encoding: "utf8" }).trim()).toBe("hello");
  });

  it("brings no other packages, and the licences of those inside", async () => {
    const { dependencies, optionalDependencies } = JSON.parse(await readFile(path.join(app, "node_modules/tidemark/package.json"), "utf8")) as Record<string, unknown>;
    expect([dependencies, optionalDependencies]).toEqual([undefined, undefined]);
    for (const name of ["comlink", "idb"]) expect(await readFile(path.join(app, `node_modules/tidemark/dist/licenses/${name}.txt`), "utf8")).toMatch(/copyright/i);
  });
});
