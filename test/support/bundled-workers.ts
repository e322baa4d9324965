/**
 * Workers for Vitest's development server, each bundled from the sources when it is first asked for. Served as they
 * are, each start of a worker would fetch some eighty modules, and the browser suite starts hundreds of workers.
 */
import path from "node:path";
import { build, type Plugin, type Rolldown } from "vite";

const root = path.join(import.meta.dirname, "../..");
const PLACE = "/bundled-workers/";
const ENTRY = "entry.js";
/** The form that bundlers look for. A worker of another address is left alone. */
const WORKER = /(new (?:Shared)?Worker\(\s*)new URL\("(\.[^"]+)", import\.meta\.url\)/g;

type Files = ReadonlyMap<string, string | Uint8Array>;

/** package.json says that no module does anything when it is imported. A worker's do. */
const withEffects: Plugin = {
  name: "with-effects",
  transform: { filter: { id: /\.ts$/ }, handler: (code) => ({ code, moduleSideEffects: true }) },
};

/** The files of a worker, in memory. */
async function bundle(entry: string): Promise<Files> {
  const built = (await build({
    configFile: false,
    root,
    logLevel: "error",
    base: "./",
    publicDir: false,
    plugins: [withEffects],
    build: {
      write: false,
      target: "es2022",
      minify: false,
      // A worker has no document to preload into.
      modulePreload: false,
      assetsInlineLimit: 0,
      rolldownOptions: {
        input: path.join(root, entry),
        // One file, so that modules run in the order of their imports.
        output: { entryFileNames: ENTRY, codeSplitting: false, comments: false },
      },
    },
  })) as Rolldown.RolldownOutput;
  return new Map(built.output.map((file) => [file.fileName, file.type === "chunk" ? file.code : file.source]));
}

export function bundledWorkers(): Plugin {
  const bundles = new Map<string, Promise<Files>>();
  const bundleOf = (entry: string): Promise<Files> => {
    const files = bundles.get(entry) ?? bundle(entry);
    bundles.set(entry, files);
    return files;
  };
  return {
    name: "bundled-workers",
    enforce: "pre",
    transform: {
      filter: { id: /\.ts$/, code: "Worker(" },
      handler(code, id) {
        const served = (_: string, start: string, entry: string): string => {
          const from = path.relative(root, path.resolve(path.dirname(id), entry)).replaceAll("\\", "/");
          return `${start}new URL("${PLACE}${encodeURIComponent(from)}/${ENTRY}", location.origin)`;
        };
        return { code: code.replace(WORKER, served), map: null };
      },
    },
    configureServer(server) {
      server.watcher.on("change", () => bundles.clear());
      server.middlewares.use(PLACE, (request, response, next) => {
        const [, entry, ...rest] = new URL(request.url!, "http://localhost").pathname.split("/");
        const name = rest.join("/");
        bundleOf(decodeURIComponent(entry!)).then((files) => {
          if (!files.has(name)) return next();
          response.setHeader("content-type", name.endsWith(".wasm") ? "application/wasm" : "text/javascript");
          response.end(files.get(name));
        }, next);
      });
    },
  };
}
