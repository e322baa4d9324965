/**
 * Bundles the product's own sources into a function of the platform's globals. The function is evaluated once for each
 * page and worker of a simulated world, so each has its own state, as in a browser. The sources are unchanged.
 */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { type PlantedBug, plantedBug } from "../../support/planted-bug.ts";
import type { Product } from "./platform.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
/** All names that the product may take from the platform. In a context that lacks one, its value is undefined. */
const GLOBALS = [
  "navigator",
  "BroadcastChannel",
  "MessageChannel",
  "MessagePort",
  "setTimeout",
  "clearTimeout",
  "performance",
  "Date",
  "crypto",
  "AbortSignal",
  "FileSystemSyncAccessHandle",
  "indexedDB",
  "IDBRequest",
  "IDBTransaction",
  "IDBDatabase",
  "IDBObjectStore",
  "IDBIndex",
  "IDBCursor",
  "IDBKeyRange",
  "WebAssembly",
  "close",
  "Worker",
  "SharedWorker",
  "addEventListener",
  "document",
  "globalThis",
  "fetch",
  "location",
  "self",
  "WebSocket",
  "Math",
];

const ADDRESS = /import\.meta\.url/g;

export async function simulatedProduct(bug?: PlantedBug): Promise<Product> {
  const planted = bug && plantedBug(bug);
  const addresses = {
    name: "addresses",
    transform: {
      filter: { code: ADDRESS },
      handler: (code: string) => ({ code: code.replace(ADDRESS, '"https://simulated/"'), map: null }),
    },
  };
  const bundle = await rolldown({
    input: path.join(root, "test/simulation/tabs/product-entry.ts"),
    cwd: root,
    platform: "browser",
    plugins: [...(planted ? [planted] : []), addresses],
    logLevel: "silent",
  });
  const { output } = await bundle.generate({ format: "cjs", codeSplitting: false });
  await bundle.close();
  planted?.check();
  // The evaluated code is our own. Each context needs it with other globals.
  const evaluate = new Function("exports", ...GLOBALS, output[0].code) as (...args: unknown[]) => void;
  return (globals) => {
    const exports = {};
    evaluate(exports, ...GLOBALS.map((name) => (name === "globalThis" ? (globals[name] ?? {}) : globals[name])));
    return exports as ReturnType<Product>;
  };
}
