/**
 * An edge function with a log inside. `npm install tidemark`, this file and the wrangler.jsonc beside it are all of it.
 *
 *   POST /<key>   appends an order             GET /   reads them all
 *   /v1/…         the log from outside: Durable Streams, batches, sockets (docs/edge.md); `.dev.vars.example` says
 *                 how to get in
 */
import { type Env, handleRequest, openTopic } from "tidemark/worker";

export { LogObject, SubscriptionObject } from "tidemark/worker";

interface Order {
  readonly total: number;
}

export default {
  async fetch(request: Request, env: Env, context: { waitUntil(work: Promise<unknown>): void }): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname.startsWith("/v1/")) return handleRequest(request, env, context);
    const orders = openTopic<Order>(env, "orders");
    if (request.method === "POST") {
      const { offset } = await orders.append({ key: pathname.slice(1), value: (await request.json()) as Order });
      return Response.json({ offset }, { status: 201 });
    }
    const found: unknown[] = [];
    for await (const { offset, key, value } of orders.read({ from: "earliest" })) found.push({ offset, key, value });
    return Response.json(found);
  },
};
