/**
 * `npm start`: builds the playground and serves it on a loopback port until Ctrl-C. A build rather than a development
 * server: the page is the one that users would get, and nothing reloads it. The port stays the same from run to run where
 * it is free, because a page's stored data belong to its address.
 *
 *     npm start -- --port 5000
 */
import { parseArgs } from "node:util";
import path from "node:path";
import { build, preview } from "vite";
import { root } from "./setup.mjs";

const PORT = 4173;
const configFile = path.join(root, "vite.config.ts");

/** Builds and serves; `close()` ends it. For tests too. */
export async function startPlayground({ port = PORT, logLevel = "warn" } = {}) {
  await build({ configFile, mode: "production", logLevel });
  // Vite takes the next free port where this one is taken.
  const server = await preview({ configFile, mode: "production", logLevel, preview: { port } });
  const address = server.httpServer.address();
  return { url: `http://127.0.0.1:${address.port}/`, close: () => server.close() };
}

export async function main(args) {
  const { values } = parseArgs({ args, options: { port: { type: "string" } } });
  const started = performance.now();
  console.log("Building the playground …");
  const { url, close } = await startPlayground(values.port === undefined ? {} : { port: Number(values.port) });
  console.log(`Ready in ${((performance.now() - started) / 1000).toFixed(1)} s. Ctrl-C ends it.`);
  console.log(`Tidemark playground: ${url}`);
  await new Promise((resolve) => process.once("SIGINT", resolve).once("SIGTERM", resolve));
  await close();
  return 0;
}
