/**
 * Ports on the loopback address: which one is free, and how a program serves on one. Another program may take a free
 * port before it is used; then the next one is tried. `npm start` (tools/run/playground.mjs) uses this file as well.
 */
import { createServer } from "node:net";

/** The search looks at this many ports in a row. If all are taken, something is wrong, and it ends. */
export const PORTS_TRIED = 50;
/** onPort() gives up after this many ports that another program took before they were used. */
const SERVE_TRIES = 3;

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "EADDRINUSE" || error.code === "EACCES" ? resolve(false) : reject(error),
    );
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/**
 * The first free port from this one on, without the one that is `taken` already. 0 stays 0: the system then picks one.
 * Undefined if PORTS_TRIED in a row are not free.
 */
export async function freePort(from: number, taken?: number): Promise<number | undefined> {
  if (from === 0) return 0;
  for (let port = from; port < Math.min(from + PORTS_TRIED, 65_536); port++)
    if (port !== taken && (await isFree(port))) return port;
  return undefined;
}

/** True for the error, or the message, of a program whose port is in use. */
export const isOccupied = (thrown: unknown): boolean => /EADDRINUSE|already in use/i.test(String(thrown));

/**
 * Serves on the port that `find` gives. If another program has taken that port meanwhile, `find` is asked again, three
 * times in all. A port that a person has named (`isNamed`) is not given up for another one.
 */
export async function onPort<T>(
  find: () => Promise<number>,
  isNamed: boolean,
  serve: (port: number) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    const port = await find();
    try {
      return await serve(port);
    } catch (thrown) {
      if (!isOccupied(thrown) || isNamed || tries === SERVE_TRIES) throw thrown;
    }
  }
}
