/**
 * What a dialect costs beside the others: catch-up in whole batches beside values, and appends of JSON arrays, whose
 * elements become a record each. Another checkout's worker is measured beside this one's where it is named.
 */
import { median } from "../../support/figures.mjs";
import { releaseKernel } from "../../support/kernels.ts";
import { residentMiB } from "./contenders.ts";
import { keep, TURNS, versus, type Workload } from "./contest.ts";
import { AppendLoad, catchUp, create } from "./load.ts";
import { batchRate } from "./sockets.ts";

const BATCHES_TYPE = "application/vnd.tidemark.batches";
const MIB = 1024 * 1024;
const ELEMENTS = 1_000;
const ELEMENT = `{"id":12345,"name":"a name","text":"${"x".repeat(60)}"}`;

/** The same log of batches of 1,000 × 1 KiB, read whole in either dialect. */
const catchUpInBatches: Workload = async (result, size, contenders) => {
  const servers = await contenders.pair("catchup-batches");
  const kernel = await releaseKernel();
  const readers: Record<string, () => Promise<{ readonly bytes: number; readonly ms: number }>> = {};
  for (const [name, { url }] of Object.entries(servers)) {
    const address = `${url}/v1/stream/bench/batches`;
    await create(address);
    await batchRate(address, kernel, { records: 1_000, bytes: 1_024, batches: size.catchUp, inFlight: 4 });
    readers[name] = () => catchUp(address, { accept: BATCHES_TYPE });
    readers[`${name}.values`] = () => catchUp(address);
  }
  const names = Object.keys(readers);
  for (const name of names) for (let i = 0; i < 5; i++) await readers[name]!();
  const before = residentMiB(servers["tidemark"]!.pid!);
  const rates = await versus(size.rounds, names, async () => {
    const read: Record<string, { bytes: number; ms: number }> = {};
    for (const name of names) read[name] = { bytes: 0, ms: 0 };
    return {
      async slice(name) {
        const { bytes, ms } = await readers[name]!();
        read[name]!.bytes += bytes;
        read[name]!.ms += ms;
      },
      rate: (name) => (read[name]!.bytes / MIB / read[name]!.ms) * 1_000,
      end: () => undefined,
    };
  });
  const key = "catchup.batches";
  names.forEach((name, i) => (result.figures[`${key}.${name}.MiBPerSecond`] = median(rates[i]!)));
  result.figures[`${key}.residentGrowthMiB`] = residentMiB(servers["tidemark"]!.pid!) - before;
  keep(result, `${key}.vsValues`, rates[0]!, rates[1]!);
  if (servers["before"]) keep(result, `${key}.vsBefore`, rates[0]!, rates[2]!);
};

const jsonArrays: Workload = async (result, size, contenders) => {
  const servers = await contenders.pair("json-arrays");
  const names = Object.keys(servers);
  const body = Buffer.from(`[${Array<string>(ELEMENTS).fill(ELEMENT).join(",")}]`);
  const rates = await versus(size.rounds, names, async (round) => {
    const loads: Record<string, AppendLoad> = {};
    for (const name of names) {
      const address = `${servers[name]!.url}/v1/stream/json/${round}`;
      await create(address, "application/json");
      loads[name] = new AppendLoad(address, 8, { body, type: "application/json" });
      await loads[name].run(size.appendMs / 4, false);
    }
    return {
      slice: (name) => loads[name]!.run(size.appendMs / TURNS),
      rate: (name) => loads[name]!.rate * ELEMENTS,
      end: () => Object.values(loads).forEach((load) => load.end()),
    };
  });
  names.forEach((name, i) => (result.figures[`append.jsonArrays.${name}.recordsPerSecond`] = median(rates[i]!)));
  if (servers["before"]) keep(result, "append.jsonArrays.vsBefore", rates[0]!, rates[1]!);
};

export const DIALECTS: Readonly<Record<string, Workload>> = { catchup_batches: catchUpInBatches, json: jsonArrays };
