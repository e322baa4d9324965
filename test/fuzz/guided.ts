/**
 * `node tools/run/run-ts.mjs test/fuzz/guided.ts --executions N --seed S [--keep FILE] [--blind] [--bare]`
 *
 * Builds the kernel, the reference kernel and the record reader with coverage points, and runs the coverage-guided
 * loop. `--keep` writes the inputs that reached something new, for make-corpus.ts. `--bare` begins with two good
 * batches instead of the corpus, and `--blind` damages no input further: both together show what guidance is worth.
 */
import { writeFileSync } from "node:fs";
import { referenceKernel } from "../reference/kernel.ts";
import { commandLine, flag, integer, outputFile, seedNumber } from "../../tools/run/command-line.mjs";
import { pack, readCorpus } from "./corpus.ts";
import { compileWith, importWith, instrumenting } from "./build.ts";
import type * as Entry from "./guided-entry.ts";
import { goodBatches } from "./seeds.ts";

export async function guidedBuild(): Promise<{
  readonly entry: typeof Entry;
  readonly module: Uint8Array<ArrayBuffer>;
}> {
  const module = await compileWith("release", "edges", instrumenting(/^assembly\/\w+\.ts$/));
  // The sources call this while they load, before the loop sets its own.
  (globalThis as Record<string, unknown>)["__edge"] ??= () => undefined;
  const entry = await importWith<typeof Entry>(
    "test/fuzz/guided-entry.ts",
    "guided",
    instrumenting(/^(test\/reference\/\w+|src\/(kernel\/wasm-kernel|record\/record-batch|log\/validate))\.ts$/),
  );
  return { entry, module };
}

async function main(): Promise<void> {
  const values = commandLine({
    script: "guided",
    command: "node tools/run/run-ts.mjs test/fuzz/guided.ts",
    about: "Mutates batches, led by the points of the kernel that each reaches.",
    options: {
      executions: integer({ default: 100_000, help: "inputs" }),
      seed: seedNumber(),
      keep: outputFile({ help: "write the inputs there that reached something new" }),
      blind: flag({ help: "without guidance, to compare" }),
      bare: flag({ help: "begin with two good batches, without the corpus" }),
    },
  });
  const { entry, module } = await guidedBuild();
  const corpus = values.bare ? goodBatches(referenceKernel()).slice(0, 2) : readCorpus();
  const started = performance.now();
  const onProgress = (done: number, kept: number, pairs: number): void => {
    if (done % 100_000 === 0)
      process.stderr.write(`${done} of ${values.executions}: ${kept} kept, ${pairs} pairs of points\n`);
  };
  const { kept, pairsBefore, pairs } = await entry.guided({
    seed: values.seed,
    executions: values.executions,
    module,
    corpus,
    onProgress,
    guided: !values.blind,
  });
  const seconds = (performance.now() - started) / 1000;
  if (values.keep) writeFileSync(values.keep, pack(kept));
  console.log(
    `${values.executions} executions in ${seconds.toFixed(1)} s, seed ${values.seed}: ${pairsBefore} pairs of ` +
      `points by the corpus, ${pairs} in all, ${kept.length} inputs kept, no finding`,
  );
}

if (process.argv[1]?.endsWith("guided.ts")) await main();
