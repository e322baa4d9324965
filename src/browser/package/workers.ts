/**
 * How the package starts its workers: core.js, which contains this module, is their script as well. A script of another
 * origin can't be started, but one line of the page's own origin that imports it can. A SharedWorker started that way
 * would not be the same one for two tabs. There the browser refuses, and channels replace ports (broker-client.ts).
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
