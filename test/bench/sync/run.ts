/**
 * `npm run bench -- --only sync` measures devices in real Chromium in sync with the edge in real workerd: how fast an
 * outbox goes up beside a bare WebSocket, how fast a new device catches up beside a bare follow, how long a record
 * takes from one device to another, and what sync costs an append, a connection and the edge. Contenders take turns in
 * one run.
 *
 *     npm run bench -- --only sync --json FILE     { ratios, figures, targets, rounds, environment }
 *     npm run bench -- --only sync --quick         tiny sizes: shows that everything runs; its figures mean nothing
 *     npm run bench -- --only sync.live            keys that begin so
 */
import { setTimeout as sleep } from "node:timers/promises";
import { choice, commandLine, flag, jsonFile, text } from "../../../tools/run/command-line.mjs";
import { type EdgeLog, EdgeSocket, type Wire } from "../../../src/sync/edge-socket.ts";
import { socketProtocols } from "../../../src/sync/http-words.ts";
import { timers } from "../../edge/timers.ts";
import { environment, median, quantile, writeReport } from "../../support/figures.mjs";
import { releaseKernel } from "../../support/kernels.ts";
import { nanosecondsOf, ofGroup } from "../../tabs/processes.ts";
import { Fleet } from "../../sync/fleet.ts";
import { FaultProxy } from "../../sync/proxy.ts";
import { tokenOf } from "../../sync/tokens.ts";
import { COUNTING } from "../edge/counting.ts";
import { least, note, number } from "../edge/contest.ts";
import { Batches } from "../edge/sockets.ts";
import { BenchDevice, type BenchTab } from "./bench-device.ts";
import { joinBytes } from "./join.ts";

const BYTES = 100;
const RECORDS = 1_000;
const IN_FLIGHT = 8;
/** Segments as an app has them. */
const OF_TOPIC = { serializer: "bytes", segmentBytes: 8 * 1024 * 1024 } as const;
const HOUR_MS = 3_600_000;
/** After ten seconds of life the back-off begins anew. */
const SETTLED_MS = 10_200;
const TOKEN_SECONDS = 3_600;

const FULL = {
  ...{ rounds: 3, push: 100, catchUp: 1_000, live: 200, liveFar: 30, cuts: 5, idleMs: 180_000, local: 100 },
  /** Batches of the topic that is opened: 1 GiB. How often it is opened. */
  ...{ open: 10_000, openings: 9 },
};
const QUICK: Size = {
  ...{ rounds: 1, push: 3, catchUp: 5, live: 5, liveFar: 3, cuts: 1, idleMs: 500, local: 3 },
  ...{ open: 5, openings: 1 },
};
type Size = typeof FULL;

/** For a ratio or a rate the smallest value that meets the target, for everything else the largest one. */
const AT_LEAST: Readonly<Record<string, number>> = {
  "sync.push100k.vsBareSocket": 0.5,
  "sync.catchup1M.recordsPerSecond": 400_000,
  "sync.catchup1M.vsBareFollow": 0.5,
  "sync.append.vsLocal": 0.9,
};
const AT_MOST: Readonly<Record<string, number>> = {
  "sync.push100k.settledMs": 600,
  "sync.live.p50Ms": 6,
  "sync.live.p99Ms": 30,
  "sync.live.rtt100.p50Ms": 108,
  "sync.reconnect.p50Ms": 400,
  "sync.reconnect.maxMs": 800,
  "sync.idle.bytesPerHour": 2_048,
  "sync.join.bytes": 1_536,
  "sync.open.addedMs": 10,
  "sync.edge.rowsPerMillion": 1_110,
  "sync.edge.rowsPerLiveAppend": 1,
};

interface Result {
  readonly figures: Record<string, number>;
  readonly rounds: Record<string, readonly number[]>;
}

class SyncBench {
  #logs = 0;
  #count = 0;
  readonly devices: BenchDevice[] = [];

  constructor(
    readonly fleet: Fleet,
    readonly size: Size,
    readonly result: Result,
  ) {}

  newLog(): string {
    return `bench/${++this.#logs}`;
  }

  /**
   * A device of its own, with no tide yet. Its tokens live as long as those of most apps: each renewal costs some 250
   * bytes.
   */
  async added(path: string): Promise<BenchDevice> {
    const name = `bench-${++this.#count}`;
    const network = await new FaultProxy(this.fleet.edge.port).start();
    const tokens = this.fleet.tokens.urlOf(name, TOKEN_SECONDS);
    const config = { edge: network.url, path, tokens, ...OF_TOPIC };
    const device = await BenchDevice.start({ name, stage: this.fleet.stage.url, network, config });
    this.devices.push(device);
    return device;
  }

  /** The same with its tide open; its topic holds bytes and is synced with this log, unless there is no edge. */
  async device(path: string, edge?: string): Promise<BenchTab> {
    const device = await this.added(path);
    await device.openTide(edge === "" ? { edge: undefined } : {});
    return device.tab;
  }
  async clear(): Promise<void> {
    for (const device of this.devices.splice(0)) await device.end();
  }

  /** A log at the edge through a socket of this process. */
  async bare(path: string): Promise<EdgeLog> {
    const { url } = this.fleet.edge;
    const token = await tokenOf("bare", 600);
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/octet-stream" };
    await fetch(`${url}/v1/stream/${path}`, { method: "PUT", headers });
    const socket = new WebSocket(`${url.replace("http", "ws")}/v1/stream/${path}`, [...socketProtocols(token)]);
    socket.binaryType = "arraybuffer";
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve, { once: true });
      socket.addEventListener("error", () => reject(new Error("the WebSocket did not open")), { once: true });
    });
    return EdgeSocket.bind(socket as Wire, timers);
  }

  /** Records a second of batches through a bare socket. */
  async bareRate(path: string, batches: number): Promise<number> {
    const log = await this.bare(path);
    const source = new Batches(await releaseKernel(), RECORDS, BYTES, Math.floor(Math.random() * 2 ** 40));
    const started = performance.now();
    let left = batches;
    await Promise.all(
      Array.from({ length: IN_FLIGHT }, async () => {
        while (left-- > 0) await log.append([source.next()]);
      }),
    );
    const rate = (batches * RECORDS * 1_000) / (performance.now() - started);
    log.socket.close();
    return rate;
  }

  /** Starts to count processor time. What it returns gives milliseconds since then, of all browsers and of the edge. */
  cpu(): () => { readonly device: number; readonly edge: number } {
    const spent = (leaders: readonly number[]): number =>
      leaders.flatMap(ofGroup).reduce((sum, pid) => sum + nanosecondsOf(pid), 0) / 1e6;
    const now = () => ({ device: spent(this.devices.map(({ pid }) => pid)), edge: spent([this.fleet.edge.pid!]) });
    const began = now();
    return () => {
      const { device, edge } = now();
      return { device: device - began.device, edge: edge - began.edge };
    };
  }

  async rows(): Promise<number> {
    return Number(await (await fetch(`${this.fleet.edge.url}/rows`)).text());
  }

  keep(key: string, values: readonly number[], value: number): void {
    this.result.rounds[key] = values;
    this.result.figures[key] = value;
    note(`${key}: ${number(value)}  (${values.map(number).join(", ")})`);
  }
}

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
    for await (const { nextOffset } of log.follow(0, { windowBytes: 65_536, windowBytesMax: MIB8 }))
      if (nextOffset >= end) break;
    const bare = (end * 1_000) / (performance.now() - started);
    log.socket.close();
    const device = await bench.added(path);
    const opened = performance.now();
    const spent = bench.cpu();
    await device.openTide();
    await device.tab.call("reach", end);
    deviceCpu.push(spent().device);
    edgeCpu.push(spent().edge);
    rates.push((end * 1_000) / (performance.now() - opened));
    ratios.push(rates.at(-1)! / bare);
    await bench.clear();
  }
  bench.keep("sync.catchup1M.recordsPerSecond", rates, median(rates));
  bench.keep("sync.catchup1M.vsBareFollow", ratios, least(ratios));
  bench.keep("sync.catchup1M.deviceCpuMs", deviceCpu, median(deviceCpu));
  bench.keep("sync.catchup1M.edgeCpuMs", edgeCpu, median(edgeCpu));
}

/** From the append in one device until the other one's reader has the record. */
async function live(bench: SyncBench): Promise<void> {
  const { live: count, liveFar } = bench.size;
  const path = bench.newLog();
  const [from, to] = [await bench.device(path), await bench.device(path)];
  for (const tab of [from, to]) await tab.call("level");
  await to.call("watch");
  let next = 0;
  const latencies = async (times: number): Promise<number[]> => {
    const first = next;
    const sent = new Map<number, number>();
    for (; next < first + times; next++) {
      sent.set(next, await from.call("one", next, BYTES));
      await sleep(20);
    }
    const isThere = async (): Promise<boolean> => (await to.call("sightings")).some(([id]) => id === next - 1);
    while (!(await isThere())) await sleep(20);
    const seen = new Map(await to.call("sightings"));
    return [...sent].map(([id, at]) => seen.get(id)! - at);
  };
  await latencies(Math.min(count, 20));
  const before = await bench.rows();
  const near = await latencies(count);
  bench.keep("sync.edge.rowsPerLiveAppend", [], ((await bench.rows()) - before) / count);
  bench.keep("sync.live.p50Ms", [], quantile(near, 0.5));
  bench.keep("sync.live.p99Ms", [], quantile(near, 0.99));
  for (const { network } of bench.devices) network.weather.latencyMs = 50;
  const far = await latencies(liveFar);
  bench.keep("sync.live.rtt100.p50Ms", [], quantile(far, 0.5));
  await bench.clear();
}

/** The same appends to a local topic, to a synced one whose link pauses, and to one that is pushed meanwhile. */
async function append(bench: SyncBench): Promise<void> {
  const { local: batches, rounds } = bench.size;
  const [synced, plain] = [await bench.device(bench.newLog()), await bench.device(bench.newLog(), "")];
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
  const [plain, synced] = [await bench.device(bench.newLog(), ""), await bench.device(path)];
  await plain.call("pour", batches, RECORDS, BYTES);
  await synced.call("reach", batches * RECORDS);
  const times: [number[], number[]] = [[], []];
  for (let i = 0; i < openings; i++)
    for (const [which, device] of bench.devices.entries()) {
      await device.tab.call("close");
      await device.tab.reload();
      times[which]!.push(await device.openTimed(which === 0 ? { edge: undefined } : {}));
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

/** A connection that is cut; then one on which nothing happens. */
async function link(bench: SyncBench): Promise<void> {
  const { cuts, idleMs } = bench.size;
  const tab = await bench.device(bench.newLog());
  await tab.call("level");
  const { network } = bench.devices[0]!;
  const times: number[] = [];
  for (let i = 0; i < cuts; i++) {
    await sleep(Math.min(idleMs, SETTLED_MS));
    const down = tab.call("down");
    const at = performance.timeOrigin + performance.now();
    network.cut();
    await down;
    times.push(await tab.call("live", at));
  }
  bench.keep("sync.reconnect.p50Ms", times, quantile(times, 0.5));
  bench.keep("sync.reconnect.maxMs", [], Math.max(...times));
  await sleep(Math.min(idleMs, 1_000));
  const before = network.bytes.up + network.bytes.down;
  await sleep(idleMs);
  const bytes = network.bytes.up + network.bytes.down - before;
  bench.keep("sync.idle.bytesPerHour", [bytes], (bytes * HOUR_MS) / idleMs);
  await bench.clear();
}

const WORKLOADS: Readonly<Record<string, (bench: SyncBench) => Promise<void>>> = {
  "sync.push": push,
  "sync.catchup": catchUp,
  "sync.live": live,
  "sync.append": append,
  "sync.open": opening,
  "sync.join": join,
  "sync.link": link,
};

function shown(key: string, value: number): string {
  const [least, most] = [AT_LEAST[key], AT_MOST[key]];
  const isMet = (least === undefined || value >= least) && (most === undefined || value <= most);
  const target = least ?? most;
  const verdict = target === undefined ? "" : `   target ${target}: ${isMet ? "met" : "MISSED"}`;
  return `  ${key.padEnd(40)} ${number(value).padStart(12)}${verdict}`;
}

async function main(): Promise<number> {
  const { only, quick, json } = commandLine({
    script: "bench",
    command: "npm run bench -- --target sync",
    about: "Measures devices in sync with the edge.",
    options: {
      target: choice(["sync", "browser"], { default: "sync", help: "this one" }),
      only: text({ sample: "NAME", help: "only workloads whose names begin with NAME" }),
      quick: flag({ help: "tiny sizes: show that everything runs; the figures mean nothing" }),
      json: jsonFile(),
    },
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
  const fleet = await Fleet.start(undefined, COUNTING);
  const result: Result = { figures: {}, rounds: {} };
  try {
    const bench = new SyncBench(fleet, quick ? QUICK : FULL, result);
    for (const [name, workload] of Object.entries(WORKLOADS))
      if (only === undefined || only === "sync" || name.startsWith(only)) await workload(bench);
  } finally {
    await fleet.end();
  }
  for (const [key, value] of Object.entries(result.figures)) console.log(shown(key, value));
  writeReport(json, { ...result, targets: { ...AT_LEAST, ...AT_MOST }, environment: environment({ quick }) });
  return 0;
}

// The device that runs in this process has a port that is open for good.
process.exit(await main());
