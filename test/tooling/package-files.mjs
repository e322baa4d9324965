/**
 * The suites that drive pages over the package's built files instead of the sources: `--dist` of `npm run tabs` and `npm run crash`,
 * TIDEMARK_DIST=1 for Vitest. Built anew once, by whoever starts the run.
 */
import path from "node:path";
import { node } from "./child.mjs";
import { root, SetupError } from "./setup.mjs";

/** A plugin of Vite: what imports the browser's sources by their public entry gets the package's. */
export function packageFiles() {
  return {
    name: "package-files",
    enforce: "pre",
    resolveId(source, importer) {
      if (!source.endsWith("src/browser/index.ts") || importer === undefined) return null;
      const isEntry = path.resolve(path.dirname(importer), source) === path.join(root, "src", "browser", "index.ts");
      return isEntry ? path.join(root, "dist", "browser.js") : null;
    },
  };
}

/** From here on, in this process and those that it starts. */
export async function usePackageFiles() {
  const code = await node([path.join(root, "test", "tooling", "run.mjs"), "build"]);
  if (code !== 0) throw new SetupError("The package could not be built; the lines above say why.");
  process.env.TIDEMARK_DIST = "1";
}
