/**
 * A process that writes to a tide until it is killed, and frees slots as fast as it can, so that they are taken again
 * under whoever reads: one topic grows, one is trimmed behind its end, one is compacted and deleted.
 *
 *   begin N\n      ack N OFFSET\n
 */
import { writeSync } from "node:fs";
import { open } from "../../src/node/index.ts";
import { textOf } from "../crash/node/words.ts";

const [folder = "", from = "0"] = process.argv.slice(2);
const tide = await open(folder, { segmentBytes: 64 * 1024 });
const ledger = tide.topic<{ n: number; text: string }>("ledger");
const trimmed = tide.topic<{ n: number; text: string }>("trimmed");
const IN_FLIGHT = 10;
const KEPT = 30;

async function write(first: number): Promise<never> {
  for (let n = first; ; n += IN_FLIGHT) {
    writeSync(1, `begin ${n}\n`);
    const { offset } = await ledger.append({ key: String(n), value: { n, text: textOf(n) } });
    writeSync(1, `ack ${n} ${offset}\n`);
  }
}

async function churn(): Promise<never> {
  for (let n = 0; ; n++) {
    const { offset } = await trimmed.append({ value: { n, text: textOf(n) } });
    const compacted = tide.topic<string>("compacted", { serializer: "text", compaction: {} });
    await compacted.append({ key: String(n % 3), value: textOf(n).repeat(8) });
    if (n % 10 === 9) {
      await trimmed.roll();
      await trimmed.trim(Math.max(0, offset - KEPT));
      await compacted.roll();
      await compacted.clean();
    }
    if (n % 40 === 39) await tide.deleteTopic("compacted");
  }
}

await Promise.all([churn(), ...Array.from({ length: IN_FLIGHT }, (_, i) => write(Number(from) + i))]);
