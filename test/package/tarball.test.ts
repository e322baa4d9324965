/**
 * What the tarball holds: each file that it should, and no other. A lost line of `files` in package.json, a source map,
 * a file of the build that has no name here, or a package inside without its licence is found.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, expect, inject, it } from "vitest";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { MODULES_FILE } from "../../tools/package/build.mjs";

const root = path.join(import.meta.dirname, "../..");
/** These folders come whole, but for what a run of an app leaves in them. */
const WHOLE = ["bin", "docs", "skills", "templates"];
const LEFT_BY_RUNS = /(^|\/)(node_modules|dist|\.wrangler|\.dev\.vars)(\/|$)/;
const ALONE = ["CHANGELOG.md", "LICENSE", "README.md", "package.json"];
/** Files whose names only their maker knows. Declarations are checked against the entries in entries.test.ts. */
const MADE = [/^dist\/types\/.+\.d\.ts$/, /^dist\/playground\/(?!.*\.map$).+/, /^dist\/reference\/.+\.md$/];
/** Of each kind there is at least this. */
const MADE_FIRST = ["dist/types/src/browser/index.d.ts", "dist/playground/index.html", "dist/reference/README.md"];

const below = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)).replaceAll("\\", "/"));

let held: string[];
let expected: string[];

/** Names of packages whose code is in a file of the package. */
function packagesInside(): string[] {
  const modules = JSON.parse(readFileSync(MODULES_FILE as string, "utf8")) as Record<string, readonly string[]>;
  const bundled = Object.values(modules)
    .flat()
    .flatMap((module) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(module)?.[1] ?? []);
  // The playground's drawings; Vite bundles that page.
  return [...new Set([...bundled, "uplot"])];
}

beforeAll(() => {
  held = below(inject("unpacked"));
  const modules = Object.keys(JSON.parse(readFileSync(MODULES_FILE as string, "utf8")) as object);
  expected = [
    ...ALONE,
    ...WHOLE.flatMap((folder) => below(path.join(root, folder)).map((file) => `${folder}/${file}`)).filter(
      (file) => !LEFT_BY_RUNS.test(file),
    ),
    ...modules.map((name) => `dist/${name}.js`),
    "dist/kernel.wasm",
    "dist/edge-kernel.wasm",
    ...packagesInside().map((name) => `dist/licenses/${name}.txt`),
    ...MADE_FIRST,
  ];
});

const wrong = (files: readonly string[]): string[] => [
  ...expected.filter((file) => !files.includes(file)).map((file) => `${file} is missing`),
  ...files
    .filter((file) => !expected.includes(file) && !MADE.some((made) => made.test(file)))
    .map((file) => `${file} does not belong there`),
];

it("the tarball has every file of the package, and no other", () => {
  expect(wrong(held)).toEqual([]);
  expect(expected.length).toBeGreaterThan(90);
  expect(packagesInside()).toEqual(expect.arrayContaining(["comlink", "idb", "jose", "citty"]));
});

it("each line of `files` that is lost is found, and so is a file too many", () => {
  const { files } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as { files: string[] };
  const lines = files.filter((line) => !line.startsWith("!"));
  expect(lines).toEqual(expect.arrayContaining(["bin", "dist", "docs", "skills", "templates"]));
  for (const line of lines)
    expect(wrong(held.filter((file) => file !== line && !file.startsWith(`${line}/`))).join(), line).toContain(
      "is missing",
    );
  for (const extra of [
    "dist/core.js.map",
    "dist/playground/index.js.map",
    "test/tidy.test.ts",
    "tools/run/run.mjs",
    "src/index.ts",
    "templates/react/node_modules/a.js",
    "dist/types/a.ts",
  ])
    expect(wrong([...held, extra])).toEqual([`${extra} does not belong there`]);
});

it("every file that package.json names is there", () => {
  const manifest = JSON.parse(readFileSync(path.join(inject("unpacked"), "package.json"), "utf8")) as {
    bin: Record<string, string>;
    exports: Record<string, string | Record<string, string>>;
  };
  const exported = Object.values(manifest.exports).flatMap((each) =>
    typeof each === "string" ? each : Object.values(each),
  );
  const texts = [...Object.values(manifest.bin), ...exported];
  expect(texts.length).toBeGreaterThan(20);
  expect(texts.filter((file) => !existsSync(path.join(inject("unpacked"), file)))).toEqual([]);
});
