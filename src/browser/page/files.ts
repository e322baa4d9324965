/**
 * Where the files lie that open() needs, as the sources name them. In the package, package/files.ts stands in for
 * this.
 */
import type { Tide } from "../api.ts";

export const kernelUrl = (): URL => new URL("../../../.cache/kernel/release.wasm", import.meta.url);

export interface Core {
  /** Options are those of open(), with the kernel filled in; they are checked there. */
  openTide(name: string, options: object): Promise<Tide>;
  destroy(name: string): Promise<void>;
}
export interface Files {
  readonly kernel: string | URL;
  /** All of them: what a page's policy may forbid. */
  readonly addresses: readonly string[];
  /** The rest of the code, loaded by the first open(). */
  core(): Promise<Core>;
}

/** `assets`: the folder of the package's files. The sources have none. */
export function filesIn(_assets: string | URL | undefined): Files {
  const kernel = kernelUrl();
  return { kernel, addresses: [kernel.href], core: () => import("./open-tide.ts") };
}
