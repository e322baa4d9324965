/**
 * The answer to a person who opens the edge's address: what it is, some first requests, and where the documents are. In
 * a browser it is a page, with curl a text, and for a program that accepts JSON the same as an object.
 */
import { namedOf } from "../wire/accept.ts";

export const WELCOMES: ReadonlySet<string> = new Set(["/", "/v1", "/v1/", "/v1/stream", "/v1/stream/"]);

const SERVICE = "Tidemark edge: durable logs over HTTP, by the Durable Streams protocol";
const DOCS =
  "https://www.npmjs.com/package/tidemark: docs/edge.md, docs/client.md and docs/operations.md in the package";

function toldOf(origin: string): Record<string, string> {
  const stream = `${origin}/v1/stream/<path>`;
  return {
    service: SERVICE,
    create: `curl -X PUT -H 'Content-Type: application/json' ${stream}`,
    append: `curl -X POST -H 'Content-Type: application/json' -d '{"hello":"world"}' ${stream}`,
    read: `curl '${stream}?offset=-1'`,
    follow: `curl -N '${stream}?offset=-1&live=sse'`,
    records: `curl '${stream}?from=-10'`,
    tail: `curl -N '${stream}?from=latest&follow'`,
    socket: `${origin.replace(/^http/, "ws")}/v1/socket`,
    subscriptions: `${origin}/v1/stream/__ds/subscriptions/<id>`,
    token: "Authorization: Bearer <JWT>, except on a loopback host with open access; npx tidemark token makes one",
    docs: DOCS,
  };
}

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (char) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[char] ?? "&quot;");

function pageOf({ service = "", ...others }: Record<string, string>): string {
  const rows = Object.entries(others).map(([name, text]) => `<dt>${name}</dt>\n<dd><code>${escaped(text)}</code></dd>`);
  const head = `<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Tidemark edge</title>`;
  const link = `<p><a href="https://www.npmjs.com/package/tidemark">tidemark on npm</a></p>`;
  return `${head}\n<h1>${escaped(service)}</h1>\n<dl>\n${rows.join("\n")}\n</dl>\n${link}\n</html>\n`;
}

function textOf({ service = "", ...others }: Record<string, string>): string {
  const width = Math.max(...Object.keys(others).map((name) => name.length)) + 2;
  const rows = Object.entries(others).map(([name, text]) => name.padEnd(width) + text);
  return `${service}\n\n${rows.join("\n")}\n`;
}

/** Only what is named is a page or an object. What curl sends, which accepts all, gets a text. */
export function welcome(request: Request): Response {
  const named = namedOf(request.headers.get("accept"), ["text/html", "application/json"]);
  const told = toldOf(new URL(request.url).origin);
  const [type, body] =
    named === "text/html"
      ? ["text/html; charset=utf-8", pageOf(told)]
      : named
        ? [named, JSON.stringify(told)]
        : ["text/plain; charset=utf-8", textOf(told)];
  const headers = { "content-type": type, "cache-control": "no-store", vary: "accept" };
  return new Response(request.method === "HEAD" ? null : body, { status: 200, headers });
}
