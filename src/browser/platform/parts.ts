/**
 * Files of the package that most tabs never need, by address. In the sources they are plain `import("…")`; the build
 * (tools/package/build.mjs) turns these into loadPart(). A part contains nothing that core.js contains: the core is
 * passed to it when it is loaded, so that a page, and a worker, has each module once.
 *
 *   page   browser.js ── the addresses, as the app's bundler named the files ──▶ core.js ── open ──▶ worker (core.js)
 */
import { importFile } from "./load.ts";

export interface Parts {
  /** The volume in IndexedDB. */
  readonly indexeddb?: string;
  /** Recovery, and all else that reads what an earlier process wrote: with the first log that was there before. */
  readonly recovery?: string;
  /** Sealed segments: when there are some, or the first one is half full. */
  readonly segments?: string;
  /** appendAll, gzip, trim, retention, compaction, seeks by time, control calls with Comlink. */
  readonly extras?: string;
  /**
   * Leader election, followers and fail-over, needed when a second tab appears. Also the volume in memory, which a
   * standby worker's warm-up uses.
   */
  readonly tabs?: string;
  /** Sync with an edge, the page's side and the worker's. */
  readonly sync?: string;
  /** Sync over HTTP, where no WebSocket gets through; healing of damaged copies. */
  readonly tunnel?: string;
  /** Claims, answers of a person, and how a topic becomes synced. */
  readonly answers?: string;
  /** Changes of topics and views over them, in a page. */
  readonly views?: string;
  /** Schemas, event types and middleware, in a page. */
  readonly typed?: string;
  /** The texts of a worker's errors. A page has them in base.js, which its workers do not load. */
  readonly words?: ErrorWords;
}
type Part = Exclude<keyof Parts, "words">;

export interface ErrorWords {
  readonly kinds: object;
  readonly help: string;
}

export interface PartFile<Exports = unknown> {
  /** Parts whose modules this one uses. */
  readonly needs: readonly Part[];
  install(core: object): Exports;
}

export const parts: { -readonly [part in keyof Parts]: Parts[part] } = {};
const installed: { [part in Part]?: Promise<unknown> } = {};

export function useParts(addresses: Parts): void {
  Object.assign(parts, addresses);
}

/** LOAD_FAILED if the file can't be loaded. The next call tries again. */
export function loadPart(part: Part): Promise<unknown> {
  const loading = (installed[part] ??= install(part));
  loading.catch(() => delete installed[part]);
  return loading;
}

async function install(part: Part): Promise<unknown> {
  const { install, needs } = (await importFile(`${part}.js`, parts[part]!)) as PartFile;
  // This module is inside core.js, so this import is already loaded.
  const held = await Promise.all([import(/* @vite-ignore */ import.meta.url), ...needs.map(loadPart)]);
  return install(Object.assign({}, ...(held as object[])) as object);
}
