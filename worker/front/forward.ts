/**
 * The way from the Worker to a stream's object: which headers of a client an object gets, and what becomes of a request
 * whose object was lost on the way.
 *
 *   forward()        any request, by fetch; a read is repeated once
 *   appendByCall()   a small append, whole, by a call
 *   askOf()          questions of the Worker itself
 */
import type { Env } from "../env.ts";
import { PATH_HEADER, TENANT_HEADER } from "../rpc/internal-headers.ts";
import { answerInText, textOfHeaders } from "../rpc/append-call.ts";
import { stubOf } from "../rpc/stubs.ts";
import type { Answer } from "../wire/http.ts";
import { readBody } from "../wire/request-body.ts";
import type { AskOf } from "./client-socket.ts";
import { askedAgain, lostChange } from "../rpc/lost.ts";
import type { Seen } from "./request-limits.ts";

/** The only headers of a client that an object gets. None of them can be mistaken for one that the router sets. */
const OF_APPENDS = (
  "content-type stream-closed stream-seq producer-id producer-epoch producer-seq " +
  "stream-expected-offset tidemark-resent-since tidemark-sequences traceparent"
).split(" ");
const PASSED =
  `${OF_APPENDS.join(" ")} accept content-length if-none-match tidemark-trim-before stream-ttl stream-expires-at
  stream-forked-from stream-fork-offset stream-fork-sub-offset
  tidemark-retention-bytes tidemark-retention-records tidemark-retention-seconds
  tidemark-compaction tidemark-compaction-lag-seconds tidemark-compaction-tombstone-seconds`.split(/\s+/);

export const isReading = ({ method }: Request): boolean => method === "GET" || method === "HEAD";

/** Only these methods have a body that means something. A GET with a body could not even be passed on. */
export const bodyIn = ({ method, body }: Request): ReadableStream<Uint8Array> | null =>
  method === "PUT" || method === "POST" ? body : null;

/** For questions of the Worker itself to the objects of a tenant. */
export const askOf =
  (env: Env, url: URL): AskOf =>
  (tenant, path) => {
    const target = new URL(url);
    return (query, headers = {}) => {
      target.search = query;
      return forward(target, new Request(target), env, tenant, path, headers);
    };
  };

/**
 * Passes the request on to the stream's object. Only `own` headers speak for the router; a client's headers of those
 * names are dropped.
 */
export async function forward(
  url: URL,
  request: Request,
  env: Env,
  tenant: string,
  path: string,
  own: Record<string, string> = {},
): Promise<Response> {
  const headers: Record<string, string> = {
    ...own,
    [PATH_HEADER]: encodeURIComponent(path),
    [TENANT_HEADER]: encodeURIComponent(tenant),
  };
  for (const name of PASSED) {
    const value = request.headers.get(name);
    if (value !== null) headers[name] ??= value;
  }
  const target = new Request(url, { method: request.method, headers, body: bodyIn(request) });
  const ask = (): Promise<Response> => stubOf(env, tenant, path).fetch(target);
  // The object was reset, moved or replaced. A new stub finds it again, and a read may simply be repeated.
  if (isReading(request)) return askedAgain(ask);
  return ask().catch(async (thrown: unknown) => {
    throw await lostChange(thrown, () => headOnce(env, tenant, path));
  });
}

/** A question that shows whether the object answers. */
function headOnce(env: Env, tenant: string, path: string): Promise<Response> {
  const headers = { [PATH_HEADER]: encodeURIComponent(path), [TENANT_HEADER]: encodeURIComponent(tenant) };
  return stubOf(env, tenant, path).fetch(new Request("https://head.invalid/", { method: "HEAD", headers }));
}

/** The stream's HEAD; asked again like any read. */
export const headOf = (env: Env, tenant: string, path: string): Promise<Response> =>
  askedAgain(() => headOnce(env, tenant, path));

/** A small append is read here and passed to the object whole (http-append.ts). */
export async function appendByCall(
  request: Request,
  env: Env,
  seen: Seen,
  tenant: string,
  path: string,
): Promise<Answer> {
  const passed = textOfHeaders(seen, OF_APPENDS);
  const body = await readBody(request);
  try {
    return answerInText(await stubOf(env, tenant, path).appendByText(tenant, passed, body));
  } catch (thrown) {
    throw await lostChange(thrown, () => headOnce(env, tenant, path));
  }
}
