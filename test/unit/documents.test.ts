/**
 * The documents' code compiles: TypeScript, JavaScript, JSX, and components of Vue and Svelte, whose templates count
 * too. So do the templates' scripts. Here over the sources; test/package/documents.test.ts does it over the packed
 * package.
 */
import { beforeAll, expect, test } from "vitest";
import { complaints, DOCUMENTS, type Files, programsOf, templateFiles } from "../support/doc-programs.ts";
import { readDoc } from "../support/doc-blocks.ts";

const programs: Files = Object.assign(templateFiles(), ...DOCUMENTS.map((document) => programsOf(document)));
const SUBJECT = {
  "planted.ts": 'import { open } from "tidemark/browser";\nconst tide = await open("a");\ntide.subject();\n',
};

/** By what it stands in: a right piece of docs/frameworks.md, and the wrong one that is planted there. */
const PLANTS: Readonly<Record<string, readonly [right: string, wrong: string]>> = {
  "an import of JSX": ["import { list, notes }", "import { lists, notes }"],
  "a hook of React": ["all.map(({ id, text })", "all.map(({ id, title })"],
  "a call of Solid": ["error().message", "error().massage"],
  "a script of Vue": ["isReady, error: unread } = useView", "isRead, error: unread } = useView"],
  "a template of Vue": ["{{ record.value }}", "{{ record.val }}"],
  "a name that a template of Vue lacks": ['v-if="isReady"', 'v-if="isThere"'],
  "a script of Svelte": ["const added = useAppend(notes)", "const added = useAppends(notes)"],
  "a template of Svelte": ["added.pending as", "added.pendings as"],
};

const nameOf = (plant: string): string => `${plant.replaceAll(" ", "-")}-`;

function wrongComponents(): Files {
  const text = readDoc("docs/frameworks.md");
  const files: Files = {};
  for (const [plant, [right, wrong]] of Object.entries(PLANTS)) {
    expect(text).toContain(right);
    Object.assign(files, programsOf("docs/frameworks.md", text.replaceAll(right, wrong), nameOf(plant)));
  }
  return files;
}

/** Of all programs, right and planted: the compiler starts once for them all, because a start takes seconds. */
let said: string[] = [];
beforeAll(() => {
  const planted = { ...SUBJECT, ...wrongComponents() };
  expect(Object.keys(programs).filter((name) => name in planted)).toEqual([]);
  said = complaints({ ...programs, ...planted });
});

test("every program in README, docs, skills and templates compiles", () => {
  for (const kind of [".ts", ".js", ".jsx", ".vue.ts"]) expect(Object.keys(programs).join(" ")).toContain(kind);
  expect(Object.keys(programs).length).toBeGreaterThan(35);
  expect(said.filter((line) => line.slice(0, line.indexOf("(")) in programs)).toEqual([]);
});

test("a block that calls what is not there is found", () => {
  expect(said.join("\n")).toContain("planted.ts(3,6)");
});

test("a wrong name in a component is found, in scripts and in templates", () => {
  const missed = Object.keys(PLANTS).filter((plant) => !said.some((line) => line.startsWith(nameOf(plant))));
  expect(missed).toEqual([]);
});
