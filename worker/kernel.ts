/** One kernel per isolate: its calls are synchronous and leave nothing behind, so all objects of the isolate share it. */
import { loadKernel } from "../src/kernel/load.ts";
import type { Kernel } from "../src/kernel/types.ts";
import wasm from "../.cache/kernel/release.wasm";

let loading: Promise<Kernel> | undefined;

export const edgeKernel = (): Promise<Kernel> => (loading ??= loadKernel(wasm));
