/**
 * `npm run size`: what Tidemark costs a tab, against its budgets, in gzip (level 9).
 *
 *   kernel  bytes of the release build, at most 12 KiB
 *   code    what every tab loads, page and worker: browser.js as an app's bundler ships it, core.js and base.js
 *   parts   loaded on demand: indexeddb.js where OPFS does not work, extras.js for gzip, compaction, tools, tabs.js
 *           when there is a second tab
 *
 * A first visit (code and kernel) is at most 40 KiB.
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

export const FIRST_VISIT_GZIP_BYTES_MAX = 40 * 1024;

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
    ["base.js", "code", await whole("base.js")],
    ["kernel.wasm", "kernel", await whole("kernel.wasm")],
    ["indexeddb.js", "part", await whole("indexeddb.js")],
    ["extras.js", "part", await whole("extras.js")],
    ["tabs.js", "part", await whole("tabs.js")],
  ].map(([name, kind, bytes]) => ({ name, kind, bytes: bytes.length, gzipBytes: gzipSync(bytes, { level: 9 }).length }));
  const kernelBytes = files.find(({ kind }) => kind === "kernel").bytes;
  const gzipOf = (wanted) => files.filter(wanted).reduce((sum, file) => sum + file.gzipBytes, 0);
  const codeGzipBytes = gzipOf(({ kind }) => kind === "code");
  const firstVisit = gzipOf(({ name, kind }) => kind !== "part");
  return {
    files,
    kernel: { bytes: kernelBytes, max: RELEASE_BYTES_MAX, ok: kernelBytes <= RELEASE_BYTES_MAX },
    code: { gzipBytes: codeGzipBytes },
    firstVisit: { gzipBytes: firstVisit, max: FIRST_VISIT_GZIP_BYTES_MAX, ok: firstVisit <= FIRST_VISIT_GZIP_BYTES_MAX },
  };
}

const row = (name, kind, bytes, gzip) => `${name.padEnd(16)}${kind.padEnd(8)}${String(bytes).padStart(9)}${String(gzip).padStart(9)}`;
const verdict = ({ ok }) => (ok ? "ok" : "TOO LARGE");

export async function main(args) {
  const { json } = commandLine({ script: "size", about: "Measures what Tidemark costs a tab, against its budgets.", options: { json: jsonFile() } }, args);
  const result = await measure();
  console.log(row("file", "", "bytes", "gzip"));
  for (const { name, kind, bytes, gzipBytes } of result.files) console.log(row(name, kind, bytes, gzipBytes));
  const { kernel, code, firstVisit } = result;
  console.log(`kernel ${kernel.bytes} of ${kernel.max} bytes: ${verdict(kernel)}`);
  console.log(`page and worker code ${code.gzipBytes} bytes gzip`);
  console.log(`a first visit ${firstVisit.gzipBytes} of ${firstVisit.max} bytes gzip: ${verdict(firstVisit)}`);
  if (json !== undefined) await writeFile(json, `${JSON.stringify(result, null, 2)}\n`);
  return kernel.ok && firstVisit.ok ? 0 : 1;
}
