/**
 * A short run of the rot suite over a small log: all bits of its small structures, the records' bits by the kernel's
 * check, other bits drawn by the seed; stale and exchanged pages (test/rot/share.ts).
 * `node tools/run/run-ts.mjs test/rot/run.ts` takes all bits of 1 MiB.
 */
import { expect, test } from "vitest";
import { BUGS } from "../rot/bugs.ts";
import type * as Entry from "../rot/entry.ts";
import { rotShare, type Share, SMALL } from "../rot/share.ts";
import { importPlanted } from "../support/bundle-planted.ts";
import { kernelBytes, releaseKernel } from "../support/kernels.ts";

const SEED = 7;
const failuresOf = ({ failures }: Pick<Share, "failures">): string[] =>
  failures.map(({ message, where }) => `${message} in ${where}`);

test(`all damage is reported (seed ${SEED})`, { timeout: 300_000 }, async () => {
  const share = await rotShare({
    kernel: await releaseKernel(),
    history: SMALL,
    seed: SEED,
    sample: 3,
    every: 60,
    everySwap: 10,
    whole: /mark|catalog: head|compacted: footer/,
  });
  expect(failuresOf(share)).toEqual([]);
  // Every bit of the volume is counted, except in the regions of which only every n-th bit is flipped.
  expect(share.bits).toBeGreaterThan(share.log.bytes * 4);
  const came = (pattern: RegExp): number =>
    Object.entries(share.counts).reduce((sum, [name, times]) => sum + (pattern.test(name) ? times : 0), 0);
  const wanted = [
    /sealed: records \| the batch is refused/,
    /sealed: batch header inside its checksum \| reported/,
    /sealed: batch header outside its checksum \| reported/,
    /compacted: batch header .* reported/,
    /sealed: footer \| same/,
    /sealed: (offset|time) index \| same/,
    /sealed: producers \| same/,
    /catalog: head \| took over/,
    /closed: active: mark \| same/,
    /killed: active: .* \| cut/,
    /nothing reads it/,
    /stale: sealed: batches \| reported/,
    /stale: catalog \| took over/,
    /swapped: .* \| reported/,
    /sample: /,
  ];
  expect(wanted.filter((pattern) => came(pattern) === 0).map(String)).toEqual([]);
  // No single bit may make the volume refuse to open: catalog and marks have two copies.
  expect(came(/refused [A-Z]/)).toBe(0);
  expect(came(/below the mark/) - came(/swapped: .*below the mark/)).toBe(0);
});

test("without a planted bug the same runs find nothing", async () => {
  const { failures } = await rotShare({
    kernel: await releaseKernel(),
    history: SMALL,
    seed: SEED,
    sample: 20,
    every: 8,
    regions: /compacted: batch header outside/,
    failuresMax: 1,
  });
  expect(failures).toEqual([]);
});

test.each(BUGS.map((bug) => [bug.name, bug] as const))(
  "planted bug is caught: %s",
  async (_, { reference, regions, ...bug }) => {
    const planted = await importPlanted<typeof Entry>("test/rot/entry.ts", bug);
    const kernel = reference ? planted.referenceKernel() : await planted.loadKernel(await kernelBytes("release"));
    const { failures, bits } = await planted.rotShare({
      kernel,
      history: SMALL,
      seed: SEED,
      sample: 20,
      every: 3,
      regions,
      failuresMax: 1,
    });
    expect(failures[0]?.check, `survived ${bits} bits`).toBeDefined();
  },
);
