/**
 * `node test/tooling/run-ts.mjs test/fuzz/make-corpus.ts`: writes the committed corpus anew from our own encoder and the
 * kernel's contract.
 */
import { writeFileSync } from "node:fs";
import { releaseKernel } from "../tooling/kernels.ts";
import { corpusFile, pack } from "./corpus.ts";
import { seedBatches } from "./seeds.ts";

const batches = seedBatches(await releaseKernel());
const bytes = pack(batches);
writeFileSync(corpusFile("batches"), bytes);
console.log(`batches: ${batches.length} inputs, ${bytes.length} bytes`);
