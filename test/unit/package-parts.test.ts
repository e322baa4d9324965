/**
 * Parts of the package that are loaded on demand (tools/package/build.mjs). A source takes names of a module that it
 * imports when it needs it. Where that module is in a part, the part's list must export these names: the sources run
 * without it, and the package would not.
 */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";

const src = path.join(import.meta.dirname, "../../src");
const lists = path.join(src, "browser/package");

/** By module: the names that its part exports. */
function exportedBy(folder: string): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const name of readdirSync(folder))
    for (const [, names, module] of readFileSync(path.join(folder, name), "utf8").matchAll(
      /^export \{([^}]*)\} from "(.+)";$/gm,
    ))
      found.set(path.resolve(folder, module!), new Set(names!.split(",").map((each) => each.trim())));
  return found;
}

/** Names that a source takes of modules that it imports on demand. */
function takenIn(code: string): [module: string, name: string][] {
  const found: [string, string][] = [];
  const take = (module: string, names: string): void => {
    for (const each of names.split(",")) if (each.trim() !== "") found.push([module, each.split(":")[0]!.trim()]);
  };
  for (const [, names, module] of code.matchAll(/\{([^{}]*)\}\]? = await (?:Promise\.all\(\[)?import\("(\.[^"]+)"\)/g))
    take(module!, names!);
  for (const [, module, name] of code.matchAll(/\(await import\("(\.[^"]+)"\)\)\s*\.(\w+)/g)) take(module!, name!);
  for (const [, module, names] of code.matchAll(/import\("(\.[^"]+)"\)\s*\.then\(\(\{([^}]*)\}\)/g))
    take(module!, names!);
  return found;
}

const missing = (file: string, code: string, exported: ReadonlyMap<string, ReadonlySet<string>>): string[] =>
  takenIn(code)
    .map(([module, name]) => [path.resolve(path.dirname(file), module), name] as const)
    .filter(([module, name]) => exported.get(module)?.has(name) === false)
    .map(([module, name]) => `${path.relative(src, file)} takes ${name} of ${path.relative(src, module)}`);

test("each way of taking a name is seen", () => {
  const file = path.join(src, "a.ts");
  const exported = new Map([[path.join(src, "b.ts"), new Set(["known"])]]);
  for (const code of [
    'const { known, gone } = await import("./b.ts");',
    '(await import("./b.ts")).gone(known);',
    'import("./b.ts").then(({ gone: other }) => other);',
    'const [{ gone }] = await Promise.all([import("./b.ts"), other]);',
  ])
    expect(missing(file, code, exported), code).toEqual(["a.ts takes gone of b.ts"]);
});

test("a part exports every name that a source takes of its modules", () => {
  const exported = exportedBy(lists);
  expect(exported.size).toBeGreaterThan(20);
  const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
  const all = files.map((file) => path.join(src, file));
  expect(all.flatMap((file) => missing(file, readFileSync(file, "utf8"), exported))).toEqual([]);
});
