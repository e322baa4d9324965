/**
 * Files of the package that most tabs never need, by address. In the sources they are plain `import("…")`; the build
 * (test/tooling/build.mjs) turns these into loadPart() inside core.js, which no bundler looks into.
 *
 *   page   browser.js ── the addresses, as the app's bundler named the files ──▶ core.js ── open ──▶ worker (core.js)
 */
import { TidemarkError } from "../errors.ts";

export interface Parts {
  /** The volume in IndexedDB. */
  readonly indexeddb?: string;
  /** appendAll, gzip, trim, retention, compaction, seeks by time, control calls with Comlink, the proof before a new tide, the volume in memory. */
  readonly extras?: string;
  /** Leader election, followers, fail-over: when a second tab shows up. */
  readonly tabs?: string;
}

export const parts: { -readonly [part in keyof Parts]: Parts[part] } = {};

export function useParts(addresses: Parts): void {
  Object.assign(parts, addresses);
}

/** LOAD_FAILED: there is no network, and the file is in no cache. */
export const loadFailed = (file: string) => (cause: unknown): never => {
  throw new TidemarkError("LOAD_FAILED", file, {}, { cause });
};

/** A part has a copy of this module, with nothing in it: it is told the addresses, too. */
export const loadPart = async (part: keyof Parts): Promise<unknown> => {
  const file = (await import(/* @vite-ignore */ parts[part]!).catch(loadFailed(`${part}.js`))) as { useParts?: typeof useParts };
  file.useParts?.(parts);
  return file;
};
