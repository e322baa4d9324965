/** Where the files lie that open() needs, as the sources name them. In the package, package/files.ts stands in for this. */
export const kernelUrl = (): URL => new URL("../../.cache/kernel/release.wasm", import.meta.url);

export interface Core {
  readonly openTide: (typeof import("./client.ts"))["openTide"];
}
export interface Files {
  readonly kernel: string | URL;
  /** The rest of the code, loaded by the first open(). */
  core(): Promise<Core>;
}

/** `assets`: the folder of the package's files. The sources have none. */
export const filesIn = (_assets: string | URL | undefined): Files => ({ kernel: kernelUrl(), core: () => import("./client.ts") });
