/**
 * The links of the playground's two devices: the way of each one to the edge leads through the playground's own server,
 * which can cut it. A cut is one of the network, so the device meets what it would meet without a network: its socket
 * is gone, and a new one can't be opened.
 *
 *     device ──/link/phone/v1/…──▶ this server ──/v1/…──▶ edge
 *     GET  /links.json             { "phone": true, "laptop": true }: whether each link is whole
 *     POST /links/phone?whole=no   cuts it; yes mends it; the answer is as above
 *
 * The address of a link is the page's own, whatever port the edge has: a tide keeps the address that it syncs with.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { connect } from "node:net";
import { type Duplex, pipeline } from "node:stream";

type Handler = (asked: IncomingMessage, answer: ServerResponse, next: () => void) => void;

/** Where the edge is. It is read each time: the edge starts later. */
interface EdgeAt {
  readonly url?: string | null;
}

interface LinkAt {
  readonly device: string;
  readonly path: string;
}

const DEVICES = ["phone", "laptop"];

/** The device and the path at the edge. Undefined: not an address of a link. */
function linkIn(url: string): LinkAt | undefined {
  const [, device = "", path = ""] = /^\/link\/(\w+)(\/.*)$/.exec(url) ?? [];
  return DEVICES.includes(device) ? { device, path } : undefined;
}

class Links {
  readonly #edge: EdgeAt;
  readonly #cut = new Set<string>();
  /** Sockets with something under way, by device. */
  readonly #open = new Map(DEVICES.map((device) => [device, new Set<Duplex>()]));

  constructor(edge: EdgeAt) {
    this.#edge = edge;
  }

  get state(): Readonly<Record<string, boolean>> {
    return Object.fromEntries(DEVICES.map((device) => [device, !this.#cut.has(device)]));
  }

  set(device: string, isWhole: boolean): void {
    if (isWhole) return void this.#cut.delete(device);
    this.#cut.add(device);
    for (const socket of this.#open.get(device)!) socket.destroy();
  }

  /**
   * True if the device gets through, until `exchange` (an answer, a WebSocket) is closed. Else its socket is gone. A
   * browser uses one socket for requests of several kinds, one after the other, so only exchanges under way are cut.
   */
  #admits(device: string, socket: Duplex, exchange: ServerResponse | Duplex): boolean {
    if (this.#cut.has(device) || !this.#edge.url) {
      socket.destroy();
      return false;
    }
    const open = this.#open.get(device)!;
    open.add(socket);
    exchange.once("close", () => open.delete(socket));
    return true;
  }

  pass({ device, path }: LinkAt, asked: IncomingMessage, answer: ServerResponse): void {
    if (!this.#admits(device, asked.socket, answer)) return;
    const { hostname, port } = new URL(this.#edge.url!);
    const { method, headers } = asked;
    // Imported, it would be loaded for each command (playground.ts).
    const onward = process
      .getBuiltinModule("node:http")
      .request({ hostname, port, path, method, headers }, (answered) => {
        answer.writeHead(answered.statusCode!, answered.headers);
        // An answer that is cut short must not look like one that is still coming.
        pipeline(answered, answer, () => undefined);
      });
    onward.on("error", () => asked.socket.destroy());
    answer.on("close", () => onward.destroy());
    asked.pipe(onward);
  }

  /** A WebSocket: its request goes on as it came, then bytes both ways. */
  passSocket({ device, path }: LinkAt, asked: IncomingMessage, socket: Duplex, head: Uint8Array): void {
    if (!this.#admits(device, socket, socket)) return;
    const { hostname, port } = new URL(this.#edge.url!);
    const onward = connect(Number(port), hostname, () => {
      const lines = [`${asked.method} ${path} HTTP/1.1`];
      for (let i = 0; i < asked.rawHeaders.length; i += 2)
        lines.push(`${asked.rawHeaders[i]}: ${asked.rawHeaders[i + 1]}`);
      onward.write(`${lines.join("\r\n")}\r\n\r\n`);
      onward.write(head);
      socket.pipe(onward).pipe(socket);
    });
    for (const [one, other] of [
      [socket, onward],
      [onward, socket],
    ] as const)
      one.on("error", () => undefined).on("close", () => other.destroy());
  }
}

/** A plugin for the server that serves the playground. `edge.url` is read each time: the edge starts later. */
export const deviceLinks = (edge: EdgeAt) => ({
  name: "tidemark-links",
  configurePreviewServer({
    middlewares,
    httpServer,
  }: {
    readonly middlewares: { use(handler: Handler): void };
    readonly httpServer: Pick<Server, "on">;
  }): void {
    const links = new Links(edge);
    const tell = (answer: ServerResponse): void => {
      answer.setHeader("content-type", "application/json");
      answer.setHeader("cache-control", "no-store");
      answer.end(JSON.stringify(links.state));
    };
    middlewares.use((asked, answer, next) => {
      const link = linkIn(asked.url!);
      if (link) return links.pass(link, asked, answer);
      // No URL is made of it here: some paths are none (`//`), and a handler that throws ends the server.
      const [pathname = "", query] = asked.url!.split("?");
      if (pathname === "/links.json") return tell(answer);
      const [, device = ""] = /^\/links\/(\w+)$/.exec(pathname) ?? [];
      if (asked.method !== "POST" || !DEVICES.includes(device)) return next();
      links.set(device, new URLSearchParams(query).get("whole") !== "no");
      tell(answer);
    });
    httpServer.on("upgrade", (asked: IncomingMessage, socket: Duplex, head: Uint8Array) => {
      const link = linkIn(asked.url!);
      if (link) links.passSocket(link, asked, socket, head);
      else socket.destroy();
    });
  },
});
