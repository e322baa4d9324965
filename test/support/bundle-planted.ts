/** Bundles a test's entry together with the product, one bug planted in it, and imports the result. */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Plugin, rolldown } from "rolldown";
import { type PlantedBug, plantedBug } from "./planted-bug.ts";

/** What imports a WebAssembly module gets its address. `import.meta.url` names the source, not the bundle. */
const OWN_URL = /import\.meta\.url/;
const addresses: Plugin = {
  name: "addresses",
  load: {
    filter: { id: /\.wasm$/ },
    handler: (id) => ({ code: `export default ${JSON.stringify(pathToFileURL(id).href)};`, moduleType: "js" }),
  },
  transform: {
    filter: { code: OWN_URL },
    handler: (code, id) => ({
      code: code.replace(new RegExp(OWN_URL, "g"), () => JSON.stringify(pathToFileURL(id).href)),
      map: null,
    }),
  },
};

/** What stays outside. The kernel's compiler has 15 MB, and each bug has a bundle of its own. */
const OUTSIDE = [/^node:/, /^rolldown/, /^assemblyscript/];

const root = fileURLToPath(new URL("../../", import.meta.url));

/**
 * `entry` is a path from the repository's root. Returns that file's exports. With `bug` undefined the product is as it
 * is.
 */
export async function importPlanted<Entry>(entry: string, bug: PlantedBug | undefined): Promise<Entry> {
  const plugin = bug && plantedBug(bug);
  const bundle = await rolldown({
    input: path.join(root, entry),
    cwd: root,
    platform: "node",
    external: OUTSIDE,
    plugins: plugin ? [plugin, addresses] : [addresses],
    transform: { target: "node20" },
    logLevel: "silent",
  });
  // What is in node_modules is not taken apart by Vitest, which would take longer than most searches for a bug.
  const directory = path.join(root, "node_modules", ".cache", "planted");
  await mkdir(directory, { recursive: true });
  const name = `${path.basename(path.dirname(entry))}-${bug?.name ?? "none"}-${process.pid}`.replace(/\W+/g, "-");
  const file = path.join(directory, `${name}.mjs`);
  await bundle.write({ file, format: "esm", codeSplitting: false });
  await bundle.close();
  plugin?.check();
  return (await import(/* @vite-ignore */ pathToFileURL(file).href)) as Entry;
}
