/**
 * The contents of the files of dist/. No module is in two files that one page or one worker loads, so that each state,
 * and the class TidemarkError, exists once. Files that are loaded by address are large enough that a bundler does not
 * inline them into the code.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { Handed } from "../../src/browser/package/errors.ts";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { MODULES_FILE } from "../../tools/package/build.mjs";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { root } from "../../tools/run/setup.mjs";

const repository = root as string;
const dist = path.join(repository, "dist");
/** The parts on demand. */
const PARTS = ["recovery", "segments", "extras", "tabs", "indexeddb", "sync", "tunnel", "answers", "views", "typed"];
/** The files that each context loads. */
const LOADED: Readonly<Record<string, readonly string[]>> = {
  page: ["browser", "core", ...PARTS],
  worker: ["core", ...PARTS],
  "an app with all entries": ["index", "browser", "core", ...PARTS],
};
/**
 * Vite inlines smaller assets into the code as data: addresses. A content security policy forbids those, and no
 * SharedWorker starts from one.
 */
const INLINED_BELOW = 4096;

beforeAll(() => {
  execFileSync(process.execPath, [path.join(repository, "tools/run/run.mjs"), "build"], {
    cwd: repository,
    stdio: "pipe",
  });
  listed = JSON.parse(readFileSync(MODULES_FILE as string, "utf8")) as typeof listed;
});

const text = (file: string): string => readFileSync(path.join(dist, `${file}.js`), "utf8");

/** The file and all files beside it that it imports, directly or not. */
function withImports(file: string, found = new Set<string>()): Set<string> {
  if (found.has(file)) return found;
  found.add(file);
  for (const [, name] of text(file).matchAll(/(?:from|import)\s*"\.\/([\w-]+)\.js"/g)) withImports(name!, found);
  return found;
}

/** The modules of each file, as the bundler listed them. */
let listed: Readonly<Record<string, readonly string[]>>;
const modulesOf = (file: string): readonly string[] => listed[file]!;

/** Modules that only name numbers and headers: each file that uses one has a copy (tools/package/build.mjs). */
const isLayout = (module: string): boolean => module.endsWith("-layout.ts");

/** Modules that are in more than one of these files, but for layouts. */
function doubled(files: readonly string[], modules: (file: string) => readonly string[]): string[] {
  const homes = new Map<string, string[]>();
  for (const file of files)
    for (const module of new Set(modules(file).filter((each) => !isLayout(each))))
      homes.set(module, [...(homes.get(module) ?? []), file]);
  return [...homes].filter(([, in_]) => in_.length > 1).map(([module, in_]) => `${module}: ${in_.join(", ")}`);
}

describe("modules of the package", () => {
  it.each(["page", "worker"])("lie in one file of those that a %s loads", (context) => {
    const files = [...new Set(LOADED[context]!.flatMap((file) => [...withImports(file)]))];
    const all = files.flatMap(modulesOf);
    for (const module of [
      "src/browser/page/browser-tide.ts",
      "src/browser/platform/parts.ts",
      "src/browser/tabs/membership.ts",
      "src/log/log.ts",
    ])
      expect(all).toContain(module);
    expect(doubled(files, modulesOf)).toEqual([]);
  });

  it("which are in several files are nothing but numbers and names of headers", () => {
    const layouts = [...new Set(Object.values(listed).flat())].filter(isLayout);
    expect(layouts).toContain("src/store/slot-layout.ts");
    const isPlain = /^export const [A-Z_\d]+ = ((0x)?[\w+ ]+|"tm\.\w+"); *(\/\/.*)?$/;
    for (const module of layouts) {
      const code = readFileSync(path.join(root, module), "utf8").replace(/\/\*[\s\S]*?\*\//g, "");
      expect(
        code.split("\n").filter((line) => line.trim() !== "" && !isPlain.test(line)),
        module,
      ).toEqual([]);
    }
  });

  it("a part with a copy of the core is found", () => {
    const planted = (file: string): readonly string[] =>
      file === "tabs" ? [...modulesOf(file), "src/browser/platform/parts.ts"] : modulesOf(file);
    expect(doubled(LOADED["page"]!, planted)).toEqual(["src/browser/platform/parts.ts: core, tabs"]);
  });

  it("TidemarkError is made in base.js, and in core.js for workers, which have no base.js", () => {
    const files = [
      ...new Set([...LOADED["an app with all entries"]!, "worker"].flatMap((file) => [...withImports(file)])),
    ];
    expect(files.filter((file) => modulesOf(file).includes("src/errors.ts"))).toEqual(["base"]);
    expect(modulesOf("core")).toContain("src/browser/package/own-errors.ts");
    // The source says `extends Error` and sets this name for the instances.
    const isMade = (code: string): boolean => /extends Error\s*\{[^}]*?name\s*=\s*[`"']TidemarkError/.test(code);
    expect(isMade('class e extends Error{name="TidemarkError";kind;')).toBe(true);
    expect(files.filter((file) => isMade(text(file))).sort()).toEqual(["base", "core"]);
    // A worker gets the table of kinds, and what to do about a missing file, from its page.
    const hasWords = (code: string): boolean => /OUTBOX_CONFLICT: ?[`"']refresh|npx tidemark assets/.test(code);
    expect(files.filter((file) => hasWords(text(file)))).toEqual(["base"]);
  });

  it("has numbers where the sources name them by members of objects", () => {
    const named = (code: string): boolean => /FrameType|CloseCode|STARVE|UNAUTHORIZED: ?44/.test(code);
    expect(named("const FrameType = { OPEN: 1 };")).toBe(true);
    expect(["core", "sync", "tunnel", "answers", "client"].filter((file) => named(text(file)))).toEqual([]);
    // People read a Worker's code.
    expect(named(text("worker"))).toBe(true);
  });

  it("the one in core.js is not made in a page, which throws what it was handed", async () => {
    const { TidemarkError, assert, importFile, loadFailed } = (await import(path.join(dist, "base.js"))) as Handed;
    const before = globalThis.Error;
    let made = 0;
    // A class that extends another asks it for its prototype.
    const get = (target: ErrorConstructor, name: PropertyKey): unknown => {
      if (name === "prototype") made++;
      return Reflect.get(target, name) as unknown;
    };
    globalThis.Error = new Proxy(before, { get }) as ErrorConstructor;
    try {
      const core = (await import(path.join(dist, "core.js"))) as {
        use: (handed: Handed, addresses: object) => void;
        openTide: (name: unknown, options: object) => Promise<unknown>;
      };
      core.use({ TidemarkError, assert, importFile, loadFailed }, {});
      expect(made).toBe(0);
      expect(class extends Error {}.name).toBe("");
      expect(made).toBe(1);
      const refused = (await core.openTide(5, {}).catch((thrown: unknown) => thrown)) as InstanceType<
        Handed["TidemarkError"]
      >;
      expect([refused.code, refused.constructor]).toEqual(["INVALID_ARGUMENT", TidemarkError]);
    } finally {
      globalThis.Error = before;
    }
  });

  it("is one among tidemark, tidemark/browser and tidemark/worker", async () => {
    const load = async (file: string): Promise<{ TidemarkError: unknown }> =>
      (await import(path.join(dist, `${file}.js`))) as { TidemarkError: unknown };
    const [index, browser, base] = await Promise.all(["index", "browser", "base"].map(load));
    expect(typeof base!.TidemarkError).toBe("function");
    expect([index!.TidemarkError, browser!.TidemarkError]).toEqual([base!.TidemarkError, base!.TidemarkError]);
  });

  it.each(["core.js", ...PARTS.map((part) => `${part}.js`), "kernel.wasm"])(
    "%s is no data: address in an app that Vite builds",
    (file) => {
      expect(statSync(path.join(dist, file)).size).toBeGreaterThanOrEqual(INLINED_BELOW);
    },
  );
});
