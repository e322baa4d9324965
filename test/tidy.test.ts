/**
 * The house rules, checked on every file: imports run one way, the rooms below the hosts name no host, files and
 * functions stay short, the kernel stays small and imports nothing, documents point at things that exist. Each checker
 * is first shown a planted violation, because a checker that finds nothing proves nothing.
 */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
// @ts-expect-error plain JavaScript, because it runs before anything is compiled
import { RELEASE_BYTES_MAX, kernelDirectory } from "../tools/package/build-kernel.mjs";
import { DEFAULT_SETTINGS } from "../src/log/limits.ts";
import { CASTS_LEFT } from "./support/casts-left.ts";
import { circles, wrongArrows } from "./support/arrows.ts";
import { doubledNames } from "./support/names.ts";
import { namesOf, plannedOf, wordsOf } from "./support/doc-names.ts";
import {
  anchorOf,
  blindCasts,
  hostNames,
  httpNames,
  linksOf,
  longFunctions,
  machineNames,
  replacedMethods,
  untidy,
  wideLines,
  wrongImports,
} from "./support/tidy.ts";

const root = path.join(import.meta.dirname, "..");
const read = (file: string): string => readFileSync(path.join(root, file), "utf8");

const SKIPPED = new Set([
  "node_modules",
  "dist",
  ".cache",
  ".git",
  "coverage",
  ".vitest-attachments",
  "__screenshots__",
  ".wrangler",
]);

/** Paths from the root, with forward slashes. */
function filesBelow(directory = ""): string[] {
  return readdirSync(path.join(root, directory), { withFileTypes: true }).flatMap((entry) => {
    if (SKIPPED.has(entry.name)) return [];
    const file = path.posix.join(directory, entry.name);
    return entry.isDirectory() ? filesBelow(file) : [file];
  });
}

const files = filesBelow();
const sources = files.filter((file) => /\.(ts|mjs|js)$/.test(file));
const texts = files.filter((file) => /\.(ts|mjs|js|json|md|css|html|sh|yml)$|^\.ci\/|LICENSE/.test(file));
const inRooms = (file: string): boolean => /^(assembly|src|web|worker|cli)\//.test(file);

test("there are files to look at", () => {
  expect(sources.filter(inRooms).length).toBeGreaterThan(5);
  expect(files).toContain("test/tidy.test.ts");
});

describe("imports", () => {
  test.each([
    ["src/log/x.ts", 'import type { A } from "../browser/api.ts";'],
    ["src/kernel/x.ts", 'export * from "../record/format.ts";'],
    ["src/store/x.ts", 'type A = import("../log/types.ts").Acks;'],
    ["src/record/x.ts", 'const a = await import("../store/volume.ts");'],
    ["src/sync/x.ts", 'import { a } from "../delivery/producer.ts";'],
    ["src/browser/x.ts", 'import { a } from "../../worker/index.ts";'],
    ["src/delivery/x.ts", 'import { a } from "../topic/check.ts";'],
    ["src/topic/x.ts", 'import { a } from "../browser/api.ts";'],
    ["src/index.ts", 'export { open } from "./browser/index.ts";'],
    ["src/store/x.ts", 'new Worker(new URL("../browser/worker-entry.ts", import.meta.url));'],
    ["src/log/x.ts", 'import { wrap } from "comlink";'],
    ["src/browser/x.ts", 'import { readFile } from "node:fs/promises";'],
    ["src/browser/x.ts", 'import { a } from "../../test/support/kernels.ts";'],
    ["src/store/x.ts", 'import { a } from "./volume";'],
    ["web/x.ts", 'import { Log } from "../src/log/log.ts";'],
    ["assembly/x.ts", 'import { a } from "../src/errors";'],
    ["worker/x.ts", 'import { a } from "../src/browser/page/browser-tide.ts";'],
    ["worker/x.ts", 'import { Hono } from "hono";'],
    ["src/browser/x.ts", 'import kernel from "../../.cache/kernel/release.wasm";'],
    ["src/attic/x.ts", 'import { a } from "./y.ts";'],
  ])("a wrong arrow is found: %s %s", (file, source) => {
    expect(wrongImports(source, file)).toHaveLength(1);
  });

  test("right arrows are left alone", () => {
    expect(
      wrongImports('import type { A } from "../store/log-store.ts"; import { b } from "../errors.ts";', "src/log/x.ts"),
    ).toEqual([]);
    expect(
      wrongImports('// import "../browser/api.ts"\nconst s = \'import "../browser/api.ts"\';', "src/log/x.ts"),
    ).toEqual([]);
    expect(
      wrongImports(
        'import { open } from "../src/browser/index.ts"; import u from "uplot"; import "./x.css";',
        "web/x.ts",
      ),
    ).toEqual([]);
  });

  test("imports run one way", () => {
    expect(sources.flatMap((file) => wrongImports(read(file), file))).toEqual([]);
  });

  test.each([
    ["worker/store/x.ts", 'import { a } from "../stream/stream.ts";'],
    ["worker/stream/x.ts", 'import { a } from "../wire/http.ts";'],
    ["worker/front/x.ts", 'import type { A } from "../log-object/archiver.ts";'],
    ["worker/log-object/x.ts", 'import type { A } from "../front/auth.ts";'],
    ["worker/env.ts", 'import { a } from "./store/x.ts";'],
    ["worker/client/x.ts", 'import { a } from "../library.ts";'],
    ["worker/attic/x.ts", "export {};"],
    ["worker/x.ts", "export {};"],
    ["src/browser/volume/x.ts", 'const a = await import("../worker/standby.ts");'],
    ["src/browser/tabs/x.ts", 'import { a } from "../worker/standby.ts";'],
    ["src/browser/worker/x.ts", 'import { a } from "../tabs/membership.ts";'],
    ["src/browser/platform/x.ts", 'new Worker(new URL("../worker/worker-entry.ts", import.meta.url));'],
  ])("a wrong arrow between inner rooms is found: %s %s", (file, source) => {
    expect(wrongArrows(source, file)).toHaveLength(1);
  });

  test("right arrows between inner rooms are left alone", () => {
    expect(
      wrongArrows(
        'import { a } from "../stream/stream.ts"; import { b } from "../../src/errors.ts"; import { c } from "./y.ts";',
        "worker/wire/x.ts",
      ),
    ).toEqual([]);
    expect(
      wrongArrows(
        'import { a } from "./front/router.ts"; import { b } from "./log-object/log-object.ts";',
        "worker/index.ts",
      ),
    ).toEqual([]);
  });

  test("inside worker/ and src/browser/ they run one way as well", () => {
    expect(sources.flatMap((file) => wrongArrows(read(file), file)).sort()).toEqual([]);
  });

  test("a circle of files is found, by any kind of import", () => {
    const files = {
      a: 'import { b } from "./b.ts";',
      b: 'export type B = import("./c.ts").C;',
      c: 'const a = await import("./a.ts");',
      d: 'import "./a.ts";',
    };
    expect(circles(new Map(Object.entries(files).map(([name, text]) => [`src/log/${name}.ts`, text])))).toEqual([
      ["src/log/a.ts", "src/log/b.ts", "src/log/c.ts"],
    ]);
  });

  test("files import each other in no circle", () => {
    const rooms = sources.filter((file) => inRooms(file) && !file.startsWith("assembly/"));
    expect(circles(new Map(rooms.map((file) => [file, read(file)])))).toEqual([]);
  });
});

describe("host names", () => {
  test.each([
    "const t = Date.now();",
    "const t = new Date();",
    "const r = Math.random();",
    "setTimeout(() => {}, 1);",
    "const t = performance.now();",
    "if (navigator.onLine) {}",
    "let port: MessagePort;",
    "const o = { self };",
    "globalThis.x = 1;",
    "const answer = await fetch(address);",
    "let transform: CompressionStream;",
  ])("a host in a host-free room is found: %s", (source) => {
    expect(hostNames(source, "src/log/x.ts")).toHaveLength(1);
    expect(hostNames(source, "src/browser/x.ts")).toEqual([]);
  });

  test("words that are not host names are left alone", () => {
    const source =
      "// Date.now()\nconst o = { window: 1, self() { return o.window; } }; new Date(5); clock.now(); const window " +
      "= 1; f(window); type T = { document: string };";
    expect(hostNames(source, "src/log/x.ts")).toEqual([]);
  });

  test("the rooms from assembly to topic name no host, no clock, no timer, no randomness", () => {
    expect(sources.flatMap((file) => hostNames(read(file), file))).toEqual([]);
  });
});

describe("HTTP", () => {
  test.each([
    "const r = new Response(null);",
    "export function f(request: Request) {}",
    'throw new Error("send Stream-Closed: true");',
    "const text = `Producer-Id is ${id}`;",
  ])("is found in the rooms that must not know it: %s", (source) => {
    expect(httpNames(source, "worker/stream/x.ts")).toHaveLength(1);
    expect(httpNames(source, "worker/wire/x.ts")).toEqual([]);
  });

  test("worker/store and worker/stream name none of it", () => {
    expect(sources.flatMap((file) => httpNames(read(file), file))).toEqual([]);
  });
});

describe("names", () => {
  const programs = {
    browser: /^src\/(?!browser\/package\/|node\/|bindings\/(vue|svelte|solid)\.ts)/,
    edge: /^(src\/(?!browser\/|node\/|bindings\/|otel\/)|worker\/)/,
    // It has an open() of its own, and none of the browser's entry.
    node: /^src\/(?!(browser|node)\/package\/|browser\/index\.ts$|bindings\/)/,
  };
  const doubled = (program: RegExp): string[] =>
    doubledNames(new Map(sources.filter((file) => program.test(file)).map((file) => [file, read(file)]))).sort();

  test("a name that two files export is found, of values and of types; one that is passed on is not", () => {
    const files = {
      "src/a.ts": "export const LEASE_MS = 600; export type Mark = 1;",
      "src/b.ts": 'export const LEASE_MS = 500; export { c } from "./c.ts";',
      "src/c.ts": "export function c() {} export interface Mark {}",
    };
    expect(doubledNames(new Map(Object.entries(files)))).toEqual([
      "LEASE_MS: src/a.ts, src/b.ts",
      "Mark: src/a.ts, src/c.ts",
    ]);
  });

  test.each(Object.entries(programs))("in the program of the %s no two files export one name", (_, program) => {
    expect(doubled(program)).toEqual([]);
  });
});

describe("casts over unknown", () => {
  test("are found; a cast that the compiler checks is left alone", () => {
    expect(blindCasts("const a = b as unknown as C<D>;", "src/log/x.ts")).toEqual(["src/log/x.ts casts to C<D>"]);
    expect(blindCasts("const a = b as C; const d = e as unknown; // f as unknown as G", "src/log/x.ts")).toEqual([]);
  });

  test("the sources have none, and tests only those that are listed", () => {
    const found = files.filter((file) => file.endsWith(".ts")).flatMap((file) => blindCasts(read(file), file));
    expect(found.sort()).toEqual([...CASTS_LEFT].sort());
  });
});

describe("methods", () => {
  test.each([
    "volume.close = () => drop();",
    "volume[method] = async (...more) => work(...more);",
    "this.host.open = function () { return 1; };",
  ])("one that is replaced in somebody else's object is found: %s", (source) => {
    expect(replacedMethods(source, "src/browser/x.ts")).toHaveLength(1);
  });

  test("handlers, and what an object sets in itself, are left alone", () => {
    const source =
      "port.onmessage = () => f(); this.wake = () => f(); seen.at = now(); connection.onEnd = (e) => f(e);";
    expect(replacedMethods(source, "src/browser/x.ts")).toEqual([]);
  });

  test("nobody replaces a method of somebody else's object", () => {
    expect(sources.flatMap((file) => replacedMethods(read(file), file))).toEqual([]);
  });
});

describe("length and shape", () => {
  const long = `export function f() {\n${"  g();\n".repeat(69)}}\n`;

  test("a long function, a long file, an enum and a missing first comment are found", () => {
    expect(longFunctions(long, "src/log/x.ts")).toHaveLength(1);
    expect(longFunctions(long.replace("  g();\n", ""), "src/log/x.ts")).toEqual([]);
    expect(longFunctions(`class A {\n  m() {\n${"g();\n".repeat(70)}}\n}`, "src/log/x.ts")).toHaveLength(1);
    const suite = `describe("", () => {\n${'test("", () => {\n  g();\n});\n'.repeat(40)}});`;
    expect(longFunctions(suite, "test/unit/x.test.ts")).toEqual([]);
    expect(longFunctions(suite, "src/log/x.ts")).toHaveLength(1);
    expect(untidy(`// x\n${"g();\n".repeat(500)}`, "src/log/x.ts")).toHaveLength(1);
    expect(untidy("// x\nenum E { A }", "src/log/x.ts")).toHaveLength(1);
    expect(untidy("export const a = 1;", "src/log/x.ts")).toHaveLength(1);
  });

  test("files have at most 500 lines, functions 70; sources begin with a comment and hold no enum", () => {
    const found = files
      .filter((file) => /\.(ts|mjs|js|css|html)$/.test(file))
      .flatMap((file) => [
        ...untidy(read(file), file),
        ...(sources.includes(file) ? longFunctions(read(file), file) : []),
      ]);
    expect(found).toEqual([]);
  });

  test("a wide line is found, by its characters", () => {
    expect(wideLines(`${"─".repeat(120)}\n${"a".repeat(121)}`, "src/log/x.ts")).toEqual([
      "src/log/x.ts:2 has 121 characters",
    ]);
  });

  test("a line has at most 120 characters", () => {
    expect(sources.flatMap((file) => wideLines(read(file), file))).toEqual([]);
  });
});

describe("the repository", () => {
  test("a machine path and a registry's address are found", () => {
    expect(machineNames(`see /${"home"}/me/x`, "a")).toHaveLength(1);
    expect(machineNames(`https://regi${"stry"}.npmjs.org/x`, "a")).toHaveLength(1);
    expect(machineNames("src/work/x, docs/home/y", "a")).toEqual([]);
  });

  test("no file names a machine or a registry", () => {
    expect(texts.flatMap((file) => machineNames(read(file), file))).toEqual([]);
  });

  test("the top level is the house's", () => {
    const allowed =
      `package.json package-lock.json tsconfig.json vite.config.ts assembly src worker web test tools docs README.md
      LICENSE CHANGELOG.md bin skills templates cli .ci .gitignore`.split(/\s+/);
    const local = [...SKIPPED];
    expect(
      readdirSync(root).filter((name) => !allowed.includes(name) && !local.includes(name) && !name.endsWith(".tgz")),
    ).toEqual([]);
  });

  test("runtime dependencies are at most comlink, idb and jose", () => {
    const { dependencies = {} } = JSON.parse(read("package.json")) as { dependencies?: Record<string, string> };
    expect(Object.keys(dependencies).filter((name) => !["comlink", "idb", "jose"].includes(name))).toEqual([]);
  });
});

describe("the kernel", () => {
  const bytes = (): Buffer<ArrayBuffer> => readFileSync(path.join(kernelDirectory, "release.wasm"));

  test("the release build has at most 12 KiB and imports nothing", async () => {
    expect(RELEASE_BYTES_MAX).toBe(12 * 1024);
    expect(bytes().length).toBeLessThanOrEqual(RELEASE_BYTES_MAX);
    expect(WebAssembly.Module.imports(await WebAssembly.compile(bytes()))).toEqual([]);
  });

  test("its memory cannot grow", async () => {
    const { instance } = await WebAssembly.instantiate(bytes());
    const memory = Object.values(instance.exports).find((value) => value instanceof WebAssembly.Memory);
    expect(memory).toBeDefined();
    expect(() => memory?.grow(1)).toThrow(RangeError);
  });
});

describe("documents", () => {
  const documents = files.filter((file) => file.endsWith(".md"));

  /** Links, paths and test titles in a document that lead nowhere. */
  function broken(markdown: string, file: string): string[] {
    const { links, paths } = linksOf(markdown);
    const found: string[] = [];
    for (const { line, target } of links) {
      const [name = "", anchor] = target.split("#");
      const where = name === "" ? file : path.posix.join(path.posix.dirname(file), name);
      const text =
        name === "" ? markdown : existsSync(path.join(root, where)) && where.endsWith(".md") ? read(where) : "";
      const anchors = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => anchorOf(heading));
      const isMade = where.startsWith("dist/reference/");
      const there =
        isMade || (existsSync(path.join(root, where)) && (anchor === undefined || anchors.includes(anchor)));
      if (!there) found.push(`${file}:${line} points at ${target}`);
    }
    for (const { line, target, title } of paths) {
      if (!existsSync(path.join(root, target))) found.push(`${file}:${line} names ${target}`);
      else if (title !== undefined && !read(target).includes(title))
        found.push(`${file}:${line} names the test "${title}"`);
    }
    return found;
  }

  test("a dead link, a dead anchor, a dead path and a missing test are found", () => {
    expect(broken(`see \`test/tidy.test.ts\`: "no such ${"title"}"`, "README.md")).toHaveLength(1);
    expect(broken('see `test/tidy.test.ts`: "every link, anchor and path leads somewhere"', "README.md")).toEqual([]);
    expect(
      broken(
        "[a](docs/none.md) and `src/none.ts` and [b](#none)\n# Some\n[c](#some) [d](https://example.org)",
        "README.md",
      ),
    ).toHaveLength(3);
  });

  /** Sources that documents may speak of: all but this test and its list of names. */
  const spoken = files.filter(
    (file) =>
      /\.(ts|mjs|js|jsonc|json|html)$/.test(file) &&
      !/^(test\/tidy\.test\.ts|test\/support\/doc-names\.ts|package-lock\.json)$/.test(file),
  );
  const words = new Set(spoken.flatMap((file) => wordsOf(read(file))));

  /** Names of code in a document that no source has, and names that it calls to come although a source has them. */
  function unknown(markdown: string, file: string): string[] {
    const named = namesOf(markdown);
    const planned = plannedOf(markdown);
    const isThere = (name: string): boolean => files.some((each) => `/${each}`.endsWith(`/${name}`));
    return [
      ...[
        ...named.words.filter(({ name }) => !words.has(name) && !planned.includes(name)),
        ...named.files.filter(({ name }) => !isThere(name)),
      ].map(({ line, name }) => `${file}:${line} names ${name}`),
      ...planned.filter((name) => words.has(name)).map((name) => `${file} calls ${name} planned`),
    ];
  }

  test.each([
    "`SegmentShore`",
    "`store.appendAfter()`",
    "`LEASE_HOURS_MAX`",
    "`none.ts`",
    "`tabs/volume.ts`",
    "```\n page ─▶ port/none.ts ─▶ worker\n```",
    "```planned\nSegmentStore SegmentShore\n```",
  ])("a name of code that no source has is found: %s", (markdown) => {
    expect(unknown(markdown, "README.md")).toHaveLength(1);
  });

  test("names of code that the sources have, and plain words, are left alone", () => {
    const text =
      "`SegmentStore` over a `Volume`, `log-object/sockets.ts`, `LEASE_MS`, `Content-Type`, `npm test`, " +
      "`INVALID_RECORD`";
    expect(unknown(`${text}\n\n\`\`\`\nsomeCode();\n\`\`\``, "README.md")).toEqual([]);
    expect(unknown("`SegmentShore`\n\n```planned\nSegmentShore\n```", "README.md")).toEqual([]);
  });

  test("every name of code occurs in a source", () => {
    expect(words.size).toBeGreaterThan(1000);
    const present = documents.filter((file) => file !== "CHANGELOG.md");
    expect(present.flatMap((file) => unknown(read(file), file))).toEqual([]);
  });

  test("limits.md names every setting of a log", () => {
    const text = read("docs/limits.md");
    expect(Object.keys(DEFAULT_SETTINGS).filter((name) => !new RegExp(`\`${name}[\`.]`).test(text))).toEqual([]);
  });

  test("every link, anchor and path leads somewhere", () => {
    expect(documents.length).toBeGreaterThan(0);
    expect(documents.flatMap((file) => broken(read(file), file))).toEqual([]);
  });
});
