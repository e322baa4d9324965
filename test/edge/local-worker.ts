/**
 * The edge worker in local workerd, for tests that send it HTTP from outside: on loopback, on a free port. It needs no
 * network and no account. Its object storage is in this process.
 *
 * Wrangler's development server stands before a worker of a configuration of its own, and where a test asks for it. Its
 * workers and its Node take five times the processor time for a request, and seconds for a start.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Random } from "../simulation/prng.ts";
import { R2Server } from "./r2-server.ts";
import { RawWorkerd } from "./raw-workerd.ts";

export interface LocalWorker {
  readonly url: string;
  stop(): Promise<void>;
}

export interface RawWorker extends LocalWorker {
  /** Kills it, and starts it again over the same state, at the same address. */
  restart(): Promise<void>;
}

type Settings = Readonly<Record<string, string>>;

export interface DevOptions {
  /** Settings of the worker, over those of its configuration. Default: open access. */
  readonly settings?: Settings;
  /** Another worker's configuration. Default: the edge worker's own. */
  readonly config?: string;
}

const root = process.cwd();
const OPEN: Settings = { TIDEMARK_OPEN_ACCESS: "loopback" };
/** A setting of the edge worker's own configuration. */
const CONFIGURED: Settings = { TIDEMARK_EVENTS: "all" };

/** The edge worker in workerd itself. `settings`: over those of its configuration. Default: open access. */
export async function startWorker({ settings = OPEN }: { readonly settings?: Settings } = {}): Promise<RawWorker> {
  const directory = mkdtempSync(path.join(os.tmpdir(), "tidemark-worker-"));
  const bucket = await R2Server.start(new Random(1));
  const worker = await RawWorkerd.create({ directory, settings: { ...CONFIGURED, ...settings }, r2Port: bucket.port });
  await worker.start();
  return {
    url: worker.url,
    restart: async () => {
      await worker.kill();
      await worker.start();
    },
    stop: async () => {
      await worker.kill();
      bucket.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** A worker behind Wrangler's development server, with its state in memory. */
export async function startDevServer({
  settings = OPEN,
  config = path.join(root, "worker", "wrangler.jsonc"),
}: DevOptions = {}): Promise<LocalWorker> {
  Object.assign(process.env, {
    WRANGLER_SEND_METRICS: "false",
    CLOUDFLARE_CF_FETCH_ENABLED: "false",
    WRANGLER_HIDE_BANNER: "true",
    WRANGLER_LOG: "error",
  });
  // A second of the processor. Programs and files that start none do without.
  const { unstable_startWorker } = await import("wrangler");
  const worker = await unstable_startWorker({
    config,
    bindings: Object.fromEntries(
      Object.entries(settings).map(([name, value]) => [name, { type: "plain_text" as const, value }]),
    ),
    dev: {
      server: { hostname: "127.0.0.1", port: 0 },
      inspector: false,
      watch: false,
      logLevel: "error",
      persist: false,
    },
  });
  await worker.ready;
  const { origin } = new URL(await worker.url);
  return { url: origin, stop: () => worker.dispose() };
}
