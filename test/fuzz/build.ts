/**
 * Builds the product for fuzzing: with coverage points, or with one planted bug. The product has no hooks for either:
 * its sources are changed while they are bundled or compiled, and the files on the disk stay as they are.
 */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import asc from "assemblyscript/asc";
import { rolldown } from "rolldown";
import { pieceOf } from "../support/planted-bug.ts";
import { instrument } from "./instrument.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const directory = path.join(root, ".cache", "fuzz");

/** A piece of a file, and what replaces it. */
export interface Plant {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** Returns the changed source of a file, or undefined if it stays as it is. */
type Change = (code: string, file: string) => string | undefined;

export function planting(plant: Plant): { readonly change: Change; readonly done: () => number } {
  let pieces = 0;
  const change: Change = (code, file) => {
    if (file !== plant.file) return undefined;
    const piece = pieceOf(plant.find);
    pieces = [...code.matchAll(piece)].length;
    return code.replace(piece, () => plant.replace);
  };
  return { change, done: () => pieces };
}

/**
 * Writes coverage points into these files. Their numbers begin at a number made of the file's name, so that they are
 * the same in every build, whatever the order of the files.
 */
export function instrumenting(files: RegExp): Change {
  return (code, file) =>
    files.test(file)
      ? instrument(
          code,
          file,
          [...file].reduce((hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 0x01000193), 0x811c9dc5),
        )
      : undefined;
}

const fromRoot = (file: string): string => path.relative(root, file).replaceAll("\\", "/");

/** Bundles a program and its imports of this repository, and imports the result. */
export async function importWith<Entry>(entry: string, name: string, change: Change): Promise<Entry> {
  const bundle = await rolldown({
    input: path.join(root, entry),
    cwd: root,
    platform: "node",
    external: (id) => /^(node:|rolldown|assemblyscript)/.test(id),
    plugins: [
      {
        name: "change",
        transform: (code, id) => {
          const changed = change(code, fromRoot(id));
          return changed === undefined ? null : { code: changed, map: null };
        },
      },
    ],
    transform: { target: "node20" },
    logLevel: "silent",
  });
  await mkdir(directory, { recursive: true });
  const file = path.join(directory, `${name.replace(/\W+/g, "-")}-${process.pid}.mjs`);
  await bundle.write({ file, format: "esm", codeSplitting: false });
  await bundle.close();
  try {
    return (await import(pathToFileURL(file).href)) as Entry;
  } finally {
    await rm(file);
  }
}

/** Compiles assembly/ with a change. Returns the module's bytes. */
export async function compileWith(
  target: "release" | "debug",
  name: string,
  change: Change,
): Promise<Uint8Array<ArrayBuffer>> {
  const sources = path.join(directory, `assembly-${name.replace(/\W+/g, "-")}-${process.pid}`);
  await mkdir(sources, { recursive: true });
  for (const file of await readdir(path.join(root, "assembly"))) {
    const code = await readFile(path.join(root, "assembly", file), "utf8");
    await writeFile(path.join(sources, file), (file.endsWith(".ts") && change(code, `assembly/${file}`)) || code);
  }
  const { error, stderr } = await asc.main([
    "edge.ts",
    "--baseDir",
    sources,
    "--config",
    "asconfig.json",
    "--target",
    target,
    "--outFile",
    "kernel.wasm",
  ]);
  if (error) throw new Error(`${name}: ${error.message}\n${String(stderr)}`);
  const module = new Uint8Array(await readFile(path.join(sources, "kernel.wasm")));
  await rm(sources, { recursive: true });
  return module;
}
