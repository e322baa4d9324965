/**
 * `node tools/run/run-ts.mjs test/fuzz/make-corpus.ts [--executions N] [--seed S]`: writes the committed corpus again,
 * from our own encoder, the kernel's contract, and what the coverage-guided loop keeps when it begins with these. The
 * same arguments write the same file.
 */
import { writeFileSync } from "node:fs";
import { commandLine, integer, seedNumber } from "../../tools/run/command-line.mjs";
import { releaseKernel } from "../support/kernels.ts";
import { corpusFile, pack } from "./corpus.ts";
import { guidedBuild } from "./guided.ts";
import { seedBatches } from "./seeds.ts";

const values = commandLine({
  script: "make-corpus",
  command: "node tools/run/run-ts.mjs test/fuzz/make-corpus.ts",
  about: "Makes the corpus anew.",
  options: { executions: integer({ default: 100_000, help: "inputs" }), seed: seedNumber({ default: 7 }) },
});
const seeds = seedBatches(await releaseKernel());
const { entry, module } = await guidedBuild();
const { kept, pairs } = await entry.guided({ seed: values.seed, executions: values.executions, module, corpus: seeds });
const bytes = pack([...seeds, ...kept]);
writeFileSync(corpusFile(), bytes);
console.log(`${seeds.length} seeds and ${kept.length} findings, ${bytes.length} bytes, ${pairs} pairs of points`);
