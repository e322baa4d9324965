/**
 * A process that writes to a tide until it is killed. It tells its parent, over a pipe, of each record whose append it
 * begins, and of each ack, at the moment it has it: the parent's ledger is outside and outlives it.
 *
 *   begin N\n      ack N OFFSET\n
 */
import { writeSync } from "node:fs";
import { open } from "../../../src/node/index.ts";
import { textOf } from "./words.ts";

const [folder = "", from = "0"] = process.argv.slice(2);
const tide = await open(folder, { segmentBytes: 64 * 1024 });
const topic = tide.topic<{ n: number; text: string }>("ledger");
const IN_FLIGHT = 40;

async function write(first: number): Promise<never> {
  for (let n = first; ; n += IN_FLIGHT) {
    writeSync(1, `begin ${n}\n`);
    const { offset } = await topic.append({ key: String(n), value: { n, text: textOf(n) } });
    writeSync(1, `ack ${n} ${offset}\n`);
  }
}
await Promise.all(Array.from({ length: IN_FLIGHT }, (_, i) => write(Number(from) + i)));
