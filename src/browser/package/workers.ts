/**
 * How the package starts its workers: core.js, which this module is inside of, is their script as well. From another
 * origin no script can be started; a line of code of the page's own origin that imports it can. A SharedWorker like
 * that would not be the same one for two tabs: there the browser refuses, and ports are replaced by channels
 * (broker-client.ts).
 */
import { parts } from "../platform/parts.ts";
import { trusted } from "../platform/trusted-types.ts";

const NAMED = { type: "module", name: "tidemark" } as const;
let trampoline: string | undefined;

export function makeWorker(): Worker {
  if (new URL(import.meta.url).origin === location.origin) return new Worker(trusted(import.meta.url), NAMED);
  const line = `import { work } from ${JSON.stringify(import.meta.url)}; work();`;
  trampoline ??= URL.createObjectURL(new Blob([line], { type: "text/javascript" }));
  return new Worker(trusted(trampoline), NAMED);
}

/** The build puts broker-entry.ts in front of tabs.js. */
export const makeBroker = (): SharedWorker => new SharedWorker(trusted(parts.tabs!), NAMED);
