/** Where the sources have the kernel. In the package, package/kernel-file.ts replaces this module. */
export const kernelFile = (): URL => new URL("../../.cache/kernel/release.wasm", import.meta.url);
