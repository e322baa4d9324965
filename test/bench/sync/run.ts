/**
 * `npm run bench -- --only sync` measures devices in real Chromium in sync with the edge in real workerd: how fast an
 * outbox goes up beside a bare WebSocket, how fast a new device catches up beside a bare follow, how long a record
 * takes from one device to another, how soon sync goes on behind a cut and behind the end of a leader, and what it
 * costs an append, a connection and the edge. Contenders take turns in one run.
 *
 *     npm run bench -- --only sync --json FILE     { ratios, figures, targets, rounds, environment }
 *     npm run bench -- --only sync --quick         tiny sizes: shows that everything runs; its figures mean nothing
 *     npm run bench -- --only sync.live            keys that begin so
 */
import { setTimeout as sleep } from "node:timers/promises";
import { choice, commandLine, flag, jsonFile, text } from "../../../tools/run/command-line.mjs";
import { environment, median, quantile, writeReport } from "../../support/figures.mjs";
import { releaseKernel } from "../../support/kernels.ts";
import { Fleet } from "../../sync/fleet.ts";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { measure } from "../../../tools/package/size.mjs";
import { COUNTING } from "../edge/plants.ts";
import { least, number } from "../edge/contest.ts";
import { Batches } from "../edge/sockets.ts";
import type { BenchTab } from "./bench-device.ts";
import { failOver } from "./fail-over.ts";
import { joinBytes } from "./join.ts";
import { idle, reconnect } from "./link.ts";
import { BYTES, FULL, QUICK, RECORDS, type Result, SyncBench, type Way } from "./sync-bench.ts";

const FAR_MS = 100;

/** For a ratio or a rate the smallest value that meets the target, for everything else the largest one. */
const AT_LEAST: Readonly<Record<string, number>> = {
  "sync.push100k.vsBareSocket": 0.5,
  "sync.catchup1M.recordsPerSecond": 400_000,
  "sync.catchup1M.vsBareFollow": 0.5,
  "sync.catchup.rtt100.MiBPerSecond": 40,
  "sync.append.vsLocal": 0.9,
};
const AT_MOST: Readonly<Record<string, number>> = {
  "sync.push100k.settledMs": 600,
  "sync.live.p50Ms": 6,
  "sync.live.p99Ms": 30,
  "sync.live.rtt100.p50Ms": 108,
  "sync.reconnect.p50Ms": 400,
  "sync.reconnect.p99Ms": 800,
  "sync.idle.bytesPerHour": 2_048,
  "sync.idle.hidden.bytesPerHour": 0,
  "size.core": 40 * 1024,
  "size.sync": 12 * 1024,
  "size.sum": 52 * 1024,
  "sync.failOver.crash.maxMs": 1_000,
  "sync.failOver.hang.maxMs": 3_000,
  "sync.join.bytes": 1_536,
  "sync.open.addedMs": 10,
  "sync.edge.rowsPerMillion": 1_110,
  "sync.edge.rowsPerLiveAppend": 1,
};

/** Written while paused, then sent: beside the same bytes through a bare socket. */
async function push(bench: SyncBench): Promise<void> {
  const { push: batches, rounds } = bench.size;
  const [ratios, settled, rows]: [number[], number[], number[]] = [[], [], []];
  const [deviceCpu, edgeCpu, bareCpu]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < rounds; round++) {
    const ofBare = bench.cpu();
    const bare = await bench.bareRate(bench.newLog(), batches);
    bareCpu.push(ofBare().edge);
    const tab = await bench.device(bench.newLog());
    await tab.call("level");
    await tab.call("pause");
    await tab.call("pour", batches, RECORDS, BYTES);
    const before = await bench.rows();
    const spent = bench.cpu();
    const { drainedMs } = await tab.call("drain");
    const { device, edge } = spent();
    deviceCpu.push(device);
    edgeCpu.push(edge);
    rows.push((((await bench.rows()) - before) / (batches * RECORDS)) * 1_000_000);
    settled.push(drainedMs);
    ratios.push((batches * RECORDS * 1_000) / drainedMs / bare);
    await bench.clear();
  }
  bench.keep("sync.push100k.vsBareSocket", ratios, least(ratios));
  bench.keep("sync.push100k.settledMs", settled, median(settled));
  bench.keep("sync.push100k.deviceCpuMs", deviceCpu, median(deviceCpu));
  bench.keep("sync.push100k.edgeCpuMs", edgeCpu, median(edgeCpu));
  bench.keep("sync.push100k.bareEdgeCpuMs", bareCpu, median(bareCpu));
  bench.keep("sync.edge.rowsPerMillion", rows, median(rows));
}

/** A new device comes to a full log: beside a bare follow into memory. */
async function catchUp(bench: SyncBench): Promise<void> {
  const { catchUp: batches, rounds } = bench.size;
  const path = bench.newLog();
  await bench.bareRate(path, batches);
  const end = batches * RECORDS;
  const [rates, ratios, deviceCpu, edgeCpu]: [number[], number[], number[], number[]] = [[], [], [], []];
  for (let round = 0; round < rounds; round++) {
    const log = await bench.bare(path);
    const started = performance.now();
    const MIB8 = 8 * 1024 * 1024;
    for await (const { nextOffset } of log.follow(0, { windowBytes: 65_536, resize: (has) => Math.min(2 * has, MIB8) }))
      if (nextOffset >= end) break;
    const bare = (end * 1_000) / (performance.now() - started);
    log.socket.close();
    const device = await bench.added(path);
    const opened = performance.now();
    const spent = bench.cpu();
    await device.openTide({ edge: bench.edgeBy("direct", device) });
    await device.tab.call("reach", end);
    deviceCpu.push(spent().device);
    edgeCpu.push(spent().edge);
    rates.push((end * 1_000) / (performance.now() - opened));
    ratios.push(rates.at(-1)! / bare);
    await bench.clear();
  }
  await farCatchUp(bench, path, end);
  bench.keep("sync.catchup1M.recordsPerSecond", rates, median(rates));
  bench.keep("sync.catchup1M.vsBareFollow", ratios, least(ratios));
  bench.keep("sync.catchup1M.deviceCpuMs", deviceCpu, median(deviceCpu));
  bench.keep("sync.catchup1M.edgeCpuMs", edgeCpu, median(edgeCpu));
}

/** The same log with a round trip of 100 ms. */
async function farCatchUp(bench: SyncBench, path: string, end: number): Promise<void> {
  const rates: number[] = [];
  for (let round = 0; round < bench.size.rounds; round++) {
    const device = await bench.added(path);
    device.network.weather.latencyMs = FAR_MS / 2;
    const opened = performance.now();
    await device.openTide();
    await device.tab.call("reach", end);
    rates.push((device.network.bytes.down * 1_000) / (performance.now() - opened) / 2 ** 20);
    await bench.clear();
  }
  bench.keep("sync.catchup.rtt100.MiBPerSecond", rates, median(rates));
}

/** From the append in one device until the other one's reader has the record. */
async function live(bench: SyncBench): Promise<void> {
  const { live: count, liveFar } = bench.size;
  const near = await latencies(bench, "direct", { first: Math.min(count, 20), counted: count });
  bench.keep("sync.edge.rowsPerLiveAppend", [], near.rows / count);
  bench.keep("sync.live.p50Ms", [], quantile(near.times, 0.5));
  bench.keep("sync.live.p99Ms", [], quantile(near.times, 0.99));
  const far = await latencies(bench, "proxy", { first: Math.min(count, 5), counted: liveFar });
  bench.keep("sync.live.rtt100.p50Ms", [], quantile(far.times, 0.5));
}

/** Of two devices with a log of their own, behind the first appends. By the proxy the round trip is 100 ms. */
async function latencies(
  bench: SyncBench,
  way: Way,
  { first, counted }: { readonly first: number; readonly counted: number },
): Promise<{ readonly times: readonly number[]; readonly rows: number }> {
  const path = bench.newLog();
  const [from, to] = [await bench.device(path, way), await bench.device(path, way)];
  for (const tab of [from, to]) await tab.call("level");
  await to.call("watch");
  if (way === "proxy") for (const { network } of bench.devices) network.weather.latencyMs = FAR_MS / 2;
  let next = 0;
  const append = async (times: number): Promise<number[]> => {
    const sent = new Map<number, number>();
    for (const end = next + times; next < end; next++) {
      sent.set(next, await from.call("one", next, BYTES));
      await sleep(20);
    }
    const isThere = async (): Promise<boolean> => (await to.call("sightings")).some(([id]) => id === next - 1);
    while (!(await isThere())) await sleep(20);
    const seen = new Map(await to.call("sightings"));
    return [...sent].map(([id, at]) => seen.get(id)! - at);
  };
  await append(first);
  const before = await bench.rows();
  const times = await append(counted);
  const rows = (await bench.rows()) - before;
  await bench.clear();
  return { times, rows };
}

/** The same appends to a local topic, to a synced one whose link pauses, and to one that is pushed meanwhile. */
async function append(bench: SyncBench): Promise<void> {
  const { local: batches, rounds } = bench.size;
  const [synced, plain] = [await bench.device(bench.newLog()), await bench.device(bench.newLog(), "local")];
  await synced.call("level");
  const [alone, pushed]: [number[], number[]] = [[], []];
  const pour = (tab: BenchTab): Promise<number> => tab.call("pour", batches, RECORDS, BYTES);
  for (const tab of [synced, plain]) await pour(tab);
  for (let round = 0; round < 2 * rounds; round++) {
    await synced.call("level");
    pushed.push((await pour(plain)) / (await pour(synced)));
    await synced.call("level");
    await synced.call("pause");
    alone.push((await pour(plain)) / (await pour(synced)));
    await synced.call("resume");
  }
  bench.keep("sync.append.vsLocal", alone, median(alone));
  bench.keep("sync.append.pushed.vsLocal", pushed, median(pushed));
  await bench.clear();
}

/** The same records in a local topic and in a synced one: how long until it is open and its last record is read. */
async function opening(bench: SyncBench): Promise<void> {
  const { open: batches, openings } = bench.size;
  const path = bench.newLog();
  await bench.bareRate(path, batches);
  const [plain, synced] = [await bench.device(bench.newLog(), "local"), await bench.device(path)];
  await plain.call("pour", batches, RECORDS, BYTES);
  await synced.call("reach", batches * RECORDS);
  const times: [number[], number[]] = [[], []];
  for (let i = 0; i < openings; i++)
    for (const [which, device] of bench.devices.entries()) {
      await device.tab.call("close");
      await device.tab.reload();
      const edge = bench.edgeBy(which === 0 ? "local" : "direct", device);
      times[which]!.push(await device.openTimed({ edge }));
    }
  const [local, both] = times.map(median) as [number, number];
  bench.keep("sync.open.localMs", times[0], local);
  bench.keep("sync.open.addedMs", times[1], both - local);
  await bench.clear();
}

/** The frames of one join. */
async function join(bench: SyncBench): Promise<void> {
  const path = bench.newLog();
  const batches = Math.min(bench.size.push, 100);
  const log = await bench.bare(path);
  const source = new Batches(await releaseKernel(), 1, BYTES, 1);
  for (let i = 0; i < batches * 50; i++) await log.append([source.next()]);
  log.socket.close();
  const bytes = await joinBytes({ name: "joiner", edge: bench.fleet.edge.url, path }, batches * 50);
  bench.keep("sync.join.bytes", [bytes], bytes);
}

/** What a visitor's browser downloads. With tiny sizes it is left out: `npm test` measures it in a step of its own. */
async function sizes(bench: SyncBench): Promise<void> {
  if (bench.size === QUICK) return;
  const { firstVisit, sync } = (await measure()) as Record<string, { readonly gzipBytes: number }>;
  const [core, added] = [firstVisit!.gzipBytes, sync!.gzipBytes];
  bench.keep("size.core", [], core);
  bench.keep("size.sync", [], added);
  bench.keep("size.sum", [], core + added);
}

const WORKLOADS: Readonly<Record<string, (bench: SyncBench) => Promise<void>>> = {
  "sync.push": push,
  "sync.catchup": catchUp,
  "sync.live": live,
  "sync.append": append,
  "sync.open": opening,
  "sync.join": join,
  "sync.reconnect": reconnect,
  "sync.idle": idle,
  "sync.failOver": failOver,
  "sync.size": sizes,
};

/** What is counted and not measured: a whole run that misses one of these targets fails, on any machine. */
const COUNTED = ["sync.join.bytes", "sync.edge.rowsPerLiveAppend", "sync.idle.hidden.bytesPerHour"];

const isMet = (key: string, value: number): boolean =>
  value >= (AT_LEAST[key] ?? -Infinity) && value <= (AT_MOST[key] ?? Infinity);

function shown(key: string, value: number, isJudged: boolean): string {
  const target = AT_LEAST[key] ?? AT_MOST[key];
  const isTold = isJudged && target !== undefined;
  const verdict = isTold ? `   target ${target}: ${isMet(key, value) ? "met" : "MISSED"}` : "";
  return `  ${key.padEnd(40)} ${number(value).padStart(12)}${verdict}`;
}

async function main(): Promise<number> {
  const {
    only: names = "sync",
    quick,
    json,
  } = commandLine({
    script: "bench",
    command: "npm run bench -- --target sync",
    about: "Measures devices in sync with the edge.",
    options: {
      target: choice(["sync", "browser"], { default: "sync", help: "this one" }),
      only: text({
        sample: "NAME",
        help: "only workloads whose names begin with NAME; several with commas between them",
      }),
      quick: flag({ help: "tiny sizes: show that everything runs; the figures mean nothing" }),
      json: jsonFile(),
    },
  });
  const only = names.split(",");
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
  const fleet = await Fleet.start({ edgePlants: COUNTING });
  const result: Result = { figures: {}, rounds: {} };
  try {
    const bench = new SyncBench(fleet, quick ? QUICK : FULL, result);
    for (const [name, workload] of Object.entries(WORKLOADS))
      if (only.some((each) => each === "sync" || name.startsWith(each))) await workload(bench);
  } finally {
    await fleet.end();
  }
  const figures = Object.entries(result.figures);
  for (const [key, value] of figures) console.log(shown(key, value, !quick));
  writeReport(json, { ...result, targets: { ...AT_LEAST, ...AT_MOST }, environment: environment({ quick }) });
  return !quick && figures.some(([key, value]) => COUNTED.includes(key) && !isMet(key, value)) ? 1 : 0;
}

// The device that runs in this process has a port that is open for good.
process.exit(await main());
