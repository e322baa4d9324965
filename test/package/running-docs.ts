/**
 * An app outside the repository whose files are the documents' code blocks, as they stand there, over the packed
 * package: one page of Vite for those of a browser, a file for each program of Node, and a Worker.
 *
 *   blocks/    readme.ts …          the page loads one when it is asked to: run("readme")
 *   programs/  node/program.mjs …   Node runs them, each in a folder of its own
 *   edge/      main.ts, wrangler.jsonc
 */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { build, transformWithOxc } from "vite";
import { blocksOf, type DocBlock, readDoc } from "../support/doc-blocks.ts";
import { install } from "./apps.ts";

const root = path.join(import.meta.dirname, "../..");
const run = promisify(execFile);
/** Packages of the blocks that come from the repository. */
const LINKED = ["zod", "@tanstack/db", "@standard-schema/spec"];

/** The n-th block of a document in a language, from 1. */
export function blockOf(document: string, n: number, language = "ts"): DocBlock {
  const found = blocksOf(readDoc(document), [language])[n - 1];
  if (found === undefined) throw new Error(`${document} has no block ${n} of ${language}`);
  return found;
}

/** What blocks use that the text around them has introduced; what they print is kept. */
const PAGE = `
import { open } from "tidemark/browser";
import * as z from "zod";
const blocks = import.meta.glob("./blocks/*.ts");
const stop = new AbortController();
const textOf = (each) => (typeof each === "string" ? each : JSON.stringify(each));
const said = { printed: [], shown: [], told: [] };
console.log = (...all) => said.printed.push(all.map(textOf).join(" "));
Object.assign(globalThis, {
  said, z, openTide: open, stop, signal: stop.signal,
  show: (what) => said.shown.push(what), tell: (...what) => said.told.push(what),
  run: (name) => blocks["./blocks/" + name + ".ts"]().then(() => said.printed),
});
document.title = "ready";
`;
/** The same for programs of Node. A follow without an end ends with the first record that it shows. */
const AROUND = `
globalThis.fetchToken = async () => process.env.TIDEMARK_TOKEN;
globalThis.show = ({ offset, value }) => {
  console.log(offset, JSON.stringify(value));
  process.exit(0);
};
`;
/** The Worker of skills/edge, which is whole, and beside it the blocks that run inside any Worker. */
const MAIN = (names: readonly string[]): string => `
import worker from "./whole.ts";
export { LogObject, SubscriptionObject } from "./whole.ts";
${names.map((name, i) => `import { block as block${i} } from "./${name}.ts";`).join("\n")}
const blocks = { ${names.map((name, i) => `"${name}": block${i}`).join(", ")} };
const textOf = (each) => (typeof each === "string" ? each : JSON.stringify(each));
export default {
  async fetch(request, env, context) {
    const block = blocks[new URL(request.url).pathname.slice("/blocks/".length)];
    if (block === undefined) return worker.fetch(request, env, context);
    const printed = [];
    const print = (...all) => printed.push(all.map(textOf).join(" "));
    await block(env, print, { log: print });
    return Response.json(printed);
  },
};
`;

/** A block as the body of a function; its imports stay outside. */
function asFunction(code: string): string {
  const lines = code.split("\n");
  const imports = lines.filter((line) => line.startsWith("import "));
  const body = lines.filter((line) => !line.startsWith("import "));
  return `${imports.join("\n")}\nexport async function block(env, show, console) {\n${body.join("\n")}\n}\n`;
}

export class DocsApp {
  private constructor(readonly folder: string) {}

  static async make(folder: string, tarball: string): Promise<DocsApp> {
    for (const each of ["blocks", "programs", "edge"]) mkdirSync(path.join(folder, each), { recursive: true });
    const app = new DocsApp(folder);
    app.write("package.json", JSON.stringify({ name: "app", private: true, type: "module" }));
    await install(folder, [tarball]);
    for (const name of LINKED) {
      mkdirSync(path.dirname(path.join(folder, "node_modules", name)), { recursive: true });
      symlinkSync(path.join(root, "node_modules", name), path.join(folder, "node_modules", name));
    }
    return app;
  }

  write(name: string, text: string): void {
    writeFileSync(path.join(this.folder, name), text);
  }

  /** The Worker's files. Gives the path of its configuration. */
  writeEdge(whole: string, blocks: Readonly<Record<string, string>>): string {
    this.write("edge/whole.ts", whole);
    for (const [name, code] of Object.entries(blocks)) this.write(`edge/${name}.ts`, asFunction(code));
    this.write("edge/main.js", MAIN(Object.keys(blocks)));
    const config = path.join(root, "docs/example-worker/wrangler.jsonc");
    this.write("edge/wrangler.jsonc", readFileSync(config, "utf8").replace('"index.ts"', '"main.js"'));
    return path.join(this.folder, "edge/wrangler.jsonc");
  }

  /** Builds the page. Gives the folder to serve. */
  async buildPage(blocks: Readonly<Record<string, string>>): Promise<string> {
    for (const [name, code] of Object.entries(blocks)) this.write(`blocks/${name}.ts`, `${code}\nexport {};\n`);
    this.write("main.js", PAGE);
    this.write(
      "index.html",
      '<!doctype html><title>app</title><link rel="icon" href="data:,"><script type="module" src="/main.js"></script>',
    );
    await build({ root: this.folder, configFile: false, logLevel: "warn" });
    return path.join(this.folder, "dist");
  }

  /** Runs a block in a process of Node, in a folder of its own. Gives what it prints. */
  async runProgram(name: string, code: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
    const { code: plain } = await transformWithOxc(code, `${name}.ts`);
    mkdirSync(path.join(this.folder, "programs", name));
    this.write("programs/around.mjs", AROUND);
    this.write(`programs/${name}/program.mjs`, plain);
    const args = ["--import", "../around.mjs", "program.mjs"];
    const cwd = path.join(this.folder, "programs", name);
    const { stdout } = await run(process.execPath, args, { cwd, env: { ...process.env, ...env, NO_COLOR: "1" } });
    return stdout.trim();
  }

  /** Runs lines of a shell in the app's folder. */
  async runShell(lines: string): Promise<string> {
    const env = { ...process.env, NO_COLOR: "1", npm_config_offline: "true" };
    const { stdout } = await run("sh", ["-ec", lines], { cwd: this.folder, env });
    return stdout.trim();
  }
}
