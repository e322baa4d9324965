/**
 * Where the package's files are: beside browser.js, as the app's bundler sees them in `new URL("./…",
 * import.meta.url)`, or in the folder that open() names.
 */
import { assert, KIND_OF, TidemarkError } from "../../errors.ts";
import type { Core, Files } from "../page/files.ts";
import { LOAD_HELP } from "../platform/load-help.ts";
import { importFile, loadFailed } from "../platform/load.ts";
import type { Parts } from "../platform/parts.ts";
import type { Handed } from "./errors.ts";

interface Addresses extends Required<Omit<Parts, "words">> {
  readonly core: string;
  readonly kernel: string;
}
interface CoreFile extends Core {
  /** Absent where a bundler has made the file anew and left its exports out, as Parcel does. */
  use?(handed: Handed, addresses: Parts): void;
}

/**
 * For its development server, Vite up to 7 bundles packages into a folder of its own and leaves the files beside them
 * behind. It also serves those at their own place. Vite 8 uses that place by itself.
 */
const installed = ({ href }: URL): string =>
  href.replace(/\/node_modules\/\.vite\/deps\/([^/]+)$/, "/node_modules/tidemark/dist/$1");

const beside = (): Addresses => ({
  core: installed(new URL("./core.js", import.meta.url)),
  indexeddb: installed(new URL("./indexeddb.js", import.meta.url)),
  recovery: installed(new URL("./recovery.js", import.meta.url)),
  segments: installed(new URL("./segments.js", import.meta.url)),
  extras: installed(new URL("./extras.js", import.meta.url)),
  tabs: installed(new URL("./tabs.js", import.meta.url)),
  sync: installed(new URL("./sync.js", import.meta.url)),
  tunnel: installed(new URL("./tunnel.js", import.meta.url)),
  answers: installed(new URL("./answers.js", import.meta.url)),
  views: installed(new URL("./views.js", import.meta.url)),
  typed: installed(new URL("./typed.js", import.meta.url)),
  kernel: installed(new URL("./kernel.wasm", import.meta.url)),
});

const SCRIPTS = "core indexeddb recovery segments extras tabs sync tunnel answers views typed".split(" ");

function inFolder(assets: string | URL): Addresses {
  const folder = String(assets);
  let base: URL;
  try {
    if (typeof assets !== "string" && !(assets instanceof URL)) throw new TypeError("neither a string nor a URL");
    base = new URL(folder.endsWith("/") ? folder : `${folder}/`, globalThis.document?.baseURI ?? location.href);
  } catch (cause) {
    throw new TidemarkError(
      "INVALID_ARGUMENT",
      `assets is the address of a folder, like "/tidemark/"; given was ${JSON.stringify(folder)}`,
      { assets: folder },
      { cause },
    );
  }
  const at = (file: string): string => new URL(file, base).href;
  const found = SCRIPTS.map((name) => [name, at(`${name}.js`)]);
  return { ...Object.fromEntries(found), kernel: at("kernel.wasm") } as Addresses;
}

function besideOrNowhere(): Addresses {
  try {
    return beside();
  } catch (cause) {
    // The app is bundled into a script that is not a module, so it does not know its own address.
    throw loadFailed("core.js", "beside the app's script", cause);
  }
}

export function filesIn(assets: string | URL | undefined): Files {
  const { core, kernel, ...parts } = assets === undefined ? besideOrNowhere() : inFolder(assets);
  return {
    kernel,
    addresses: [core, kernel, ...Object.values(parts)],
    async core() {
      const file = (await importFile("core.js", core)) as CoreFile;
      if (!file.use) throw loadFailed("core.js", core, "a bundler left its exports out");
      file.use(
        { TidemarkError, assert, importFile, loadFailed },
        { ...parts, words: { kinds: KIND_OF, help: LOAD_HELP } },
      );
      return file;
    },
  };
}
