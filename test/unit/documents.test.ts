/**
 * The documents' code compiles: each block of TypeScript is a module of its own, beside a few names that its text
 * speaks of. Blocks that only declare types are a specification's, and are compared with the sources elsewhere.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { blocksOf, overSources, readDoc } from "../support/doc-blocks.ts";

const root = path.join(import.meta.dirname, "../..");
const folder = path.join(root, ".cache", "documents");

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
}
`;

const documents = [
  "README.md",
  ...readdirSync(path.join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
  ...readdirSync(path.join(root, "skills")).map((name) => `skills/${name}/SKILL.md`),
];
const isProgram = (code: string): boolean => /^(const|let|await|for|import) ?/m.test(code);

/** What the compiler says of these files, one line each; the place is the document's. */
function complaints(files: Readonly<Record<string, string>>): string[] {
  mkdirSync(folder, { recursive: true });
  const place = mkdtempSync(path.join(folder, "run-"));
  try {
    for (const [name, code] of Object.entries(files)) writeFileSync(path.join(place, name), overSources(code));
    const config = {
      extends: path.join(root, "tsconfig.json"),
      compilerOptions: { types: ["node", "vite/client", "@cloudflare/workers-types"] },
      files: [...Object.keys(files), path.join(root, "worker/platform.d.ts")],
      include: [],
      exclude: [],
    };
    writeFileSync(path.join(place, "tsconfig.json"), JSON.stringify(config));
    execFileSync(process.execPath, [path.join(root, "node_modules/typescript/bin/tsc"), "-p", place], {
      stdio: "pipe",
      cwd: place,
    });
    return [];
  } catch (thrown) {
    return String((thrown as { stdout?: unknown }).stdout ?? thrown)
      .split("\n")
      .filter((line) => line.trim() !== "");
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

test("every program in README, docs and skills compiles", () => {
  const files: Record<string, string> = { "around.d.ts": AROUND };
  for (const document of documents)
    for (const { code, line } of blocksOf(readDoc(document)))
      if (isProgram(code)) files[`${document.replaceAll(/\W+/g, "-")}-line-${line}.ts`] = `${code}\nexport {};\n`;
  expect(Object.keys(files).length).toBeGreaterThan(12);
  expect(complaints(files)).toEqual([]);
});

test("a block that calls what is not there is found", () => {
  const planted = 'import { open } from "tidemark/browser";\nconst tide = await open("a");\ntide.subject();\n';
  expect(complaints({ "around.d.ts": AROUND, "planted.ts": planted }).join()).toContain("planted.ts(3,6)");
});
