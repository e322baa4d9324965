/**
 * Where the sources have the files that open() needs. In the package, package/files.ts replaces this module.
 */
import type { Tide } from "../api.ts";
import type { KernelGiven } from "./open-options.ts";

export const kernelUrl = (): URL => new URL("../../../.cache/kernel/release.wasm", import.meta.url);

export interface Core {
  /** `options` are those of open(). They are checked there. */
  openTide(name: string, options: object, kernel: KernelGiven): Promise<Tide>;
  destroyNamed(name: string, options: object): Promise<void>;
}
export interface Files {
  readonly kernel: string | URL;
  /** All addresses, for finding out which one a page's policy forbids. */
  readonly addresses: readonly string[];
  /** The rest of the code, loaded by the first open(). */
  core(): Promise<Core>;
}

/** `assets`: the folder of the package's files. The sources have none. */
export function filesIn(_assets: string | URL | undefined): Files {
  const kernel = kernelUrl();
  return { kernel, addresses: [kernel.href], core: () => import("./open-tide.ts") };
}
