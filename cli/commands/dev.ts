/**
 * `tidemark dev`: the edge on this machine, for an app that is being written, and the playground beside it. It runs the
 * package's Worker in the Wrangler that the app has installed. Requests from this machine need no token.
 *
 *   FOLDER/worker.js       passes the package's Worker on        } written anew each time
 *   FOLDER/wrangler.json   its bindings                          }
 *   FOLDER/lock            held while it runs: two workerds over the same files would spoil them
 *   FOLDER/state/          the logs, which stay
 *   FOLDER/.gitignore      of all of it, where this command has made the folder
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { lockFolder } from "../../src/node/folder-lock.ts";
import { type Command, numberOf } from "../arguments.ts";
import { Failure, UsageError } from "../failure.ts";
import { stopSignal } from "../interrupt.ts";
import { type EdgeAt, type Served, servePlayground } from "../playground.ts";
import { freePort, onPort, PORTS_TRIED } from "../ports.ts";
import { printLine } from "../terminal.ts";

const PORT = 8787;
const PLAYGROUND_PORT = 4173;
const PORT_MAX = 65_535;
/** Lines of Wrangler that are shown where it ends before it serves. */
const LINES_SHOWN = 15;
/** Old enough for the Wrangler that Node 20 gets; not before 2026-03-03 (docs/example-worker/wrangler.jsonc). */
const COMPATIBILITY_DATE = "2026-04-01";

/** Wrangler's program, as the folder that this command runs in has it. */
function wranglerOf(folder: string): string {
  try {
    const file = createRequire(path.join(folder, "package.json")).resolve("wrangler/package.json");
    const { bin } = JSON.parse(readFileSync(file, "utf8")) as { bin: { wrangler: string } };
    return path.join(path.dirname(file), bin.wrangler);
  } catch {
    throw new Failure(
      "the edge runs in Wrangler, and there is none here: npm install --save-dev wrangler; or --alone for the " +
        "playground without an edge, which has everything but sync between two devices",
    );
  }
}

/** The port that is asked for, or the first free one from the usual one on, without the one that is `taken`. */
export async function portFor(
  option: string,
  asked: number | undefined,
  usual: number,
  taken?: number,
): Promise<number> {
  const port = await freePort(asked ?? usual, taken);
  if (asked !== undefined && port !== asked)
    throw new Failure(`port ${asked} is taken: name another one with --${option}, or leave it out`);
  if (port === undefined)
    throw new Failure(`no port from ${usual} to ${usual + PORTS_TRIED - 1} is free: name one with --${option}`);
  return port;
}

function writeWorker(folder: string): string {
  const worker = fileURLToPath(new URL("./worker.js", import.meta.url));
  const config = {
    name: "tidemark-dev",
    main: "worker.js",
    compatibility_date: COMPATIBILITY_DATE,
    durable_objects: {
      bindings: [
        { name: "LOGS", class_name: "LogObject" },
        { name: "SUBSCRIPTIONS", class_name: "SubscriptionObject" },
      ],
    },
    migrations: [{ tag: "v1", new_sqlite_classes: ["LogObject", "SubscriptionObject"] }],
    r2_buckets: [{ binding: "SEGMENTS", bucket_name: "tidemark-dev" }],
    vars: { TIDEMARK_OPEN_ACCESS: "loopback", TIDEMARK_EVENTS: "changes" },
  };
  const code = `import { handleRequest } from ${JSON.stringify(worker)};
export { LogObject, SubscriptionObject } from ${JSON.stringify(worker)};
export default { fetch: handleRequest };
`;
  try {
    // Logs of a developer's machine belong into no repository. A folder that was there has its owner's rules.
    const isNew = mkdirSync(folder, { recursive: true }) !== undefined;
    if (isNew) writeFileSync(path.join(folder, ".gitignore"), "*\n");
    writeFileSync(path.join(folder, "worker.js"), code);
    writeFileSync(path.join(folder, "wrangler.json"), `${JSON.stringify(config, null, 2)}\n`);
  } catch (thrown) {
    throw new Failure(`${folder} can't be written: ${(thrown as Error).message}`);
  }
  return path.join(folder, "wrangler.json");
}

const QUIET = {
  WRANGLER_SEND_METRICS: "false",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  WRANGLER_HIDE_BANNER: "true",
  NO_COLOR: "1",
};

async function introduce(url: string, folder: string, playground: string): Promise<void> {
  await printLine(`${playground}   the playground; its devices sync over the edge`);
  await printLine(`${url}   an edge with logs in ${folder}; Ctrl-C ends it, the logs stay`);
  await printLine(`  append   echo '{"value":{"total":42}}' | npx tidemark append ${url} orders`);
  await printLine(`  follow   npx tidemark tail ${url} orders -f`);
  await printLine(`  a page   open("my-app", { sync: { url: "${url}", topics: ["orders"] } })`);
}

interface DevArguments {
  readonly port?: string;
  readonly "playground-port"?: string;
  readonly folder: string;
  readonly alone?: boolean;
}

/** The playground until it is interrupted. */
async function playAlone({ url, close }: Served): Promise<void> {
  const signal = stopSignal();
  await printLine(`${url}   the playground, without an edge; Ctrl-C ends it`);
  if (!signal.aborted) await once(signal, "abort");
  close();
}

/** The edge, until it is interrupted or ends. */
async function runEdge(wrangler: string, folder: string, port: number, beside: Served, edge: EdgeAt): Promise<void> {
  const config = writeWorker(folder);
  const lock = await lockFolder(folder);
  const where = ["--config", config, "--ip", "127.0.0.1", "--port", String(port), "--persist-to", `${folder}/state`];
  const child = spawn(process.execPath, [wrangler, "dev", ...where], {
    cwd: folder,
    env: { ...process.env, ...QUIET },
    stdio: ["ignore", "pipe", "pipe"],
  });
  // However this process ends: a Wrangler that is left behind would go on over files that nobody locks.
  const end = (): void => void child.kill();
  process.once("exit", end);
  const signal = stopSignal();
  signal.addEventListener("abort", () => child.kill("SIGINT"));
  const lines: string[] = [];
  const hear = (line: string): void => {
    lines.push(line);
    if (lines.length > LINES_SHOWN) lines.shift();
    if (edge.url || !/Ready on http/.test(line)) return;
    edge.url = `http://127.0.0.1:${port}`;
    void introduce(edge.url, folder, beside.url);
  };
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on("line", hear);
  const [code] = (await once(child, "close")) as [number | null];
  process.off("exit", end);
  lock.release();
  if (!signal.aborted) throw new Failure(`Wrangler has ended (${code ?? "by a signal"}):\n${lines.join("\n")}`);
}

export const dev: Command = {
  meta: { name: "dev", description: "an edge and the playground on this machine, for an app that is being written" },
  args: {
    port: { type: "string", valueHint: "number", description: `of the edge. Default: the first free from ${PORT} on` },
    "playground-port": {
      type: "string",
      valueHint: "number",
      description: `of the playground. Default: the first free from ${PLAYGROUND_PORT} on`,
    },
    folder: { type: "string", valueHint: "folder", default: ".tidemark", description: "keeps the logs: .tidemark" },
    alone: { type: "boolean", description: "the playground without an edge; needs no Wrangler" },
  },
  more:
    "The edge needs Wrangler in the app: npm install --save-dev wrangler. Only this machine reaches it, without\n" +
    "a token.\n" +
    "The playground is a page that shows a log's insides, breaks it and lets it heal; its sample data are made up.",
  examples: ["npx tidemark dev", "npx tidemark dev --port 9000 --folder /tmp/edge", "npx tidemark dev --alone"],
  async run({ args }: { readonly args: DevArguments }) {
    const asked = numberOf("port", args.port, 1, PORT_MAX);
    const askedBeside = numberOf("playground-port", args["playground-port"], 1, PORT_MAX);
    if (args.alone && asked !== undefined) throw new UsageError("--port is of the edge, and --alone has none", "dev");
    if (asked !== undefined && asked === askedBeside)
      throw new UsageError(`--port and --playground-port are both ${asked}, and must differ`, "dev");
    const wrangler = args.alone ? undefined : wranglerOf(process.cwd());
    const edge: EdgeAt = wrangler === undefined ? {} : { url: null };
    const besidePort = (): Promise<number> => portFor("playground-port", askedBeside, PLAYGROUND_PORT, asked);
    const beside = await onPort(besidePort, askedBeside !== undefined, (port) => servePlayground(port, edge));
    try {
      if (wrangler === undefined) return await playAlone(beside);
      const edgePort = (): Promise<number> => portFor("port", asked, PORT, askedBeside);
      await onPort(edgePort, asked !== undefined, (port) =>
        runEdge(wrangler, path.resolve(args.folder), port, beside, edge),
      );
    } finally {
      beside.close();
    }
  },
};
