/**
 * `npm run size`: what Tidemark costs a tab, against its budgets, in gzip (level 9).
 *
 *   kernel  bytes of the release build, at most 12 KiB
 *   code    what every tab loads, page and worker: browser.js as an app's bundler ships it, and core.js, which both run;
 *           at most 25 KiB
 *   parts   loaded on demand: indexeddb.js where OPFS does not work, extras.js for a new tide, gzip, compaction, tools, tabs.js
 *           when there is a second tab
 *
 *     npm run size -- --json FILE
 */
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { buildLibrary } from "./build.mjs";
import { RELEASE_BYTES_MAX } from "./build-kernel.mjs";
import { commandLine, jsonFile } from "./command-line.mjs";
import { root } from "./setup.mjs";

export const CODE_GZIP_BYTES_MAX = 25 * 1024;

const dist = path.join(root, "dist");

/** A file of dist/ as an app's bundler would ship it: one file, minified, packages included. */
async function shipped(name) {
  const build = await rolldown({ input: path.join(dist, name), cwd: root, platform: "browser", logLevel: "warn" });
  const { output } = await build.generate({ format: "esm", minify: true, comments: false, codeSplitting: false });
  await build.close();
  return Buffer.from(output[0].code);
}

export async function measure() {
  await buildLibrary();
  const whole = (name) => readFile(path.join(dist, name));
  const files = [
    ["browser.js", "code", await shipped("browser.js")],
    ["core.js", "code", await whole("core.js")],
    ["kernel.wasm", "kernel", await whole("kernel.wasm")],
    ["indexeddb.js", "part", await whole("indexeddb.js")],
    ["extras.js", "part", await whole("extras.js")],
    ["tabs.js", "part", await whole("tabs.js")],
  ].map(([name, kind, bytes]) => ({ name, kind, bytes: bytes.length, gzipBytes: gzipSync(bytes, { level: 9 }).length }));
  const kernelBytes = files.find(({ kind }) => kind === "kernel").bytes;
  const codeGzipBytes = files.filter(({ kind }) => kind === "code").reduce((sum, file) => sum + file.gzipBytes, 0);
  return {
    files,
    kernel: { bytes: kernelBytes, max: RELEASE_BYTES_MAX, ok: kernelBytes <= RELEASE_BYTES_MAX },
    code: { gzipBytes: codeGzipBytes, max: CODE_GZIP_BYTES_MAX, ok: codeGzipBytes <= CODE_GZIP_BYTES_MAX },
  };
}

const row = (name, kind, bytes, gzip) => `${name.padEnd(16)}${kind.padEnd(8)}${String(bytes).padStart(9)}${String(gzip).padStart(9)}`;
const verdict = ({ ok }) => (ok ? "ok" : "TOO LARGE");

export async function main(args) {
  const { json } = commandLine({ script: "size", about: "Measures what Tidemark costs a tab, against its budgets.", options: { json: jsonFile() } }, args);
  const result = await measure();
  console.log(row("file", "", "bytes", "gzip"));
  for (const { name, kind, bytes, gzipBytes } of result.files) console.log(row(name, kind, bytes, gzipBytes));
  const { kernel, code } = result;
  console.log(`kernel ${kernel.bytes} of ${kernel.max} bytes: ${verdict(kernel)}`);
  console.log(`page and worker code ${code.gzipBytes} of ${code.max} bytes gzip: ${verdict(code)}`);
  if (json !== undefined) await writeFile(json, `${JSON.stringify(result, null, 2)}\n`);
  return kernel.ok && code.ok ? 0 : 1;
}
