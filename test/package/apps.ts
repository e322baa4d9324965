/**
 * Apps as users of the package make them: a folder outside the repository with one page (app/main.js), and with the
 * packed package and a bundler installed from the registry.
 */
import { execFile, execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { serveCommand, serveFolder, type Served } from "./serve.ts";

const root = path.join(import.meta.dirname, "../..");
const run = promisify(execFile);

export interface App {
  readonly name: string;
  /** Packages that are installed beside ours. */
  readonly packages: readonly string[];
  readonly files: Readonly<Record<string, string>>;
  /** Path of the page's script in the app's folder. */
  readonly page: string;
  /**
   * Commands that build the app. Each is a script of an installed package, as `["vite/bin/vite.js", "build"]`, or runs
   * by npx.
   */
  readonly build?: readonly (readonly string[])[];
  /** The app's own server, which prints its address; or the folder that the suite serves. */
  readonly serve: readonly string[] | { readonly folder: string };
}

const PAGE = (script: string): string =>
  `<!doctype html><meta charset="utf-8"><title>app</title><script type="module" src="${script}"></script>`;
/**
 * A page for bundlers that leave `new URL(…, import.meta.url)` as it is. The package's files are copied to a folder of
 * the app, and open() gets its address.
 */
const PAGE_WITH_ASSETS = PAGE("main.js").replace(
  "<script",
  `<script>globalThis.tideOptions = { assets: "/tidemark/" };</script><script`,
);
/** The same page, but it takes the address of that folder from its own address. */
const PAGE_WITH_CDN = PAGE_WITH_ASSETS.replace('"/tidemark/"', 'new URL(location).searchParams.get("assets")');
/**
 * Development servers of Vite up to version 7 put bundled packages into this folder, and the package does not know its
 * name. With a folder of another name, an app must exclude the package from bundling.
 */
const OWN_CACHE = `export default { cacheDir: "cache-of-its-own", optimizeDeps: { exclude: ["tidemark"] } };`;
const ASSETS = ["npx", "tidemark", "assets", "public/tidemark"];
const vite = (version: string, serve: "dev" | "preview"): App => ({
  name: `vite-${version.split(".")[0]}-${serve}`,
  packages: [`vite@${version}`],
  files: { "index.html": PAGE("/main.js"), "own-cache.config.js": OWN_CACHE },
  page: "main.js",
  ...(serve === "preview" && { build: [["vite/bin/vite.js", "build", "--logLevel", "warn"]] }),
  serve: ["vite/bin/vite.js", ...(serve === "preview" ? ["preview"] : []), "--host", "127.0.0.1", "--port", "0"],
});

export const APPS = {
  viteBuild: vite("8.3.8", "preview"),
  viteDev: vite("8.3.8", "dev"),
  vite7: vite("7.3.8", "dev"),
  vite6: vite("6.4.6", "dev"),
  vite5: vite("5.4.21", "dev"),
  webpack: {
    name: "webpack-5",
    packages: ["webpack@5.113.0"],
    files: {
      "public/index.html": PAGE("main.js"),
      // What `webpack --mode production` does, without installing the package of its command line.
      "build.cjs": `const output = { path: __dirname + "/public", filename: "main.js" };
      require("webpack")({ mode: "production", context: __dirname, entry: "./main.js", output }, (error, stats) => {
        if (error || stats.hasErrors()) { console.error(error ?? stats.toString()); process.exit(1); }
      });`,
    },
    page: "main.js",
    build: [["./build.cjs"]],
    serve: { folder: "public" },
  },
  esbuild: {
    name: "esbuild",
    packages: ["esbuild@0.28.2"],
    files: { "public/index.html": PAGE_WITH_ASSETS },
    page: "main.js",
    build: [
      ["esbuild/bin/esbuild", "main.js", "--bundle", "--format=esm", "--outfile=public/main.js", "--log-level=error"],
      ASSETS,
    ],
    serve: { folder: "public" },
  },
  rollup: {
    name: "rollup",
    packages: ["rollup@4.68.8", "@rollup/plugin-node-resolve@16.0.3"],
    files: { "public/index.html": PAGE_WITH_ASSETS, "public/cdn.html": PAGE_WITH_CDN },
    page: "main.js",
    build: [
      [
        "rollup/dist/bin/rollup",
        "main.js",
        "--format",
        "es",
        "--file",
        "public/main.js",
        "--plugin",
        "@rollup/plugin-node-resolve",
        "--silent",
      ],
      ASSETS,
    ],
    serve: { folder: "public" },
  },
  next: {
    name: "next",
    packages: ["next@16.4.6", "react@19.3.1", "react-dom@19.3.1"],
    files: {
      "app/layout.jsx": `export default function Layout({ children }) {
        return <html lang="en"><head><link rel="icon" href="data:," /></head><body>{children}</body></html>;
      }`,
      // A server component that imports the package as well. On the server open() must be refused.
      "app/page.jsx": `import { open } from "tidemark/browser";
        import Tide from "./tide.jsx";
        export const dynamic = "force-dynamic";
        export default async function Page() {
          const opened = (tide) => "open: " + tide.role;
          const refused = await open("on-the-server").then(opened, (thrown) => thrown.name + " " + thrown.code);
          return <main><p id="server">{refused}</p><Tide /></main>;
        }`,
      // A client component, rendered on the server first and then in the browser.
      "app/tide.jsx": `"use client";
        import { useEffect } from "react";
        import { open } from "tidemark/browser";
        export default function Tide() {
          useEffect(() => void import("./main.js"), []);
          return <p>{typeof open}</p>;
        }`,
      // A server component around client components: the provider of the binding, and the app's own.
      "app/notes/page.jsx": `import { TideProvider } from "tidemark/react";
        import Notes from "./notes.jsx";
        export default async function Page() {
          return <TideProvider name="notes" options={{ segmentBytes: 65536 }}><Notes /></TideProvider>;
        }`,
      "app/notes/list.js": `"use client";
        import { defineTopic, defineView } from "tidemark/react";
        export const notes = defineTopic("notes");
        export const list = defineView(notes, {
          name: "list",
          initial: () => [],
          apply: (all, { value }) => [...all, value],
        });`,
      "app/notes/notes.jsx": `"use client";
        import { useAppend, useRecords, useSyncStatus, useTideStatus, useView } from "tidemark/react";
        import { list, notes } from "./list.js";
        export default function Notes() {
          const shown = useView(list, { select: (all, { isReady }) => (isReady ? all.join() + "." : "reading") });
          const { append } = useAppend(notes);
          const rest = [useTideStatus().state, useSyncStatus().state, useRecords(notes).length].join();
          return <main>
            <p id="notes">{shown}</p><p id="rest">{rest}</p>
            <button id="add" onClick={() => append({ value: "milk" })}>Add</button>
          </main>;
        }`,
    },
    page: "app/main.js",
    build: [["next/dist/bin/next", "build"]],
    serve: ["next/dist/bin/next", "start", "-H", "127.0.0.1", "-p", "0"],
  },
} satisfies Record<string, App>;

/** Runs `npm pack` into this folder. Returns the path of the tarball. */
export function packInto(folder: string): string {
  const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
  const [packed] = JSON.parse(
    execFileSync("npm", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }),
  ) as { filename: string }[];
  return path.join(folder, packed!.filename);
}

/**
 * Puts our unpacked package where npm would put it, with its command: npm takes two seconds of the processor for that.
 * `tarball`: its path; the files lie beside it (global.ts).
 */
function putPackage(directory: string, tarball: string): void {
  const modules = path.join(directory, "node_modules");
  cpSync(path.join(path.dirname(tarball), "package"), path.join(modules, "tidemark"), { recursive: true });
  mkdirSync(path.join(modules, ".bin"));
  symlinkSync("../tidemark/bin/tidemark.mjs", path.join(modules, ".bin/tidemark"));
  const file = path.join(directory, "package.json");
  const manifest = JSON.parse(readFileSync(file, "utf8")) as { dependencies?: Record<string, string> };
  manifest.dependencies = { ...manifest.dependencies, tidemark: `file:${tarball}` };
  writeFileSync(file, JSON.stringify(manifest));
}

/**
 * Installs the tarball and other packages by npm, as users do; it uses its own cache first, so that a second run on a
 * machine needs no network. Where the tarball is all, it is put there.
 */
export async function install(directory: string, packages: readonly string[]): Promise<void> {
  if (packages.length === 1 && packages[0]!.endsWith(".tgz")) return putPackage(directory, packages[0]!);
  await run(
    "npm",
    ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error", ...packages],
    { cwd: directory },
  );
}

export interface Installed extends App {
  readonly directory: string;
}

/** Makes the app's folder and installs what it needs. */
export async function installApp(app: App, folder: string, tarball: string): Promise<Installed> {
  const directory = path.join(folder, app.name);
  const write = (name: string, text: string): void => {
    mkdirSync(path.dirname(path.join(directory, name)), { recursive: true });
    writeFileSync(path.join(directory, name), text);
  };
  write("package.json", JSON.stringify({ name: "app", private: true, type: "module" }));
  for (const [name, text] of Object.entries(app.files)) write(name, text);
  cpSync(path.join(import.meta.dirname, "app/main.js"), path.join(directory, app.page));
  await install(directory, [tarball, ...app.packages]);
  const installed = { ...app, directory };
  await buildApp(installed);
  return installed;
}

/** Builds the app; called again when a test has changed one of its files. */
export async function buildApp({ build = [], directory }: Installed): Promise<void> {
  for (const [script, ...args] of build) {
    const isCommand = script === "npx";
    await run(
      isCommand ? "npx" : process.execPath,
      [isCommand ? "--no-install" : scriptOf(directory, script!), ...args],
      { cwd: directory },
    );
  }
}

/** A script of the app itself begins with a dot; other names are scripts of installed packages. */
const scriptOf = (directory: string, script: string): string =>
  path.join(directory, script.startsWith(".") ? script : `node_modules/${script}`);

export function serveApp({ directory, serve }: Installed): Promise<Served> {
  if (!Array.isArray(serve)) return serveFolder(path.join(directory, (serve as { folder: string }).folder));
  const [script, ...args] = serve as string[];
  return serveCommand([scriptOf(directory, script!), ...args], directory);
}
