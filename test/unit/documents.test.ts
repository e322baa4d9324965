/**
 * The documents' code compiles: TypeScript, JavaScript, JSX, and components of Vue and Svelte, whose templates count
 * too. So do the templates' scripts. Here over the sources; test/package/documents.test.ts does it over the packed
 * package.
 */
import { expect, test } from "vitest";
import { complaints, DOCUMENTS, type Files, programsOf, templateFiles } from "../support/doc-programs.ts";
import { readDoc } from "../support/doc-blocks.ts";

test("every program in README, docs, skills and templates compiles", () => {
  const files: Files = Object.assign(templateFiles(), ...DOCUMENTS.map((document) => programsOf(document)));
  for (const kind of [".ts", ".js", ".jsx", ".vue.ts"]) expect(Object.keys(files).join(" ")).toContain(kind);
  expect(Object.keys(files).length).toBeGreaterThan(35);
  expect(complaints(files)).toEqual([]);
});

test("a block that calls what is not there is found", () => {
  const planted = 'import { open } from "tidemark/browser";\nconst tide = await open("a");\ntide.subject();\n';
  expect(complaints({ "planted.ts": planted }).join()).toContain("planted.ts(3,6)");
});

/** By what it stands in: a right piece of docs/frameworks.md, and the wrong one that is planted there. */
const PLANTS: Readonly<Record<string, readonly [right: string, wrong: string]>> = {
  "an import of JSX": ["import { list, notes }", "import { lists, notes }"],
  "a hook of React": ["all.map(({ id, text })", "all.map(({ id, title })"],
  "a call of Solid": ["error().message", "error().massage"],
  "a script of Vue": ["const { state: all, isReady } = useView", "const { state: all, isRead } = useView"],
  "a template of Vue": ["{{ record.value }}", "{{ record.val }}"],
  "a name that a template of Vue lacks": ['v-if="isReady"', 'v-if="isThere"'],
  "a script of Svelte": ["const added = useAppend(notes)", "const added = useAppends(notes)"],
  "a template of Svelte": ["added.pending as", "added.pendings as"],
};

test("a wrong name in a component is found, in scripts and in templates", () => {
  const text = readDoc("docs/frameworks.md");
  const nameOf = (plant: string): string => `${plant.replaceAll(" ", "-")}-`;
  const files: Files = {};
  for (const [plant, [right, wrong]] of Object.entries(PLANTS)) {
    expect(text).toContain(right);
    Object.assign(files, programsOf("docs/frameworks.md", text.replaceAll(right, wrong), nameOf(plant)));
  }
  const said = complaints(files);
  const missed = Object.keys(PLANTS).filter((plant) => !said.some((line) => line.startsWith(nameOf(plant))));
  expect(missed).toEqual([]);
});
