/** A plugin for side entries whose rare calls load a file of their own (side-entries.mjs, `later`). */
import path from "node:path";
import { root } from "../run/setup.mjs";

/** import() of these modules stays one, of a file beside the entry. */
export const loadedLater = (later, seen) => ({
  name: "tidemark-later",
  resolveDynamicImport(name, importer) {
    const module = typeof name === "string" && path.resolve(path.dirname(importer), name);
    const [, file] = later.find(([each]) => path.join(root, each) === module) ?? [];
    if (file === undefined) return null;
    seen.add(module);
    return { id: `./${file}.js`, external: true };
  },
});
