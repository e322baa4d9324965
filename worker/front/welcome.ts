/**
 * The answer to a person who opens the edge's address in a browser or with curl: what it is, and some first requests.
 */
import { json } from "../wire/http.ts";

export const WELCOMES: ReadonlySet<string> = new Set(["/", "/v1", "/v1/", "/v1/stream", "/v1/stream/"]);

export function welcome(origin: string, isHead: boolean): Response {
  const stream = `${origin}/v1/stream/<path>`;
  const answer = json(200, {
    service: "Tidemark edge: durable logs over HTTP, by the Durable Streams protocol",
    create: `curl -X PUT -H 'Content-Type: application/json' ${stream}`,
    append: `curl -X POST -H 'Content-Type: application/json' -d '{"hello":"world"}' ${stream}`,
    read: `curl '${stream}?offset=-1'`,
    follow: `curl -N '${stream}?offset=-1&live=sse'`,
    socket: `${origin.replace(/^http/, "ws")}/v1/socket`,
    subscriptions: `${origin}/v1/stream/__ds/subscriptions/<id>`,
    token: "Authorization: Bearer <JWT>, except on a loopback host with open access; npx tidemark token makes one",
    docs: "docs/edge.md and docs/operations.md in the npm package tidemark",
  });
  return isHead ? new Response(null, answer) : answer;
}
