/**
 * `npm start`: builds the playground and serves it on a loopback port until Ctrl-C, and runs the edge worker in local workerd beside
 * it. A build rather than a development server: the page is the one that users would get, and nothing reloads it. The port
 * stays the same from run to run where it is free, because a page's stored data belong to its address. The edge's
 * state lies in .cache/edge.
 *
 *     npm start -- --port 5000 --edge-port 8788 --state DIRECTORY
 *     npm start -- --no-edge
 */
import { spawn } from "node:child_process";
import { parseArgs } from "node:util";
import path from "node:path";
import { build, preview } from "vite";
import { findNode24, root, runsVitest, SetupError } from "./setup.mjs";

const PORT = 4173;
const configFile = path.join(root, "vite.config.ts");

/** Builds and serves; `close()` ends it. For tests too. */
export async function startPlayground({ port = PORT, logLevel = "warn" } = {}) {
  await build({ configFile, mode: "production", logLevel });
  // Vite takes the next free port where this one is taken.
  const server = await preview({ configFile, mode: "production", logLevel, preview: { port } });
  const address = server.httpServer.address();
  return { url: `http://127.0.0.1:${address.port}/`, close: () => (server.httpServer.closeAllConnections(), server.close()) };
}

/** The edge in a child process; undefined, and a line that says why, where it can't run. */
function startEdge(args) {
  let binary = process.execPath;
  try {
    if (!runsVitest()) binary = findNode24();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.log(`No edge: it needs Node 22.12 or newer. ${error.message}`);
    return undefined;
  }
  const child = spawn(binary, [path.join(root, "test", "tooling", "edge.mjs"), ...args], { cwd: root, stdio: ["ignore", "inherit", "inherit", "ipc"] });
  child.once("exit", (code) => code && console.log("The edge has ended; the playground goes on."));
  return child;
}

function ended(child) {
  if (!child || child.exitCode !== null) return undefined;
  const exit = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  return exit;
}

export async function main(args) {
  const options = { port: { type: "string" }, "edge-port": { type: "string" }, state: { type: "string" }, "no-edge": { type: "boolean", default: false } };
  const { values } = parseArgs({ args, options });
  const named = [["--port", values["edge-port"]], ["--state", values.state]].flatMap(([name, value]) => (value === undefined ? [] : [name, value]));
  const edge = values["no-edge"] ? undefined : startEdge(named);
  const started = performance.now();
  console.log("Building the playground …");
  const { url, close } = await startPlayground(values.port === undefined ? {} : { port: Number(values.port) });
  console.log(`Ready in ${((performance.now() - started) / 1000).toFixed(1)} s. Ctrl-C ends it.`);
  console.log(`Tidemark playground: ${url}`);
  // Vite's own would end this process before the edge has ended.
  process.removeAllListeners("SIGTERM");
  await new Promise((resolve) => process.once("SIGINT", resolve).once("SIGTERM", resolve));
  await close();
  await ended(edge);
  return 0;
}
