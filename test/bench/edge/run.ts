/**
 * `npm run bench -- --target edge` measures the worker in local workerd against itself without group commit, and
 * against the published Durable Streams server with its file store, on one machine in one run. Contenders take turns in
 * short slices, in rotating order. Each round gives a ratio, and the median counts.
 *
 *     npm run bench -- --target edge --json FILE     { ratios, figures, targets, rounds, environment }
 *     npm run bench -- --target edge --quick         tiny sizes: shows that everything runs; its figures mean nothing
 *     npm run bench -- --target edge --only append   workloads whose names begin with "append"
 *     npm run bench -- --target edge --before DIR    also the worker of another checkout, in workloads that can
 */
import path from "node:path";
import type { RawWorkerd } from "../../edge/raw-workerd.ts";
import { commandLine, flag, jsonFile, text, UsageError } from "../../../tools/run/command-line.mjs";
import { environment, median, writeReport } from "../../support/figures.mjs";
import { releaseKernel } from "../../support/kernels.ts";
import { Contenders, residentMiB, writtenBytes } from "./contenders.ts";
import {
  FULL,
  keep,
  least,
  note,
  number,
  QUICK,
  type Result,
  type Size,
  TURNS,
  versus,
  type Workload,
} from "./contest.ts";
import { COUNTING, NO_GROUP_COMMIT } from "./plants.ts";
import { APPENDS } from "./appends.ts";
import { DIALECTS } from "./dialects.ts";
import { LIVE } from "./live.ts";
import { AppendLoad, catchUp, create, fill } from "./load.ts";
import { SIZES } from "./sizes.ts";
import { STREAMS } from "./streams.ts";
import { batchRate, deliver } from "./sockets.ts";

const MIB = 1024 * 1024;
/** For a ratio the smallest value that meets the target; for a figure its largest or smallest one. */
const TARGETS: Readonly<Record<string, number>> = {
  "append.http64.vsNoGroupCommit": 1.7,
  "append.http64.vsDurableStreamsServer": 3,
  "catchup100MB.vsDurableStreamsServer": 3,
  "catchup100MB.appends1MiB.vsDurableStreamsServer": 3,
  "catchup.batches.vsValues": 1,
  // Of the processor time of the toy Workers: at most 1.1 times as much.
  "append.http64.toy.cpuUs": 1 / 1.1,
  // These two are meant for `--before` with a checkout of bad38b8.
  "append.http1.vsBefore": 3,
  "append.jsonArrays.vsBefore": 1.4,
  // Not worse, whichever checkout it is: rounds of the same program differ by some 5 %.
  "append.http64.vsBefore": 0.95,
  "append.http256.vsBefore": 0.95,
};
const AT_LEAST: Readonly<Record<string, number>> = {
  "append.websocket.batch1000.recordsPerSecond": 200_000,
  "streams.made": 10_000,
};
const AT_MOST: Readonly<Record<string, number>> = {
  "write.bytesPerPayloadByte.64KiB": 2.5,
  "write.rowsPerMillionRecords.batch1000": 1_100,
  // Reads whose answers are streamed hold some rows each, whatever their log's size.
  "catchup.batches.residentGrowthMiB": 64,
  "live.sse.followers1000.tidemark.cpuUs": 60,
  "live.sse.followers1000.tidemark.p50Ms": 50,
  "live.sse.followers1000.tidemark.p99Ms": 110,
  "live.sse.followers1000.tidemark.ackP50Ms": 5,
  // What 724eb1d had, measured with this driver.
  "live.webSocket.followers1000.tidemark.cpuUs": 137,
  "live.webSocket.followers1000.tidemark.p50Ms": 42,
  "live.webSocket.followers1000.tidemark.p99Ms": 127,
  "live.webSocket.followers1000.tidemark.ackP50Ms": 75,
};

/**
 * The size of the heap once garbage is gone. One collection leaves garbage that only the next one finds, so it collects
 * until three in a row have found nothing more. Each look collects once and answers afterwards.
 */
async function settledHeapMiB(worker: RawWorkerd): Promise<number> {
  let found = await worker.heapMiB();
  for (let idle = 0, looks = 1; idle < 3 && looks < 50; looks++) {
    const next = await worker.heapMiB();
    idle = next < found - 0.05 ? 0 : idle + 1;
    found = Math.min(found, next);
  }
  return found;
}

const STREAM = "/v1/stream/bench";
const WARM_READS = 10;
/** A read of 100 MB takes only 0.1 s, so each round has this many. */
const READ_TURNS = 12;

/**
 * The logs that are read: one holds the records of the append workload, the other the same bytes in the largest
 * appends.
 */
const LOGS = [
  { name: "catchup100MB", bytes: 1024, connections: 64 },
  { name: "catchup100MB.appends1MiB", bytes: MIB, connections: 1 },
];

/** Both servers read their log to its end, in turns. */
async function catchUpVersus(
  result: Result,
  size: Size,
  log: string,
  servers: Readonly<Record<string, { readonly url: string; readonly pid: number }>>,
): Promise<void> {
  const names = Object.keys(servers);
  const resident = (): Map<string, number> => new Map(names.map((name) => [name, residentMiB(servers[name]!.pid)]));
  const before = resident();
  const most = resident();
  const read = async (name: string): Promise<{ bytes: number; ms: number }> => {
    const { url, pid } = servers[name]!;
    const onAnswer = (): unknown => most.set(name, Math.max(most.get(name)!, residentMiB(pid)));
    const found = await catchUp(`${url}${STREAM}/${log}`, { onAnswer });
    if (found.bytes !== size.catchUp * MIB) throw new Error(`${name} gave ${found.bytes} bytes`);
    return found;
  };
  // Uncounted reads warm up compilers, heaps and caches of both servers.
  for (let i = 0; i < WARM_READS; i++) for (const name of names) await read(name);
  const warm = new Map(most);
  const rates = await versus(
    size.rounds,
    names,
    async () => {
      const sums = new Map(names.map((name) => [name, { bytes: 0, ms: 0 }]));
      return {
        async slice(name) {
          const { bytes, ms } = await read(name);
          const sum = sums.get(name)!;
          sums.set(name, { bytes: sum.bytes + bytes, ms: sum.ms + ms });
        },
        rate: (name) => sums.get(name)!.bytes / MIB / (sums.get(name)!.ms / 1000),
        end: () => undefined,
      };
    },
    READ_TURNS,
  );
  names.forEach((name, i) => {
    result.figures[`${log}.${name}.MiBPerSecond`] = median(rates[i]!);
    result.figures[`${log}.${name}.residentGrowthMiB.firstReads`] = warm.get(name)! - before.get(name)!;
    result.figures[`${log}.${name}.residentGrowthMiB.laterReads`] = most.get(name)! - warm.get(name)!;
  });
  keep(result, `${log}.vsDurableStreamsServer`, rates[0]!, rates[1]!);
}

const WORKLOADS: Readonly<Record<string, Workload>> = {
  async append(result, size, contenders) {
    const urls: Record<string, string> = {
      tidemark: (await contenders.worker("grouped")).url,
      alone: (await contenders.worker("alone", NO_GROUP_COMMIT)).url,
      peer: (await contenders.peer()).url,
    };
    const names = Object.keys(urls);
    const rates = await versus(size.rounds, names, async (round) => {
      const loads: Record<string, AppendLoad> = {};
      for (const name of names) {
        const address = `${urls[name]}${STREAM}/append/${round}`;
        await create(address);
        loads[name] = new AppendLoad(address, 64, 1024);
        await loads[name].run(size.appendMs / 4, false);
      }
      return {
        slice: (name) => loads[name]!.run(size.appendMs / TURNS),
        rate: (name) => loads[name]!.rate,
        end: () => Object.values(loads).forEach((load) => load.end()),
      };
    });
    names.forEach((name, i) => (result.figures[`append.http64.${name}.appendsPerSecond`] = median(rates[i]!)));
    keep(result, "append.http64.vsNoGroupCommit", rates[0]!, rates[1]!);
    keep(result, "append.http64.vsDurableStreamsServer", rates[0]!, rates[2]!);
  },
  async catchup(result, size, contenders) {
    const write = async (url: string): Promise<void> => {
      for (const { name, bytes, connections } of LOGS) {
        await create(`${url}${STREAM}/${name}`);
        await fill(`${url}${STREAM}/${name}`, bytes, (size.catchUp * MIB) / bytes, connections);
      }
    };
    const worker = await contenders.worker("catchup");
    await write(worker.url);
    note("tidemark's logs are filled");
    await contenders.fillPeer(write);
    note("the peer's logs are filled");
    for (const { name } of LOGS) {
      // Both servers are started anew, so that memory left by filling or by the last log slows down neither.
      await worker.kill();
      await worker.start();
      const peer = await contenders.peer();
      await catchUpVersus(result, size, name, { tidemark: { url: worker.url, pid: worker.pid! }, peer });
      await peer.end();
    }
  },
  async websocket(result, size, contenders) {
    const { url } = await contenders.worker("websocket");
    const kernel = await releaseKernel();
    const rates: number[] = [];
    for (let round = 0; round < size.rounds; round++) {
      const address = `${url}${STREAM}/websocket/${round}`;
      await create(address);
      rates.push(await batchRate(address, kernel, { records: 1000, bytes: 100, batches: size.batches, inFlight: 32 }));
      note(`round ${round + 1}: ${number(rates.at(-1)!)} records/s`);
    }
    result.figures["append.websocket.batch1000.recordsPerSecond"] = median(rates);
    result.figures["append.websocket.batch1000.recordsPerSecond.least"] = least(rates);
  },
  async write(result, size, contenders) {
    const worker = await contenders.worker("write", COUNTING);
    const kernel = await releaseKernel();
    const address = `${worker.url}${STREAM}/write`;
    await create(address);
    await fill(address, 64 * 1024, 16);
    const before = writtenBytes(worker.pid!);
    await fill(address, 64 * 1024, size.commits);
    result.figures["write.bytesPerPayloadByte.64KiB"] =
      (writtenBytes(worker.pid!) - before) / (size.commits * 64 * 1024);
    const rows = async (): Promise<number> => Number(await (await fetch(`${worker.url}/rows`)).text());
    await create(`${address}/rows`);
    const started = await rows();
    // One batch after the other, so that each is a commit of its own: the most rows that a batch can cost.
    await batchRate(`${address}/rows`, kernel, { records: 1000, bytes: 100, batches: size.rowBatches, inFlight: 1 });
    result.figures["write.rowsPerMillionRecords.batch1000"] = ((await rows()) - started) * (1_000 / size.rowBatches);
  },
  async followers(result, size, contenders) {
    const worker = await contenders.worker("followers", [], true);
    const address = `${worker.url}${STREAM}/followers`;
    await create(address);
    const [before, heapBefore] = [residentMiB(worker.pid!), await worker.heapMiB()];
    let [standing, heapStanding] = [before, heapBefore];
    const delivery = await deliver(
      address,
      await releaseKernel(),
      { followers: size.followers, appends: size.appends, everyMs: 250 },
      async () => {
        [standing, heapStanding] = [residentMiB(worker.pid!), await worker.heapMiB()];
      },
      () => settledHeapMiB(worker),
    );
    if (delivery.deliveries !== size.followers * size.appends) throw new Error(`${delivery.deliveries} deliveries`);
    Object.assign(result.figures, {
      "followers1000.delivery.p50Ms": delivery.p50Ms,
      "followers1000.delivery.p99Ms": delivery.p99Ms,
      "followers1000.delivery.maxMs": delivery.maxMs,
      "followers1000.isolateHeapGrowthMiB.connected": heapStanding - heapBefore,
      "followers1000.isolateHeapGrowthMiB.delivered": delivery.heapMiB - heapBefore,
      "followers1000.residentGrowthMiB.connected": standing - before,
      "followers1000.residentGrowthMiB.delivered": residentMiB(worker.pid!) - before,
    });
  },
  ...APPENDS,
  ...DIALECTS,
  ...LIVE,
  ...SIZES,
  ...STREAMS,
};

function judge(result: Result): void {
  for (const [name, target] of Object.entries(TARGETS))
    if (name in result.ratios) result.targets[name] = result.ratios[name]! >= target;
  for (const [name, target] of Object.entries(AT_LEAST))
    if (name in result.figures) result.targets[name] = result.figures[name]! >= target;
  for (const [name, target] of Object.entries(AT_MOST))
    if (name in result.figures) result.targets[name] = result.figures[name]! <= target;
}

function print({ ratios, figures, targets, rounds }: Result): void {
  const met = (name: string): string => (name in targets ? (targets[name] ? "met" : "MISSED") : "");
  console.log("\nratios (median of the rounds; higher is better)");
  for (const [name, ratio] of Object.entries(ratios)) {
    const target = name in targets ? `   target ${number(TARGETS[name]!)}: ${met(name)}` : "";
    console.log(
      `  ${name.padEnd(44)} ${ratio.toFixed(2).padStart(8)}${target}   ` +
        `rounds ${rounds[name]!.map((value) => value.toFixed(2)).join(" ")}`,
    );
  }
  console.log("figures");
  for (const [name, figure] of Object.entries(figures)) {
    const limit = name in AT_LEAST ? `at least ${number(AT_LEAST[name]!)}` : `at most ${number(AT_MOST[name] ?? 0)}`;
    // A ratio may have the same name.
    const isBound = name in targets && (name in AT_LEAST || name in AT_MOST);
    const bound = isBound ? `   ${limit}: ${met(name)}` : "";
    console.log(`  ${name.padEnd(58)} ${number(figure).padStart(12)}${bound}`);
  }
}

const values = commandLine({
  script: "bench",
  command: "npm run bench -- --target edge",
  about: "Measures the edge beside its peers, in turns, in one run.",
  options: {
    target: text({ help: "edge" }),
    only: text({ sample: "NAME", help: "only workloads whose names begin with NAME" }),
    before: text({ sample: "DIR", help: "also measure the worker of the checkout in DIR, in workloads that can" }),
    quick: flag({ help: "tiny sizes: show that everything runs; the figures mean nothing" }),
    json: jsonFile(),
  },
  check({ only }) {
    const names = Object.keys(WORKLOADS);
    if (only === undefined || names.some((name) => name.startsWith(only))) return;
    throw new UsageError(`--only «${only}»: no workload's name begins so; they are ${names.join(", ")}`);
  },
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
const result: Result = { ratios: {}, figures: {}, targets: {}, rounds: {}, environment: {} };
for (const [name, workload] of Object.entries(WORKLOADS)) {
  if (values.only !== undefined && !name.startsWith(values.only)) continue;
  console.error(name);
  const contenders = new Contenders(values.before && path.resolve(values.before));
  try {
    await workload(result, values.quick ? QUICK : FULL, contenders);
  } finally {
    await contenders.end();
  }
}
result.environment = environment({ quick: values.quick === true });
if (!values.quick) judge(result);
print(result);
writeReport(values.json, result);
