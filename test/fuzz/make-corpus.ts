/**
 * `node test/tooling/run-ts.mjs test/fuzz/make-corpus.ts [--executions N] [--seed S]`: writes the committed corpus anew from
 * our own encoder, the kernel's contract, and what the coverage-guided loop keeps from there on. Same arguments, same file.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { releaseKernel } from "../tooling/kernels.ts";
import { corpusFile, pack } from "./corpus.ts";
import { guidedBuild } from "./guided.ts";
import { seedBatches } from "./seeds.ts";

const { values } = parseArgs({ options: { executions: { type: "string", default: "100000" }, seed: { type: "string", default: "7" } } });
const seeds = seedBatches(await releaseKernel());
const { entry, module } = await guidedBuild();
const { kept, pairs } = await entry.guided({ seed: Number(values.seed), executions: Number(values.executions), module, corpus: seeds });
const bytes = pack([...seeds, ...kept]);
writeFileSync(corpusFile(), bytes);
console.log(`${seeds.length} seeds and ${kept.length} findings, ${bytes.length} bytes, ${pairs} pairs of points`);
