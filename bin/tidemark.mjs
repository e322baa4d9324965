#!/usr/bin/env node
/** `npx tidemark`: the start of the program, which is bundled (cli/main.ts). */
import { existsSync } from "node:fs";

const program = new URL("../dist/cli.js", import.meta.url);
if (existsSync(program)) await import(program.href);
else {
  process.stderr.write("tidemark: the package is not whole: dist/cli.js is missing (in a clone: npm run build)\n");
  process.exitCode = 1;
}
