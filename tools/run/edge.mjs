/**
 * The edge worker in local workerd, for `npm start`: on loopback, without tokens, its state on disk. Needs no account
 * and no network. A process of its own, because it needs a newer Node than the playground does. It tells its parent its
 * address in a message.
 *
 *     node tools/run/edge.mjs PORT DIRECTORY
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { unstable_DevEnv as DevEnv } from "wrangler";
import { root } from "./setup.mjs";

const [port, persist = path.join(root, ".cache", "edge")] = process.argv.slice(2);
Object.assign(process.env, {
  WRANGLER_SEND_METRICS: "false",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  WRANGLER_HIDE_BANNER: "true",
  WRANGLER_LOG: "error",
});
/** Wrangler itself would wait for ever, and say nothing. */
function fail(thrown) {
  const error = thrown?.error ?? thrown;
  process.send?.({ error: String(error?.cause?.message ?? error?.message ?? error) }, () => process.exit(1));
}
process.on("unhandledRejection", fail);

/** Two workerds over the same databases would spoil them. The process that keeps the folder is named in it. */
function keepFolder() {
  const file = path.join(persist, "kept-by");
  mkdirSync(persist, { recursive: true });
  let owner = 0;
  try {
    owner = Number(readFileSync(file, "utf8"));
    process.kill(owner, 0);
  } catch (error) {
    // Nobody, or a process that is gone. A process of somebody else's (EPERM) lives.
    if (error.code !== "EPERM") owner = 0;
  }
  if (owner > 0)
    throw new Error(`the logs in ${persist} are in use by process ${owner}; name another folder with --state`);
  writeFileSync(file, String(process.pid));
  process.on("exit", () => rmSync(file, { force: true }));
}

try {
  keepFolder();
} catch (error) {
  fail(error);
  await new Promise(() => undefined);
}
const environment = new DevEnv();
environment.on("error", fail);
const worker = await environment.startWorker({
  config: path.join(root, "worker", "wrangler.jsonc"),
  bindings: {
    TIDEMARK_OPEN_ACCESS: { type: "plain_text", value: "loopback" },
    // One line per request would bury the address.
    TIDEMARK_EVENTS: { type: "plain_text", value: "changes" },
  },
  dev: {
    server: { hostname: "127.0.0.1", port: Number(port) },
    inspector: false,
    watch: false,
    logLevel: "error",
    persist,
  },
});
await worker.ready;
process.send?.({ url: new URL(await worker.url).origin });
// The terminal's signal and the parent's: disposing lets what is committed reach the disk, and ends workerd.
await new Promise((resolve) => process.once("SIGINT", resolve).once("SIGTERM", resolve).once("disconnect", resolve));
await worker.dispose();
process.exit(0);
