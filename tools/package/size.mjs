/**
 * `npm run size` measures what visitors of an app download of Tidemark, against its budgets. A plain app, built by Vite
 * with its defaults, is opened in Chromium. Each file that Chromium's own network events name counts once, in gzip
 * (level 9).
 *
 *   first visit    open() of a new log, one append, one read                     target 40 KiB
 *   second visit   the same over the existing log                                target 32 KiB
 *   second tab     the same beside a tab that leads
 *   sync           what a first visit with a topic in sync and a view of it downloads beyond a first visit, and of that
 *                  the views; no edge answers meanwhile                              targets 12 and 2 KiB
 *   kernel         bytes of the release build, inside each of these              at most 12 KiB
 *   tidemark/NAME  every other entry by itself: without the app's packages, base.js, browser.js, kernels, and files
 *                  that it loads later
 *
 * Targets that are missed are told by the last lines. The script fails if the size grows beyond what docs/status.md
 * says today. The app's own script is a few lines around open(). It is counted as well, because the package's entry is
 * bundled into it.
 *
 *     npm run size -- --json FILE
 */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import os from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { chromium } from "playwright";
import { rolldown } from "rolldown";
import { build } from "vite";
import { buildLibrary } from "./build.mjs";
import { BUILT } from "./package-files.mjs";
import { RELEASE_BYTES_MAX } from "./build-kernel.mjs";
import { MAIN_ENTRIES, SIDE_ENTRIES } from "./side-entries.mjs";
import { commandLine, jsonFile } from "../run/command-line.mjs";
import { CHROMIUM_ARGS, ensureChromium, root } from "../run/setup.mjs";

/** `max`: what docs/status.md says, and at most 1 % for small fixes; 10 % for sync. */
export const BUDGETS = {
  firstVisit: { target: 40 * 1024, max: 44.2 * 1024 },
  secondVisit: { target: 32 * 1024, max: 49.1 * 1024 },
  secondTab: { target: undefined, max: 58.9 * 1024 },
  sync: { target: 12 * 1024, max: 52 * 1024 },
  views: { target: 2 * 1024, max: 5.7 * 1024 },
};

const APP = `
import { open } from "tidemark/browser";
const tide = await open("size");
const topic = tide.topic("visits");
const { offset } = await topic.append({ value: "here" });
for await (const record of topic.read({ from: offset })) document.title = tide.role + " " + record.offset;
`;
/** No host has this name. So the page loads everything that sync needs, and no edge answers. */
const SYNCED_APP = `
import { open } from "tidemark/browser";
const sync = { url: "https://edge.invalid", topics: { visits: { path: "visits" } } };
const tide = await open("size", { sync });
const topic = tide.topic("visits");
await topic.append({ value: "here" });
const view = topic.view({ name: "visits", initial: () => 0, apply: (count) => count + 1 });
await view.ready();
document.title = tide.role + " " + view.current;
`;
/** A visit has loaded everything once it has asked for nothing for this long. */
const QUIET_MS = 1_500;
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };

/** Makes the package as npm would install it and an app around it. Returns the folder that is served. */
async function buildApp(folder, app) {
  const installed = path.join(folder, "node_modules", "tidemark");
  await mkdir(installed, { recursive: true });
  await cp(path.join(root, "dist"), path.join(installed, "dist"), { recursive: true });
  await cp(path.join(root, "package.json"), path.join(installed, "package.json"));
  await writeFile(path.join(folder, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  await writeFile(
    path.join(folder, "index.html"),
    `<!doctype html><title>opening</title><link rel="icon" href="data:,"><script type="module" ` +
      `src="/main.js"></script>`,
  );
  await writeFile(path.join(folder, "main.js"), app);
  await build({ root: folder, configFile: false, logLevel: "error" });
  return path.join(folder, "dist");
}

/** Serves the folder without caching, so that each visit asks for everything that it uses. */
async function serve(folder) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const file = path.join(folder, path.normalize(pathname === "/" ? "/index.html" : pathname));
    const bytes = await readFile(file).catch(() => undefined);
    if (bytes === undefined) return response.writeHead(404).end();
    const headers = {
      "content-type": TYPES[path.extname(file)] ?? "application/octet-stream",
      "content-encoding": "gzip",
      "cache-control": "no-store",
    };
    return response.writeHead(200, headers).end(gzipSync(bytes, { level: 9 }));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${server.address().port}/`, close };
}

/** Counts the bytes that one page downloads until it has read its record. The page stays open. */
async function visit(context, url) {
  const page = await context.newPage();
  const files = new Map();
  // Requests of the page and of its workers.
  const hear = async (request) => {
    const name = new URL(request.url()).pathname;
    if (!request.url().startsWith(url) || name === "/") return;
    const response = await request.response();
    if (!response?.ok()) throw new Error(`${name}: ${response?.status()}`);
    // Page and worker ask for the same file. The second request is answered from memory.
    const file = name.replace(/^\/assets\//, "");
    files.set(file, Math.max(files.get(file) ?? 0, (await request.sizes()).responseBodySize));
  };
  const heard = [];
  page.on("requestfinished", (request) => heard.push(hear(request)));
  await page.goto(url);
  await page.waitForFunction(() => document.title.includes(" "), null, { timeout: 30_000 });
  const title = await page.title();
  // A part that is loaded after the first answers belongs to the visit as well.
  for (let known = -1; known !== heard.length; await new Promise((resolve) => setTimeout(resolve, QUIET_MS)))
    known = heard.length;
  await Promise.all(heard);
  const list = [...files].map(([name, gzipBytes]) => ({ name, gzipBytes })).sort((a, b) => b.gzipBytes - a.gzipBytes);
  return {
    page,
    role: title.split(" ")[0],
    files: list,
    gzipBytes: list.reduce((sum, file) => sum + file.gzipBytes, 0),
  };
}

/** Files that are not counted with an entry: others have them as well, or load them later. */
const isBeside = (id) => /^\.\/(base|browser|client-[\w-]+)\.js$|\.wasm$/.test(id);

/** What each entry but the browser's adds to an app: minified, in gzip. */
export async function measureEntries() {
  const found = {};
  for (const [name, { gzipMax: max }] of Object.entries({ ...MAIN_ENTRIES, ...SIDE_ENTRIES })) {
    const bundle = await rolldown({
      input: path.join(root, "dist", `${name}.js`),
      external: (id) => isBeside(id) || !/^[./]/.test(id),
      platform: "neutral",
      onLog: () => undefined,
    });
    const { output } = await bundle.generate({ format: "esm", minify: true, comments: false, codeSplitting: false });
    await bundle.close();
    const gzipBytes = gzipSync(output[0].code, { level: 9 }).length;
    found[name] = { gzipBytes, max, ok: gzipBytes <= max };
  }
  return found;
}

/** Serves an app and gives what this makes of it. */
async function served(folder, app, use) {
  const server = await serve(await buildApp(folder, app));
  try {
    return await use(server.url);
  } finally {
    await server.close();
  }
}

/** What a synced topic and a view of it add to a first visit. */
function addedTo(first, synced) {
  const before = new Set(first.files.map(({ name }) => name.replace(/-[^-]*\.js$/, "")));
  // The app's own script is another one, and its difference is a few bytes.
  const files = synced.files.filter(({ name }) => !before.has(name.replace(/-[^-]*\.js$/, "")));
  const views = files.filter(({ name }) => name.startsWith("views")).reduce((sum, each) => sum + each.gzipBytes, 0);
  return { gzipBytes: synced.gzipBytes - first.gzipBytes, views, files };
}

export async function measure() {
  if (process.env[BUILT] !== "1") await buildLibrary();
  const entries = await measureEntries();
  const folder = await mkdtemp(path.join(os.tmpdir(), "tidemark-size-"));
  let server, context;
  try {
    server = await serve(await buildApp(path.join(folder, "app"), APP));
    context = await chromium.launchPersistentContext(path.join(folder, "profile"), {
      executablePath: ensureChromium(),
      args: CHROMIUM_ARGS,
    });
    const synced = await served(path.join(folder, "synced"), SYNCED_APP, (url) => visit(context, url));
    await synced.page.close();
    const first = await visit(context, server.url);
    await first.page.close();
    const second = await visit(context, server.url);
    const tab = await visit(context, server.url);
    const kernelBytes = (await readFile(path.join(root, "dist", "kernel.wasm"))).length;
    const told = ({ files, gzipBytes, role }, { target, max }) => ({
      role,
      files,
      gzipBytes,
      target,
      max,
      ok: gzipBytes <= max,
    });
    const sync = addedTo(first, synced);
    return {
      sync: { role: synced.role, ...sync, ...BUDGETS.sync, ok: sync.gzipBytes <= BUDGETS.sync.max },
      views: { gzipBytes: sync.views, ...BUDGETS.views, ok: sync.views <= BUDGETS.views.max },
      firstVisit: told(first, BUDGETS.firstVisit),
      secondVisit: told(second, BUDGETS.secondVisit),
      secondTab: told(tab, BUDGETS.secondTab),
      kernel: { bytes: kernelBytes, max: RELEASE_BYTES_MAX, ok: kernelBytes <= RELEASE_BYTES_MAX },
      entries,
    };
  } finally {
    await context?.close();
    await server?.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

const NAMES = { firstVisit: "first visit", secondVisit: "second visit", secondTab: "second tab" };
const ADDED = { sync: "sync adds", views: "views of that" };
const kib = (bytes) => (bytes / 1024).toFixed(1);
const verdict = ({ ok }) => (ok ? "ok" : "TOO LARGE");

export async function main(args) {
  const about = "Measures what a visitor's browser downloads of the library, against its budgets.";
  const values = commandLine({ script: "size", about, options: { json: jsonFile() } }, args);
  const result = await measure();
  for (const [key, name] of Object.entries(NAMES)) {
    for (const file of result[key].files)
      console.log(`${name.padEnd(14)}${file.name.padEnd(32)}${String(file.gzipBytes).padStart(7)} bytes gzip`);
  }
  for (const file of result.sync.files)
    console.log(`${"sync".padEnd(14)}${file.name.padEnd(32)}${String(file.gzipBytes).padStart(7)} bytes gzip`);
  for (const [key, name] of Object.entries({ ...NAMES, ...ADDED })) {
    const { gzipBytes, target, max } = result[key];
    const aim = target === undefined ? "" : `, target ${kib(target)}: ${gzipBytes <= target ? "met" : "MISSED"}`;
    console.log(`${name.padEnd(14)}${kib(gzipBytes)} KiB gzip of ${kib(max)}: ${verdict(result[key])}${aim}`);
  }
  console.log(`kernel        ${result.kernel.bytes} of ${result.kernel.max} bytes: ${verdict(result.kernel)}`);
  for (const [name, entry] of Object.entries(result.entries)) {
    const shown = name === "index" ? "tidemark" : `tidemark/${name}`;
    console.log(`${shown} ${kib(entry.gzipBytes)} KiB gzip of ${kib(entry.max)}: ${verdict(entry)}`);
  }
  // A visit in another role than expected measures something else.
  const roles = Object.keys(NAMES)
    .map((key) => result[key].role)
    .join(" ");
  if (roles !== "leader leader follower") console.log(`the tabs were ${roles}, expected leader leader follower`);
  if (values.json !== undefined) {
    await writeFile(values.json, `${JSON.stringify(result, null, 2)}\n`);
  }
  const { entries, ...visits } = result;
  const judged = [...Object.values(visits), ...Object.values(entries)];
  return judged.every(({ ok }) => ok) && roles === "leader leader follower" ? 0 : 1;
}
