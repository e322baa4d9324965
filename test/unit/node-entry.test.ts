/**
 * dist/node.js as the package has it, in processes of their own: with the oldest Node that the machine has, it works
 * without Web Locks, and it keeps no process alive.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { bundleBase, bundleSideEntry } from "../../tools/package/build.mjs";
// @ts-expect-error plain JavaScript, because it runs before anything is compiled
import { buildKernel, kernelDirectory } from "../../tools/package/build-kernel.mjs";

const home = mkdtempSync(path.join(os.tmpdir(), "tidemark-entry-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** This process's Node, and the system's if that is another one that the package supports. */
function nodes(): string[] {
  const other = ["/usr/bin/node", "/usr/local/bin/node"].filter((file) => {
    const { stdout } = spawnSync(file, ["--version"], { encoding: "utf8" });
    const [major, minor] = (stdout ?? "").slice(1).split(".").map(Number);
    return stdout && (major! > 20 || (major === 20 && minor! >= 19)) && stdout.trim() !== process.version;
  });
  return [process.execPath, ...other.slice(0, 1)];
}

beforeAll(async () => {
  mkdirSync(path.join(home, "dist"));
  await buildKernel();
  await bundleBase(path.join(home, "dist"));
  await bundleSideEntry("node", path.join(home, "dist"));
  copyFileSync(path.join(kernelDirectory, "browser.wasm"), path.join(home, "dist", "kernel.wasm"));
  writeFileSync(path.join(home, "package.json"), '{ "type": "module" }');
});

const PROGRAM = `
import { events, open, TidemarkError } from "./dist/node.js";
const folder = process.argv[2];
const tide = await open(folder, { segmentBytes: 65536 });
const topic = tide.topic("numbers");
const all = Array.from({ length: 9000 }, (_, value) => ({ value }));
const { appended } = await topic.appendAll(all);
const options = { name: "sum", initial: () => 0, apply: (sum, { value }) => sum + value, snapshot: {} };
const view = topic.view(options);
await view.ready();
await view.save();
const refused = await open(folder).catch((error) => error instanceof TidemarkError && error.code);
const schema = { "~standard": { version: 1, vendor: "test", validate: (value) => ({ value }) } };
const todos = tide.topic("todos", { schema: events({ added: schema }) });
await todos.emit("added", "milk");
let last;
for await (const { type, value } of todos.read({ from: { last: 1 } })) last = [type, value].join(" ");
console.log(JSON.stringify({ appended, sum: view.current, refused, last }));
if (process.argv[3] === "close") await tide.close();
`;

it.each(nodes())("works, and lets the process end, closed or not: %s", (node) => {
  const program = path.join(home, "program.mjs");
  writeFileSync(program, PROGRAM);
  for (const [i, how] of ["close", "leave"].entries()) {
    const folder = path.join(home, `${node.replaceAll(path.sep, "-")}-${i}`);
    const { status, stdout, stderr } = spawnSync(node, [program, folder, how], { encoding: "utf8", timeout: 20_000 });
    expect([status, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout)).toEqual({
      appended: 9000,
      sum: (9000 * 8999) / 2,
      refused: "ALREADY_OPEN",
      last: "added milk",
    });
    const again = spawnSync(node, [program, folder, "close"], { encoding: "utf8", timeout: 20_000 });
    expect(JSON.parse(again.stdout)).toMatchObject({ appended: 9000, sum: 9000 * 8999 });
  }
});
