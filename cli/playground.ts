/**
 * Serves the package's playground to this machine, for `tidemark dev`: its files (dist/playground), where the edge is,
 * the links of its two devices, which it can cut, and sample data, which are made up here so that the package need not
 * hold them.
 *
 *   /edge.json             { "url": the edge's address, null while it starts, absent where there is none }
 *   /link/… /links…        device-links.ts
 *   /samples/NAME.json     samples.ts
 */
import { createReadStream, existsSync, statSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import path from "node:path";
import { pipeline } from "node:stream";
import { fileURLToPath } from "node:url";
import { deviceLinks } from "./device-links.ts";
import { Failure } from "./failure.ts";
import { sampleOf } from "./samples.ts";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};
/** Another name that leads here is a page's attempt to speak with this machine's servers. */
const LOOPBACK = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/;

type Handler = (asked: IncomingMessage, answer: ServerResponse, next: () => void) => void;

/** Where the edge is; the same object all the time, as it may start later. */
export interface EdgeAt {
  url?: string | null;
}

const playgroundFolder = (): string => {
  const folder = fileURLToPath(new URL("./playground", import.meta.url));
  if (existsSync(path.join(folder, "index.html"))) return folder;
  throw new Failure("the package is not whole: dist/playground is missing (in a clone: npm run build)");
};

function send(answer: ServerResponse, status: number, type: string, text: string): void {
  answer.writeHead(status, { "content-type": type, "cache-control": "no-store", "x-content-type-options": "nosniff" });
  answer.end(text);
}

function sendFile(folder: string, pathname: string, answer: ServerResponse): void {
  const file = path.join(folder, pathname.endsWith("/") ? `${pathname}index.html` : pathname);
  const isThere = file.startsWith(folder + path.sep) && existsSync(file) && statSync(file).isFile();
  if (!isThere) return send(answer, 404, "text/plain", "there is no such file in the playground\n");
  const type = TYPES[path.extname(file)] ?? "application/octet-stream";
  answer.writeHead(200, { "content-type": type, "cache-control": "no-cache", "x-content-type-options": "nosniff" });
  // A file that can't be read any further cuts its answer short.
  pipeline(createReadStream(file), answer, () => undefined);
}

function respond(folder: string, edge: EdgeAt, { url = "/" }: IncomingMessage, answer: ServerResponse): void {
  let pathname: string;
  try {
    pathname = decodeURIComponent(new URL(url, "http://localhost").pathname);
  } catch {
    return send(answer, 400, "text/plain", "this is no address\n");
  }
  if (pathname === "/edge.json") return send(answer, 200, "application/json", JSON.stringify({ url: edge.url }));
  const sample = sampleOf(pathname);
  if (sample !== undefined) return send(answer, 200, "application/json", sample);
  sendFile(folder, pathname, answer);
}

export interface Served {
  readonly url: string;
  close(): void;
}

/** `port` must be free. */
export async function servePlayground(port: number, edge: EdgeAt): Promise<Served> {
  const folder = playgroundFolder();
  // No other command needs it, and all would wait for it.
  const { createServer } = await import("node:http");
  const handlers: Handler[] = [];
  const server = createServer((asked, answer) => {
    if (!LOOPBACK.test(asked.headers.host ?? ""))
      return send(answer, 403, "text/plain", "the playground is for this machine alone\n");
    const from = (n: number): void =>
      n < handlers.length ? handlers[n]!(asked, answer, () => from(n + 1)) : respond(folder, edge, asked, answer);
    from(0);
  });
  deviceLinks(edge).configurePreviewServer({
    middlewares: { use: (handler) => void handlers.push(handler) },
    httpServer: server,
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${port}/`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
