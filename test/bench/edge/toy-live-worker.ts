/**
 * What a delivery to a live reader costs in workerd whoever makes it: the Worker holds each reader's answer, a
 * hibernating socket to the object brings the records, and nothing else is done. The object keeps no log. contenders.ts
 * runs it in the place of worker/index.ts.
 *
 *   POST ─▶ object ─ later turn ─▶ a socket for each reader ─▶ Worker ─▶ a piece of its answer, as server-sent event
 */
import { DurableObject } from "cloudflare:workers";
import { pairOf, type ServerSocket, type SocketState, socketIn, upgraded } from "../../../worker/rpc/sockets.ts";

interface ToyEnv {
  readonly LOGS: {
    idFromName(name: string): unknown;
    get(id: unknown): { fetch(request: Request): Promise<Response> };
  };
}

const encoder = new TextEncoder();
const TOLD_AT_ONCE = 32;
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

export class LogObject extends DurableObject {
  #end = 0;

  override async fetch(request: Request): Promise<Response> {
    if (request.method === "POST") {
      const text = await request.text();
      await this.ctx.storage.put("end", ++this.#end);
      this.ctx.waitUntil(this.#tell(`event: data\ndata:[${text}]\n\nevent: control\ndata:{"end":${this.#end}}\n\n`));
      return new Response(null, { status: 204 });
    }
    const { client, server } = pairOf();
    (this.ctx as SocketState).acceptWebSocket(server, []);
    return upgraded(client);
  }

  async #tell(events: string): Promise<void> {
    await turn();
    for (const [i, socket] of this.ctx.getWebSockets().entries()) {
      if (i > 0 && i % TOLD_AT_ONCE === 0) await turn();
      socket.send(events);
    }
  }
}

/** The configuration names it. */
export class SubscriptionObject extends DurableObject {}

/** The events that came over the socket, each when the client has taken the one before it. */
function eventsOf(socket: ServerSocket): ReadableStream<Uint8Array> {
  const waiting = ["event: control\ndata:{}\n\n"];
  let wake: (() => void) | undefined;
  socket.addEventListener("message", ({ data }) => {
    waiting.push(data as string);
    wake?.();
  });
  socket.accept();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        while (waiting.length === 0) await new Promise<void>((resolve) => (wake = resolve));
        controller.enqueue(encoder.encode(waiting.shift()));
      },
      cancel: () => socket.close(1000),
    },
    { highWaterMark: 0 },
  );
}

export default {
  async fetch(request: Request, { LOGS }: ToyEnv): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (request.method === "PUT") return new Response(null, { status: 201 });
    if (pathname === "/") return new Response("toy");
    const object = LOGS.get(LOGS.idFromName(pathname));
    if (request.method === "POST") return object.fetch(request);
    const answer = await object.fetch(new Request(request.url, { headers: { upgrade: "websocket" } }));
    return new Response(eventsOf(socketIn(answer)!), { headers: { "content-type": "text/event-stream" } });
  },
};
