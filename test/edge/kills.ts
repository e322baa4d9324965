/**
 * `npm run crash -- --target workerd`: kills workerd's whole process group with kill -9 while 16 writers append, half
 * of them over HTTP and half over WebSocket, and starts it again on the same state, many times. Every writer repeats a
 * request until it is answered. The checker (test/checker) checks the ledger (kill-writers.ts): nothing acknowledged
 * may be lost, duplicated, changed or out of order.
 *
 * Segments are small, so that they move to object storage all the time (r2-server.ts, which is not killed). Six of ten
 * kills wait for a step of a put, and come while the put is held at that step.
 *
 *   start ── 5 to 300 ms of work ── kill -9 ── start on the same files ── …  ── writers finish ── read all ── check
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { check, type Report } from "../checker/checker.ts";
import { Random } from "../simulation/prng.ts";
import { releaseKernel } from "../support/kernels.ts";
import type { PlantedBug } from "../support/planted-bug.ts";
import { follower, httpWriter, Ledger, readWhole, socketWriter, type Stage } from "./kill-writers.ts";
import { type PutStep, R2Server } from "./r2-server.ts";
import { RawWorkerd } from "./raw-workerd.ts";
import { smallSegments } from "./small-segments.ts";

export interface KillOptions {
  readonly rounds: number;
  readonly seed: number;
  readonly writers?: number;
  readonly forgets?: boolean;
  readonly plant?: PlantedBug;
  readonly log?: (line: string) => void;
}

export interface KillResult {
  readonly rounds: number;
  readonly seconds: number;
  /** How often each fault occurred, and at which step. */
  readonly counts: Readonly<Record<string, number>>;
  readonly acked: number;
  readonly absorbed: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly reordered: number;
  readonly report: Report;
}

/** The checker's anomalies, summed up as lost, duplicated and out of order. */
export function verdict({ counts }: Report): Pick<KillResult, "lost" | "duplicated" | "reordered"> {
  const sum = (...names: (keyof Report["counts"])[]): number =>
    names.reduce((total, name) => total + (counts[name] ?? 0), 0);
  return {
    lost: sum("lost-write", "unseen", "poll-skip", "int-poll-skip"),
    duplicated: sum("duplicate"),
    reordered: sum(
      "inconsistent-offsets",
      "nonmonotonic-send",
      "int-nonmonotonic-send",
      "nonmonotonic-poll",
      "int-nonmonotonic-poll",
      "aborted-read",
      "never-sent",
      "trim-undone",
    ),
  };
}

const STEPS: readonly PutStep[] = ["put arrived", "put stored", "put answered"];

/** Waits for the moment of a kill. Returns the step of a put at which it comes, if any. */
async function moment(
  r2: R2Server,
  random: Random,
  round: number,
  writing: Promise<unknown>,
): Promise<{ readonly where: string; release(): void }> {
  let release = (): void => {};
  const standing = new Promise<void>((resolve) => (release = resolve));
  const step = random.chance(0.6) ? STEPS[round % STEPS.length]! : undefined;
  // After the put's answer a transaction deletes the rows. The kill comes before, during or after it.
  const behind = step === "put answered" ? random.int(4) : 0;
  // A random time of work: the kill must come at any point, so there is no event to wait for.
  const work = sleep(random.between(5, 300)).then(() => undefined);
  const met = step && r2.next(step, standing).then(() => step);
  const found = await Promise.race([
    work.then(() => (met ? Promise.race([met, sleep(1_000).then(() => undefined)]) : undefined)),
    writing.then(() => undefined),
  ]);
  if (found !== undefined && behind > 0) await sleep(behind);
  const isClose = performance.now() - r2.answeredAt < 5;
  const where = found ?? [...r2.underWay.values()][0] ?? (isClose ? "put answered" : "no put under way");
  return { where, release };
}

async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(url.replace("/v1/stream/", "/v1/metrics/"))).text();
  return Number(new RegExp(`^tidemark_${name}\\{.*\\} (\\S+)$`, "m").exec(text)?.[1]);
}

export async function runKills(options: KillOptions): Promise<KillResult> {
  const directory = mkdtempSync(path.join(os.tmpdir(), "tidemark-kills-"));
  const r2 = await R2Server.start(new Random(options.seed, 0x72));
  const { plant } = options;
  const worker = await RawWorkerd.create({
    directory,
    r2Port: r2.port,
    plants: [smallSegments(96), ...(plant ? [plant] : [])],
  });
  try {
    return await killed(worker, r2, options);
  } finally {
    await worker.kill();
    r2.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function killed(
  worker: RawWorkerd,
  r2: R2Server,
  { rounds, seed, writers = 16, forgets = false, log = () => {} }: KillOptions,
): Promise<KillResult> {
  const started = performance.now();
  const random = new Random(seed);
  await worker.start();
  const topic = `kills/${seed}`;
  const url = `${worker.url}/v1/stream/${topic}`;
  await fetch(url, { method: "PUT", headers: { "content-type": "text/plain" } });
  const ledger = new Ledger();
  let isOver = false;
  const stage = async (n: number): Promise<Stage> => ({
    url,
    topic,
    ledger,
    random: new Random(seed, n),
    kernel: await releaseKernel(),
    forgets,
    isOver: () => isOver,
  });
  const writing = Promise.all(
    Array.from({ length: writers }, async (_, id) =>
      (id % 2 === 0 ? httpWriter : socketWriter)(await stage(id + 1), id),
    ),
  );
  writing.catch(() => undefined);
  const reading = follower(await stage(100), 0).catch(
    (thrown: unknown) => void ledger.count(`follower: ${String(thrown)}`),
  );
  for (let round = 1; round <= rounds; round++) {
    const { where, release } = await moment(r2, random, round, writing);
    ledger.count("kills of workerd's process group");
    ledger.count(`kills: ${where}`);
    if (ledger.underWay > 0) ledger.count("kills with appends under way");
    ledger.count("appends under way at a kill", ledger.underWay);
    await worker.kill();
    release();
    await worker.start();
    if (round % 25 === 0) log(`round ${round} of ${rounds}: ${ledger.counts["records acked"] ?? 0} acknowledged`);
  }
  isOver = true;
  await writing;
  // One more record, so that the follower's wait ends.
  await fetch(url, { method: "POST", headers: { "content-type": "text/plain" }, body: "end|" });
  ledger.begin("end", topic, "end");
  await reading;
  ledger.counts["records stored"] = await readWhole(await stage(101));
  const [kept, begun, doomed] = [
    await metric(url, "objects"),
    await metric(url, "objects_begun"),
    await metric(url, "objects_doomed"),
  ];
  Object.assign(ledger.counts, {
    "segments in object storage": kept,
    "puts cut off that wait for the sweep": begun,
    "objects there": r2.objects.size,
    "objects that no row knows": Math.max(0, r2.objects.size - kept - begun - doomed),
    ...r2.counts,
  });
  const report = check(ledger.history);
  const { counts } = ledger;
  return {
    rounds,
    seconds: (performance.now() - started) / 1000,
    counts,
    acked: counts["records acked"] ?? 0,
    absorbed: counts["resent and absorbed: acked as duplicates"] ?? 0,
    ...verdict(report),
    report,
  };
}
