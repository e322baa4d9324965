/**
 * What a dialect costs beside the others: catch-up in whole batches beside values, and appends of JSON arrays, whose
 * elements become a record each. Another checkout's worker is measured beside this one's where it is named.
 */
import { median } from "../../support/figures.mjs";
import { releaseKernel } from "../../support/kernels.ts";
import { cpuMs, residentMiB } from "./contenders.ts";
import { keep, note, number, TURNS, versus, type Workload } from "./contest.ts";
import { AppendLoad, catchUp, create } from "./load.ts";
import { batchRate } from "./sockets.ts";

const BATCHES_TYPE = "application/vnd.tidemark.batches";
const MIB = 1024 * 1024;

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

/** Arrays of many small messages, and of few large ones. */
const ARRAYS: Readonly<Record<string, { readonly elements: number; readonly text: number }>> = {
  jsonArrays: { elements: 1_000, text: 60 },
  jsonArrays10: { elements: 10, text: 100_000 },
};

const jsonArrays: Workload = async (result, size, contenders) => {
  const servers = await contenders.pair("json-arrays");
  const names = Object.keys(servers);
  for (const [key, { elements, text }] of Object.entries(ARRAYS)) {
    const element = `{"id":12345,"name":"a name","text":"${"x".repeat(text)}"}`;
    const body = Buffer.from(`[${Array<string>(elements).fill(element).join(",")}]`);
    const cpu: Record<string, number[]> = Object.fromEntries(names.map((name) => [name, []]));
    const rates = await versus(size.rounds, names, async (round) => {
      const loads: Record<string, { load: AppendLoad; ms: number }> = {};
      for (const name of names) {
        const address = `${servers[name]!.url}/v1/stream/${key}/${round}`;
        await create(address, "application/json");
        const load = new AppendLoad(address, 8, { body, type: "application/json" });
        await load.run(size.appendMs / 4, false);
        loads[name] = { load, ms: 0 };
      }
      return {
        async slice(name) {
          const of = loads[name]!;
          const before = cpuMs(servers[name]!.pid!);
          await of.load.run(size.appendMs / TURNS);
          of.ms += cpuMs(servers[name]!.pid!) - before;
        },
        rate: (name) => loads[name]!.load.rate * elements,
        end() {
          for (const [name, { load, ms }] of Object.entries(loads)) {
            cpu[name]!.push((ms * 1_000) / load.count);
            load.end();
          }
          note(`cpu us per append: ${names.map((name) => `${name} ${number(cpu[name]!.at(-1)!)}`).join(", ")}`);
        },
      };
    });
    names.forEach((name, i) => {
      result.figures[`append.${key}.${name}.recordsPerSecond`] = median(rates[i]!);
      result.figures[`append.${key}.${name}.cpuUs`] = median(cpu[name]!);
    });
    if (!servers["before"]) continue;
    keep(result, `append.${key}.vsBefore`, rates[0]!, rates[1]!);
    keep(result, `append.${key}.before.cpuUs`, cpu["before"]!, cpu["tidemark"]!);
  }
};

export const DIALECTS: Readonly<Record<string, Workload>> = { catchup_batches: catchUpInBatches, json: jsonArrays };
