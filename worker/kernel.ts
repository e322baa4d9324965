/**
 * One kernel for each isolate. Its calls are synchronous and keep no state, so all objects of the isolate share it.
 */
import { loadPackingKernel } from "../src/kernel/packing-kernel.ts";
import type { PackingKernel } from "../src/kernel/types.ts";
import wasm from "../.cache/kernel/release.wasm";

let loading: Promise<PackingKernel> | undefined;

export function edgeKernel(): Promise<PackingKernel> {
  return (loading ??= loadPackingKernel(wasm).catch((thrown: unknown) => {
    // An isolate whose memory is used up may have some later.
    loading = undefined;
    throw thrown;
  }));
}
