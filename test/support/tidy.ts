/**
 * Reads sources for the structure test: what a file imports, how long its functions are, which host it names. The
 * answers come from the parsed program (by the parser that bundles Tidemark), not from patterns over text, so that
 * comments and strings cannot mislead them. test/tidy.test.ts applies them to this repository, and to planted
 * violations.
 *
 *   assembly ← kernel ← record ← store ← log ← { sync, delivery ← topic ← typed }
 *            ← { browser ← { node, bindings, otel }, worker, client } ← web
 */
import path from "node:path";
import { parseAst } from "rolldown/parseAst";

export const FILE_LINES_MAX = 500;
export const FUNCTION_LINES_MAX = 70;
export const LINE_CHARACTERS_MAX = 120;

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

/** The rooms that each room may import besides itself. A room that is absent here does not exist. */
const BELOW: Readonly<Record<string, readonly string[]>> = {
  "error-kinds": [],
  errors: ["error-kinds"],
  "common-web.d": [],
  assembly: [],
  kernel: ["assembly", "errors"],
  record: ["assembly", "kernel", "errors"],
  store: ["assembly", "kernel", "record", "errors"],
  log: ["assembly", "kernel", "record", "store", "errors"],
  sync: ["assembly", "kernel", "record", "store", "log", "errors"],
  delivery: ["assembly", "kernel", "record", "store", "log", "errors"],
  topic: ["assembly", "kernel", "record", "store", "log", "delivery", "errors"],
  typed: ["assembly", "kernel", "record", "store", "log", "delivery", "topic", "errors"],
  index: ["assembly", "kernel", "record", "store", "log", "sync", "delivery", "errors"],
  browser: ["assembly", "kernel", "record", "store", "log", "sync", "delivery", "topic", "typed", "index", "errors"],
  worker: ["assembly", "kernel", "record", "store", "log", "sync", "delivery", "topic", "typed", "index", "errors"],
  node: ["assembly", "kernel", "record", "store", "log", "sync", "delivery", "topic", "typed", "browser", "errors"],
  client: ["assembly", "kernel", "record", "store", "log", "sync", "delivery", "topic", "typed", "errors"],
  bindings: ["browser"],
  otel: ["browser", "delivery", "topic", "typed", "errors"],
  cli: ["kernel", "record", "store", "log", "sync", "delivery", "topic", "browser", "node", "client", "errors"],
  web: ["errors"],
};
/** The public API: the playground may import nothing else. */
const PUBLIC = ["src/index.ts", "src/browser/index.ts", "src/client/index.ts"];
/** Packages that a room may import. Rooms without an entry import none. */
const PACKAGES: Readonly<Record<string, RegExp>> = {
  browser: /^(comlink|idb)$/,
  node: /^node:/,
  cli: /^(node:|citty$)/,
  worker: /^(jose|negotiator|whatwg-mimetype|cloudflare:workers|@cloudflare\/workers-types)$/,
  otel: /^@opentelemetry\/api$/,
  bindings: /^(react|vue|svelte|solid-js|@tanstack\/db)(\/|$)/,
  web: /^(uplot|vega-datasets|tidemark)(\/|$)/,
};
/** Rooms that run on any host: clock, randomness, scheduling and storage are handed in. */
const HOST_FREE = new Set([
  "error-kinds",
  "errors",
  "assembly",
  "kernel",
  "record",
  "store",
  "log",
  "sync",
  "delivery",
  "topic",
  "typed",
  "index",
]);

const HOST_NAMES = new Set(
  `globalThis window self document navigator location performance crypto process Buffer require setTimeout setInterval
   setImmediate clearTimeout clearInterval requestAnimationFrame requestIdleCallback indexedDB localStorage
   sessionStorage caches Worker SharedWorker MessagePort MessageChannel BroadcastChannel WebSocket Window Document
   HTMLElement Navigator FileSystemHandle FileSystemFileHandle FileSystemDirectoryHandle FileSystemSyncAccessHandle
   IDBDatabase IDBTransaction DurableObject DurableObjectState DurableObjectStorage SqlStorage
   fetch Response CompressionStream DecompressionStream`.split(/\s+/),
);
/** Host names that one file may use. Every host has these, and no other file needs them. */
const HOST_NAMES_OF: Readonly<Record<string, RegExp>> = {
  "src/kernel/load.ts": /^(fetch|Response)$/,
  "src/record/codec.ts": /^(Compression|Decompression)Stream$/,
};

/** The room of a path from the repository's root. Undefined for tests and tools. */
export function roomOf(file: string): string | undefined {
  const [top, second] = file.split("/");
  if (top !== "src") return top !== undefined && top in BELOW ? top : undefined;
  return second?.replace(/\.ts$/, "");
}

export function parse(source: string, file: string): Node {
  // AssemblyScript decorates functions and constants, which TypeScript's grammar does not allow. Decorators become
  // blanks of the same length.
  const text = file.startsWith("assembly/")
    ? source.replace(/^[ \t]*@\w+(\([^)\n]*\))?/gm, (decorator) => " ".repeat(decorator.length))
    : source;
  const lang = file.endsWith(".ts") ? "ts" : "js";
  return parseAst(text, { lang, astType: lang }, file) as unknown as Node;
}

const isNode = (value: unknown): value is Node => typeof (value as Node | null)?.type === "string";

function children(node: Node): [string, Node][] {
  const found: [string, Node][] = [];
  for (const [field, value] of Object.entries(node)) {
    if (isNode(value)) found.push([field, value]);
    else if (Array.isArray(value)) for (const item of value) if (isNode(item)) found.push([field, item]);
  }
  return found;
}

function walk(
  node: Node,
  visit: (node: Node, parent: Node | undefined, field: string) => void,
  parent?: Node,
  field = "",
): void {
  visit(node, parent, field);
  for (const [name, child] of children(node)) walk(child, visit, node, name);
}

/** True for `import.meta.url`, the second argument of an address that a bundler follows. */
const isModuleUrl = (node: unknown): boolean =>
  isNode(node) && node.type === "MemberExpression" && isNode(node["object"]) && node["object"].type === "MetaProperty";

/**
 * Every module that a file names: import, import type, export from, import(), import("…").Type, new URL("./…ts", …).
 */
export function importsOf(program: Node): string[] {
  const found: string[] = [];
  const add = (literal: unknown): void => {
    if (isNode(literal) && typeof literal["value"] === "string") found.push(literal["value"]);
  };
  walk(program, (node) => {
    if (/^(Import|ExportNamed|ExportAll)(Declaration|Expression)$|^TSImportType$/.test(node.type)) add(node["source"]);
    if (node.type === "NewExpression" && isNode(node["callee"]) && node["callee"]["name"] === "URL") {
      const [address, base] = node["arguments"] as Node[];
      if (isModuleUrl(base) && typeof address?.["value"] === "string" && address["value"].endsWith(".ts")) add(address);
    }
  });
  return found;
}

/** Imports against the direction of the house, and imports of packages that the room may not use. */
export function wrongImports(source: string, file: string): string[] {
  const room = roomOf(file);
  if (room === undefined) return [];
  if (!(room in BELOW)) return [`${file} is in no known room`];
  const wrong: string[] = [];
  for (const name of importsOf(parse(source, file))) {
    if (!name.startsWith(".")) {
      if (!PACKAGES[room]?.test(name)) wrong.push(`${file} imports the package ${name}`);
      continue;
    }
    const target = path.posix.normalize(path.posix.join(path.posix.dirname(file), name));
    const targetRoom = roomOf(target);
    const allowed =
      targetRoom === room ||
      (targetRoom !== undefined && BELOW[room]!.includes(targetRoom)) ||
      (room === "web" && PUBLIC.includes(target));
    // Workers take WebAssembly only as a module that was bundled with them.
    const asset =
      (room === "web" && target.startsWith("web/")) || (room === "worker" && target === ".cache/kernel/release.wasm");
    if (!allowed && !asset) wrong.push(`${file} (${room}) imports ${target} (${targetRoom ?? "outside the house"})`);
    if (room !== "assembly" && !/\.(ts|css|json|svg|wasm)(\?\w+)?$/.test(name))
      wrong.push(`${file} imports ${name} without .ts`);
  }
  return wrong;
}

/** True if this identifier is a reference, not the name of a property or member. */
function isReference(parent: Node | undefined, field: string): boolean {
  if (parent === undefined || parent["computed"] === true) return true;
  if (field === "property") return false;
  if (field === "right") return parent.type !== "TSQualifiedName";
  return field !== "key" && field !== "label";
}

/** Names that the file declares itself. A local variable called `window` is no host. */
function boundNames(program: Node): Set<string> {
  const bound = new Set<string>();
  const bind = (pattern: Node): void => {
    if (pattern.type === "Identifier") bound.add(pattern["name"] as string);
    else
      for (const [field, child] of children(pattern))
        if (field !== "right" && field !== "key" && field !== "typeAnnotation") bind(child);
  };
  walk(program, (node, parent, field) => {
    const declares =
      field === "id" && /^(VariableDeclarator|FunctionDeclaration|ClassDeclaration)$/.test(parent?.type ?? "");
    if (declares || field === "params" || field === "local") bind(node);
  });
  return bound;
}

/** Methods of other objects that a file replaces. What varies is handed in; only an "on…" handler may be set. */
export function replacedMethods(source: string, file: string): string[] {
  if (roomOf(file) === undefined) return [];
  const found: string[] = [];
  walk(parse(source, file), (node) => {
    const { left, right } = node as { left?: unknown; right?: unknown };
    if (node.type !== "AssignmentExpression" || !isNode(left) || !isNode(right)) return;
    if (left.type !== "MemberExpression" || !isNode(left["object"]) || !isNode(left["property"])) return;
    const isOwn = left["object"].type === "ThisExpression";
    const isHandler = left["computed"] !== true && /^on[A-Za-z]/.test(String(left["property"]["name"]));
    const isFunction = /^(Arrow)?FunctionExpression$/.test(right.type);
    if (isFunction && !isOwn && !isHandler)
      found.push(
        `${file}:${source.slice(0, node.start).split("\n").length} replaces ${source.slice(left.start, left.end)}`,
      );
  });
  return found;
}

/** Casts over `unknown`: the compiler checks nothing of them. One over what both types have is still checked. */
export function blindCasts(source: string, file: string): string[] {
  const found: string[] = [];
  walk(parse(source, file), (node) => {
    const { expression, typeAnnotation } = node as { expression?: unknown; typeAnnotation?: unknown };
    if (node.type !== "TSAsExpression" || !isNode(expression) || !isNode(typeAnnotation)) return;
    const inner = expression["typeAnnotation"];
    if (expression.type !== "TSAsExpression" || !isNode(inner) || inner.type !== "TSUnknownKeyword") return;
    found.push(`${file} casts to ${source.slice(typeAnnotation.start, typeAnnotation.end)}`);
  });
  return found;
}

/** Hosts, clocks, timers and randomness that a host-free file names. Types count as well. */
export function hostNames(source: string, file: string): string[] {
  if (!HOST_FREE.has(roomOf(file) ?? "")) return [];
  const found: string[] = [];
  const line = (node: Node): number => source.slice(0, node.start).split("\n").length;
  const program = parse(source, file);
  const bound = boundNames(program);
  walk(program, (node, parent, field) => {
    if (node.type !== "Identifier" || !isReference(parent, field)) return;
    const name = node["name"] as string;
    if (HOST_NAMES.has(name) && !bound.has(name) && !HOST_NAMES_OF[file]?.test(name))
      found.push(`${file}:${line(node)} names ${name}`);
    if (parent === undefined || (name !== "Date" && name !== "Math")) return;
    const member =
      parent.type === "MemberExpression" && isNode(parent["property"]) ? parent["property"]["name"] : undefined;
    if (member === "now" || member === "random") found.push(`${file}:${line(node)} calls ${name}.${member}`);
    const called = name === "Date" && field === "callee" && (parent["arguments"] as unknown[]).length === 0;
    if (called) found.push(`${file}:${line(node)} reads the clock by Date()`);
  });
  return found;
}

const HTTP_NAMES = new Set(["Response", "Request", "Headers", "URL", "URLSearchParams", "fetch"]);
/** The name of a header inside a text, as the protocol writes it. */
const HTTP_HEADER = /\b(Stream|Producer|Tidemark|Content|Retry|Last|Cache)-[A-Z]/;

/** Places where a file of worker/store or worker/stream names HTTP. Both rooms serve every dialect. */
export function httpNames(source: string, file: string): string[] {
  if (!/^worker\/(store|stream)\//.test(file)) return [];
  const found: string[] = [];
  walk(parse(source, file), (node, parent, field) => {
    const text = node.type === "Literal" ? node["value"] : (node["value"] as { raw?: unknown } | undefined)?.raw;
    if (node.type === "Identifier" && isReference(parent, field) && HTTP_NAMES.has(node["name"] as string))
      found.push(`${file} names ${node["name"] as string}`);
    else if (typeof text === "string" && HTTP_HEADER.test(text)) found.push(`${file} says ${text}`);
  });
  return found;
}

const FUNCTION = /^(FunctionDeclaration|FunctionExpression|ArrowFunctionExpression)$/;

/** Lines of [start, end), without those of `holes`. */
function linesOf(source: string, node: Node, holes: readonly Node[]): number {
  const lines = (from: number, to: number): number => source.slice(from, to).split("\n").length;
  return lines(node.start, node.end) - holes.reduce((sum, hole) => sum + lines(hole.start, hole.end) - 1, 0);
}

function outermostFunctions(node: Node): Node[] {
  return children(node).flatMap(([, child]) => (FUNCTION.test(child.type) ? [child] : outermostFunctions(child)));
}

/**
 * Functions above the limit. Lines of inner functions count, except in test/: a suite is one function around many small
 * ones.
 */
export function longFunctions(source: string, file: string): string[] {
  const nested = file.startsWith("test/");
  const found: string[] = [];
  walk(parse(source, file), (node) => {
    if (!FUNCTION.test(node.type)) return;
    const lines = linesOf(source, node, nested ? outermostFunctions(node) : []);
    const at = source.slice(0, node.start).split("\n").length;
    if (lines > FUNCTION_LINES_MAX) found.push(`${file}:${at} has a function of ${lines} lines`);
  });
  return found;
}

/** Lines above the limit, counted in characters: characters of drawings have several bytes each. */
export function wideLines(source: string, file: string): string[] {
  return source.split("\n").flatMap((line, i) => {
    const { length } = [...line];
    return length > LINE_CHARACTERS_MAX ? [`${file}:${i + 1} has ${length} characters`] : [];
  });
}

/** Finds files that are too long or have no first comment, and enums and namespaces. */
export function untidy(source: string, file: string): string[] {
  const found: string[] = [];
  const lines = source.split("\n").length - 1;
  if (lines > FILE_LINES_MAX) found.push(`${file} has ${lines} lines`);
  if (!/\.(ts|js|mjs)$/.test(file)) return found;
  if (roomOf(file) !== undefined && !/^\/[*/]/.test(source)) found.push(`${file} does not begin with a comment`);
  walk(parse(source, file), (node) => {
    if (file.startsWith("assembly/")) return;
    if (node.type === "TSEnumDeclaration" || node.type === "TSModuleDeclaration") {
      if (node["declare"] !== true) found.push(`${file} has an enum or a namespace`);
    }
  });
  return found;
}

/** Machine paths and registry hosts. They are put together here so that this file does not match itself. */
const MACHINE = new RegExp(
  `(?<![\\w.~-])/(${["home", "root", "Users", "work", "farm"].join("|")})/[\\w.-]|` +
    `regi${"stry"}\\.(npmjs|yarnpkg)|/tmp/${"bash"}`,
);

export function machineNames(text: string, file: string): string[] {
  return text
    .split("\n")
    .flatMap((line, i) => (MACHINE.test(line) ? [`${file}:${i + 1} names a machine or a registry`] : []));
}

/** A heading's anchor, as GitHub makes it. */
export const anchorOf = (heading: string): string =>
  heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .replace(/\s/g, "-");

export interface DocLink {
  readonly line: number;
  readonly target: string;
  /** Set by `file`: "title" in a document; the file must have a test of this title. */
  readonly title?: string | undefined;
}

/** Relative links of a Markdown file, and the paths (and tests) of this repository that it names in backticks. */
export function linksOf(markdown: string): { readonly links: DocLink[]; readonly paths: DocLink[] } {
  const links: DocLink[] = [];
  const paths: DocLink[] = [];
  let fenced = false;
  markdown.split("\n").forEach((text, i) => {
    if (/^\s*```/.test(text)) fenced = !fenced;
    if (fenced) return;
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (target !== undefined && !/^[a-z]+:/.test(target)) links.push({ line: i + 1, target });
    }
    for (const [, target, title] of text.matchAll(
      /`((?:assembly|src|test|tools|bin|web|worker|docs|\.ci)\/[\w./-]+)`(?:: "([^"]+)")?/g,
    )) {
      if (target !== undefined) paths.push({ line: i + 1, target, title });
    }
  });
  return { links, paths };
}
