/**
 * Plugins for side entries whose rare calls load a file of their own (side-entries.mjs, `later`), and for those that
 * have all in one file (`whole`).
 */
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

/**
 * import() of the package's own modules becomes a promise of what is in the same file. The bundler would keep each
 * module for later, in a function of its own, which costs a KiB and more.
 */
export const inOneFile = {
  name: "tidemark-in-one-file",
  transform(code) {
    const names = [];
    const found = code.replace(/\bimport\("(\.[^"]+)"\)/g, (_, name) => {
      if (!names.includes(name)) names.push(name);
      return `Promise.resolve(later${names.indexOf(name)})`;
    });
    const imports = names.map((name, at) => `import * as later${at} from "${name}";\n`);
    return names.length === 0 ? null : { code: imports.join("") + found, map: null };
  },
};
