/** Where the kernel and the worker lie. Both forms are what bundlers look for; the build gives them dist/'s names. */
export const kernelUrl = (): URL => new URL("../../.cache/kernel/release.wasm", import.meta.url);

export const makeWorker = (): Worker => new Worker(new URL("./worker-entry.ts", import.meta.url), { type: "module", name: "tidemark" });
