/**
 * Builds the page with Vite, perhaps with a planted bug, and serves it together with the ledger. With TIDEMARK_DIST
 * (which `--dist` and `npm test` set) the page runs the package's built files. A planted bug changes a source file, so
 * a page with a bug is built from the sources.
 */
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import type { Server } from "node:http";
import os from "node:os";
import path from "node:path";
import { build, type PluginOption, preview } from "vite";
import type { Ledger } from "./ledger.ts";
import type { Plant } from "./plants.ts";
import { plantedBug } from "../support/planted-bug.ts";
import { packageFiles } from "../../tools/package/package-files.mjs";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { root } from "../../tools/run/setup.mjs";

export interface Stage {
  readonly url: string;
  close(): Promise<void>;
}

/** `beside` is a second build of the same page with its own plant, served from that folder of the same origin. */
export async function setStage(
  ledger: Pick<Ledger, "handle">,
  plant: Plant | undefined,
  folder = "test/crash/page",
  beside?: { readonly folder: string; readonly plant: Plant },
): Promise<Stage> {
  const outDir = mkdtempSync(path.join(os.tmpdir(), "tidemark-crash-page-"));
  const page = { configFile: false, root: path.join(root as string, folder), logLevel: "error", base: "./" } as const;
  const buildInto = async (target: string, planted: Plant | undefined): Promise<void> => {
    const bug = planted?.bug && plantedBug(planted.bug);
    const plugins = (): PluginOption[] =>
      bug ? [{ ...bug, enforce: "pre" }] : process.env["TIDEMARK_DIST"] ? [packageFiles()] : [];
    await build({
      ...page,
      plugins: plugins(),
      worker: { format: "es", plugins },
      build: { outDir: target, emptyOutDir: true, target: "es2022", assetsInlineLimit: 0 },
    });
    bug?.check();
  };
  await buildInto(outDir, plant);
  if (beside) await buildInto(path.join(outDir, beside.folder), beside.plant);
  const serveLedger: PluginOption = {
    name: "ledger",
    configurePreviewServer(server) {
      for (const place of ["/ledger", `/${beside?.folder}/ledger`])
        server.middlewares.use(place, (request, response) => void ledger.handle(request, response));
    },
  };
  const server = await preview({
    ...page,
    plugins: [serveLedger],
    build: { outDir },
    preview: { host: "127.0.0.1", port: 0 },
  });
  const address = server.httpServer.address() as { port: number };
  return {
    url: `http://127.0.0.1:${address.port}/`,
    async close() {
      // A page that hangs may keep its request open for ever, and `close` would wait for it.
      (server.httpServer as Server).closeAllConnections();
      await server.close();
      await rm(outDir, { recursive: true, force: true });
    },
  };
}
