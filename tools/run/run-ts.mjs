/**
 * Runs a TypeScript program of this repository: `node tools/run/run-ts.mjs FILE.ts args…`.
 *
 * The file, and everything that it imports of this repository, become one bundle in .cache/run-ts; packages stay
 * outside. Node's own type stripping would not do, because the sources use parameter properties; and with a module
 * runner hot loops would cross modules through a proxy. `import.meta.url` still names the source file, stack traces
 * point into it, and `process.argv` is [node, FILE.ts, args…].
 */
import { createHash } from "node:crypto";
import { mkdir, rename, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { threadId } from "node:worker_threads";
import { rolldown } from "rolldown";

const root = fileURLToPath(new URL("../../", import.meta.url));

const sourceUrls = {
  name: "import-meta-url",
  transform(code, id) {
    if (!code.includes("import.meta.url")) return null;
    // The replacement changes no line numbers, so no source map is needed.
    return { code: code.replaceAll("import.meta.url", JSON.stringify(pathToFileURL(id).href)), map: null };
  },
};

/** What imports a WebAssembly module gets its address, as tests do. */
const wasmAddresses = {
  name: "wasm-address",
  load: (id) =>
    id.endsWith(".wasm")
      ? { code: `export default ${JSON.stringify(pathToFileURL(id).href)};`, moduleType: "js" }
      : null,
};

/** Bundles `file` and returns the path of the result. */
export async function bundleTs(file) {
  const bundle = await rolldown({
    input: path.resolve(file),
    cwd: root,
    platform: "node",
    external: (id) => !/^[./\0]|^@oxc-project\/runtime|^[A-Za-z]:/.test(id),
    plugins: [sourceUrls, wasmAddresses],
    transform: { target: "node20" },
    logLevel: "warn",
  });
  const directory = path.join(root, ".cache", "run-ts");
  const { output } = await bundle.generate({
    dir: directory,
    format: "esm",
    sourcemap: "inline",
    codeSplitting: false,
  });
  await bundle.close();
  const { code } = output[0];
  await mkdir(directory, { recursive: true });
  const name = `${path.basename(file, ".ts")}-${createHash("sha256").update(code).digest("hex").slice(0, 12)}.mjs`;
  const target = path.join(directory, name);
  // The name also has the thread's number, because workers share the process's id.
  const aside = `${target}.${process.pid}-${threadId}`;
  // Written under another name and renamed, so that two runs of the same program never read half a file.
  await writeFile(aside, code);
  await rename(aside, target);
  return target;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [file, ...args] = process.argv.slice(2);
  if (file === undefined) {
    console.error("usage: node tools/run/run-ts.mjs FILE.ts [args…]");
    process.exit(2);
  }
  process.setSourceMapsEnabled(true);
  const bundled = await bundleTs(file);
  process.argv = [process.argv[0], path.resolve(file), ...args];
  await import(pathToFileURL(bundled).href);
}
