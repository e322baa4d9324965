/**
 * Documents in the package are read by people who have no clone: what they tell to run is there. Documents about the
 * project's own making name its commands, as README says.
 */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";

const root = path.join(import.meta.dirname, "../..");
const read = (file: string): string => readFileSync(path.join(root, file), "utf8");
const DOCS = "cli client environments frameworks node operations otel recipes records typed".split(" ");
const FOR_USERS = [
  ...DOCS.map((name) => `docs/${name}.md`),
  ...readdirSync(path.join(root, "skills")).map((name) => `skills/${name}/SKILL.md`),
];
/** Apps to copy: they have scripts of their own. */
const APPS = { "templates/README.md": "templates/react", "docs/example-app/README.md": "docs/example-app" };
const { scripts: SCRIPTS } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
/** Scripts of the repository, and its programs. */
const COMMAND = new RegExp(
  `\\bnpm (?:run )?(?:${Object.keys(SCRIPTS).join("|")})\\b|\\bnpx vitest\\b|\\bnode (?:tools|test|cli)/`,
);

/** Lines with a command of the repository that do not say so. */
const repositoryOnly = (markdown: string): string[] =>
  markdown.split("\n").filter((line) => line.search(COMMAND) >= 0 && !/\brepository\b/.test(line));

test("documents for users name no command that only a clone has", () => {
  for (const planted of ["see it: `npm start`", "`npm run size` measures it", "node tools/run/run.mjs build"])
    expect(repositoryOnly(`# A\n${planted}\n`)).toEqual([planted]);
  expect(repositoryOnly("the repository's `npm run size`; `npm install tidemark`; `npm run dev` of Vite")).toEqual([]);
  expect(FOR_USERS.flatMap((file) => repositoryOnly(read(file)).map((line) => `${file}: ${line}`))).toEqual([]);
});

test("documents of apps to copy name scripts that the app has", () => {
  for (const [file, app] of Object.entries(APPS)) {
    const { scripts } = JSON.parse(read(`${app}/package.json`)) as { scripts: Record<string, string> };
    const named = [...read(file).matchAll(/\bnpm (?:run )?(start|test|build)\b/g)].map(([, name]) => name!);
    expect(named.length, file).toBeGreaterThan(0);
    expect(
      named.filter((name) => !(name in scripts)),
      file,
    ).toEqual([]);
  }
});

test("a package is made of a build and its reference, and README says where documents and commands are", () => {
  expect(SCRIPTS["prepack"]).toMatch(/run\.mjs build && .*run\.mjs reference$/);
  expect(read("README.md")).toMatch(/node_modules\/tidemark/);
  expect(read("README.md")).toMatch(/`npm start`, `npm test` and `npm run …` are commands of a clone/);
});
