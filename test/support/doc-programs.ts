/**
 * What a compiler gets of the documents' code: each block is a module of its own. Blocks of frameworks pass their own
 * compilers first, so that the names in a template are checked as well.
 *
 *   ts              as it is, strictly
 *   js, jsx         as it is, without annotations of types
 *   vue, svelte     what the compiler makes of it, in the same way; Vue's with lang="ts" has types in the template
 *
 * A block whose first line names a file ("// notes.ts …", "<!-- App.vue -->") is that file for the others of its
 * document.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { compile as compileSvelte } from "svelte/compiler";
import { compileScript, parse as parseVue } from "vue/compiler-sfc";
import { blocksOf, type DocBlock, overSources, readDoc } from "./doc-blocks.ts";

const root = path.join(import.meta.dirname, "../..");
const LANGUAGES = ["ts", "js", "jsx", "vue", "svelte"];

/** What the text around a block has introduced. */
const AROUND = `
import type { Tide, Topic } from "tidemark/browser";
import type { Env } from "tidemark/worker";
import type * as zod from "zod";
declare global {
  interface Order { total: number }
  const z: typeof zod;
  const OrderV3: zod.ZodObject<{ currency: zod.ZodString; cents: zod.ZodNumber }>;
  const tide: Tide;
  const user: string;
  function sealed(bytes: Uint8Array | null): Promise<Uint8Array>;
  function opened(bytes: Uint8Array | null): Promise<Uint8Array>;
  const signal: AbortSignal;
  const topic: Topic;
  const env: Env;
  function show(...what: unknown[]): void;
  function tell(...what: unknown[]): void;
  function fetchToken(): Promise<string>;
  function tokenFromIndexedDb(): Promise<string>;
  interface WindowEventMap { push: Event & { waitUntil(work: Promise<unknown>): void; data: { json(): unknown } } }
}
`;

export const DOCUMENTS = [
  "README.md",
  ...readdirSync(path.join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
  ...readdirSync(path.join(root, "skills")).map((name) => `skills/${name}/SKILL.md`),
];

/** Files by name, with their text. */
export type Files = Record<string, string>;

const isProgram = (code: string): boolean => /^\s*(const|let|await|for|import) ?/m.test(code);
/** The name of the file that a block is, with its ending. */
export const fileOf = (code: string): string | undefined => /^(?:\/\/|<!--) ([\w-]+\.\w+)\b/.exec(code)?.[1];

/** What the framework's compiler makes of a component. Throws what it finds wrong. */
function compiled(language: string, code: string): string {
  if (language === "svelte") {
    const { js, warnings } = compileSvelte(code, { filename: "Block.svelte", generate: "client" });
    if (warnings.length > 0) throw new Error(warnings.map(({ message }) => message).join("\n"));
    return js.code;
  }
  if (language !== "vue") return code;
  const { descriptor, errors } = parseVue(code, { filename: "Block.vue" });
  if (errors.length > 0) throw errors[0]!;
  // A name that the component does not have is looked for in `_ctx`, which the compiler gives no type.
  return compileScript(descriptor, { id: "block", inlineTemplate: true }).content.replaceAll(
    "_ctx: any",
    '_ctx: import("vue").ComponentPublicInstance',
  );
}

const EXTENSION: Readonly<Record<string, string>> = { ts: "ts", vue: "vue.ts", js: "js", jsx: "jsx", svelte: "js" };

/** As an import names it. */
const imported = (file: string): string => file.replace(/\.(?:ts|jsx?)$/, "");

/** One block as a module. The name of its file has its document and line. */
function moduleOf(prefix: string, { code, language, line }: DocBlock, named: ReadonlySet<string>): [string, string] {
  const own = fileOf(code);
  const name = own && language !== "jsx" ? imported(own).replace(/\.vue$/, "") : `line-${line}`;
  const file = `${prefix}-${name}.${EXTENSION[language]}`;
  const text = compiled(language, code).replace(/(?<=from )"\.\/([\w.-]+)"/g, (whole, other: string) =>
    named.has(imported(other)) ? `"./${prefix}-${imported(other)}"` : whole,
  );
  const pragma = code.includes('"solid-js') ? "/** @jsxImportSource solid-js */\n" : "";
  return [file, `${pragma}${text}\nexport {};\n`];
}

/** All programs of a document, as modules. Blocks that only declare types are a specification's: they are left out. */
export function programsOf(document: string, markdown = readDoc(document), as = document): Files {
  const prefix = as.replaceAll(/\W+/g, "-");
  const blocks = blocksOf(markdown, LANGUAGES).filter(({ code }) => isProgram(code));
  const named = new Set(blocks.flatMap(({ code }) => imported(fileOf(code) ?? "") || []));
  return Object.fromEntries(blocks.map((block) => moduleOf(prefix, block, named)));
}

/** The templates' scripts, which pass no other compiler with types. */
export function templateFiles(): Files {
  const templates = path.join(root, "templates");
  const files = readdirSync(templates, { recursive: true, encoding: "utf8" }).filter(
    (name) => /\.jsx?$/.test(name) && !name.includes("node_modules"),
  );
  const flat = (name: string): string => `templates-${name.replaceAll(/[/\\]/g, "-")}`;
  return Object.fromEntries(
    files.map((name) => {
      const text = readFileSync(path.join(templates, name), "utf8");
      const beside = path.dirname(name);
      return [
        flat(name),
        text.replace(/(?<=from )"\.\/([\w.-]+)"/g, (_, other: string) => `"./${flat(`${beside}/${other}`)}"`),
      ];
    }),
  );
}

const isStrict = (name: string): boolean => name.endsWith(".ts") && !name.endsWith(".vue.ts");
const TYPES = ["node", "vite/client", "@cloudflare/workers-types"];
const STRICT = { jsx: "preserve", types: TYPES };
/**
 * Plain JavaScript annotates nothing, and does not ask whether an element is there. Nor does what Vue's compiler makes
 * remember what `v-if` has asked.
 */
const PLAIN = {
  ...STRICT,
  allowJs: true,
  checkJs: true,
  jsx: "react-jsx",
  strict: false,
  noUncheckedIndexedAccess: false,
  exactOptionalPropertyTypes: false,
};

/**
 * What the compiler says of these files, one line each. `place` is a folder from which the package and all others are
 * found; without one they are compiled over the sources.
 */
export function complaints(files: Files, place?: string): string[] {
  const parent = place ?? path.join(root, ".cache", "documents");
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(path.join(parent, "run-"));
  const code = (text: string): string => (place === undefined ? overSources(text) : text);
  try {
    for (const [name, text] of Object.entries({ ...files, "around.d.ts": AROUND }))
      writeFileSync(path.join(folder, name), code(text));
    const check = (config: string, isMine: (name: string) => boolean, compilerOptions: object): string[] => {
      const mine = Object.keys(files).filter(isMine);
      if (mine.length === 0) return [];
      const text = {
        extends: path.join(root, "tsconfig.json"),
        compilerOptions,
        files: ["around.d.ts", ...mine, path.join(root, "worker/platform.d.ts")],
        include: [],
        exclude: [],
      };
      writeFileSync(path.join(folder, config), JSON.stringify(text));
      // What the others import of these is checked there, or elsewhere.
      return saidOf(folder, config).filter((said) => mine.some((name) => said.startsWith(`${name}(`)));
    };
    return [...check("strict.json", isStrict, STRICT), ...check("plain.json", (name) => !isStrict(name), PLAIN)];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function saidOf(folder: string, config: string): string[] {
  try {
    const tsc = path.join(root, "node_modules/typescript/bin/tsc");
    execFileSync(process.execPath, [tsc, "-p", config], { stdio: "pipe", cwd: folder });
    return [];
  } catch (thrown) {
    const said = (thrown as { stdout?: Buffer }).stdout?.toString();
    // An indented line goes on.
    if (!said?.includes("error TS")) throw thrown;
    return said.split(/\n(?! )/);
  }
}
