/**
 * `npm start` builds the playground and serves it on a loopback port until Ctrl-C, and runs the edge worker beside it
 * in local workerd. It is a build and not a development server: the page is the one that users would get, and nothing
 * reloads it. The port stays the same from run to run if it is free, because a page's stored data belong to its
 * address. The edge's state is in .cache/edge.
 *
 *     npm start -- --port 5000 --edge-port 8788 --state DIRECTORY
 *     npm start -- --no-edge
 */
import { spawn } from "node:child_process";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { build, preview } from "vite";
import { commandLine, flag, integer, text } from "./command-line.mjs";
import { bundleTs } from "./run-ts.mjs";
import { findNode24, root, runsVitest, SetupError } from "./setup.mjs";

const PORT = 4173;
/** Wrangler's default port, which people know. */
const EDGE_PORT = 8787;
/** workerd starts within some seconds. If it takes longer, a message says so. */
const EDGE_WAIT_MS = 60_000;
const configFile = path.join(root, "vite.config.ts");

/** What a TypeScript file of this repository exports. */
const bundled = async (file) => import(pathToFileURL(await bundleTs(path.join(root, file))).href);

/** Tells the page where the edge is: `url` is null while the edge starts, and absent if there is none. */
const tellEdge = (edge) => ({
  name: "tidemark-edge",
  configurePreviewServer({ middlewares }) {
    middlewares.use("/edge.json", (_, answer) => {
      answer.setHeader("content-type", "application/json");
      answer.end(JSON.stringify({ url: edge.url }));
    });
  },
});

/** Builds and serves; `close()` ends it. Tests use it as well. `port` must be free. */
export async function startPlayground({ port = PORT, logLevel = "warn", edge = {} } = {}) {
  await build({ configFile, mode: "production", logLevel });
  const { deviceLinks } = await bundled("cli/device-links.ts");
  const plugins = [tellEdge(edge), deviceLinks(edge)];
  const server = await preview({
    configFile,
    mode: "production",
    logLevel,
    plugins,
    preview: { port, strictPort: true },
  });
  const address = server.httpServer.address();
  return {
    url: `http://127.0.0.1:${address.port}/`,
    close: () => (server.httpServer.closeAllConnections(), server.close()),
  };
}

/** Starts of the edge, where another program takes each port before the edge uses it. */
const EDGE_TRIES = 3;

/**
 * The port that was named, which must be free, or else the first free one. Prints a line if it is not the usual one.
 */
async function portFor(what, named, standard) {
  const { freePort } = await bundled("cli/ports.ts");
  const port = await freePort(named ?? standard);
  if (port === undefined) throw new SetupError(`No free port for ${what} from ${named ?? standard} on: name one.`);
  if (port === (named ?? standard)) return port;
  if (named !== undefined) throw new SetupError(`Port ${named} for ${what} is taken. Free from there on: ${port}.`);
  console.log(`Port ${standard} is taken; ${what} takes ${port}.`);
  return port;
}

/** The playground on its port, or on the next one if another program has taken that since it was looked for. */
async function servePlayground(named, edge) {
  const { onPort } = await bundled("cli/ports.ts");
  return onPort(
    () => portFor("the playground", named, PORT),
    named !== undefined,
    (port) => startPlayground({ port, edge }),
  );
}

/** Prints commands that talk to the edge and can be pasted. */
function introduce(origin) {
  const stream = `${origin}/v1/stream/hello`;
  console.log(`Tidemark edge: ${origin}/v1/stream/<name>`);
  console.log(`  create  curl -X PUT ${stream} -H 'content-type: text/plain'`);
  console.log(`  append  curl -X POST ${stream} -H 'content-type: text/plain' -d 'one more '`);
  console.log(`  read    curl '${stream}?offset=-1'`);
}

/**
 * Starts the edge in a child process. `found` gets the process, and its address once it answers. A line says why it
 * can't run.
 */
async function startEdge(named, state, found, tries = 1) {
  let binary = process.execPath;
  try {
    if (!runsVitest()) binary = findNode24();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.log(`No edge: it needs Node 22.12 or newer. ${error.message}`);
    return;
  }
  const { isOccupied } = await bundled("cli/ports.ts");
  const port = await portFor("the edge", named, EDGE_PORT);
  const args = [path.join(root, "tools", "run", "edge.mjs"), String(port), ...(state === undefined ? [] : [state])];
  const child = spawn(binary, args, { cwd: root, stdio: ["ignore", "inherit", "inherit", "ipc"] });
  found.url = null;
  found.child = child;
  const slow = setTimeout(
    () => console.log("The edge does not answer yet; the playground goes on without it."),
    EDGE_WAIT_MS,
  );
  child.on("message", ({ url, error }) => {
    clearTimeout(slow);
    // Another program has taken the port since it was looked for.
    if (isOccupied(error) && named === undefined && tries < EDGE_TRIES) {
      found.child = undefined;
      return void startEdge(named, state, found, tries + 1);
    }
    found.url = url;
    if (url) introduce(url);
    else console.log(`The edge did not start: ${error}. The playground goes on.`);
  });
  child.once("exit", (code) => {
    clearTimeout(slow);
    if (found.child !== child) return;
    found.url = undefined;
    if (code) console.log("The edge has ended; the playground goes on.");
  });
}

function ended(child) {
  if (!child || child.exitCode !== null || child.signalCode !== null) return undefined;
  const exit = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  return exit;
}

/**
 * Resolves with "stop" on the first signal to end; a second one ends the process at once. It listens before
 * anything is printed that says "ready", because whoever reads that may send the signal at once. The listener is never
 * exchanged, because Node loses a signal that comes during an exchange.
 */
function firstSignal() {
  let heard;
  const stop = new Promise((resolve) => (heard = () => resolve("stop")));
  process.once("SIGINT", heard).once("SIGTERM", heard);
  /** Vite's own handler would end this process before the edge has ended. */
  const alone = () => {
    for (const other of process.listeners("SIGTERM")) if (other !== heard) process.off("SIGTERM", other);
  };
  return { stop, alone };
}

export async function main(args) {
  const values = commandLine(
    {
      script: "start",
      about: "Builds and serves the playground, and runs the edge beside it, both on loopback, until Ctrl-C.",
      options: {
        port: integer({
          min: 0,
          max: 65_535,
          help: `of the playground; 0: any free one [default ${PORT}, or the next free one]`,
        }),
        "edge-port": integer({
          min: 0,
          max: 65_535,
          help: `of the edge; 0: any free one [default ${EDGE_PORT}, or the next free one]`,
        }),
        state: text({ sample: "FOLDER", help: "where the edge keeps its logs [default .cache/edge]" }),
        "no-edge": flag({ help: "the playground alone" }),
      },
    },
    args,
  );
  // A port that was named is refused before anything is built.
  if (values.port !== undefined) await portFor("the playground", values.port, PORT);
  const { stop, alone } = firstSignal();
  const found = {};
  if (!values["no-edge"]) await startEdge(values["edge-port"], values.state, found);
  const started = performance.now();
  console.log("Building the playground …");
  const served = await Promise.race([servePlayground(values.port, found), stop]);
  alone();
  if (served !== "stop") {
    console.log(`Ready in ${((performance.now() - started) / 1000).toFixed(1)} s. Ctrl-C ends it.`);
    console.log(`Tidemark playground: ${served.url}`);
    await stop;
    await served.close();
  }
  await ended(found.child);
  // A build that is still under way is not waited for.
  if (served === "stop") process.exit(0);
  return 0;
}
