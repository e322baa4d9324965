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
import { readFileSync } from "node:fs";
import { copyFile, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { rolldown } from "rolldown";
import { buildKernel, kernelDirectory } from "./build-kernel.mjs";
import { makeDeclarations } from "./declarations.mjs";
import { loadedLater } from "./loaded-later.mjs";
import { INSIDE_SIDE_ENTRIES, LATER, PROGRAMS, SIDE_ENTRIES } from "./side-entries.mjs";
import { root } from "../run/setup.mjs";

const dist = path.join(root, "dist");
const source = (file) => path.join(root, "src", file);

/** Words of errors, by module, as a worker takes them from its page: name in the module, name in ErrorWords. */
const WORDS = {
  [source("error-kinds.ts")]: ["KIND_OF", "kinds"],
  [source("browser/platform/load-help.ts")]: ["LOAD_HELP", "help"],
};
/** Modules in base.js, which all other files use. */
const IN_BASE = [source("errors.ts"), source("browser/platform/load.ts"), ...Object.keys(WORDS)];
/** Stand-ins: in files that an app's bundler processes, and in files that are loaded by address. */
const FACADE = { [source("browser/page/files.ts")]: source("browser/package/files.ts") };
const LOADED = {
  [source("errors.ts")]: source("browser/package/errors.ts"),
  [source("browser/platform/load.ts")]: source("browser/package/errors.ts"),
  [source("browser/page/start-worker.ts")]: source("browser/package/workers.ts"),
  [source("browser/tabs/start-broker.ts")]: source("browser/package/workers.ts"),
};
/** The parts on demand: each lists the modules in it that the sources import(). */
const PARTS = Object.fromEntries(
  ["recovery", "segments", "indexeddb", "extras", "tabs", "sync", "tunnel", "answers", "views", "typed"].map((part) => [
    part,
    source(`browser/package/${part}.ts`),
  ]),
);
/** Which parts a part uses modules of. They come before it in the list above. */
const NEEDS = { segments: ["recovery"], extras: ["recovery", "segments"], tunnel: ["sync"], answers: ["sync"] };
/** By the module's path: the part that has it. */
const PART_OF = Object.fromEntries(
  Object.entries(PARTS).flatMap(([part, list]) => modulesOf(list).map((module) => [module, part])),
);

const CORE_ENTRY = source("browser/package/core.ts");
const BASE_ENTRY = source("browser/package/base.ts");
const OWN_ERRORS = source("browser/package/own-errors.ts");
/** The name of core.js, and of needed parts, in files that get them passed. */
const CORE = "tidemark:held";
const MINIFIED = {
  esModule: false,
  generatedCode: { symbols: false },
  minify: true,
  comments: false,
  sourcemap: "hidden",
  codeSplitting: false,
};

/** The modules that a list of `export { … } from "…"` names. */
function modulesOf(list) {
  return [...readFileSync(list, "utf8").matchAll(/^export .* from "(.+)";$/gm)].map(([, name]) =>
    path.resolve(path.dirname(list), name),
  );
}

/** `instead` maps a module to its stand-in. `seen` collects the modules that were met. */
const standIns = (instead, seen = new Set()) => ({
  name: "tidemark-stand-ins",
  async resolveId(name, importer, options) {
    const found = await this.resolve(name, importer, { ...options, skipSelf: true });
    // A stand-in may import the module that it replaces.
    if (!found || !(found.id in instead) || importer === instead[found.id]) return null;
    seen.add(found.id);
    return instead[found.id];
  },
});

/** Objects whose members are numbers, by name: the module that has the object. */
const NUMBERS = {
  FrameType: source("sync/frames.ts"),
  CloseCode: source("sync/frames.ts"),
  Status: source("kernel/types.ts"),
};

/** Puts numbers in the place of these members, as a minifier does with constants, but not with members of objects. */
function numbersInPlace() {
  const known = new Map();
  for (const [name, module] of Object.entries(NUMBERS)) {
    const code = readFileSync(module, "utf8").replace(/\/\*.*?\*\//gs, "");
    const [, members] = new RegExp(`^export const ${name} = \\{(.*?)\\} as const;$`, "ms").exec(code);
    for (const [, key, number] of members.matchAll(/(\w+): (\d+)/g)) known.set(`${name}.${key}`, number);
  }
  const member = new RegExp(`\\b(?:${Object.keys(NUMBERS).join("|")})\\.[A-Z_]+\\b`, "g");
  return {
    name: "tidemark-numbers",
    transform(code, id) {
      if (!id.startsWith(root) || Object.values(NUMBERS).includes(id)) return null;
      return { code: code.replace(member, (whole) => known.get(whole) ?? whole), map: null };
    },
  };
}

const partsByAddress = (seen) => ({
  name: "tidemark-parts",
  transform(code, id) {
    const result = code.replace(/import\("(\.[^"]+)"\)/g, (whole, name) => {
      const module = path.resolve(path.dirname(id), name);
      if (!(module in PART_OF)) return whole;
      seen.add(module);
      return `loadPart("${PART_OF[module]}")`;
    });
    return result === code
      ? null
      : {
          code: `import { loadPart } from ${JSON.stringify(source("browser/platform/parts.ts"))};\n${result}`,
          map: null,
        };
  },
});

/** An entry that exports its module, and the exports that other files take from it: [module, name, exported name]. */
const entryWith = (name, module, taken) => ({
  name: "tidemark-entry",
  resolveId: (id) => (id === name ? id : null),
  load: (id) =>
    id === name
      ? [
          `export * from ${JSON.stringify(module)};`,
          ...taken.map(([from, each, as]) => `export { ${each} as ${as} } from ${JSON.stringify(from)};`),
        ].join("\n")
      : null,
});

/** Modules that only name numbers and headers: places, sizes, names. Each file that uses one has them in its code. */
export const isLayout = (module) => module.endsWith("-layout.ts");

/** Turns every import of a module in `held` into one from the core, by the name that `nameOf` returns. */
const fromCore = (held, nameOf) => ({
  name: "tidemark-from-core",
  async resolveId(id, importer, options) {
    if (id === CORE) return { id, external: true };
    const found = importer && (await this.resolve(id, importer, { ...options, skipSelf: true }));
    // A layout is nothing but numbers, which the minifier puts where they are used: passed on, each would be an export.
    return found && held.has(found.id) && !isLayout(found.id) ? `\0core:${found.id}` : null;
  },
  load(id) {
    if (!id.startsWith("\0core:")) return null;
    const module = id.slice("\0core:".length);
    return `export { ${held
      .get(module)
      .map((name) => `${nameOf(module, name)} as ${name}`)
      .join(", ")} } from "${CORE}";`;
  },
});

/** Records the modules of each file, with their exports. */
const listing = (modules) => ({
  name: "tidemark-listing",
  generateBundle(_, files) {
    for (const id of Object.values(files)[0].moduleIds)
      if (path.isAbsolute(id)) modules.set(id, this.getModuleInfo(id).exports);
  },
});

const bundle = (input, plugins, options = {}) =>
  rolldown({
    input,
    cwd: root,
    platform: "browser",
    // People read stack traces of a Worker, and its code.
    plugins: "worker" in input ? plugins : [numbersInPlace(), ...plugins],
    transform: { target: "es2022" },
    logLevel: "warn",
    ...options,
  });
/** Chunks of index.js: no part has such a name. */
const names = { dir: dist, entryFileNames: "[name].js", chunkFileNames: "index-[name].js" };

const inBase = {
  name: "tidemark-in-base",
  async resolveId(name, importer, options) {
    const found = importer && (await this.resolve(name, importer, { ...options, skipSelf: true }));
    return found && IN_BASE.includes(found.id) ? { id: "./base.js", external: true } : null;
  },
};

/** A side entry over an open tide uses the app's own browser.js: the address of its files is beside that one. */
const besideBrowser = {
  name: "tidemark-beside-browser",
  async resolveId(name, importer, options) {
    const found = importer && (await this.resolve(name, importer, { ...options, skipSelf: true }));
    return found?.id === source("browser/index.ts") ? { id: "./browser.js", external: true } : null;
  },
};

function allSeen(wanted, seen) {
  for (const each of wanted) if (!seen.has(each)) throw new Error(`nothing in the sources imports ${each}`);
}

/** Each file of dist/ with its modules, for the test that checks them. */
export const MODULES_FILE = path.join(root, ".cache", "dist-modules.json");
const relative = (ids) => ids.filter((id) => path.isAbsolute(id)).map((id) => path.relative(root, id));
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
  const { source: file, platform, external = [], instead = [], later = [] } = entry;
  const isExternal = (id) =>
    id.startsWith("node:") || external.some((each) => id === each || id.startsWith(`${each}/`));
  const seen = new Set();
  const replaced = Object.fromEntries(instead.map((pair) => pair.map((each) => path.join(root, each))));
  // "use client" stays at the beginning of the file; a test of the package looks for it.
  const onLog = (level, log, handle) => log.code === "MODULE_LEVEL_DIRECTIVE" || handle(level, log);
  const plugins = [standIns(replaced, seen), inBase, besideBrowser, loadedLater(later, seen)];
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

/** The code of one file, its modules, and the names of others that it uses. `needs`: a part that uses these parts. */
async function bundleLoaded(name, entry, plugins, needs) {
  const modules = new Map();
  const seen = new Set();
  const build = await bundle({ [name]: `tidemark:${name}` }, [
    ...plugins,
    entry,
    partsByAddress(seen),
    standIns(LOADED, seen),
    listing(modules),
  ]);
  const plain = await build.generate({ format: "esm", codeSplitting: false });
  const [, imported = ""] = new RegExp(`import \\{([^}]*)\\} from "${CORE}"`).exec(plain.output[0].code) ?? [];
  const shape = needs
    ? {
        format: "iife",
        name: "part",
        globals: { [CORE]: "core" },
        postBanner: `export const needs = ${JSON.stringify(needs)};\nexport function install(core) {`,
        postFooter: "return part;\n}",
      }
    : { format: "esm" };
  const { output } = await build.generate({ ...MINIFIED, ...shape, file: `${name}.js` });
  await build.close();
  return {
    modules,
    seen,
    code: output[0].code,
    map: output.find(({ fileName }) => fileName.endsWith(".map"))?.source,
    uses: imported
      .split(",")
      .map((each) => each.trim().split(" as ")[0])
      .filter(Boolean),
  };
}

/**
 * The code of base.js as a function that makes all of its exports of the words that it is given. In core.js it replaces
 * own-errors.ts.
 */
async function ownErrors() {
  const given = {
    name: "tidemark-given-words",
    load: (id) => (id in WORDS ? `export const ${WORDS[id][0]} = words.${WORDS[id][1]};` : null),
  };
  const build = await bundle({ base: BASE_ENTRY }, [given]);
  const { output } = await build.generate({ format: "iife", name: "made", codeSplitting: false });
  await build.close();
  const code = `export function ownErrors(words) {\n${output[0].code}\nreturn made;\n}`;
  return { name: "tidemark-own-errors", load: (id) => (id === OWN_ERRORS ? code : null) };
}

const isSame = (before, after) =>
  Object.keys(after).every((name) => [...(before[name]?.keys() ?? [])].join() === [...after[name].keys()].join());

/**
 * The names that core.js has for what it exports, by the names under which it exports them. To export a thing under its
 * own name takes fewest bytes.
 */
function ownNames({ code }) {
  const [, list] = /export\{([^}]*)\};?\s*$/.exec(code);
  return new Map(
    list
      .split(",")
      .map((each) => each.split(" as "))
      .map(([mine, as = mine]) => [as, mine]),
  );
}

/**
 * `modules`: of each file, as the last round had them. `better`: names for what core.js exports, by the first ones.
 * Gives the files of this round.
 */
async function round(own, modules, better = new Map()) {
  const all = Object.entries(modules).flatMap(([file, held]) =>
    [...held].flatMap(([module, exports]) => exports.map((name) => ({ file, module, name }))),
  );
  const place = new Map(all.map(({ module, name }, i) => [`${module} ${name}`, `$${i.toString(36)}`]));
  const firstNames = new Set(place.values());
  const nameOf = (module, name) => {
    const first = place.get(`${module} ${name}`);
    const own = better.get(first);
    return own === undefined || firstNames.has(own) ? first : own;
  };
  const used = new Set();
  const takenOf = (file) => {
    const taken = all
      .map((each) => [each, nameOf(each.module, each.name)])
      .filter(([each, as]) => each.file === file && used.has(as))
      .map(([{ module, name }, as]) => [module, name, as]);
    // One thing may have two names in the sources.
    return taken.filter(([, , as], i) => taken.findIndex(([, , other]) => other === as) === i);
  };
  const files = {};
  // Whoever uses others before them, so that it is known what they have to give.
  for (const [part, list] of Object.entries(PARTS).reverse()) {
    const needs = NEEDS[part] ?? [];
    const held = new Map(["core", ...needs].flatMap((file) => [...(modules[file] ?? [])]));
    const entry = entryWith(`tidemark:${part}`, list, takenOf(part));
    files[part] = await bundleLoaded(part, entry, [fromCore(held, nameOf)], needs);
    for (const name of files[part].uses) used.add(name);
  }
  files.core = await bundleLoaded("core", entryWith("tidemark:core", CORE_ENTRY, takenOf("core")), [own]);
  return files;
}

/** The minifier's names depend on the exports a little, so this goes on until both are the same. */
async function namedBest(own, modules, files) {
  let better = ownNames(files.core);
  for (let rounds = 0; rounds < 4; rounds++) {
    files = await round(own, modules, better);
    const mine = ownNames(files.core);
    if ([...better.values()].every((name) => (mine.get(name) ?? name) === name)) break;
    better = new Map([...better].map(([first, name]) => [first, mine.get(name) ?? name]));
  }
  return files;
}

/**
 * What parts take of core.js, and of each other, changes what these hold, so all are made again until that is settled.
 * Gives back the files, by name.
 */
export async function loadedFiles() {
  const own = await ownErrors();
  let modules = { core: (await bundleLoaded("core", entryWith("tidemark:core", CORE_ENTRY, []), [own])).modules };
  for (let rounds = 0; rounds < 8; rounds++) {
    const files = await round(own, modules);
    const found = Object.fromEntries(Object.entries(files).map(([name, file]) => [name, file.modules]));
    if (isSame(modules, found)) {
      allSeen(
        [...Object.keys(LOADED), ...Object.keys(PART_OF)],
        new Set(Object.values(files).flatMap(({ seen }) => [...seen])),
      );
      return await namedBest(own, modules, files);
    }
    modules = found;
  }
  throw new Error("what core.js and the parts hold does not settle");
}

async function minifiedIife(name, entry) {
  const build = await bundle({ [name]: entry }, []);
  const { output } = await build.generate({ ...MINIFIED, format: "iife" });
  await build.close();
  return output[0].code.trim();
}

async function writeLoaded() {
  const files = await loadedFiles();
  // A SharedWorker runs this part of the file only. It has no core, and needs none.
  const broker = await minifiedIife("broker", source("browser/tabs/broker-entry.ts"));
  const isBroker = '"onconnect"in globalThis&&import.meta.url===location.href';
  files.tabs.code = `if(${isBroker}){${broker}}${files.tabs.code}`;
  const base = await bundle({ base: BASE_ENTRY }, []);
  const { output } = await base.generate({ ...MINIFIED, format: "esm" });
  await base.close();
  // A minifier takes away what bundlers are told: this import() is the browser's.
  files.base = {
    code: output[0].code.replaceAll("import(", "import(/* @vite-ignore */ /* webpackIgnore: true */ "),
    map: output.find(({ fileName }) => fileName.endsWith(".map")).source,
    modules: new Map(output[0].moduleIds.map((id) => [id])),
  };
  for (const [name, { code, map }] of Object.entries(files)) {
    await writeFile(path.join(dist, `${name}.js`), code);
    await writeFile(path.join(dist, `${name}.js.map`), map);
  }
  return Object.fromEntries(Object.entries(files).map(([name, { modules }]) => [name, relative([...modules.keys()])]));
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
