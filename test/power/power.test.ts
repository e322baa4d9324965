/**
 * Power cuts against the shipped volumes, a short run: real Chromium makes histories, and a few hundred crash images of
 * them are opened with the real recovery. `test/power/run.ts` checks as many as wanted.
 */
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { releaseKernel } from "../support/kernels.ts";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { ensureChromium } from "../../tools/run/setup.mjs";
import { NO_FLUSH } from "./bugs.ts";
import { type RecordOptions, recordTrace } from "./record.ts";
import { type Replayed, replay } from "./replay.ts";
import { makeLauncher, matchFiles, matchTransactions, readCalls, whyNoStrace } from "./strace.ts";

const kernel = await releaseKernel();
const ENGINES = ["opfs", "indexeddb"] as const;
const IMAGES = { opfs: 350, indexeddb: 150 };
const EXPECTED = {
  opfs: [
    "cut.kept",
    "cut.dropped",
    "cut.torn",
    "cut.reordered",
    "cut.in-recovery",
    "name.lost.youngest",
    "name.lost.any",
  ],
  indexeddb: ["tx.lost", "tx.kept-unsure", "cut.in-recovery"],
};
const SEED = 1;

const messages = ({ failures }: Replayed): string[] =>
  failures.map(({ plan, message }) => `${message} ${JSON.stringify(plan)}`);
const live = (options: Pick<RecordOptions, "engine"> & Partial<RecordOptions>) =>
  recordTrace({ seed: SEED, slotBytes: 64 * 1024, ops: 120, endings: ["killed", "closed", "killed"], ...options });

test.each(ENGINES)(
  "%s: what was acked survives power cuts at its level, and recovery twice is recovery once",
  { timeout: 240_000 },
  async (engine) => {
    const trace = await live({ engine });
    const kinds = new Set(trace.events.map(({ kind }) => kind));
    expect(["trimmed", "replaced", "opened"].filter((kind) => !kinds.has(kind as "opened"))).toEqual([]);
    const cuts = await replay(trace, { kernel, images: IMAGES[engine], seed: SEED });
    expect(messages(cuts)).toEqual([]);
    expect(EXPECTED[engine].filter((fault) => !cuts.faults[fault])).toEqual([]);
    expect(cuts.outcomes["whole"]).toBeGreaterThan(IMAGES[engine] / 2);
    const kills = await replay(trace, { kernel, images: 30, seed: SEED, kill: true });
    expect(messages(kills)).toEqual([]);
  },
);

test.each(ENGINES)(
  "%s without its flush: a kill of the process loses nothing, a power cut is seen to lose at once",
  { timeout: 240_000 },
  async (engine) => {
    const trace = await live({ engine, bug: NO_FLUSH[engine], ops: 60 });
    const kills = await replay(trace, { kernel, images: 60, seed: SEED, kill: true });
    expect([messages(kills), kills.images]).toEqual([[], 60]);
    expect(kills.outcomes["whole"]).toBeGreaterThan(40);
    const cuts = await replay(trace, { kernel, images: 20, seed: SEED });
    expect(cuts.failures.length).toBeGreaterThan(3);
  },
);

const noStrace = whyNoStrace();
if (noStrace) console.log(`System calls are not looked at: ${noStrace}.`);

test.skipIf(noStrace !== undefined).each(ENGINES)(
  "%s: the kernel sees what the worker did, and a sync of the same file before each flushed ack",
  { timeout: 240_000 },
  async (engine) => {
    const directory = await mkdtemp(path.join(os.tmpdir(), "tidemark-strace-"));
    try {
      const { launcher, output } = await makeLauncher(directory, (ensureChromium as () => string)());
      const trace = await live({ engine, ops: 40, endings: ["killed", "closed"], launcher, marks: true });
      if (engine === "indexeddb") {
        const { strict } = matchTransactions(trace, await readCalls(output, "Default"));
        expect(strict).toBeGreaterThan(20);
        return;
      }
      const calls = await readCalls(output, "File System");
      const matched = matchFiles(trace, calls);
      expect([matched.writes > 50, matched.syncs > 40, matched.flushedAcks > 10]).toEqual([true, true, true]);
      expect(messages(await replay(matched.trace, { kernel, images: 60, seed: SEED }))).toEqual([]);
      // The browser's map of names to files is never synced. Therefore young names may be lost in an image.
      expect(calls.filter(({ call, file }) => /\/Paths\/\d+\.log$/.test(file) && call !== "pwrite64")).toEqual([]);
      // The trace as it would be if no flush had reached the kernel.
      const unsynced = {
        ...trace,
        events: trace.events.map((event) =>
          event.kind === "flush" ? ({ kind: "remove", file: "none" } as const) : event,
        ),
      };
      expect(() =>
        matchFiles(
          unsynced,
          calls.filter(({ call }) => call === "pwrite64" || call === "ftruncate"),
        ),
      ).toThrow("is not synced");
    } finally {
      await rm(directory, { recursive: true, force: true, maxRetries: 3 });
    }
  },
);
