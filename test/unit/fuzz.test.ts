/**
 * A short run of the fuzzers: the committed corpus on all kernels, a seeded run of each target, coverage guidance, and
 * planted bugs that runs of the same length must find. FUZZ_SEED=n takes other inputs. A long run is
 * `node tools/run/run-ts.mjs test/fuzz/run.ts --target all --executions N`.
 */
import { beforeAll, describe, expect, it } from "vitest";
import type { PackingKernel } from "../../src/kernel/types.ts";
import { compileWith, importWith, planting } from "../fuzz/build.ts";
import { CORPUS_BYTES_MAX, pack, readCorpus } from "../fuzz/corpus.ts";
import { guidedBuild } from "../fuzz/guided.ts";
import { compare } from "../fuzz/kernel-targets.ts";
import type * as Entry from "../fuzz/plant-entry.ts";
import { KERNEL_PLANTS, PLANTS } from "../fuzz/plants.ts";
import { goodBatches } from "../fuzz/seeds.ts";
import { Finding } from "../fuzz/target.ts";
import { fuzz, type TargetName, TARGETS } from "../fuzz/targets.ts";
import { scanRequest } from "../contract/kernel-samples.ts";
import { packed } from "../contract/pack-cases.ts";
import { debugKernel, kernelBytes, releaseKernel, referenceKernel } from "../support/kernels.ts";

const SEED = Number(process.env["FUZZ_SEED"] ?? 20_261_121);
/** How many inputs `npm test` gives to each target. */
const SHARE: Readonly<Record<TargetName, number>> = {
  decoder: 60_000,
  records: 20_000,
  filter: 20_000,
  scan: 6_000,
  pack: 6_000,
  record: 15_000,
  gzip: 400,
  footer: 8_000,
  catalog: 2_000,
  slot: 3_000,
  volume: 200,
  "port-server": 2_500,
  "port-client": 1_500,
};

let kernel: PackingKernel;
let others: PackingKernel[];
beforeAll(async () => {
  kernel = await releaseKernel();
  others = [await debugKernel(), referenceKernel()];
});

describe("corpus", () => {
  it("is small, and every build answers each input alike", () => {
    const corpus = readCorpus();
    expect(corpus.length).toBeGreaterThan(100);
    expect(pack(corpus).length).toBeLessThan(CORPUS_BYTES_MAX);
    for (const bytes of corpus) {
      compare({ kernel, others }, "validate", bytes, (each) => each.validateBatch(bytes));
      compare({ kernel, others }, "decode", bytes, (each) => each.decodeBatch(bytes, false));
      compare({ kernel, others }, "decode with CRC", bytes, (each) => each.decodeBatch(bytes, true));
      compare({ kernel, others }, "records", bytes, (each) => each.decodeRecords(bytes, 2, 1000, 5, false));
      compare({ kernel, others }, "filter", bytes, (each) => each.filterBatch(bytes, Uint8Array.of(0b101)));
      compare({ kernel, others }, "scan", bytes, (each) => each.scan(bytes, scanRequest({ allowGaps: true })));
      compare({ kernel, others }, "pack", bytes, (each) => packed(each, bytes, { mark: 0x2c }));
    }
  });
});

describe(`seed ${SEED}`, () => {
  it.each(Object.keys(TARGETS) as TargetName[])("%s", async (target) => {
    const { outcomes } = await fuzz({
      target,
      seed: SEED,
      executions: SHARE[target],
      kernel,
      others,
      corpus: readCorpus(),
    });
    // A fuzzer that always gets the same answer reaches only one check.
    expect(Object.keys(outcomes).length, JSON.stringify(outcomes)).toBeGreaterThan(1);
  });

  it("the same seed does the same", async () => {
    const run = () => fuzz({ target: "decoder", seed: SEED, executions: 2_000, kernel, others, corpus: readCorpus() });
    expect(await run()).toEqual(await run());
  });

  it("coverage guides: from two good batches to most branches of the kernel and the reference kernel", async () => {
    const { entry, module } = await guidedBuild();
    const { pairsBefore, pairs, kept } = await entry.guided({
      seed: SEED,
      executions: 1_000,
      module,
      corpus: goodBatches(kernel).slice(0, 2),
    });
    expect(pairsBefore).toBeGreaterThan(500);
    expect(pairs).toBeGreaterThan(pairsBefore + 100);
    expect(kept.length).toBeGreaterThan(30);
  });
});

describe("planted bugs are found", () => {
  const found = (entry: typeof Entry, target: TargetName, module: Uint8Array<ArrayBuffer>) =>
    entry.run(target, SEED, SHARE[target] * (target === "volume" ? 8 : 2), module).then(
      () => "survived",
      // The bundle has its own class Finding, so it is recognized by its name.
      (thrown: unknown) => ((thrown as Error).constructor.name === Finding.name ? "found" : thrown),
    );
  const load = (name: string, change: (code: string, file: string) => string | undefined) =>
    importWith<typeof Entry>("test/fuzz/plant-entry.ts", name, change);

  it.each(PLANTS)("$target: $name", async (plant) => {
    const { change, done } = planting(plant);
    const entry = await load(plant.name, change);
    expect(done(), "stands once in its file").toBe(1);
    expect(await found(entry, plant.target, (await kernelBytes("release")) as Uint8Array<ArrayBuffer>)).toBe("found");
  });

  it.each(KERNEL_PLANTS)("kernel, $target: $name", async (plant) => {
    const { change, done } = planting(plant);
    const module = await compileWith("release", plant.name, change);
    expect(done(), "stands once in its file").toBe(1);
    expect(await found(await load("no bug", () => undefined), plant.target, module)).toBe("found");
  });
});
