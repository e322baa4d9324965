/**
 * Where the sources have the files that open() needs. In the package, package/files.ts replaces this module.
 */
import type { Tide } from "../api.ts";

export const kernelUrl = (): URL => new URL("../../../.cache/kernel/release.wasm", import.meta.url);

export interface Core {
  /** `options` are those of open() with the kernel added. They are checked there. */
  openTide(name: string, options: object): Promise<Tide>;
  destroyNamed(name: string): Promise<void>;
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
