/**
 * The coverage-guided loop. It is bundled with coverage points in the reference kernel, in the kernel's wrapper and in
 * the record reader; the compiled kernel has such points as well. An input that passes a new pair of points is kept,
 * and later inputs are made by damaging it further.
 */
import type { PackingKernel } from "../../src/kernel/types.ts";
import { referenceKernel } from "../reference/kernel.ts";
import { loadPackingKernel } from "../../src/kernel/packing-kernel.ts";
import { validate } from "../../src/log/validate.ts";
import { decodeBatch, RecordBatch, splitBatches } from "../../src/record/record-batch.ts";
import { scanRequest } from "../contract/kernel-samples.ts";
import { packed } from "../contract/pack-cases.ts";
import { Random } from "../simulation/prng.ts";
import { EdgeMap } from "./instrument.ts";
import { compare } from "./kernel-targets.ts";
import { Mutator, seedOf } from "./mutate.ts";
import { readAll } from "./record-targets.ts";
import { codeOf } from "./target.ts";

export interface GuidedOptions {
  readonly seed: number;
  readonly executions: number;
  /** A kernel that imports env.edge. */
  readonly module: BufferSource;
  readonly corpus: readonly Uint8Array[];
  readonly onProgress?: (done: number, kept: number, pairs: number) => void;
  /** False: inputs that passed something new are not damaged further. This shows what guidance is worth. */
  readonly guided?: boolean;
}

export interface GuidedResult {
  /** Inputs that passed a new pair of coverage points, in the order found. */
  readonly kept: readonly Uint8Array[];
  /** Pairs of points passed by the corpus alone, and in all. */
  readonly pairsBefore: number;
  readonly pairs: number;
}

const KEEP = Uint8Array.of(0b1011_0101, 0x5a, 0xff, 0);

/** Loads a kernel that imports a function. The loader passes no imports, since the shipped kernel has none. */
async function withImports<T>(imports: WebAssembly.Imports, load: () => Promise<T>): Promise<T> {
  const { instantiate } = WebAssembly;
  WebAssembly.instantiate = ((source: BufferSource) => instantiate(source, imports)) as typeof instantiate;
  try {
    return await load();
  } finally {
    WebAssembly.instantiate = instantiate;
  }
}

function visit(kernel: PackingKernel, reference: PackingKernel, edges: EdgeMap, bytes: Uint8Array): void {
  const parts = { kernel, others: [reference] };
  const step = (what: string, call: (kernel: PackingKernel) => unknown): void => {
    compare(parts, what, bytes, (each) => {
      edges.cut();
      return call(each);
    });
  };
  step("validate", (each) => each.validateBatch(bytes));
  step("decode", (each) => each.decodeBatch(bytes, true));
  step("decode without CRC", (each) => each.decodeBatch(bytes, false));
  step("decodeRecords", (each) => each.decodeRecords(bytes.subarray(Math.min(61, bytes.length)), 3, 1000, 5, false));
  step("filter", (each) => each.filterBatch(bytes, KEEP));
  step("scan", (each) => each.scan(bytes, scanRequest({ allowGaps: true })));
  step("pack", (each) => packed(each, bytes, { mark: 44 }));
  edges.cut();
  try {
    splitBatches(bytes);
    validate(kernel, bytes.slice(), { recordBytesMax: 100, batchBytesMax: 4096 });
    const batch = decodeBatch(kernel, bytes);
    if (batch instanceof RecordBatch) readAll(batch);
    else batch.catch(() => undefined);
  } catch (thrown) {
    codeOf(thrown, bytes);
  }
}

export async function guided({
  seed,
  executions,
  module,
  corpus,
  onProgress,
  guided: keeps = true,
}: GuidedOptions): Promise<GuidedResult> {
  const edges = new EdgeMap();
  (globalThis as Record<string, unknown>)["__edge"] = edges.edge;
  const kernel = await withImports({ env: { edge: edges.edge } }, () => loadPackingKernel(module));
  const reference = referenceKernel();
  const random = new Random(seed);
  const mutator = new Mutator(kernel, random, corpus);
  edges.isNew();
  for (const bytes of corpus) {
    visit(kernel, reference, edges, bytes);
    edges.isNew();
  }
  const pairsBefore = edges.pairs;
  const kept: Uint8Array[] = [];
  for (let done = 0; done < executions; done++) {
    const bytes = mutator.next();
    // Making the first input has passed points as well. They are not the input's own.
    if (done === 0) edges.isNew();
    visit(kernel, reference, edges, bytes);
    if (edges.isNew()) {
      const found = bytes.slice();
      kept.push(found);
      if (keeps) mutator.good.push(seedOf(kernel, found));
    }
    if (onProgress && done % 20_000 === 0) onProgress(done, kept.length, edges.pairs);
  }
  return { kept, pairsBefore, pairs: edges.pairs };
}
