/**
 * kill -9 of workerd's whole process group under 16 writers, half of them over HTTP and half over WebSocket, restarted on the same
 * state, again and again: `npm run crash -- --target workerd`. Every writer repeats what has no answer until it has one. The
 * ledger (kill-writers.ts) is outside the victim, and test/checker judges it: nothing acknowledged may be lost, doubled,
 * changed or out of order.
 *
 *   start ── 5 to 300 ms of work ── kill -9 ── start on the same files ── …  ── writers finish ── read the whole log ── judge
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { check, type Report } from "../checker/checker.ts";
import { Random } from "../simulation/prng.ts";
import { releaseKernel } from "../tooling/kernels.ts";
import { follower, httpWriter, Ledger, readWhole, socketWriter, type Stage } from "./kill-writers.ts";
import { RawWorkerd } from "./raw-workerd.ts";

export interface KillOptions {
  readonly rounds: number;
  readonly seed: number;
  readonly writers?: number;
  readonly forgets?: boolean;
  readonly log?: (line: string) => void;
}

export interface KillResult {
  readonly rounds: number;
  readonly seconds: number;
  /** Faults that fired, and what they met. */
  readonly counts: Readonly<Record<string, number>>;
  readonly acked: number;
  readonly absorbed: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly reordered: number;
  readonly report: Report;
}

/** The checker's classes under three names that people ask for. */
export function verdict({ counts }: Report): Pick<KillResult, "lost" | "duplicated" | "reordered"> {
  const sum = (...names: (keyof Report["counts"])[]): number => names.reduce((total, name) => total + (counts[name] ?? 0), 0);
  return {
    lost: sum("lost-write", "unseen", "poll-skip", "int-poll-skip"),
    duplicated: sum("duplicate"),
    reordered: sum("inconsistent-offsets", "nonmonotonic-send", "int-nonmonotonic-send", "nonmonotonic-poll", "int-nonmonotonic-poll", "aborted-read", "never-sent", "trim-undone"),
  };
}

export async function runKills({ rounds, seed, writers = 16, forgets = false, log = () => {} }: KillOptions): Promise<KillResult> {
  const started = performance.now();
  const random = new Random(seed);
  const directory = mkdtempSync(path.join(os.tmpdir(), "tidemark-kills-"));
  const worker = await RawWorkerd.create({ directory });
  await worker.start();
  const topic = `kills/${seed}`;
  const url = `${worker.url}/v1/stream/${topic}`;
  await fetch(url, { method: "PUT", headers: { "content-type": "text/plain" } });
  const ledger = new Ledger();
  let isOver = false;
  const stage = async (n: number): Promise<Stage> => ({ url, topic, ledger, random: new Random(seed, n), kernel: await releaseKernel(), forgets, isOver: () => isOver });
  const writing = Promise.all(Array.from({ length: writers }, async (_, id) => (id % 2 === 0 ? httpWriter : socketWriter)(await stage(id + 1), id)));
  writing.catch(() => undefined);
  const reading = follower(await stage(100), 0).catch((thrown: unknown) => void ledger.count(`follower: ${String(thrown)}`));
  for (let round = 1; round <= rounds; round++) {
    // A moment of work that no event tells the end of: the kill must come at any point.
    await Promise.race([sleep(random.between(5, 300)), writing]);
    ledger.count("kills of workerd's process group");
    if (ledger.underWay > 0) ledger.count("kills with appends under way");
    ledger.count("appends under way at a kill", ledger.underWay);
    await worker.kill();
    await worker.start();
    if (round % 25 === 0) log(`round ${round} of ${rounds}: ${ledger.counts["records acked"] ?? 0} acknowledged`);
  }
  isOver = true;
  await writing;
  // One more record ends the follower's wait.
  await fetch(url, { method: "POST", headers: { "content-type": "text/plain" }, body: "end|" });
  ledger.begin("end", topic, "end");
  await reading;
  ledger.counts["records stored"] = await readWhole(await stage(101));
  await worker.kill();
  rmSync(directory, { recursive: true, force: true });
  const report = check(ledger.history);
  const { counts } = ledger;
  return { rounds, seconds: (performance.now() - started) / 1000, counts, acked: counts["records acked"] ?? 0, absorbed: counts["resent and absorbed: acked as duplicates"] ?? 0, ...verdict(report), report };
}
