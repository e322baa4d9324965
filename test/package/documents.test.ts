/**
 * The documents' code over the packed package: every program compiles against the package's own types, and the
 * components of docs/frameworks.md run in Chromium as they stand there, each in the app that `npm create vite` makes
 * for its framework. What a page or a program does is run by running-docs.test.ts.
 */
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import type { Page } from "playwright";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { type Running, startBrowser } from "../support/chromium.ts";
import { blocksOf, readDoc } from "../support/doc-blocks.ts";
import { complaints, DOCUMENTS, fileOf, type Files, programsOf, templateFiles } from "../support/doc-programs.ts";
import { serveFolder } from "../support/packed.ts";
import { install } from "./apps.ts";

const root = path.join(import.meta.dirname, "../..");
const run = promisify(execFile);
const FRAMEWORKS = ["React", "Vue", "Svelte", "Solid"] as const;
/** Whose templates the documents begin with. */
const CREATE_VITE = "create-vite@9.3.0";
let folder = "";
let browser: Running;

/** Each package of the repository, but for ours, so that both compilers and bundlers find them. */
function linkPackages(): void {
  const from = path.join(root, "node_modules");
  const own = readdirSync(path.join(folder, "node_modules"));
  for (const name of readdirSync(from))
    if (!name.startsWith(".") && !own.includes(name))
      symlinkSync(path.join(from, name), path.join(folder, "node_modules", name));
}

/** The app of one framework: create-vite's template, with the documents' files in its src/. */
function writeApp(framework: string): string {
  const app = path.join(folder, framework);
  const template = path.join(folder, `node_modules/create-vite/template-${framework.toLowerCase()}`);
  cpSync(template, app, { recursive: true });
  const blocks = blocksOf(readDoc("docs/frameworks.md"), ["ts", "js", "jsx", "vue", "svelte"]);
  const shared = blocks.filter(({ code }) => fileOf(code) === "notes.ts");
  const files = [...shared, ...blocks.filter(({ heading }) => heading === framework)];
  const binding = `"tidemark/${framework.toLowerCase()}"`;
  for (const { code } of files) {
    const file = path.join(app, "src", fileOf(code)!);
    // Every other file takes the place of one that is there.
    expect(existsSync(file), file).toBe(!file.endsWith("notes.ts"));
    writeFileSync(file, code.replaceAll('"tidemark/react"', binding));
  }
  return app;
}

beforeAll(async () => {
  folder = path.join(inject("packageFolder"), "documents");
  mkdirSync(folder);
  writeFileSync(path.join(folder, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  await install(folder, [inject("tarball"), CREATE_VITE]);
  linkPackages();
  cpSync(path.join(import.meta.dirname, "bindings/plugins.js"), path.join(folder, "plugins.js"));
  writeFileSync(
    path.join(folder, "vite.config.js"),
    `import { plugins } from "./plugins.js";
const [vue, svelte, solid] = await plugins();
export default { plugins: [{ React: [], Vue: vue, Svelte: svelte, Solid: solid }[process.env.FRAMEWORK]] };`,
  );
  const vite = path.join(root, "node_modules/vite/bin/vite.js");
  for (const framework of FRAMEWORKS) {
    const args = [vite, "build", writeApp(framework), "-c", path.join(folder, "vite.config.js"), "--logLevel", "warn"];
    await run(process.execPath, args, { cwd: folder, env: { ...process.env, REPOSITORY: root, FRAMEWORK: framework } });
  }
  browser = await startBrowser(path.join(inject("packageFolder"), "documents-profile"));
});
afterAll(() => {
  if (browser) process.kill(-browser.child.pid!, "SIGKILL");
});

it("every program of README, docs, skills and templates compiles against the packed types", () => {
  const files: Files = Object.assign(templateFiles(), ...DOCUMENTS.map((document) => programsOf(document)));
  expect(complaints(files, folder)).toEqual([]);
  const planted = 'import { open } from "tidemark/browser";\nconst tide = await open("a");\ntide.subject();\n';
  expect(complaints({ "planted.ts": planted }, folder).join()).toContain("planted.ts(3,6)");
});

it.each(FRAMEWORKS)("the component of %s shows a note in both tabs, and again after a reload", async (framework) => {
  const site = await serveFolder(path.join(folder, framework, "dist"));
  const problems: string[] = [];
  const tab = async (): Promise<Page> => {
    const page = await browser.context.newPage();
    page.on("pageerror", (error) => problems.push(error.message));
    await page.goto(site.url);
    return page;
  };
  const shows = (page: Page, ...texts: string[]): Promise<void> =>
    expect.poll(() => page.locator("li").allTextContents()).toEqual(texts);
  try {
    const [first, second] = [await tab(), await tab()];
    await first.bringToFront();
    await first.getByLabel("Note").fill("milk");
    await first.getByLabel("Note").press("Enter");
    await shows(second, "milk");
    await shows(first, "milk");
    await expect.poll(() => first.getByLabel("Note").inputValue()).toBe("");
    await first.reload();
    await shows(first, "milk");
    expect(problems).toEqual([]);
    await Promise.all([first.close(), second.close()]);
  } finally {
    await site.close();
  }
});
