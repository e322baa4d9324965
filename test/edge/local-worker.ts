/**
 * The edge worker in local workerd, for tests that send it HTTP from outside: on loopback, on a free port, with its
 * state in a directory or in memory. It needs no network and no account.
 */
import path from "node:path";

export interface LocalWorker {
  readonly url: string;
  stop(): Promise<void>;
}

export interface LocalOptions {
  /** Settings of the worker, over those of its configuration. Default: open access. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Another worker's configuration. Default: the edge worker's own. */
  readonly config?: string;
  /** The directory for its state. Default: in memory. */
  readonly state?: string;
}

const root = process.cwd();

export async function startWorker({
  settings = { TIDEMARK_OPEN_ACCESS: "loopback" },
  state,
  config = path.join(root, "worker", "wrangler.jsonc"),
}: LocalOptions = {}): Promise<LocalWorker> {
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
      persist: state ?? false,
    },
  });
  await worker.ready;
  const { origin } = new URL(await worker.url);
  return { url: origin, stop: () => worker.dispose() };
}
