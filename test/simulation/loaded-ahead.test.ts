/** Whatever a simulated edge or store loads on demand is in the list of loaded-ahead.ts. */
import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const ON_DEMAND = /\bimport\("(\.[^"]+)"\)/g;

function loadedBy(file: string): string[] {
  const folder = path.dirname(file);
  const found = readFileSync(path.join(root, file), "utf8").matchAll(ON_DEMAND);
  return [...found].map(([, from]) => path.posix.join(folder, from!));
}

test("what a simulation runs has nothing left to load", () => {
  const files = globSync(["src/{kernel,log,record,store,sync}/**/*.ts", "worker/**/*.ts"], { cwd: root });
  const wanted = new Set(files.filter((file) => !file.endsWith(".d.ts")).flatMap(loadedBy));
  expect(wanted.size).toBeGreaterThan(10);
  expect(loadedBy("test/simulation/loaded-ahead.ts").sort()).toEqual([...wanted].sort());
});
