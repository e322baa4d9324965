/**
 * How the cost of reads and appends grows with the size of their log: each log is filled in batches of 1,000 × 1 KiB,
 * read to its end, and appended to by 64 connections. One round each.
 */
import { median } from "../../support/figures.mjs";
import { releaseKernel } from "../../support/kernels.ts";
import { cpuMs, residentMiB } from "./contenders.ts";
import { note, number, type Workload } from "./contest.ts";
import { AppendLoad, catchUp, create } from "./load.ts";
import { batchRate } from "./sockets.ts";

const MIB = 1024 * 1024;
const READS = 3;

const sizes: Workload = async (result, size, contenders) => {
  const worker = await contenders.worker("sizes");
  const kernel = await releaseKernel();
  for (const mebibytes of size.logMiB) {
    const address = `${worker.url}/v1/stream/sizes/${mebibytes}`;
    const key = `size.${mebibytes}MiB`;
    await create(address);
    await batchRate(address, kernel, { records: 1_000, bytes: 1_024, batches: mebibytes, inFlight: 4 });
    const before = residentMiB(worker.pid!);
    const reads: { readonly MiBPerSecond: number; readonly cpuMsPerMiB: number }[] = [];
    for (let i = 0; i < READS; i++) {
      const cpu = cpuMs(worker.pid!);
      const { bytes, ms } = await catchUp(address);
      const read = bytes / MIB;
      reads.push({ MiBPerSecond: (read / ms) * 1_000, cpuMsPerMiB: (cpuMs(worker.pid!) - cpu) / read });
    }
    const load = new AppendLoad(address, 64, 1_024);
    await load.run(size.appendMs / 4, false);
    const cpu = cpuMs(worker.pid!);
    await load.run(size.appendMs / 2);
    load.end();
    Object.assign(result.figures, {
      [`${key}.catchup.MiBPerSecond`]: median(reads.map(({ MiBPerSecond }) => MiBPerSecond)),
      [`${key}.catchup.cpuMsPerMiB`]: median(reads.map(({ cpuMsPerMiB }) => cpuMsPerMiB)),
      [`${key}.residentGrowthMiB`]: residentMiB(worker.pid!) - before,
      [`${key}.append64.cpuUs`]: ((cpuMs(worker.pid!) - cpu) * 1_000) / load.count,
      [`${key}.append64.appendsPerSecond`]: load.rate,
    });
    note(`${mebibytes} MiB: ${number(result.figures[`${key}.catchup.MiBPerSecond`]!)} MiB/s`);
  }
};

export const SIZES: Readonly<Record<string, Workload>> = { sizes };
