/** The kernel's builds for tests in Node. They are compiled first if the sources have changed. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { loadPackingKernel } from "../../src/kernel/packing-kernel.ts";
import { referenceKernel } from "../reference/kernel.ts";
import type { PackingKernel } from "../../src/kernel/types.ts";
// @ts-expect-error plain JavaScript, because builds run before any compiler
import { buildKernel, kernelDirectory } from "../../tools/package/build-kernel.mjs";

export { referenceKernel };

/** The compiled bytes of a build. */
export async function kernelBytes(target: "release" | "debug"): Promise<Uint8Array<ArrayBuffer>> {
  await buildKernel();
  return new Uint8Array(await readFile(path.join(kernelDirectory, `${target}.wasm`)));
}

export async function releaseKernel(): Promise<PackingKernel> {
  return loadPackingKernel(await kernelBytes("release"));
}

export async function debugKernel(): Promise<PackingKernel> {
  return loadPackingKernel(await kernelBytes("debug"));
}

export async function allKernels(): Promise<PackingKernel[]> {
  return [await releaseKernel(), await debugKernel(), referenceKernel()];
}
