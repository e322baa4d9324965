/**
 * `tidemark/worker` as its users get it: packed with `npm pack`, installed into a copy of the example in a folder of
 * its own, type-checked, bundled by Wrangler as for a deployment, and run in local workerd.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startDevServer } from "../local-worker.ts";

const root = process.cwd();
const app = mkdtempSync(path.join(os.tmpdir(), "tidemark-library-"));
const config = path.join(app, "wrangler.jsonc");
const installed = (...names: string[]): string => path.join(root, "node_modules", ...names);

beforeAll(() => {
  execFileSync(process.execPath, [path.join(root, "tools/run/run.mjs"), "build"], { cwd: root, stdio: "pipe" });
  cpSync(path.join(root, "docs", "example-worker"), app, { recursive: true });
  writeFileSync(path.join(app, "package.json"), JSON.stringify({ name: "orders", private: true, type: "module" }));
  const npm = (args: string[], cwd: string): string =>
    execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  const [packed] = JSON.parse(npm(["pack", "--json", "--ignore-scripts", "--pack-destination", app], root)) as {
    filename: string;
  }[];
  npm(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--offline", `./${packed!.filename}`], app);
  mkdirSync(path.join(app, "node_modules", "@cloudflare"), { recursive: true });
  symlinkSync(
    installed("@cloudflare", "workers-types"),
    path.join(app, "node_modules", "@cloudflare", "workers-types"),
  );
});
afterAll(() => rmSync(app, { recursive: true, force: true, maxRetries: 5 }));

test("its types hold in a strict consumer", () => {
  const options = [
    "--noEmit",
    "--strict",
    "--skipLibCheck",
    "false",
    "--target",
    "es2022",
    "--module",
    "esnext",
    "--moduleResolution",
    "bundler",
    "--lib",
    "es2023,esnext.disposable",
    "--types",
    "@cloudflare/workers-types",
  ];
  execFileSync(process.execPath, [installed("typescript", "bin", "tsc"), ...options, "index.ts"], {
    cwd: app,
    stdio: "pipe",
    encoding: "utf8",
  });
});

test("Wrangler bundles the example for a deployment, the kernel as a module", () => {
  const out = path.join(app, "out");
  const env = { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", CI: "1" };
  const said = execFileSync(
    process.execPath,
    [installed("wrangler", "bin", "wrangler.js"), "deploy", "--dry-run", "--config", config, "--outdir", out],
    { cwd: app, env, encoding: "utf8" },
  );
  expect(readdirSync(out).filter((name) => name.endsWith(".wasm"))).toHaveLength(1);
  expect(said).toMatch(/LOGS[\s\S]*SUBSCRIPTIONS[\s\S]*SEGMENTS/);
});

test("in local workerd it appends and reads, and the same log is there from outside", async () => {
  const worker = await startDevServer({ config });
  const post = async (key: string, total: number) =>
    (await fetch(`${worker.url}/${key}`, { method: "POST", body: JSON.stringify({ total }) })).json();
  expect([await post("o-17", 42), await post("o-18", 7)]).toEqual([{ offset: 0 }, { offset: 1 }]);
  expect(await (await fetch(worker.url)).json()).toEqual([
    { offset: 0, key: "o-17", value: { total: 42 } },
    { offset: 1, key: "o-18", value: { total: 7 } },
  ]);
  expect(await (await fetch(`${worker.url}/v1/stream/orders?offset=-1`)).json()).toEqual([{ total: 42 }, { total: 7 }]);
  await worker.stop();
});

test("without a setting errors say how to get access; with a secret, the package's command makes tokens", async () => {
  const secret = execFileSync(path.join(app, "node_modules/.bin/tidemark"), ["secret"], {
    cwd: app,
    encoding: "utf8",
  }).trim();
  writeFileSync(path.join(app, ".dev.vars"), `TIDEMARK_JWT_SECRETS="${secret}"\n`);
  const token = execFileSync(path.join(app, "node_modules/.bin/tidemark"), ["token", "--scope", "read:** write:**"], {
    cwd: app,
    encoding: "utf8",
  }).trim();
  const worker = await startDevServer({ config, settings: { TIDEMARK_JWT_SECRETS: secret } });
  const url = `${worker.url}/v1/stream/tokens`;
  const refused = await fetch(url);
  expect([refused.status, await refused.text()]).toEqual([401, expect.stringContaining("npx tidemark token")]);
  const headers = { authorization: `Bearer ${token}`, "content-type": "text/plain" };
  expect((await fetch(url, { method: "PUT", headers, body: "x" })).status).toBe(201);
  expect(await (await fetch(url, { headers })).text()).toBe("x");
  expect((await fetch(url, { method: "DELETE", headers })).status).toBe(403);
  await worker.stop();
});

test("the example's date is the one of the worker's tests, and the Wrangler of Node 20 can run it", () => {
  const dateIn = (file: string) => /compatibility_?[dD]ate"?(?::| =) "([\d-]+)"/.exec(readFileSync(file, "utf8"))![1]!;
  const dates = [path.join(app, "wrangler.jsonc"), "worker/wrangler.jsonc", "test/edge/raw-workerd.ts"].map(dateIn);
  expect(new Set(dates).size).toBe(1);
  // On Node 20 npm installs Wrangler 4.86, whose runtime takes no later date.
  expect(dates[0]! <= "2026-04-26").toBe(true);
});

test("the example's configuration says how to get access without a token", () => {
  const settings = readFileSync(path.join(app, ".dev.vars.example"), "utf8");
  expect(settings).toMatch(/^TIDEMARK_OPEN_ACCESS="loopback"$/m);
  expect(readFileSync(path.join(app, "node_modules/tidemark/docs/example-worker/.dev.vars.example"), "utf8")).toBe(
    settings,
  );
});

test("the licences of bundled packages come along, and nothing else has to be installed", () => {
  const manifest = JSON.parse(readFileSync(path.join(app, "node_modules/tidemark/package.json"), "utf8")) as Record<
    string,
    Record<string, { optional?: boolean }>
  >;
  const { dependencies, peerDependencies = {}, peerDependenciesMeta = {} } = manifest;
  expect([dependencies, Object.keys(peerDependencies).filter((name) => !peerDependenciesMeta[name]?.optional)]).toEqual(
    [undefined, []],
  );
  expect(readFileSync(path.join(app, "node_modules/tidemark/dist/licenses/jose.txt"), "utf8")).toMatch(/copyright/i);
});
