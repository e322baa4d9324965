/**
 * `npm run size`: what Tidemark costs a tab, against its budgets. Kernel: bytes of the release build. Tab: gzip (level 9)
 * of the page's entry with everything it imports (comlink too, nothing dropped as unused), the worker and the kernel.
 *
 *     npm run size -- --json FILE
 *     npm run size -- --at-most BYTES     judge the tab by this figure: `npm test` holds the size where it is
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { buildLibrary } from "./build.mjs";
import { RELEASE_BYTES_MAX } from "./build-kernel.mjs";
import { root } from "./setup.mjs";

export const TAB_GZIP_BYTES_MAX = 25 * 1024;

const dist = path.join(root, "dist");

/** A file of dist/ as an app's bundler would ship it: one file, minified, packages included. */
async function shipped(name) {
  const build = await rolldown({ input: path.join(dist, name), cwd: root, platform: "browser", logLevel: "warn" });
  const { output } = await build.generate({ format: "esm", minify: true, comments: false, codeSplitting: false });
  await build.close();
  return Buffer.from(output[0].code);
}

export async function measure(tabMax = TAB_GZIP_BYTES_MAX) {
  await buildLibrary();
  const files = [
    ["page (browser.js and its imports)", await shipped("browser.js")],
    ["worker.js", await shipped("worker.js")],
    ["kernel.wasm", await readFile(path.join(dist, "kernel.wasm"))],
  ].map(([name, bytes]) => ({ name, bytes: bytes.length, gzipBytes: gzipSync(bytes, { level: 9 }).length }));
  const kernelBytes = files.at(-1).bytes;
  const tabGzipBytes = files.reduce((sum, file) => sum + file.gzipBytes, 0);
  return {
    files,
    kernel: { bytes: kernelBytes, max: RELEASE_BYTES_MAX, ok: kernelBytes <= RELEASE_BYTES_MAX },
    tab: { gzipBytes: tabGzipBytes, max: tabMax, ok: tabGzipBytes <= tabMax },
  };
}

const row = (name, bytes, gzip) => `${name.padEnd(36)}${String(bytes).padStart(9)}${String(gzip).padStart(9)}`;
const verdict = ({ ok }) => (ok ? "ok" : "TOO LARGE");

export async function main(args) {
  const { values } = parseArgs({ args, options: { json: { type: "string" }, "at-most": { type: "string" } } });
  const result = await measure(values["at-most"] === undefined ? undefined : Number(values["at-most"]));
  console.log(row("file", "bytes", "gzip"));
  for (const { name, bytes, gzipBytes } of result.files) console.log(row(name, bytes, gzipBytes));
  const { kernel, tab } = result;
  console.log(`kernel ${kernel.bytes} of ${kernel.max} bytes: ${verdict(kernel)}`);
  if (tab.max > TAB_GZIP_BYTES_MAX) console.log(`the promise is ${TAB_GZIP_BYTES_MAX}: ${tab.gzipBytes <= TAB_GZIP_BYTES_MAX ? "kept" : "NOT KEPT YET"}`);
  console.log(`tab    ${tab.gzipBytes} of ${tab.max} bytes gzip: ${verdict(tab)}`);
  if (values.json !== undefined) {
    await mkdir(path.dirname(path.resolve(values.json)), { recursive: true });
    await writeFile(values.json, `${JSON.stringify(result, null, 2)}\n`);
  }
  return kernel.ok && tab.ok ? 0 : 1;
}
