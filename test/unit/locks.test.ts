/**
 * Both lock files can be installed on any machine. npm writes an incomplete lock file, without the packages of other
 * systems, when it runs over an existing node_modules.
 */
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const root = path.join(import.meta.dirname, "../..");

test.each(["", "test/bench/peers"])("npm ci takes the lock of ./%s", async (folder) => {
  const args = ["ci", "--dry-run", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=notice"];
  // npm ci fails when the lock file and package.json differ.
  const { stdout } = await promisify(execFile)("npm", args, { cwd: path.join(root, folder) });
  expect(stdout).toMatch(/added \d+ packages|up to date/);
});
