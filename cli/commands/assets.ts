/** `tidemark assets`: copies the files that open() loads, for apps whose bundler does not (esbuild, Rollup). */
import { copyFileSync, mkdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "../arguments.ts";
import { Failure } from "../failure.ts";
import { printLine } from "../terminal.ts";

const ASSETS = [
  "core.js",
  "recovery.js",
  "segments.js",
  "indexeddb.js",
  "extras.js",
  "tabs.js",
  "sync.js",
  "views.js",
  "typed.js",
  "tunnel.js",
  "answers.js",
  "kernel.wasm",
];

export const assets: Command = {
  meta: { name: "assets", description: "copies the package's files into a folder of an app" },
  args: { folder: { type: "positional", description: "made if it is not there", required: true } },
  more:
    `Copies ${ASSETS.join(", ")}.\n` +
    'Serve the folder with the app, name it in open(name, { assets: "/FOLDER/" }), and copy again with each version.',
  examples: ["npx tidemark assets public/tidemark"],
  async run({ args: { folder } }: { readonly args: { folder: string } }) {
    const from = fileURLToPath(new URL(".", import.meta.url));
    try {
      mkdirSync(folder, { recursive: true });
      for (const file of ASSETS) copyFileSync(path.join(from, file), path.join(folder, file));
    } catch (thrown) {
      throw new Failure(`the files could not be copied: ${(thrown as Error).message}`);
    }
    await printLine(`${ASSETS.length} files in ${path.resolve(folder)}`);
  },
};
