/** Where the package has the kernel: beside the file that this is bundled into. */
export const kernelFile = (): URL => new URL("./kernel.wasm", import.meta.url);
