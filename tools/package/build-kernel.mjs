/**
 * Compiles assembly/ to .cache/kernel/{release,debug,browser}.wasm (and .wat), unless the sources are unchanged: `node
 * tools/package/build-kernel.mjs [--quiet]`. Each file is written under another name and renamed, so that two runs at
 * once do no harm.
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const sources = path.join(root, "assembly");
export const kernelDirectory = path.join(root, ".cache", "kernel");
/** The largest size of the release build, as docs/status.md promises it. */
export const RELEASE_BYTES_MAX = 12 * 1024;
/** What is built: its entry, and its target in asconfig.json. Browsers get `browser`, all others the whole. */
const BUILDS = {
  release: { entry: "edge.ts", target: "release" },
  debug: { entry: "edge.ts", target: "debug" },
  browser: { entry: "index.ts", target: "release" },
};

async function hashSources() {
  const { version } = createRequire(import.meta.url)("assemblyscript/package.json");
  const hash = createHash("sha256").update(version);
  for (const name of (await readdir(sources)).sort())
    hash.update(name).update(await readFile(path.join(sources, name)));
  return hash.update(await readFile(fileURLToPath(import.meta.url))).digest("hex");
}

async function compile(asc, name, directory) {
  const { entry, target } = BUILDS[name];
  const out = path.relative(sources, path.join(directory, name));
  const { error, stderr } = await asc.main([
    entry,
    "--baseDir",
    sources,
    "--config",
    "asconfig.json",
    "--target",
    target,
    "--outFile",
    `${out}.wasm`,
    "--textFile",
    `${out}.wat`,
  ]);
  if (error) throw new Error(`kernel ${name}: ${error.message}\n${stderr}`);
}

/** Builds what is out of date. Returns the size of each target. */
export async function buildKernel() {
  const stamp = path.join(kernelDirectory, "sources.sha256");
  const hash = await hashSources();
  if ((await readFile(stamp, "utf8").catch(() => "")) !== hash) {
    const asc = (await import("assemblyscript/asc")).default;
    const aside = `${kernelDirectory}-${process.pid}`;
    await mkdir(aside, { recursive: true });
    await mkdir(kernelDirectory, { recursive: true });
    for (const name of Object.keys(BUILDS)) await compile(asc, name, aside);
    const release = (await stat(path.join(aside, "release.wasm"))).size;
    if (release > RELEASE_BYTES_MAX)
      throw new Error(`kernel release: ${release} bytes, more than ${RELEASE_BYTES_MAX}`);
    for (const name of await readdir(aside)) await rename(path.join(aside, name), path.join(kernelDirectory, name));
    await rm(aside, { recursive: true });
    // Written last, so that a stamp means that all its files are there.
    await writeFile(stamp, hash);
  }
  const sizes = {};
  for (const name of Object.keys(BUILDS)) sizes[name] = (await stat(path.join(kernelDirectory, `${name}.wasm`))).size;
  return sizes;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const sizes = await buildKernel();
  const isQuiet = process.argv.includes("--quiet");
  if (!isQuiet) for (const [target, size] of Object.entries(sizes)) console.log(`kernel ${target}.wasm ${size} bytes`);
}
