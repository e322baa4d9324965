/**
 * The edge worker in local workerd, for `npm start`: on loopback, without tokens, its state on disk. Needs no account and no
 * network. A process of its own, because it needs a newer Node than the playground does.
 *
 *     node test/tooling/edge.mjs --port 8787 --state DIRECTORY
 */
import path from "node:path";
import { parseArgs } from "node:util";
import { unstable_startWorker } from "wrangler";
import { root } from "./setup.mjs";

const { values } = parseArgs({ options: { port: { type: "string", default: "8787" }, state: { type: "string", default: path.join(root, ".cache", "edge") } } });
Object.assign(process.env, { WRANGLER_SEND_METRICS: "false", CLOUDFLARE_CF_FETCH_ENABLED: "false", WRANGLER_HIDE_BANNER: "true", WRANGLER_LOG: "error" });
const worker = await unstable_startWorker({
  config: path.join(root, "worker", "wrangler.jsonc"),
  bindings: {
    TIDEMARK_OPEN_ACCESS: { type: "plain_text", value: "loopback" },
    // One line per request would bury the address.
    TIDEMARK_EVENTS: { type: "plain_text", value: "changes" },
  },
  dev: { server: { hostname: "127.0.0.1", port: Number(values.port) }, inspector: false, watch: false, logLevel: "error", persist: values.state },
});
await worker.ready;
console.log(`Tidemark edge: ${new URL(await worker.url).origin}/v1/stream/`);
// The terminal's signal and the parent's: disposing lets what is committed reach the disk, and ends workerd.
await new Promise((resolve) => process.once("SIGINT", resolve).once("SIGTERM", resolve).once("disconnect", resolve));
await worker.dispose();
process.exit(0);
