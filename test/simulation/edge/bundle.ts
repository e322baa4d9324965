/**
 * Bundles the edge for a simulated platform: what the platform gives its code as globals comes from the world of the
 * history that runs (platform.ts), and segments, pages and slices are so small that short histories fill many of them.
 */
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { type PlantedBug, plantedBug } from "../../support/planted-bug.ts";
import type * as Entry from "./entry.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const small = (file: string, find: string, replace: string): PlantedBug => ({ name: find, file, find, replace });

/** Sizes as a short history needs them. */
const SMALL: readonly PlantedBug[] = [
  small("worker/store/chunk-log.ts", "const SEGMENT_BYTES = 4 * 1024 * 1024;", "const SEGMENT_BYTES = 1500;"),
  small("worker/wire/read-answer.ts", "const READ_BYTES = 1024 * 1024;", "const READ_BYTES = 2500;"),
  small("worker/stream/body-limits.ts", "const ENCODE_SLICE_BYTES = 256 * 1024;", "const ENCODE_SLICE_BYTES = 300;"),
  small("worker/rpc/append-call.ts", "const CALL_BYTES_MAX = 64 * 1024;", "const CALL_BYTES_MAX = 400;"),
  small("worker/stream/fork-point.ts", "const FORK_READ_BYTES = 64 * 1024;", "const FORK_READ_BYTES = 700;"),
  small("worker/rpc/notice.ts", "const NEWS_BYTES_MAX = 16 * 1024;", "const NEWS_BYTES_MAX = 400;"),
  small("worker/stream/streamed-read.ts", "const PAGE_BYTES = 1024 * 1024;", "const PAGE_BYTES = 3000;"),
  small("worker/stream/streamed-read.ts", "const LONG_BYTES = 16 * 1024 * 1024;", "const LONG_BYTES = 9000;"),
  small("worker/stream/streamed-read.ts", "const GROUP_BYTES = 512 * 1024;", "const GROUP_BYTES = 1200;"),
  small(
    "worker/log-object/compaction-schedule.ts",
    "const PORTION_BYTES = 16 * 1024 * 1024;",
    "const PORTION_BYTES = 6000;",
  ),
  small("worker/log-object/manifest-of.ts", "const MANIFEST_ENTRIES_MAX = 128;", "const MANIFEST_ENTRIES_MAX = 3;"),
];

const GLOBALS = [
  "Date",
  "queueMicrotask",
  "crypto",
  "fetch",
  "AbortSignal",
  "setTimeout",
  "clearTimeout",
  "Request",
  "Response",
  "WebSocketPair",
  "console",
  "caches",
];

export async function importEdge(plants: readonly PlantedBug[] = [], name = "none"): Promise<typeof Entry> {
  const planted = [...SMALL, ...plants].map((bug) => plantedBug(bug));
  const bundle = await rolldown({
    input: path.join(root, "test/simulation/edge/entry.ts"),
    cwd: root,
    platform: "node",
    external: [/^node:/],
    plugins: [
      ...planted,
      {
        name: "platform",
        resolveId: (id: string) => (id === "cloudflare:workers" ? "\0workers" : null),
        load: async (id: string) => {
          if (id === "\0workers")
            return "export class DurableObject { constructor(ctx, env) { this.ctx = ctx; this.env = env; } }";
          if (!id.endsWith(".wasm")) return null;
          const text = (await readFile(id)).toString("base64");
          const code = `export default await WebAssembly.compile(Buffer.from(${JSON.stringify(text)}, "base64"));`;
          return { code, moduleType: "js" as const };
        },
      },
    ],
    transform: { target: "node20" },
    logLevel: "silent",
  });
  const directory = path.join(root, "node_modules", ".cache", "planted");
  await mkdir(directory, { recursive: true });
  const file = path.join(directory, `edge-${name}-${process.pid}.mjs`.replaceAll(/[^\w.]+/g, "-"));
  await bundle.write({
    file,
    format: "esm",
    codeSplitting: false,
    banner: `const { ${GLOBALS.join(", ")} } = globalThis.tidemarkPlatform;`,
  });
  await bundle.close();
  for (const each of planted) each.check();
  return (await import(/* @vite-ignore */ pathToFileURL(file).href)) as typeof Entry;
}
