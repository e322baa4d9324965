/**
 * Both lock files can be installed on any machine. npm writes an incomplete lock file, without the packages of other
 * systems, when it runs over an existing node_modules.
 */
import { execFile } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";

const root = path.join(import.meta.dirname, "../..");
// A folder of its own: what is installed says nothing here, and another step may be installing just now.
const clone = mkdtempSync(path.join(os.tmpdir(), "tidemark-locks-"));
afterAll(() => rmSync(clone, { recursive: true, force: true }));

test.each(["", "test/bench/peers"])("npm ci takes the lock of ./%s", async (folder) => {
  for (const name of ["package.json", "package-lock.json"])
    copyFileSync(path.join(root, folder, name), path.join(clone, name));
  const args = ["ci", "--dry-run", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=notice"];
  // npm ci fails when the lock file and package.json differ.
  const { stdout } = await promisify(execFile)("npm", args, { cwd: clone });
  expect(stdout).toMatch(/added \d+ packages/);
});
