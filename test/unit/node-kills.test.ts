/**
 * A process that writes to a folder is killed, again and again, after a drawn number of acks. The ledger of acks is
 * kept by this process. What was acked is there, at its offset, unchanged; nothing is there twice; nothing that was
 * never begun is there; and the folder is free at once.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { afterAll, expect, it } from "vitest";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { bundleTs } from "../../tools/run/run-ts.mjs";
import { open } from "../../src/node/index.ts";
import { textOf } from "../crash/node/words.ts";
import { Random } from "../simulation/prng.ts";

const home = mkdtempSync(path.join(os.tmpdir(), "tidemark-kills-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));
const SEED = 17;
const LIVES = 8;
/** Numbers of records of one life. */
const LIFE = 1_000_000;

interface Ledger {
  readonly begun: Set<number>;
  readonly acked: Map<number, number>;
}

/** Reads the writer's pipe. Kills it after so many acks; what it had said by then counts as well. */
async function live(writer: ChildProcess, acks: number, { begun, acked }: Ledger): Promise<void> {
  let seen = 0;
  for await (const line of createInterface({ input: writer.stdout! })) {
    const [what, n, offset] = line.split(" ");
    if (what === "begin") begun.add(Number(n));
    // The kill may cut the last line.
    if (what === "ack" && offset) acked.set(Number(n), Number(offset));
    if (what === "ack" && ++seen === acks) writer.kill("SIGKILL");
  }
}

it("nothing that was acked is lost when the writing process is killed", async () => {
  const folder = path.join(home, "tide");
  const program = (await bundleTs("test/crash/node/writer.ts")) as string;
  const random = new Random(SEED, 1);
  const ledger: Ledger = { begun: new Set(), acked: new Map() };
  for (let life = 0; life < LIVES; life++) {
    const writer = spawn(process.execPath, [program, folder, String(life * LIFE)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(writer, "exit");
    await live(writer, 1 + random.int(600), ledger);
    expect(await ended, `life ${life} of seed ${SEED}`).toEqual([null, "SIGKILL"]);
  }
  await using tide = await open(folder);
  const topic = tide.topic<{ n: number; text: string }>("ledger");
  const found = new Map<number, number>();
  let next = 0;
  for await (const { offset, key, value } of topic.read()) {
    const n = value!.n;
    expect([offset, key, value]).toEqual([next++, String(n), { n, text: textOf(n) }]);
    expect(found.has(n), `${n} is there twice`).toBe(false);
    expect(ledger.begun.has(n), `${n} was begun`).toBe(true);
    found.set(n, offset);
  }
  expect(ledger.acked.size).toBeGreaterThan(LIVES);
  for (const [n, offset] of ledger.acked) expect(found.get(n), `the acked record ${n}`).toBe(offset);
});
