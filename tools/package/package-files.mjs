/**
 * Lets suites run pages over the package's built files instead of the sources: `--dist` of `npm run tabs` and `npm run
 * crash`, TIDEMARK_DIST=1 for Vitest. The program that starts the run builds the files once.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { node } from "../run/child.mjs";
import { root, SetupError } from "../run/setup.mjs";

const entry = path.join(root, "dist", "browser.js");
const isSources = (source, importer) =>
  importer !== undefined &&
  source.startsWith(".") &&
  path.resolve(path.dirname(importer), source) === path.join(root, "src", "browser", "index.ts");

/** A plugin for Vite's build: imports of the browser's public entry get the package's file. */
export function packageFiles() {
  return {
    name: "package-files",
    enforce: "pre",
    resolveId: (source, importer) => (isSources(source, importer) ? entry : null),
  };
}

const PLACE = "/package-files/";
const STAND_IN = "\0package-files";

/**
 * The same for Vitest's development server. It serves the files unchanged, because files that it transforms call
 * helpers that do not exist in workers.
 */
export function servedPackageFiles() {
  return {
    name: "served-package-files",
    enforce: "pre",
    resolveId: (source, importer) => (isSources(source, importer) ? STAND_IN : null),
    async load(id) {
      if (id !== STAND_IN) return null;
      const names = Object.keys(await import(pathToFileURL(entry).href));
      return (
        `const all = await import(/* @vite-ignore */ new URL("${PLACE}browser.js", location.origin).href);\nexport ` +
        `const { ${names.join(", ")} } = all;`
      );
    },
    configureServer(server) {
      server.middlewares.use(PLACE, (request, response, next) => {
        const file = path.join(root, "dist", path.normalize(new URL(request.url, "http://localhost").pathname));
        readFile(file).then((bytes) => {
          response.setHeader("content-type", file.endsWith(".wasm") ? "application/wasm" : "text/javascript");
          response.end(bytes);
        }, next);
      });
    },
  };
}

/** Set by a run of many suites that has built dist/ for all of them. Another build would take files from under one. */
export const BUILT = "TIDEMARK_BUILT";

/** Builds the package and uses it from here on, in this process and those that it starts. */
export async function usePackageFiles() {
  const code = await node([path.join(root, "tools", "run", "run.mjs"), "build"]);
  if (code !== 0) throw new SetupError("The package could not be built; the lines above say why.");
  process.env.TIDEMARK_DIST = "1";
}
