/**
 * `npm run format`: Prettier over all TypeScript and JavaScript, with the settings in package.json. `--check` changes
 * nothing and fails where a file would change. The kernel is left out: Prettier does not know AssemblyScript's
 * decorators.
 */
import path from "node:path";
import { node } from "./child.mjs";
import { commandLine, flag } from "./command-line.mjs";
import { root } from "./setup.mjs";

const FILES = ["{src,worker,web,test,tools,bin}/**/*.{ts,mjs,js}", "*.ts"];

export async function main(args) {
  const values = commandLine(
    {
      script: "format",
      about: "Formats all sources and tests, except the kernel.",
      options: { check: flag({ help: "change nothing; fail if something would change" }) },
    },
    args,
  );
  const prettier = path.join(root, "node_modules", "prettier", "bin", "prettier.cjs");
  const cache = ["--cache", "--cache-location", path.join(root, ".cache", "prettier")];
  return node([
    prettier,
    ...FILES,
    values.check ? "--check" : "--write",
    "--log-level",
    values.check ? "warn" : "error",
    ...cache,
  ]);
}
