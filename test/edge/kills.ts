/**
 * kill -9 of workerd under 16 writers, restarted on the same state, again and again. Each writer sends numbered messages as an
 * idempotent producer and repeats one, same epoch and sequence, until it is acknowledged; at the end the stream must hold
 * every writer's numbers once and in order. What a kill leaves stored but unacknowledged is counted: it shows that
 * the repeats were needed.
 *
 *     node test/tooling/run-ts.mjs test/edge/kills.ts --rounds 500 --seed 1 --json FILE
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { Random } from "../simulation/prng.ts";
import { RawWorkerd } from "./raw-workerd.ts";

export interface KillOptions {
  readonly rounds: number;
  readonly seed: number;
  readonly writers?: number;
  /** A bug to plant: writers without sequences, as if the server forgot its producers. */
  readonly forgets?: boolean;
  readonly log?: (line: string) => void;
}

export interface KillFigures {
  readonly rounds: number;
  readonly acked: number;
  readonly repeated: number;
  /** Acknowledged as a duplicate: stored by the try whose answer was lost. */
  readonly absorbed: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly reordered: number;
}

class Writer {
  sent = 0;
  acked: string[] = [];
  repeated = 0;
  absorbed = 0;

  constructor(readonly id: number, readonly url: () => string, readonly forgets: boolean, readonly size: () => number) {}

  async run(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const value = `${this.id}:${this.sent}`;
      const body = JSON.stringify([`${value}:${"x".repeat(this.size())}`]);
      for (let tries = 0; ; tries++) {
        const producer = { "producer-id": `w${this.id}`, "producer-epoch": "0", "producer-seq": String(this.sent) };
        const headers = { "content-type": "application/json", ...(!this.forgets && producer) };
        const answer = await fetch(this.url(), { method: "POST", headers, body, signal: AbortSignal.timeout(5_000) }).then(async (response) => (await response.arrayBuffer(), response.status), () => 0);
        if (answer === 200 || answer === 204) {
          if (answer === 204 && !this.forgets) this.absorbed++;
          break;
        }
        if (tries > 500) throw new Error(`no answer but ${answer}`);
        this.repeated++;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      this.sent++;
      this.acked.push(value);
    }
  }
}

async function readAll(url: string): Promise<string[]> {
  const found: string[] = [];
  for (let offset = "-1"; ; ) {
    const response = await fetch(`${url}?offset=${offset}`);
    if (!response.ok) throw new Error(`reading: ${response.status} ${await response.text()}`);
    for (const text of (await response.json()) as string[]) found.push(text.split(":").slice(0, 2).join(":"));
    offset = response.headers.get("stream-next-offset")!;
    if (response.headers.get("stream-up-to-date") === "true") return found;
  }
}

/** What the stored messages say against what was acknowledged. */
export function judge(stored: readonly string[], acked: readonly (readonly string[])[]): Pick<KillFigures, "lost" | "duplicated" | "reordered"> {
  const counts = new Map<string, number>();
  const last = new Map<string, number>();
  let reordered = 0;
  for (const value of stored) {
    counts.set(value, (counts.get(value) ?? 0) + 1);
    const [writer = "", number] = value.split(":");
    if (Number(number) < (last.get(writer) ?? -1)) reordered++;
    last.set(writer, Number(number));
  }
  const lost = acked.flat().filter((value) => !counts.has(value)).length;
  const duplicated = [...counts.values()].filter((count) => count > 1).length;
  return { lost, duplicated, reordered };
}

export async function runKills({ rounds, seed, writers: count = 16, forgets = false, log = () => {} }: KillOptions): Promise<KillFigures> {
  const random = new Random(seed);
  const directory = mkdtempSync(path.join(os.tmpdir(), "tidemark-kills-"));
  const worker = await RawWorkerd.create({ directory });
  await worker.start();
  const url = `${worker.url}/v1/stream/kills/${seed}`;
  await fetch(url, { method: "PUT", headers: { "content-type": "application/json" } });
  let isOver = false;
  const writers = Array.from({ length: count }, (_, id) => new Writer(id, () => url, forgets, () => random.int(2_000)));
  const writing = Promise.all(writers.map((writer) => writer.run(() => isOver)));
  for (let round = 1; round <= rounds; round++) {
    // A moment of work that no event tells the end of: the kill must come at any point.
    await new Promise((resolve) => setTimeout(resolve, random.between(5, 150)));
    await worker.kill();
    await worker.start();
    if (round % 25 === 0) log(`round ${round} of ${rounds}: ${writers.reduce((sum, { acked }) => sum + acked.length, 0)} acknowledged`);
  }
  isOver = true;
  await writing;
  const stored = await readAll(url);
  await worker.kill();
  rmSync(directory, { recursive: true, force: true });
  const sum = (of: (writer: Writer) => number): number => writers.reduce((total, writer) => total + of(writer), 0);
  return { rounds, acked: sum(({ acked }) => acked.length), repeated: sum(({ repeated }) => repeated), absorbed: sum(({ absorbed }) => absorbed), ...judge(stored, writers.map(({ acked }) => acked)) };
}

if (process.argv[1]?.endsWith("kills.ts")) {
  const { values } = parseArgs({ options: { rounds: { type: "string", default: "500" }, seed: { type: "string", default: "1" }, json: { type: "string" } } });
  const figures = await runKills({ rounds: Number(values.rounds), seed: Number(values.seed), log: console.log });
  console.log(JSON.stringify({ seed: Number(values.seed), ...figures }));
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(figures, null, 2)}\n`);
  process.exit(figures.lost + figures.duplicated + figures.reordered === 0 && figures.acked > 0 ? 0 : 1);
}
