/**
 * The package outside of this repository's Node: `tidemark/node` and `tidemark/client` under the oldest Node that it
 * names, under Deno and under Bun, each against an edge in local workerd. npm fetches the runtimes.
 */
import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { type LocalWorker, startWorker } from "../edge/local-worker.ts";
import { install } from "./apps.ts";

const run = promisify(execFile);
const NODE = { version: "20.19.0", args: ["node", "-p", "process.execPath"] };
const BUN = { version: "1.4.5", args: ["bun", "-e", "console.log(process.execPath)"] };
const DENO = { version: "2.9.6", args: ["deno", "eval", "console.log(Deno.execPath())"] };

/** Appends, reads and follows at the edge and in a folder, imports with offsets, and ends by itself. */
const CLIENT = `
import { connect, TidemarkError } from "tidemark/client";
const [url, name] = (globalThis.Deno?.args ?? process.argv.slice(2));
const said = [];
const edge = connect(url);
const orders = edge.topic(name);
said.push((await orders.append({ key: "o-17", value: { total: 42 } })).offset);
said.push((await Promise.all([1, 2, 3].map((total) => orders.append({ value: { total } })))).at(-1).offset);
for await (const { value } of orders.read()) said.push(value.total);
const follow = orders.read({ from: "latest", follow: true });
const next = follow.next();
await orders.append({ value: { total: 7 } });
said.push((await next).value.value.total);
await follow.return();
said.push((await orders.state()).logEndOffset);
const refused = await orders.append({ value: 1 }, { ifEnd: 0 }).catch((error) => error);
said.push(refused instanceof TidemarkError && refused.code);
const { open } = await import("tidemark/node");
const tide = await open("data-" + name);
const topic = tide.topic("notes");
for (let n = 0; n < 100; n++) void topic.append({ value: { n } });
await topic.append({ value: { n: 100 } });
const files = [];
for await (const file of topic.export()) files.push(file);
const { execFileSync } = await import("node:child_process");
said.push(execFileSync(process.env.NODE, ["second.mjs", "data-" + name], { encoding: "utf8" }).trim());
await tide.close();
const again = await open("data-" + name, { create: false });
let sum = 0;
for await (const { value } of again.topic("notes").read()) sum += value.n;
await again.close();
said.push(sum, (await edge.topic(name + "/copy").importSegments(files)).nextOffset);
await edge.close();
console.log(said.join(" "));
`;
/** Another process, of Node: what it finds where the first has the folder open. */
const SECOND = `
import { open } from "tidemark/node";
console.log(await open(process.argv[2], { create: false }).then(() => "open", ({ code }) => code));
process.exit();
`;
const EXPECTED = "0 3 42 1 2 3 7 5 OFFSET_CONFLICT ALREADY_OPEN 5050 101";

const env = { ...process.env, NO_COLOR: "1", NODE: process.execPath };
let worker: LocalWorker;
let app = "";

beforeAll(async () => {
  app = path.join(inject("packageFolder"), "runtimes");
  mkdirSync(app);
  writeFileSync(path.join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }));
  writeFileSync(path.join(app, "use.mjs"), CLIENT);
  writeFileSync(path.join(app, "second.mjs"), SECOND);
  await install(app, [inject("tarball")]);
  worker = await startWorker();
});
afterAll(() => worker.stop());

/** The program of a runtime that npm has a package of. */
function programOf(name: string, { version, args }: typeof NODE): string {
  const given = ["--yes", `--package=${name}@${version}`, "--", ...args];
  return execFileSync("npx", given, { encoding: "utf8", cwd: app }).trim();
}

it("tidemark/node and tidemark/client run under Node 20.19", async () => {
  const node = programOf(`node-${process.platform}-${process.arch}`, NODE);
  expect(execFileSync(node, ["--version"], { encoding: "utf8" }).trim()).toBe(`v${NODE.version}`);
  const { stdout } = await run(node, ["use.mjs", worker.url, "of-node"], { cwd: app, env });
  expect(stdout.trim()).toBe(EXPECTED);
});

it("tidemark/node and tidemark/client run under Deno", async () => {
  const deno = programOf("deno", DENO);
  const { host } = new URL(worker.url);
  // docs/environments.md has these; the second process is the test's.
  const programs = `--allow-run=flock,${process.execPath}`;
  const rights = [`--allow-net=${host}`, "--allow-read", "--allow-write", "--allow-env", programs];
  const given = ["run", "--no-config", "--node-modules-dir=manual", ...rights, "use.mjs", worker.url, "of-deno"];
  const { stdout } = await run(deno, given, { cwd: app, env });
  expect(stdout.trim()).toBe(EXPECTED);
});

it("tidemark/node and tidemark/client run under Bun", async () => {
  const bun = programOf("bun", BUN);
  const { stdout } = await run(bun, ["use.mjs", worker.url, "of-bun"], { cwd: app, env });
  expect(stdout.trim()).toBe(EXPECTED);
});
