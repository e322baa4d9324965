/**
 * Both lock files install on a machine that has nothing: one written over an existing node_modules lacks other systems'
 * packages.
 */
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const root = path.join(import.meta.dirname, "../..");

test.each(["", "test/bench/peers"])("npm ci takes the lock of ./%s", async (folder) => {
  const args = ["ci", "--dry-run", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=notice"];
  // It rejects when npm says that lock and package.json differ.
  const { stdout } = await promisify(execFile)("npm", args, { cwd: path.join(root, folder) });
  expect(stdout).toMatch(/added \d+ packages|up to date/);
});
