/** Builds the page with Vite, perhaps with a planted bug in it, and serves it together with the ledger. */
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { build, type PluginOption, preview } from "vite";
import type { Ledger } from "./ledger.ts";
import type { Plant } from "./plants.ts";

// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { root } from "../tooling/setup.mjs";

export interface Stage {
  readonly url: string;
  close(): Promise<void>;
}

export async function setStage(ledger: Ledger, plant: Plant | undefined): Promise<Stage> {
  const outDir = mkdtempSync(path.join(os.tmpdir(), "tidemark-crash-page-"));
  // Page and worker are bundled apart, and each bundle that has the file must have the bug.
  const planted: { times: number }[] = [];
  const plugins = (): PluginOption[] => (plant?.source ? [plantInto(plant.source, planted)] : []);
  const page = { configFile: false, root: path.join(root as string, "test/crash/page"), logLevel: "error", base: "./" } as const;
  await build({ ...page, plugins: plugins(), worker: { format: "es", plugins }, build: { outDir, emptyOutDir: true, target: "es2022", assetsInlineLimit: 0 } });
  if (plant?.source && (planted.length === 0 || planted.some(({ times }) => times !== 1))) throw new Error(`"${plant.what}": its source is not in ${plant.source.file} exactly once`);
  const serveLedger: PluginOption = {
    name: "ledger",
    configurePreviewServer: (server) => void server.middlewares.use("/ledger", (request, response) => void ledger.handle(request, response)),
  };
  const server = await preview({ ...page, plugins: [serveLedger], build: { outDir }, preview: { host: "127.0.0.1", port: 0 } });
  const address = server.httpServer.address() as { port: number };
  return {
    url: `http://127.0.0.1:${address.port}/`,
    async close() {
      await server.close();
      await rm(outDir, { recursive: true, force: true });
    },
  };
}

function plantInto({ file, find, replace }: NonNullable<Plant["source"]>, planted: { times: number }[]): PluginOption {
  return {
    name: "planted-bug",
    transform(code, id) {
      if (path.relative(root as string, id.split("?")[0]!).replaceAll("\\", "/") !== file) return null;
      planted.push({ times: code.split(find).length - 1 });
      return { code: code.replace(find, () => replace), map: null };
    },
    enforce: "pre",
  };
}
