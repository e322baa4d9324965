/**
 * Writes dist/types/: the declarations of the public entries and of everything they name, in one tree, so that an error
 * or a batch has one type whichever entry it comes from. Declarations that no entry needs are left out.
 */
import { mkdir, readdir, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { node } from "../run/child.mjs";
import { root } from "../run/setup.mjs";
import { SIDE_ENTRIES } from "./side-entries.mjs";

const types = path.join(root, "dist", "types");
const ENTRIES = [
  "src/index.d.ts",
  "src/browser/index.d.ts",
  "worker/library.d.ts",
  ...Object.values(SIDE_ENTRIES).map(({ source }) => source.replace(/\.tsx?$/, ".d.ts")),
];

/** Each bundler makes a module of this file in its own way. This declares the one that Workers get. */
const KERNEL = `/** What a Worker gets for \`import kernel from "tidemark/kernel.wasm"\`. */
declare const kernel: WebAssembly.Module;
export default kernel;
`;

/** Files that a declaration imports, relative to dist/types. */
export function importsOf(text, file) {
  const names = [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map(([, name]) => name);
  return names.map((name) => path.posix.join(path.posix.dirname(file), name).replace(/\.ts$/, ".d.ts"));
}

async function reachable() {
  const found = new Set(ENTRIES);
  for (const file of found)
    for (const name of importsOf(await readFile(path.join(types, file), "utf8"), file)) found.add(name);
  return found;
}

/** Removes empty folders, the deepest first. */
async function removeEmpty(directory) {
  for (const entry of await readdir(directory, { withFileTypes: true }))
    if (entry.isDirectory()) await removeEmpty(path.join(directory, entry.name));
  if ((await readdir(directory)).length === 0) await rmdir(directory);
}

export async function makeDeclarations() {
  const tsc = path.join(root, "node_modules", "typescript", "bin", "tsc");
  if ((await node([tsc, "-p", path.join("tools", "package", "tsconfig.types.json")])) !== 0)
    throw new Error("the declarations could not be made");
  const wanted = await reachable();
  for (const file of await readdir(types, { recursive: true })) {
    if (file.endsWith(".d.ts") && !wanted.has(file.replaceAll("\\", "/"))) await rm(path.join(types, file));
  }
  await removeEmpty(types);
  await mkdir(types, { recursive: true });
  await writeFile(path.join(types, "kernel.d.ts"), KERNEL);
}
