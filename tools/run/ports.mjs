/** Ports on the loopback address: which one is free. */
import { createServer } from "node:net";

/** The search tries this many ports in a row. If all are taken, something is wrong, and it ends. */
const TRIES = 50;

function isFree(port) {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error) =>
      error.code === "EADDRINUSE" || error.code === "EACCES" ? resolve(false) : reject(error),
    );
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** The first free port from this one on. 0 stays 0: the system then picks one. Undefined if many in a row are taken. */
export async function freePort(from) {
  if (from === 0) return 0;
  for (let port = from; port < Math.min(from + TRIES, 65_536); port++) if (await isFree(port)) return port;
  return undefined;
}
