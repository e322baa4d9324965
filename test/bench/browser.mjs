/**
 * The benchmark of the browser: the page with its peers, built and served from a free port, and each workload in a page
 * of its own. test/bench/run.mjs has the command line.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import vue from "@vitejs/plugin-vue";
import { chromium } from "playwright";
import { build, preview } from "vite";
import solid from "vite-plugin-solid";
import { CHROMIUM_ARGS, ensureChromium, root } from "../../tools/run/setup.mjs";
import { packageFiles } from "../../tools/package/package-files.mjs";
import { environment, median, writeReport } from "../support/figures.mjs";
import { append } from "./appends.mjs";
import { bindings } from "./bindings.mjs";
import { compaction, seek, topics } from "./logs.mjs";
import { seekShared } from "./seeks.mjs";
import { views } from "./views.mjs";
import { browserOf } from "./tab.mjs";
import { tabs } from "./tabs.mjs";
import { COUNTED, judge, verdict } from "./targets.mjs";

const GIB = 1024 ** 3;

const FULL = {
  rounds: 5,
  batches: 300,
  sqliteBatches: 100,
  singles: 300,
  unawaited: 60,
  replay: 1_000_000,
  dexie: 200_000,
  big: [10 << 20, 100 << 20, GIB],
  seeks: 2000,
  shared: [256 << 20, 400],
  opens: 5,
  topics: [100, GIB],
  manyTopics: [1, 10, 100, 1000],
  compaction: [1_000_000, 4, 256],
  compactionMs: 60_000,
  tabBatches: { 1: 300, 100: 200, 1000: 60 },
  pour: 200,
  idleSeconds: 15,
  viewRecords: 1_000_000,
  viewPending: 10_000,
  viewRounds: 21,
  frames: [10_000, 5],
};
const QUICK = {
  rounds: 1,
  batches: 6,
  sqliteBatches: 4,
  singles: 10,
  unawaited: 2,
  replay: 4000,
  dexie: 2000,
  big: [4 << 20, 12 << 20, 20 << 20],
  seeks: 20,
  shared: [4 << 20, 10],
  opens: 1,
  topics: [3, 12 << 20],
  manyTopics: [1, 4],
  compaction: [10_000, 8, 256],
  compactionMs: 10_000,
  tabBatches: { 1: 5, 100: 3, 1000: 2 },
  pour: 4,
  idleSeconds: 1,
  viewRecords: 20_000,
  viewPending: 2000,
  viewRounds: 3,
  frames: [1000, 1],
};

/** The page, in a browser that can be killed and started again on the same profile. */
class Bench {
  constructor(url) {
    this.url = url;
    this.profile = mkdtempSync(path.join(os.tmpdir(), "tidemark-bench-"));
  }
  async start() {
    this.context = await chromium.launchPersistentContext(this.profile, {
      executablePath: ensureChromium(),
      args: [...CHROMIUM_ARGS, "--js-flags=--expose-gc"],
    });
    await this.reload();
  }
  /** Loads a fresh page for each workload, so that garbage of one does not slow down the next. */
  async reload() {
    await this.page?.close().catch(() => undefined);
    this.page = await this.context.newPage();
    await this.page.goto(this.url);
    await this.page.waitForFunction(() => document.title === "ready");
  }
  run(name, ...args) {
    return this.page.evaluate(([method, params]) => window.workloads[method](...params), [name, args]);
  }
  async heapMiB() {
    const session = await this.context.newCDPSession(this.page);
    await session.send("HeapProfiler.collectGarbage");
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    await session.detach();
    return usedSize / 1024 / 1024;
  }
  async kill() {
    const main = browserOf(this.profile);
    const closed = new Promise((resolve) => this.context.once("close", resolve));
    process.kill(main, "SIGKILL");
    await closed;
    this.page = undefined;
  }
  async end() {
    await this.context?.close().catch(() => undefined);
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

const WORKLOADS = {
  tabs,
  append,
  async replay(bench, size, result) {
    const ours = await bench.run("replayOurs", size.replay, 100, size.rounds);
    await bench.reload();
    const sqlite = await bench.run("replayPeer", "sqlite", size.replay, 100, size.rounds);
    await bench.reload();
    // Dexie gets a fifth of the rows: its rate does not depend on their number, but the time to load them does.
    const dexie = await bench.run("replayPeer", "dexie", size.dexie, 100, size.rounds);
    const pairs = (theirs) => median(ours.batches.map((rate, i) => rate / theirs[i]));
    result.ratios["replay.vsSqlite"] = pairs(sqlite);
    result.ratios["replay.vsDexie"] = pairs(dexie);
    Object.assign(result.figures, {
      "replay.tidemarkBatches.recordsPerSecond": median(ours.batches),
      "replay.tidemarkRecords.recordsPerSecond": median(ours.records),
      "replay.sqlite.recordsPerSecond": median(sqlite),
      "replay.dexie.recordsPerSecond": median(dexie),
    });
  },
  async crc(bench, size, result) {
    const rounds = [];
    for (let round = 0; round < size.rounds; round++) rounds.push(await bench.run("crc", 1 << 20));
    result.ratios["crc.vsJsTable"] = median(rounds.map(({ kernel, table }) => kernel / table));
    result.figures["crc.kernelMBPerSecond"] = median(rounds.map(({ kernel }) => kernel));
    result.figures["crc.jsTableMBPerSecond"] = median(rounds.map(({ table }) => table));
  },
  views,
  bindings,
  seek,
  seek_shared: seekShared,
  topics,
  compaction,
};

function print({ ratios, figures, targets }) {
  console.log("\nratios");
  for (const [name, ratio] of Object.entries(ratios))
    console.log(`  ${name.padEnd(42)} ${ratio.toFixed(2).padStart(8)}${verdict(name, targets)}`);
  console.log("figures");
  for (const [name, figure] of Object.entries(figures)) {
    const shown = figure >= 1000 ? Math.round(figure).toLocaleString("en-US") : figure.toFixed(2);
    console.log(`  ${name.padEnd(58)} ${shown.padStart(12)}${verdict(name, targets)}`);
  }
}

/** Builds the page and serves it. */
async function served() {
  const plugins = () => [packageFiles()];
  const page = {
    configFile: false,
    root: path.join(root, "test/bench/page"),
    logLevel: "error",
    base: "./",
    plugins: [...plugins(), vue(), svelte({ configFile: false }), solid()],
    worker: { format: "es", plugins },
  };
  const outDir = path.join(root, ".cache/bench");
  await build({ ...page, build: { outDir, emptyOutDir: true, target: "es2022", assetsInlineLimit: 0 } });
  return preview({ ...page, build: { outDir }, preview: { host: "127.0.0.1", port: 0 } });
}

/** Runs the workloads `names` in this order. Returns the exit code: 1 when a target that counts is missed. */
export async function measure(names, values) {
  const server = await served();
  const bench = new Bench(`http://127.0.0.1:${server.httpServer.address().port}/`);
  const result = { ratios: {}, figures: {}, targets: {}, environment: {} };
  try {
    await bench.start();
    for (const name of names) {
      console.error(name);
      await WORKLOADS[name](bench, values.quick ? QUICK : FULL, result);
      await bench.reload();
    }
    result.environment = environment({
      browser: await bench.page.evaluate(() => navigator.userAgent),
      quick: values.quick === true,
    });
  } finally {
    await bench.end();
    server.close();
  }
  if (!values.quick) judge(result);
  print(result);
  writeReport(values.json, result);
  return COUNTED.some((name) => result.targets[name] === false) ? 1 : 0;
}
