/**
 * `npm run build`: the library in dist/.
 *
 *   index.js      `tidemark`: the parts that run on any host
 *   browser.js    `tidemark/browser`: open(), and the addresses of the files below
 *   worker.js     `tidemark/worker`: the edge; edge-kernel.wasm becomes a module by Wrangler
 *   base.js       TidemarkError, which those three import and which is passed to core.js, so that it exists once
 *   core.js       the page's part and the worker's part; loaded by the first open() (src/browser/package/core.ts)
 *   recovery.js   logs that were there before    }
 *   segments.js   sealed segments                } loaded on demand
 *   indexeddb.js  the volume in IndexedDB        } (src/browser/platform/parts.ts)
 *   extras.js     gzip, compaction, tools        }
 *   tabs.js       many tabs, one log             }
 *   sync.js       sync with an edge              }
 *   tunnel.js     sync over HTTP                 }
 *   answers.js    what sync seldom needs         }
 *   views.js      changes of topics, views       }
 *   typed.js      schemas, events, middleware    }
 *   kernel.wasm   the kernel; edge-kernel.wasm the same with one call more, for servers
 *   NAME.js       `tidemark/NAME` and what it loads later: side-entries.mjs lists them; bin/ starts cli.js
 *   types/        declarations
 *   playground/   the playground, for `tidemark dev`
 *   licenses/     licences of the packages inside
 *
 * No module is in two files that one page or one worker loads. Each part on demand is a function `install(core)`: it
 * takes what core.js holds, or a part that it needs, from there, by the short names of the exports. A worker does not
 * load base.js: its TidemarkError is in core.js, inside a function that no page calls
 * (src/browser/package/own-errors.ts).
 *
 * core.js and the parts are loaded by address, and bundlers copy such files unchanged. So they are minified here. Their
 * source maps are beside them but not named in them, because a bundler would not copy the maps. The other files are not
 * minified, because bundlers do that. The sources import everything where it is, so that Vite and Vitest find it
 * without help. Here, modules that have a stand-in below src/browser/package/ are replaced by it, and each import() of
 * a part becomes loadPart().
 */
import { copyFile, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { buildKernel, kernelDirectory } from "./build-kernel.mjs";
import { allSeen, BASE_ENTRY, bundle, dist, inBase, names, relative, source, standIns } from "./bundling.mjs";
import { makeDeclarations } from "./declarations.mjs";
import { inOneFile, loadedLater } from "./loaded-later.mjs";
import { writeLoaded } from "./loaded-files.mjs";
import { INSIDE_SIDE_ENTRIES, LATER, PROGRAMS, SIDE_ENTRIES } from "./side-entries.mjs";
import { root } from "../run/setup.mjs";

/** Stand-ins in files that an app's bundler processes. */
const FACADE = { [source("browser/page/files.ts")]: source("browser/package/files.ts") };

/** A side entry over an open tide uses the app's own browser.js: the address of its files is beside that one. */
const besideBrowser = {
  name: "tidemark-beside-browser",
  async resolveId(name, importer, options) {
    const found = importer && (await this.resolve(name, importer, { ...options, skipSelf: true }));
    return found?.id === source("browser/index.ts") ? { id: "./browser.js", external: true } : null;
  },
};

/** Each file of dist/ with its modules, for the test that checks them. */
export const MODULES_FILE = path.join(root, ".cache", "dist-modules.json");
const chunksOf = ({ output }) =>
  Object.fromEntries(
    output
      .filter(({ type }) => type === "chunk")
      .map(({ fileName, moduleIds }) => [fileName.replace(/\.js$/, ""), relative(moduleIds)]),
  );

async function bundleForApps() {
  const seen = new Set();
  const kernel = {
    name: "tidemark-kernel",
    resolveId: (id) => (id.endsWith(".wasm") ? { id: "./edge-kernel.wasm", external: true } : null),
  };
  const page = await bundle({ index: "src/index.ts", browser: "src/browser/index.ts" }, [
    standIns(FACADE, seen),
    inBase,
  ]);
  const forPages = await page.write({ ...names, format: "esm", sourcemap: "hidden" });
  // Not minified: Wrangler does that, and people read stack traces of a Worker.
  const edge = await bundle({ worker: "worker/library.ts" }, [kernel, inBase], { external: [/^cloudflare:/] });
  const forEdge = await edge.write({ ...names, format: "esm", sourcemap: "hidden", codeSplitting: false });
  await Promise.all([page.close(), edge.close()]);
  allSeen(Object.keys(FACADE), seen);
  return { ...chunksOf(forPages), ...chunksOf(forEdge) };
}

/**
 * Each side entry alone, with base.js and browser.js beside it. Not minified: bundlers do that, and Node shows its
 * stack traces.
 */
async function bundleSideEntries() {
  const made = {};
  for (const name of Object.keys({ ...SIDE_ENTRIES, ...PROGRAMS, ...LATER }))
    Object.assign(made, await bundleSideEntry(name, dist));
  return made;
}

/** `into`: the folder, which has base.js or gets it later. Gives the modules of each file. */
export async function bundleSideEntry(name, into) {
  const entry = SIDE_ENTRIES[name] ?? PROGRAMS[name] ?? LATER[name];
  const { source: file, platform, external = [], instead = [], later = [], whole = false } = entry;
  const isExternal = (id) =>
    id.startsWith("node:") || external.some((each) => id === each || id.startsWith(`${each}/`));
  const seen = new Set();
  const replaced = Object.fromEntries(instead.map((pair) => pair.map((each) => path.join(root, each))));
  // "use client" stays at the beginning of the file; a test of the package looks for it.
  const onLog = (level, log, handle) => log.code === "MODULE_LEVEL_DIRECTIVE" || handle(level, log);
  const plugins = [standIns(replaced, seen), inBase, besideBrowser, loadedLater(later, seen)];
  if (whole) plugins.push(inOneFile);
  const build = await bundle({ [name]: file }, plugins, { platform, external: isExternal, onLog });
  const made = chunksOf(
    await build.write({ ...names, dir: into, format: "esm", sourcemap: "hidden", codeSplitting: false }),
  );
  await build.close();
  allSeen([...Object.keys(replaced), ...later.map(([module]) => path.join(root, module))], seen);
  return made;
}

/** base.js, for a folder with a side entry. */
export async function bundleBase(into) {
  const build = await bundle({ base: BASE_ENTRY }, []);
  await build.write({ ...names, dir: into, format: "esm", codeSplitting: false });
  await build.close();
}

/** Packages inside core.js, the parts and worker.js; the bundles do not contain their licence notices. */
const INSIDE = ["comlink", "idb", "jose", "uplot", "whatwg-mimetype", ...INSIDE_SIDE_ENTRIES];

export async function buildLibrary() {
  await buildKernel();
  await rm(dist, { recursive: true, force: true });
  await mkdir(dist, { recursive: true });
  const modules = { ...(await bundleForApps()), ...(await writeLoaded()), ...(await bundleSideEntries()) };
  await writeFile(MODULES_FILE, JSON.stringify(modules));
  await mkdir(path.join(dist, "licenses"));
  for (const name of INSIDE) {
    const directory = path.join(root, "node_modules", name);
    const license = (await readdir(directory)).find((file) => /^licen[cs]e/i.test(file));
    await copyFile(path.join(directory, license), path.join(dist, "licenses", `${name}.txt`));
  }
  await copyFile(path.join(kernelDirectory, "browser.wasm"), path.join(dist, "kernel.wasm"));
  await copyFile(path.join(kernelDirectory, "release.wasm"), path.join(dist, "edge-kernel.wasm"));
  await makeDeclarations();
}

/** The playground as `tidemark dev` serves it. */
async function buildPlayground() {
  const { build } = await import("vite");
  await build({ configFile: path.join(root, "vite.config.ts"), mode: "package", logLevel: "warn" });
}

export async function main() {
  await buildLibrary();
  await buildPlayground();
  console.log(`dist: ${(await readdir(dist)).filter((name) => !name.endsWith(".map")).join(" ")}`);
  return 0;
}
