/** Bundles the worker as for a deployment. Nothing is sent anywhere. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect, test } from "vitest";

test("wrangler deploy --dry-run passes, with the kernel as a module and both classes bound", () => {
  const out = mkdtempSync(path.join(os.tmpdir(), "tidemark-deploy-"));
  const wrangler = path.join(process.cwd(), "node_modules", "wrangler", "bin", "wrangler.js");
  const env = { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", CI: "1" };
  const said = execFileSync(
    process.execPath,
    [wrangler, "deploy", "--dry-run", "--config", "worker/wrangler.jsonc", "--outdir", out],
    { env, encoding: "utf8" },
  );
  expect(readdirSync(out).filter((name) => name.endsWith(".wasm"))).toHaveLength(1);
  expect(said).toMatch(/LOGS[\s\S]*SUBSCRIPTIONS/);
  rmSync(out, { recursive: true });
});
