/**
 * Appends of 1 KiB over so many connections, each of which awaits its ack: their rate, and the processor time of one,
 * beside a toy Worker that does the same work (toy-worker.ts), the Rust server and s2-lite where they are installed
 * and, where it is named, another checkout's worker.
 */
import { median } from "../../support/figures.mjs";
import { type AppendForm, cpuMs } from "./contenders.ts";
import { keep, note, number, TURNS, versus, type Workload } from "./contest.ts";
import { AppendLoad, create } from "./load.ts";

const CONNECTIONS = [1, 8, 64, 256];
const BYTES = 1024;

interface Server {
  readonly url: string;
  readonly pid?: number | undefined;
  /** Of a peer with a protocol of its own. */
  readonly append?: AppendForm;
}

async function loadOf({ url, append }: Server, round: number, connections: number): Promise<AppendLoad> {
  if (append)
    return new AppendLoad(`${url}${append.path(round)}`, connections, { ...append, body: append.body(BYTES) });
  const address = `${url}/v1/stream/bench/${round}`;
  await create(address);
  return new AppendLoad(address, connections, BYTES);
}

const over =
  (connections: number): Workload =>
  async (result, size, contenders) => {
    const servers: Record<string, Server> = {
      ...(await contenders.pair(`append-${connections}`)),
      toy: await contenders.toy(),
      ...(await contenders.rust()),
      ...(await contenders.s2()),
    };
    const names = Object.keys(servers);
    const key = `append.http${connections}`;
    const cpu: Record<string, number[]> = Object.fromEntries(names.map((name) => [name, []]));
    const rates = await versus(Math.min(3, size.rounds), names, async (round) => {
      const loads: Record<string, { load: AppendLoad; ms: number }> = {};
      for (const name of names) {
        const load = await loadOf(servers[name]!, round, connections);
        loads[name] = { load, ms: 0 };
        await load.run(size.appendMs / 4, false);
      }
      return {
        async slice(name) {
          const of = loads[name]!;
          const before = cpuMs(servers[name]!.pid!);
          await of.load.run(size.appendMs / TURNS);
          of.ms += cpuMs(servers[name]!.pid!) - before;
        },
        rate: (name) => loads[name]!.load.rate,
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
      result.figures[`${key}.${name}.appendsPerSecond`] = median(rates[i]!);
      result.figures[`${key}.${name}.cpuUs`] = median(cpu[name]!);
    });
    // Of its CPU; and how many times as many as before.
    keep(result, `${key}.toy.cpuUs`, cpu["toy"]!, cpu["tidemark"]!);
    keep(result, `${key}.vsToy`, rates[0]!, rates[names.indexOf("toy")]!);
    if (names.includes("before")) keep(result, `${key}.vsBefore`, rates[0]!, rates[names.indexOf("before")]!);
  };

export const APPENDS: Readonly<Record<string, Workload>> = Object.fromEntries(
  CONNECTIONS.map((connections) => [`appends_${connections}`, over(connections)]),
);
