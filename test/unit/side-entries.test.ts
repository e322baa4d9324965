/** The package's side entries: the table of the build, `exports` of package.json and the list of declarations agree. */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { MAIN_ENTRIES, SIDE_ENTRIES } from "../../tools/package/side-entries.mjs";

const root = path.join(import.meta.dirname, "../..");
const read = (file: string): string => readFileSync(path.join(root, file), "utf8");
const MAIN = [".", "./browser", "./worker", "./kernel.wasm", "./package.json"];

test("each side entry is exported by its name, with its declarations, and each export is an entry", () => {
  const entries = SIDE_ENTRIES as Record<string, { source: string }>;
  const { exports } = JSON.parse(read("package.json")) as { exports: Record<string, unknown> };
  const expected = Object.fromEntries(
    Object.entries(entries).map(([name, { source }]) => [
      `./${name}`,
      { types: `./dist/types/${source.replace(/\.tsx?$/, ".d.ts")}`, default: `./dist/${name}.js` },
    ]),
  );
  const others = Object.fromEntries(Object.entries(exports).filter(([name]) => !MAIN.includes(name)));
  expect(others).toEqual(expected);
});

test("each entry has a limit of its size", () => {
  const limits = { ...MAIN_ENTRIES, ...SIDE_ENTRIES } as Record<string, { gzipMax?: number }>;
  expect(Object.keys(limits)).toEqual(expect.arrayContaining(["index", "worker", "node", "otel", "react", "client"]));
  const without = Object.keys(limits).filter((name) => !(limits[name]!.gzipMax! > 0));
  expect(without).toEqual([]);
});

test("each side entry's source exists, and its declarations are made", () => {
  const listed = (JSON.parse(read("tools/package/tsconfig.types.json")) as { files: string[] }).files;
  for (const { source } of Object.values(SIDE_ENTRIES as Record<string, { source: string }>)) {
    expect(existsSync(path.join(root, source)), source).toBe(true);
    expect(listed, source).toContain(`../../${source}`);
  }
});
