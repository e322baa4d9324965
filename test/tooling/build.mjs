/**
 * `npm run build`: the library in dist/.
 *
 *   index.js      `tidemark`: the parts that know no host
 *   browser.js    `tidemark/browser`: open(), and where the files below lie
 *   core.js       the page's part and the worker's part, loaded by the first open() (src/browser/core.ts)
 *   indexeddb.js  the volume in IndexedDB        } loaded on demand, each whole in itself
 *   extras.js     gzip, compaction, tools        } (src/browser/parts.ts)
 *   tabs.js       many tabs, one log             }
 *   worker.js     `tidemark/worker`: the edge, whole in itself but for kernel.wasm, which Wrangler makes a module
 *   kernel.wasm   the kernel
 *   *.js          what index.js and browser.js share
 *   types/        declarations
 *   licenses/     of the packages inside
 *
 * core.js and the parts are loaded by address, which bundlers copy as they are: so they are whole in themselves and
 * minified here; their source maps lie beside them, unnamed, since a bundler would leave them behind. The rest is not: bundlers do that.
 * The sources name everything as it lies there, so that Vite and Vitest find it without help. Here the worker's address
 * becomes core.js itself, and each import() of a part becomes loadPart(). What bundlers look for stays as it is: a plain
 * `new URL("./…", import.meta.url)`.
 */
import { copyFile, mkdir, readdir, rm } from "node:fs/promises";
import path from "node:path";
import { rolldown } from "rolldown";
import { kernelDirectory } from "./build-kernel.mjs";
import { makeDeclarations } from "./declarations.mjs";
import { root } from "./setup.mjs";

const dist = path.join(root, "dist");

const address = (file) => `new URL("./${file}", import.meta.url)`;
const byAddress = (file) => `${address(file)}.href`;

/** What becomes of the sources' own addresses; each must be found. */
const FACADE = [
  [/new URL\("(?:\.\.\/)+\.cache\/kernel\/release\.wasm", import\.meta\.url\)/g, address("kernel.wasm")],
  [
    /import\("\.\/client\.ts"\)/g,
    `import(/* @vite-ignore */ /* webpackIgnore: true */ ${byAddress("core.js")}).then((core) => (core.useParts({ indexeddb: ${byAddress("indexeddb.js")}, extras: ${byAddress("extras.js")}, tabs: ${byAddress("tabs.js")} }), core))`,
  ],
];
/** Modules that the sources import() and the file that holds each; src/browser/extras.ts must export the same. */
const EXTRAS = ["append-all", "codec", "compaction", "control", "memory-volume", "prove", "replace", "retention", "seek", "whose-catalog"];
const PARTS = { "idb-volume": "indexeddb", tabs: "tabs", ...Object.fromEntries(EXTRAS.map((module) => [module, "extras"])) };
const CORE = [
  [/new Worker\(new URL\("\.\/worker-entry\.ts", import\.meta\.url\)/g, "new Worker(import.meta.url"],
  ...Object.entries(PARTS).map(([module, part]) => [new RegExp(`import\\("[./a-z]+/${module}\\.ts"\\)`, "g"), `loadPart("${part}")`]),
];

/** The broker's script is tabs.js itself: its code runs where there is an `onconnect`. */
const TABS = [
  [/new SharedWorker\(new URL\("\.\/broker\.ts", import\.meta\.url\)/g, "new SharedWorker(import.meta.url"],
  [/import\("\.\/idb-volume\.ts"\)/g, 'loadPart("indexeddb")'],
];

/** Makes the replacements; `seen` collects those that were found. */
function replacing(replacements, seen) {
  return {
    name: "tidemark-addresses",
    transform(code) {
      let result = code;
      for (const [pattern, text] of replacements) {
        result = result.replace(pattern, () => {
          seen.add(pattern);
          return text;
        });
      }
      if (result.includes("loadPart(") && !code.includes("loadPart")) result = `import { loadPart } from ${JSON.stringify(path.join(root, "src/browser/parts.ts"))};\n${result}`;
      return result === code ? null : { code: result, map: null };
    },
  };
}

async function bundle(input, replacements, output) {
  const seen = new Set();
  const build = await rolldown({
    input,
    cwd: root,
    platform: "browser",
    plugins: [replacing(replacements, seen)],
    transform: { target: "es2022" },
    logLevel: "warn",
  });
  await build.write({ dir: dist, format: "esm", sourcemap: "hidden", entryFileNames: "[name].js", chunkFileNames: "[name].js", ...output });
  await build.close();
  for (const [pattern] of replacements) if (!seen.has(pattern)) throw new Error(`the sources hold nothing like ${pattern}`);
}

/** Inside core.js, the parts and worker.js; they keep no notices of their own. */
const INSIDE = ["comlink", "idb", "jose", "whatwg-mimetype"];

/** Not minified: Wrangler does that, and stack traces of a Worker are read. */
async function bundleWorker() {
  const build = await rolldown({
    input: { worker: "worker/library.ts" },
    cwd: root,
    platform: "browser",
    external: [/^cloudflare:/],
    plugins: [{ name: "tidemark-kernel", resolveId: (id) => (id.endsWith(".wasm") ? { id: "./kernel.wasm", external: true } : null) }],
    transform: { target: "es2022" },
    logLevel: "warn",
  });
  await build.write({ dir: dist, format: "esm", sourcemap: "hidden", codeSplitting: false, entryFileNames: "[name].js" });
  await build.close();
}

export async function buildLibrary() {
  await rm(dist, { recursive: true, force: true });
  await mkdir(dist, { recursive: true });
  await bundle({ index: "src/index.ts", browser: "src/browser/index.ts" }, FACADE, {});
  const whole = { codeSplitting: false, minify: true, comments: false };
  await bundle({ core: "src/browser/core.ts" }, CORE, whole);
  await bundle({ indexeddb: "src/browser/idb-volume.ts" }, [], whole);
  await bundle({ extras: "src/browser/extras.ts" }, [], whole);
  await bundle({ tabs: "src/browser/tabs.ts" }, TABS, whole);
  await bundleWorker();
  await mkdir(path.join(dist, "licenses"));
  for (const name of INSIDE) {
    const directory = path.join(root, "node_modules", name);
    const license = (await readdir(directory)).find((file) => /^licen[cs]e/i.test(file));
    await copyFile(path.join(directory, license), path.join(dist, "licenses", `${name}.txt`));
  }
  await copyFile(path.join(kernelDirectory, "release.wasm"), path.join(dist, "kernel.wasm"));
  await makeDeclarations();
}

export async function main() {
  await buildLibrary();
  console.log(`dist: ${(await readdir(dist)).filter((name) => !name.endsWith(".map")).join(" ")}`);
  return 0;
}
