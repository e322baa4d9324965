/**
 * Each record once: append and import are killed and started again, with the same input and the same state file. First
 * at every point of every batch, by a log that does not answer; then whole processes, after a drawn number of acks.
 */
import { once } from "node:events";
import { createReadStream, readFileSync, rmSync, watch } from "node:fs";
import { createInterface } from "node:readline";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { feed } from "../../cli/feed.ts";
import { FolderView } from "../../cli/folder-view.ts";
import { recordsOfLines } from "../../cli/inputs.ts";
import type { LogTarget } from "../../cli/target.ts";
import { openTarget } from "../../cli/targets.ts";
import { open } from "../../src/node/index.ts";
import { Random } from "../simulation/prng.ts";
import { batchAt, joined, range, timeAt } from "../support/kafka-batches.ts";
import { releaseKernel } from "../support/kernels.ts";
import { Program } from "./program.ts";

const program = await new Program().build();
afterAll(() => program.remove());
const SEED = 5;

const lineAt = (n: number): string =>
  JSON.stringify({ key: `k${n % 7}`, value: { n, text: "x".repeat((n * 31) % 900) } });
const linesTo = (count: number): string => Array.from({ length: count }, (_, n) => `${lineAt(n)}\n`).join("");
/** The numbers in a topic's records, in its order. */
const numbersIn = (folder: string, topic: string): number[] =>
  program
    .good(["tail", folder, topic, "-o", "earliest", "--json"])
    .split("\n")
    .slice(0, -1)
    .map((line) => (JSON.parse(line) as { value: { n: number } }).value.n);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

/** The process ends there, as far as the feed can tell. */
class Killed extends Error {}

/** A target whose process is killed at its n-th append: before the log has it, or after. */
const killing = (target: LogTarget, n: number, where: "before" | "after"): LogTarget => {
  let appends = 0;
  return {
    where: target.where,
    kernel: target.kernel,
    batchBytesMax: target.batchBytesMax,
    topics: () => target.topics(),
    place: (topic) => target.place(topic),
    end: (topic) => target.end(topic),
    read: (topic, from) => target.read(topic, from),
    resolve: (topic, position) => target.resolve(topic, position),
    trim: (topic, offset) => target.trim(topic, offset),
    segments: (topic, from) => target.segments(topic, from),
    close: () => target.close(),
    async append(topic, batch, sending) {
      const isLast = appends++ === n;
      if (isLast && where === "before") throw new Killed();
      const appended = await target.append(topic, batch, sending);
      if (isLast) throw new Killed();
      return appended;
    },
  };
};

describe("an append", () => {
  const COUNT = 700;
  program.write("input.ndjson", linesTo(COUNT));

  it.each(["before", "after"] as const)("killed %s each of its batches is in the log", async (where) => {
    const state = program.path(`${where}.state`);
    const folder = program.path(where);
    const signal = new AbortController().signal;
    let lives = 0;
    for (let isWhole = false; !isWhole; lives++) {
      const target = await openTarget(folder, { access: "create" });
      const input = recordsOfLines(
        createReadStream(program.path("input.ndjson"), { highWaterMark: 30_000 }),
        "records",
      );
      try {
        // Each life gets one batch further than the one before.
        const fed = await feed({ target: killing(target, 1, where), topic: "t", input, state, signal });
        isWhole = fed.isWhole;
      } catch (thrown) {
        if (!(thrown instanceof Killed)) throw thrown;
      } finally {
        await target.close();
      }
    }
    expect(lives).toBeGreaterThan(7);
    expect(numbersIn(folder, "t")).toEqual(upTo(COUNT));
  });

  it("whose log is another one by now, or whose input is, says so", async () => {
    const target = await openTarget(program.path("other"), { access: "create" });
    const run = (text: string) =>
      feed({
        target: killing(target, 0, "after"),
        topic: "t",
        input: (async function* () {
          yield [{ key: null, value: new TextEncoder().encode(text), headers: [], timestamp: undefined }];
        })(),
        state: program.path("other.state"),
        signal: new AbortController().signal,
      });
    await expect(run("a")).rejects.toThrow(Killed);
    await expect(run("b")).rejects.toThrow("another input: record");
    await target.close();
  });
});

interface Life {
  readonly args: readonly string[];
  readonly input?: string;
  /** The process is killed after so many acks. */
  readonly acks: number;
}

/** What an export says whose last process was killed when the file was whole, before the process had ended. */
const WHOLE = /out\.ndjson(\.gz)? is there already/;

/** False once the process ended by itself, or finds that all is done. */
async function live({ args, input, acks }: Life): Promise<boolean> {
  const child = program.start(args);
  const ended = once(child, "exit") as Promise<[number | null, string | null]>;
  child.stdin!.on("error", () => undefined);
  child.stdin!.end(input ?? "");
  let errors = "";
  child.stderr!.on("data", (text) => (errors += String(text)));
  let seen = 0;
  for await (const _ of createInterface({ input: child.stdout! })) if (++seen === acks) child.kill("SIGKILL");
  const [code, signal] = await ended;
  if (signal === "SIGKILL") return true;
  if (code !== 0 && !WHOLE.test(errors)) throw new Error(`it ended with ${code}: ${errors}`);
  return false;
}

async function untilDone(life: Omit<Life, "acks">, random: Random, least = 2): Promise<number> {
  let kills = 0;
  while (await live({ ...life, acks: least + random.int(5 * (least - 1)) })) kills++;
  return kills;
}

describe("a process that is killed", () => {
  const COUNT = 6_000;
  const text = linesTo(COUNT);

  it("appends each record of stdin once", async () => {
    const args = ["append", "killed", "stdin", "--state", "stdin.state", "--acks"];
    const kills = await untilDone({ args, input: text }, new Random(SEED, 1));
    expect(kills, `seed ${SEED}`).toBeGreaterThan(1);
    expect(numbersIn("killed", "stdin")).toEqual(upTo(COUNT));
  });

  it("imports each record of a packed file, and of Kafka's segments, once", async () => {
    program.write("lines.gz", gzipSync(text));
    const args = ["import", "killed", "lines", "lines.gz", "--acks"];
    expect(await untilDone({ args }, new Random(SEED, 2)), `seed ${SEED}`).toBeGreaterThan(1);
    expect(numbersIn("killed", "lines")).toEqual(upTo(COUNT));
    rmSync(program.path("segments"), { recursive: true, force: true });
    program.good(["export", "killed", "lines", "segments"]);
    const again = ["import", "killed", "segments", "segments", "--acks", "--append"];
    expect(await untilDone({ args: again }, new Random(SEED, 3)), `seed ${SEED}`).toBeGreaterThan(1);
    expect(numbersIn("killed", "segments")).toEqual(upTo(COUNT));
  });

  it("imports segments with their offsets all at once, or not at all", async () => {
    const kernel = await releaseKernel();
    const END = 50 + 3 * 400;
    program.write("kept.log", joined(range(0, 400).map((i) => batchAt(kernel, 50 + 3 * i))));
    // Small segments, so that an import is of many steps.
    await (await open(program.path("taking"), { segmentBytes: 64 * 1024 })).close();
    const random = new Random(SEED, 5);
    let [kills, underway] = [0, 0];
    /** The topic's, after each life. */
    const ends = new Set<number | undefined>();
    for (let isDone = false; !isDone;) {
      const child = program.start(["import", "taking", "t", "kept.log"]);
      const ended = once(child, "exit") as Promise<[number | null, string | null]>;
      child.stdin!.end();
      // The next lives get further, until one gets through.
      let left = 30 * kills + random.int(30);
      const watcher = watch(program.path("taking"), () => void (left-- === 0 && child.kill("SIGKILL")));
      const [code, signal] = await ended;
      watcher.close();
      isDone = signal === null;
      expect([code, signal], `seed ${SEED}`).toEqual(isDone ? [0, null] : [null, "SIGKILL"]);
      kills += isDone ? 0 : 1;
      const view = await FolderView.of(program.path("taking"), kernel);
      if (view.names().some((name) => name.startsWith("__import"))) underway++;
      const target = await openTarget(program.path("taking"));
      ends.add(await target.end("t"));
      await target.close();
    }
    console.log(`${kills} kills, ${underway} of them in the middle of it`);
    expect([kills > 1, underway > 0], `${kills} kills, ${underway} under way, seed ${SEED}`).toEqual([true, true]);
    ends.delete(0);
    expect([...ends]).toEqual([END]);
    expect(program.run(["import", "taking", "t", "kept.log"]).stderr).toContain(`nothing to do: offsets 50 to ${END}`);
    expect(program.good(["tail", "taking", "t", "-o", "earliest", "--format", "%o:%t "])).toBe(
      range(50, END)
        .map((offset) => `${offset}:${timeAt(offset)} `)
        .join(""),
    );
    program.good(["verify", "taking"]);
  });

  it("exports each record once", async () => {
    for (const name of ["out.ndjson", "out.ndjson.gz"]) {
      const args = ["export", "killed", "stdin", name, "--acks"];
      // An export is quick: on a busy machine it may end before its kill has arrived, and that proves nothing.
      for (let kills = 0; kills === 0; kills = await untilDone({ args }, new Random(SEED, 4), 1))
        rmSync(program.path(name), { force: true });
      const lines = name.endsWith("gz")
        ? program.good(["import", "fresh", "t", name, "--acks"]) && program.good(["export", "fresh", "t"])
        : readFileSync(program.path(name), "utf8");
      expect(
        lines
          .split("\n")
          .slice(0, -1)
          .map((line) => (JSON.parse(line) as { value: { n: number } }).value.n),
      ).toEqual(upTo(COUNT));
    }
  });
});
