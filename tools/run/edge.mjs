/**
 * The edge worker in local workerd, for `npm start`: on loopback, without tokens, with its state on disk. It needs no
 * account and no network. It is a process of its own because it needs a newer Node than the playground. It sends its
 * address to its parent in a message.
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
/** Reports an error to the parent and ends. Wrangler itself would wait for ever without a message. */
function fail(thrown) {
  const error = thrown?.error ?? thrown;
  process.send?.({ error: String(error?.cause?.message ?? error?.message ?? error) }, () => process.exit(1));
}
process.on("unhandledRejection", fail);

/** dispose() takes some milliseconds. If it has not ended after this time, it hangs. */
const DISPOSE_MS = 10_000;

/** A signal of the terminal or of the parent. It is listened for before the parent is told that the edge is ready. */
const stop = new Promise((resolve) => {
  process.once("SIGINT", resolve).once("SIGTERM", resolve).once("disconnect", resolve);
});

/** Two workerds over the same databases would corrupt them. A file in the folder names the process that uses it. */
function keepFolder() {
  const file = path.join(persist, "kept-by");
  mkdirSync(persist, { recursive: true });
  let owner = 0;
  try {
    owner = Number(readFileSync(file, "utf8"));
    process.kill(owner, 0);
  } catch (error) {
    // No such process, so nobody uses the folder. EPERM means that another user's process is alive.
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
// Before the edge is ready it has stored nothing that could be lost. So a signal ends this process at once, even if
// the start hangs.
let isReady = false;
void stop.then(() => isReady || process.exit(0));
const worker = await environment.startWorker({
  config: path.join(root, "worker", "wrangler.jsonc"),
  bindings: {
    TIDEMARK_OPEN_ACCESS: { type: "plain_text", value: "loopback" },
    // One line for each request would hide the address.
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
isReady = true;
process.send?.({ url: new URL(await worker.url).origin });
await stop;
// dispose() lets committed data reach the disk and ends workerd. If dispose() hangs, this process ends without it,
// because the parent waits for this process.
setTimeout(() => process.exit(1), DISPOSE_MS).unref();
await worker.dispose();
process.exit(0);
