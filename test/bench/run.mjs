/**
 * `npm run bench` measures Tidemark and its peers in one real Chromium with a profile on disk, in one run. Ours and a
 * peer take turns and each pair gives a ratio, so that a machine whose speed drifts does not change the ratios. Plain
 * figures are measured last.
 *
 *     npm run bench -- --json FILE     also as JSON: { ratios, figures, targets, environment }
 *     npm run bench -- --quick         tiny sizes: shows that everything runs; its figures mean nothing
 *     npm run bench -- --only append   workloads whose names begin with "append"
 *     npm run bench -- --target edge   the edge instead: test/bench/edge/run.ts
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { chromium } from "playwright";
import { build, preview } from "vite";
import { node } from "../../tools/run/child.mjs";
import { choice, commandLine, flag, jsonFile, text, UsageError } from "../../tools/run/command-line.mjs";
import { CHROMIUM_ARGS, ensureChromium, ensurePackages, root } from "../../tools/run/setup.mjs";
import { environment, median, quantile, writeReport } from "../support/figures.mjs";
import { tabs } from "./tabs.mjs";

const PEERS = path.join(root, "test/bench/peers");
const GIB = 1024 ** 3;
/** Unanswered calls at a time, on both sides, in workloads that do not use the usual five. */
const DEEP = 20;

const FULL = {
  rounds: 5,
  batches: 300,
  sqliteBatches: 100,
  singles: 300,
  unawaited: 60,
  replay: 1_000_000,
  dexie: 200_000,
  big: [64 << 20, 256 << 20, GIB],
  seeks: 2000,
  opens: 5,
  tabBatches: { 1: 300, 100: 200, 1000: 60 },
  pour: 200,
  idleSeconds: 30,
};
const QUICK = {
  rounds: 1,
  batches: 6,
  sqliteBatches: 4,
  singles: 10,
  unawaited: 2,
  replay: 4000,
  dexie: 2000,
  big: [12 << 20, 20 << 20, 28 << 20],
  seeks: 20,
  opens: 1,
  tabBatches: { 1: 5, 100: 3, 1000: 2 },
  pour: 4,
  idleSeconds: 1,
};

/**
 * The project's targets: TARGETS are ratios that must be at least this high, LIMITS are figures that must not be
 * higher.
 */
const TARGETS = {
  "append.batch1000.vsRawOpfs": 0.7,
  "append.batch1000.vsSqlite": 20,
  "append.deep.100B.vsRawOpfs": 1,
  "append.deep.1KiB.vsRawOpfs": 0.8,
  "append.single.vsSqlite": 4,
  "append.single.vsRawOpfs": 0.56,
  "append.unawaited1000.vsSqlite": 10,
  "replay.vsSqlite": 10,
  "replay.vsDexie": 20,
  "crc.vsJsTable": 3.5,
};
const LIMITS = {
  "seek.p99Ms": 2,
  "open.clean1GiBMs": 100,
  "open.unclean1GiBMs": 1000,
  "tabs.batch100.followerLatencyVsLeader": 1.5,
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
    const lines = execFileSync("ps", ["-eo", "pid=,args="], { encoding: "utf8" }).split("\n");
    const main = lines.find((line) => line.includes(`--user-data-dir=${this.profile}`) && !line.includes("--type="));
    const closed = new Promise((resolve) => this.context.once("close", resolve));
    process.kill(Number(main.trim().split(/\s+/)[0]), "SIGKILL");
    await closed;
    this.page = undefined;
  }
  async end() {
    await this.context?.close().catch(() => undefined);
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Runs ours and the other in turns. Stores both medians as figures and the median of the pairs as the ratio. */
async function versus(result, bench, { ratio, ours, other, rounds, one, theirs }) {
  const pairs = [];
  for (let round = 0; round < rounds; round++) {
    await bench.reload();
    const mine = await one();
    await bench.reload();
    pairs.push([mine, await theirs()]);
    process.stderr.write(
      `  ${ratio || ours} round ${round + 1}: ${pairs
        .at(-1)
        .map((rate) => Math.round(rate).toLocaleString("en-US"))
        .join(" against ")} records/s\n`,
    );
  }
  result.figures[`${ours}.recordsPerSecond`] = median(pairs.map(([mine]) => mine));
  result.figures[`${other}.recordsPerSecond`] = median(pairs.map(([, their]) => their));
  if (ratio) result.ratios[ratio] = median(pairs.map(([mine, their]) => mine / their));
}

const WORKLOADS = {
  tabs,
  async append(bench, size, result) {
    const { rounds } = size;
    for (const [bytes, label] of [
      [100, "100B"],
      [1024, "1KiB"],
    ]) {
      const one = () => bench.run("appendOurs", size.batches, 1000, bytes);
      const main = bytes === 100;
      const key = (name) => `append.batch1000.${name}.${label}`;
      await versus(result, bench, {
        ratio: main && "append.batch1000.vsRawOpfs",
        ours: key("tidemark"),
        other: key("rawOpfs"),
        rounds,
        one,
        theirs: () => bench.run("appendRaw", size.batches, 1000, bytes),
      });
      await versus(result, bench, {
        ratio: `append.deep.${label}.vsRawOpfs`,
        ours: `append.deep.tidemark.${label}`,
        other: `append.deep.rawOpfs.${label}`,
        rounds,
        one: () => bench.run("appendOurs", size.batches, 1000, bytes, DEEP),
        theirs: () => bench.run("appendRaw", size.batches, 1000, bytes, DEEP),
      });
      await versus(result, bench, {
        ratio: main && "append.batch1000.vsSqlite",
        ours: key("tidemarkBesideSqlite"),
        other: key("sqlite"),
        rounds,
        one,
        theirs: () => bench.run("appendPeer", "sqlite", size.sqliteBatches, 1000, bytes),
      });
    }
    await bench.reload();
    result.figures["append.batch1000.idb.100B.recordsPerSecond"] = await bench.run(
      "appendPeer",
      "idb",
      size.sqliteBatches,
      1000,
      100,
    );
    await versus(result, bench, {
      ratio: "append.single.vsSqlite",
      ours: "append.single.tidemark",
      other: "append.single.sqlite",
      rounds,
      one: () => bench.run("singleOurs", size.singles, 100),
      theirs: () => bench.run("singleSqlite", size.singles, 100),
    });
    await versus(result, bench, {
      ratio: "append.single.vsRawOpfs",
      ours: "append.single.tidemarkBesideRawOpfs",
      other: "append.single.rawOpfs",
      rounds,
      one: () => bench.run("singleOurs", size.singles, 100),
      theirs: () => bench.run("singleRaw", size.singles, 100),
    });
    await versus(result, bench, {
      ratio: "append.unawaited1000.vsSqlite",
      ours: "append.unawaited1000.tidemark",
      other: "append.unawaited1000.sqlite",
      rounds,
      one: () => bench.run("unawaitedOurs", size.unawaited, 100),
      theirs: () => bench.run("unawaitedSqlite", Math.max(2, size.unawaited >> 2), 100),
    });
  },
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
  async seek(bench, size, result) {
    const { figures } = result;
    for (const bytes of size.big) {
      await bench.run("fill", "big", bytes);
      await bench.reload();
      const { ms, segments } = await bench.run("seeks", "big", size.seeks);
      figures[`seek.p50Ms.${segments}segments`] = median(ms);
      figures[`seek.p99Ms.${segments}segments`] = quantile(ms, 0.99);
      process.stderr.write(
        `  seek with ${segments} segments: p50 ${median(ms).toFixed(2)} ms, p99 ${quantile(ms, 0.99).toFixed(2)} ms\n`,
      );
      if (bytes === size.big.at(-1))
        Object.assign(figures, {
          "seek.p50Ms": median(ms),
          "seek.p99Ms": quantile(ms, 0.99),
          "seek.segments": segments,
        });
      await bench.reload();
    }
    figures["seek.time.p99Ms"] = quantile(await bench.run("timeSeeks", "big", size.seeks), 0.99);
    const clean = [];
    const unclean = [];
    for (let i = 0; i < size.opens; i++) {
      await bench.reload();
      await bench.run("openOnce", "big");
      await bench.reload();
      const first = await bench.run("openOnce", "big");
      if (!first.clean) throw new Error("the log was closed, but it opened as not clean");
      clean.push(first.ms);
      await bench.run("openAndAppend", "big");
      await bench.kill();
      await bench.start();
      // A first tide of another name is opened before, so that the start of the browser is not measured.
      await bench.run("openOnce", "warm-up");
      const after = await bench.run("openOnce", "big");
      if (after.clean) throw new Error("the browser was killed, but the log opened as clean");
      unclean.push(after.ms);
    }
    figures["open.clean1GiBMs"] = median(clean);
    figures["open.unclean1GiBMs"] = median(unclean);
    await bench.reload();
    const before = await bench.heapMiB();
    const { records, ms } = await bench.run("replayAll", "big");
    figures["replay.heapGrowthMiB"] = (await bench.heapMiB()) - before;
    figures["replay.1KiB.recordsPerSecond"] = (records * 1000) / ms;
  },
};

/** With tiny sizes the figures mean nothing, so no target is judged. */
function judge(result) {
  for (const [name, least] of Object.entries(TARGETS))
    if (name in result.ratios) result.targets[name] = result.ratios[name] >= least;
  const measured = { ...result.figures, ...result.ratios };
  for (const [name, most] of Object.entries(LIMITS))
    if (name in measured) result.targets[name] = measured[name] <= most;
}

function print({ ratios, figures, targets }) {
  const bound = (name) => (name in TARGETS ? `at least ${TARGETS[name]}` : `at most ${LIMITS[name]}`);
  const verdict = (name) => (name in targets ? `   ${bound(name)}: ${targets[name] ? "met" : "MISSED"}` : "");
  console.log("\nratios");
  for (const [name, ratio] of Object.entries(ratios))
    console.log(`  ${name.padEnd(42)} ${ratio.toFixed(2).padStart(8)}${verdict(name)}`);
  console.log("figures");
  for (const [name, figure] of Object.entries(figures)) {
    const shown = figure >= 1000 ? Math.round(figure).toLocaleString("en-US") : figure.toFixed(2);
    console.log(`  ${name.padEnd(58)} ${shown.padStart(12)}${verdict(name)}`);
  }
}

export async function main(args) {
  const values = commandLine(
    {
      script: "bench",
      about: "Measures Tidemark beside its peers, in turns, in one run.",
      options: {
        target: choice(["browser", "edge"], { default: "browser", help: "which of the two hosts" }),
        only: text({ sample: "NAME", help: "only workloads whose names begin with NAME" }),
        before: text({ sample: "DIR", help: "edge: also measure the worker of the checkout in DIR" }),
        quick: flag({ help: "tiny sizes: show that everything runs; the figures mean nothing" }),
        json: jsonFile(),
      },
      check({ target, only }) {
        const names = Object.keys(WORKLOADS);
        if (target === "edge" || only === undefined || names.some((name) => name.startsWith(only))) return;
        throw new UsageError(`--only «${only}»: no workload's name begins so; they are ${names.join(", ")}`);
      },
    },
    args,
  );
  ensurePackages(PEERS);
  if (values.target === "edge")
    return node([path.join(root, "tools/run/run-ts.mjs"), "test/bench/edge/run.ts", ...args]);
  const page = {
    configFile: false,
    root: path.join(root, "test/bench/page"),
    logLevel: "error",
    base: "./",
    worker: { format: "es" },
  };
  const outDir = path.join(root, ".cache/bench");
  await build({ ...page, build: { outDir, emptyOutDir: true, target: "es2022", assetsInlineLimit: 0 } });
  const server = await preview({ ...page, build: { outDir }, preview: { host: "127.0.0.1", port: 0 } });
  const bench = new Bench(`http://127.0.0.1:${server.httpServer.address().port}/`);
  const result = { ratios: {}, figures: {}, targets: {}, environment: {} };
  try {
    await bench.start();
    for (const [name, workload] of Object.entries(WORKLOADS)) {
      if (values.only && !name.startsWith(values.only)) continue;
      console.error(name);
      await workload(bench, values.quick ? QUICK : FULL, result);
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
  return 0;
}

if (process.argv[1] === import.meta.filename) process.exit(await main(process.argv.slice(2)));
