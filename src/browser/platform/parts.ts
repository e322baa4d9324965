/**
 * Files of the package that most tabs never need, by address. In the sources they are plain `import("…")`; the build
 * (tools/package/build.mjs) turns these into loadPart(). A part holds nothing that core.js holds: it is handed the
 * core when it is loaded, so that there is one of everything in a page and one in a worker.
 *
 *   page   browser.js ── the addresses, as the app's bundler named the files ──▶ core.js ── open ──▶ worker (core.js)
 */
import { importFile } from "./load.ts";

export interface Parts {
  /** The volume in IndexedDB. */
  readonly indexeddb?: string;
  /** appendAll, gzip, trim, retention, compaction, seeks by time, control calls with Comlink. */
  readonly extras?: string;
  /**
   * Leader election, followers, fail-over: when a second tab shows up. And the volume in memory, which a rehearsal
   * uses.
   */
  readonly tabs?: string;
}
type Part = keyof Parts;

export interface PartFile<Exports = unknown> {
  install(core: object): Exports;
}

export const parts: { -readonly [part in keyof Parts]: Parts[part] } = {};
const installed: { [part in Part]?: Promise<unknown> } = {};

export function useParts(addresses: Parts): void {
  Object.assign(parts, addresses);
}

/** LOAD_FAILED when the file can't be loaded; the next call tries again. */
export function loadPart(part: Part): Promise<unknown> {
  const loading = (installed[part] ??= install(part));
  loading.catch(() => delete installed[part]);
  return loading;
}

async function install(part: Part): Promise<unknown> {
  const file = (await importFile(`${part}.js`, parts[part]!)) as PartFile;
  // This module is inside core.js, which is loaded already.
  return file.install((await import(/* @vite-ignore */ import.meta.url)) as object);
}
