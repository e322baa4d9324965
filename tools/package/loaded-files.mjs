/**
 * The files of dist/ that are loaded by address: core.js, the parts on demand, and base.js beside them. No module is in
 * two of them, so what one holds and another needs is passed on, by short names that both are made with
 * (docs/decisions/0013).
 */
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { allSeen, BASE_ENTRY, bundle, dist, relative, source, standIns, WORDS } from "./bundling.mjs";

/** Stand-ins in these files. */
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
const isLayout = (module) => module.endsWith("-layout.ts");

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

/**
 * `(0, core.f)(x)` keeps a function of another module from getting the core as its `this`. No such function asks for
 * its `this`, and gzip keeps three bytes of each call's four. The spaces keep every column where the map says it is.
 */
const plainCalls = {
  name: "tidemark-plain-calls",
  renderChunk(code) {
    return { code: code.replace(/\(0, (\w+\.\$?\w+)\)(?=\()/g, "    $1 "), map: null };
  },
};

/** Records the modules of each file, with their exports. */
const listing = (modules) => ({
  name: "tidemark-listing",
  generateBundle(_, files) {
    for (const id of Object.values(files)[0].moduleIds)
      if (path.isAbsolute(id)) modules.set(id, this.getModuleInfo(id).exports);
  },
});

/** The code of one file, its modules, and the names of others that it uses. `needs`: a part that uses these parts. */
async function bundleLoaded(name, entry, plugins, needs) {
  const modules = new Map();
  const seen = new Set();
  const build = await bundle({ [name]: `tidemark:${name}` }, [
    ...plugins,
    plainCalls,
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
    // Two modules may export the same thing under two names. It is passed on once.
    return taken.filter(([, , as], i) => taken.findIndex(([, , other]) => other === as) === i);
  };
  const files = {};
  // A part comes before the parts that it uses: then it is known which names those must pass on.
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
async function loadedFiles() {
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

/** Writes them all. Gives the modules of each. */
export async function writeLoaded() {
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
