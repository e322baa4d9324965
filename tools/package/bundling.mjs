/**
 * What every file of dist/ is bundled with: the bundler's settings, and the plugins that put stand-ins, base.js and
 * plain numbers in their places. build.mjs and loaded-files.mjs choose what goes into which file.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { rolldown } from "rolldown";
import { root } from "../run/setup.mjs";

export const dist = path.join(root, "dist");
export const source = (file) => path.join(root, "src", file);

/** Words of errors, by module, as a worker takes them from its page: name in the module, name in ErrorWords. */
export const WORDS = {
  [source("error-kinds.ts")]: ["KIND_OF", "kinds"],
  [source("browser/platform/load-help.ts")]: ["LOAD_HELP", "help"],
};
/** Modules in base.js, which all other files use. */
const IN_BASE = [source("errors.ts"), source("browser/platform/load.ts"), ...Object.keys(WORDS)];
export const BASE_ENTRY = source("browser/package/base.ts");

/** `instead` maps a module to its stand-in. `seen` collects the modules that were met. */
export const standIns = (instead, seen = new Set()) => ({
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

export const bundle = (input, plugins, options = {}) =>
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
export const names = { dir: dist, entryFileNames: "[name].js", chunkFileNames: "index-[name].js" };

export const inBase = {
  name: "tidemark-in-base",
  async resolveId(name, importer, options) {
    const found = importer && (await this.resolve(name, importer, { ...options, skipSelf: true }));
    return found && IN_BASE.includes(found.id) ? { id: "./base.js", external: true } : null;
  },
};

export function allSeen(wanted, seen) {
  for (const each of wanted) if (!seen.has(each)) throw new Error(`nothing in the sources imports ${each}`);
}
/** Modules by their paths from the root. */
export const relative = (ids) => ids.filter((id) => path.isAbsolute(id)).map((id) => path.relative(root, id));
