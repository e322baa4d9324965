/**
 * `npm run build`: the library in dist/.
 *
 *   index.js    `tidemark`: the parts that know no host
 *   browser.js  `tidemark/browser`: the page's part. comlink stays an import: the app's bundler brings it once
 *   *.js        what both share
 *   worker.js   the worker, whole in itself: a worker file is loaded by address, where no import map or bundler helps
 *   kernel.wasm the kernel
 *   types/      declarations
 *
 * In the sources the worker and the kernel are named as they lie there, so that Vite and Vitest find them without help;
 * here the two addresses become those of dist/. Both stay plain `new URL("./…", import.meta.url)`, which bundlers know.
 * Nothing is minified: bundlers do that, and a debugger shows readable code.
 */
import { copyFile, mkdir, readdir, rm } from "node:fs/promises";
import path from "node:path";
import { rolldown } from "rolldown";
import { kernelDirectory } from "./build-kernel.mjs";
import { node } from "./child.mjs";
import { root } from "./setup.mjs";

const dist = path.join(root, "dist");

const ADDRESSES = [
  [/new URL\(\s*"(?:\.\.\/)+\.cache\/kernel\/release\.wasm",\s*import\.meta\.url\s*,?\s*\)/g, "./kernel.wasm"],
  [/new URL\(\s*"\.\/worker-entry\.ts",\s*import\.meta\.url\s*,?\s*\)/g, "./worker.js"],
];

/** Rewrites the addresses; `seen` collects those that were found. */
function addresses(seen) {
  return {
    name: "tidemark-addresses",
    transform(code) {
      let result = code;
      for (const [pattern, address] of ADDRESSES) {
        result = result.replace(pattern, () => {
          seen.add(address);
          return `new URL(${JSON.stringify(address)}, import.meta.url)`;
        });
      }
      return result === code ? null : { code: result, map: null };
    },
  };
}

async function bundle(input, options, output) {
  const seen = new Set();
  const build = await rolldown({
    input,
    cwd: root,
    platform: "browser",
    plugins: [addresses(seen)],
    transform: { target: "es2022" },
    logLevel: "warn",
    ...options,
  });
  await build.write({ dir: dist, format: "esm", sourcemap: true, entryFileNames: "[name].js", chunkFileNames: "[name].js", ...output });
  await build.close();
  return seen;
}

export async function buildLibrary() {
  await rm(dist, { recursive: true, force: true });
  await mkdir(dist, { recursive: true });
  const page = await bundle(
    { index: "src/index.ts", browser: "src/browser/index.ts" },
    { external: ["comlink", "idb"] },
    {},
  );
  const worker = await bundle({ worker: "src/browser/worker-entry.ts" }, {}, { codeSplitting: false });
  for (const [, address] of ADDRESSES) {
    if (!page.has(address) && !worker.has(address)) throw new Error(`the sources name nothing that becomes ${address}`);
  }
  await copyFile(path.join(kernelDirectory, "release.wasm"), path.join(dist, "kernel.wasm"));
  const tsc = path.join(root, "node_modules", "typescript", "bin", "tsc");
  const code = await node([tsc, "-p", path.join("test", "tooling", "tsconfig.types.json")]);
  if (code !== 0) throw new Error("the declarations could not be made");
}

export async function main() {
  await buildLibrary();
  console.log(`dist: ${(await readdir(dist)).filter((name) => !name.endsWith(".map")).join(" ")}`);
  return 0;
}
