/**
 * The way in: `/v1/stream/<path>`. Who asks, and for what, is decided here before any object is woken, because an
 * object that is asked is billed even if it only refuses. Also adds the headers that all answers share.
 */
import { stubOf } from "../rpc/stubs.ts";
import { type AppendCall, CALL_BYTES_MAX } from "../rpc/append-call.ts";
import { type Action, type Caller, callerOf } from "./auth.ts";
import { bearerOf } from "../wire/bearer.ts";
import { type Env, numberOf } from "../env.ts";
import { LONG_HEADER, METRICS_HEADER, PATH_HEADER, TENANT_HEADER } from "../rpc/internal-headers.ts";
import { type Asked, told } from "../telemetry/events.ts";
import { EdgeError } from "../errors.ts";
import { type Answer, errorAnswer } from "../wire/http.ts";
import { withCommonHeaders, preflight } from "../wire/cors.ts";
import { BODY_BYTES_MAX, readBody } from "../wire/request-body.ts";
import { checkRate, checkSizes } from "./request-limits.ts";
import { isOverload, lostChange, lostRead } from "./lost.ts";
import { longPoll } from "./live-reads.ts";
import { forkOf, methodNotAllowed, readRequestOf } from "../wire/durable-streams.ts";
import { checkPath, decodePath, placeOf, SEGMENT_PREFIX, STREAM_PREFIX } from "../wire/paths.ts";
import { type Background, forgetManifest, readThrough, segmentResponse } from "./archived-reads.ts";
import { type AskOf, upgrade } from "./client-socket.ts";
import { sse } from "./sse.ts";
import { isWakes, subscriptionCallOf } from "../subscriptions/calls.ts";
import { subscriptionsOf } from "../rpc/subscription-peer.ts";
import { jwksResponse, wakeTenantOf } from "../subscriptions/server-key.ts";
import { welcome, WELCOMES } from "./welcome.ts";

const METRICS_PREFIX = "/v1/metrics/";
const KEYS_PATH = `${STREAM_PREFIX}__ds/jwks.json`;
/** The path of sockets that serve many logs. */
const SOCKET_PATH = "/v1/socket";
const ACTIONS = new Map<string, Action>([
  ["GET", "read"],
  ["HEAD", "read"],
  ["POST", "write"],
  ["PUT", "write"],
  ["DELETE", "admin"],
]);
/** The only headers of a client that an object gets. None of them can be mistaken for one that the router sets. */
const OF_APPENDS = (
  "content-type stream-closed stream-seq producer-id producer-epoch producer-seq " +
  "stream-expected-offset tidemark-resent-since tidemark-sequences traceparent"
).split(" ");
const PASSED = `${OF_APPENDS.join(" ")} accept content-length if-none-match stream-ttl stream-expires-at
  stream-forked-from stream-fork-offset stream-fork-sub-offset
  tidemark-retention-bytes tidemark-retention-records tidemark-retention-seconds
  tidemark-compaction tidemark-compaction-lag-seconds tidemark-compaction-tombstone-seconds`.split(/\s+/);
const INTERNAL = /^x-tidemark-/i;

export async function handle(request: Request, env: Env, background?: Background): Promise<Response> {
  if (request.method === "OPTIONS") return preflight(request);
  const started = Date.now();
  const asked: Asked = {};
  let response: Response;
  try {
    const seen = checkSizes(request);
    response = withCommonHeaders(await route(request, env, seen, asked, background));
  } catch (thrown) {
    response = withCommonHeaders(errorAnswer(thrown));
  }
  told(env, request, response, asked, started);
  return response;
}

type Seen = Readonly<Record<string, string>>;

async function route(
  request: Request,
  env: Env,
  seen: Seen,
  asked: Asked,
  background: Background | undefined,
): Promise<Response | Answer> {
  const { pathname } = placeOf(request.url);
  const isUpgrade = request.method === "GET" && seen["upgrade"]?.toLowerCase() === "websocket";
  if (pathname === SOCKET_PATH) {
    if (!isUpgrade) throw new EdgeError("UPGRADE_REQUIRED", "this address only opens WebSockets");
    return upgrade(request, env, askOf(env, new URL(request.url)), await callerOf(request, env), undefined);
  }
  if (pathname.startsWith(SEGMENT_PREFIX) && isReading(request)) {
    const rest = decodePath(pathname.slice(SEGMENT_PREFIX.length));
    const caller = await callerOf(request, env);
    caller.require("read", rest.slice(0, Math.max(0, rest.lastIndexOf("/"))));
    Object.assign(asked, { tenant: caller.tenant, path: rest, source: "segment" });
    return shared(caller, await segmentResponse(request, env, caller.tenant, rest, background));
  }
  if (pathname.startsWith(METRICS_PREFIX) && isReading(request)) return metrics(request, env, asked, pathname);
  if (WELCOMES.has(pathname) && isReading(request))
    return welcome(new URL(request.url).origin, request.method === "HEAD");
  if (!pathname.startsWith(STREAM_PREFIX))
    throw new EdgeError(
      "NOT_FOUND",
      "there is nothing at this address: streams are at /v1/stream/<path>; GET / shows more",
    );
  const action = ACTIONS.get(request.method);
  if (action === undefined) throw methodNotAllowed();
  const path = pathOf(pathname, STREAM_PREFIX);
  asked.path = path;
  if (path === "__ds" || path.startsWith("__ds/")) return control(request, env, seen, pathname);
  const caller = await callerOf(request, env);
  asked.tenant = caller.tenant;
  // A token that allows only appends may open a socket as well: each frame is checked.
  if (isUpgrade) return upgrade(request, env, askOf(env, new URL(request.url)), caller, path);
  caller.require(action, path);
  checkBody(seen);
  if (env.RATE_LIMIT) await checkRate(env, caller.tenant, path);
  // A fork reads the records that it inherits, so that right is needed as well.
  const fork = request.method === "PUT" ? forkOf(request.headers, STREAM_PREFIX) : undefined;
  if (fork) caller.require("read", fork.path);
  if (request.method === "POST" && Number(seen["content-length"] ?? Infinity) <= CALL_BYTES_MAX)
    return appendByCall(request, env, seen, caller.tenant, path);
  return shared(caller, await answer(request, env, caller.tenant, path, asked, background));
}

/** The metrics of one stream, for its admin. */
async function metrics(request: Request, env: Env, asked: Asked, pathname: string): Promise<Response> {
  const path = pathOf(pathname, METRICS_PREFIX);
  const { tenant, require } = await callerOf(request, env);
  Object.assign(asked, { tenant, path, source: "metrics" });
  require("admin", path);
  return forward(new URL(request.url), request, env, tenant, path, { [METRICS_HEADER]: "1" });
}

/** For questions of the Worker itself to the objects of a tenant. */
const askOf =
  (env: Env, url: URL): AskOf =>
  (tenant, path) => {
    const target = new URL(url);
    return (query, headers = {}) => {
      target.search = query;
      return forward(target, new Request(target), env, tenant, path, headers);
    };
  };

async function answer(
  request: Request,
  env: Env,
  tenant: string,
  path: string,
  asked: Asked,
  background: Background | undefined,
): Promise<Response> {
  const url = new URL(request.url);
  url.searchParams.delete("token");
  const { offset, live, cursor } =
    request.method === "GET" ? readRequestOf(url) : { offset: "start", live: undefined, cursor: undefined };
  const ask = (own: Record<string, string>) => forward(url, request, env, tenant, path, { ...own, [LONG_HEADER]: "1" });
  if (live === undefined && request.method === "GET")
    return readThrough({ asked, env, tenant, path, url, headers: request.headers, background, ask });
  if (live === undefined) {
    const isOther = request.method === "PUT" || request.method === "DELETE";
    return isOther ? ask({}).finally(() => forgetManifest(tenant, path)) : ask({});
  }
  const asking = askOf(env, url)(tenant, path);
  const common = {
    offset: offset === "start" ? "-1" : (url.searchParams.get("offset") ?? "-1"),
    cursor,
    accept: request.headers.get("accept"),
    signal: request.signal as AbortSignal | undefined,
  };
  if (live === "long-poll") return longPoll(asking, { ...common, waitMs: numberOf(env.TIDEMARK_LONG_POLL_MS, 20_000) });
  return sse(asking, {
    ...common,
    waitMs: numberOf(env.TIDEMARK_SSE_MS, 60_000),
    heartbeatMs: numberOf(env.TIDEMARK_SSE_HEARTBEAT_MS, 15_000),
    stalledMs: numberOf(env.TIDEMARK_SSE_STALLED_MS, 15_000),
    lastEventId: request.headers.get("last-event-id"),
  });
}

/** An answer that needed a token must not reach another reader: only the client's own cache may keep it. */
function shared(caller: Caller, response: Response): Response {
  const control = response.headers.get("cache-control");
  if (caller.isOpen || control === null || !control.startsWith("public")) return response;
  const headers = new Headers(response.headers);
  headers.set("cache-control", control.replace("public", "private"));
  headers.append("vary", "authorization");
  return new Response(response.body, { status: response.status, headers });
}

/** Refuses a body that can be judged before it is passed on. */
function checkBody(seen: Seen): void {
  if (Number(seen["content-length"] ?? 0) > BODY_BYTES_MAX)
    throw new EdgeError("TOO_LARGE", `a request has at most ${BODY_BYTES_MAX} bytes`);
  // A compressed body could expand to any size. Records may be compressed inside a batch, where the limit is checked.
  const encoding = seen["content-encoding"] ?? "identity";
  if (encoding.toLowerCase() !== "identity")
    throw new EdgeError(
      "UNSUPPORTED_MEDIA_TYPE",
      "send the body without Content-Encoding; records may be compressed inside a batch",
    );
}

/** Requests below the reserved prefix: subscriptions, and the key that signs their webhooks. */
async function control(request: Request, env: Env, seen: Seen, pathname: string): Promise<Response> {
  if (isReading(request) && pathname === KEYS_PATH) return jwksResponse(env);
  const call = subscriptionCallOf(request.method, pathname);
  checkBody(seen);
  const headers = new Headers([...request.headers].filter(([name]) => !INTERNAL.test(name)));
  let tenant: string;
  // A worker that was woken has the wake's own token. Its seal by the server is checked here; the object checks that it
  // belongs to the current wake.
  if (isWakes(call)) tenant = await wakeTenantOf(env, bearerOf(request.headers));
  else {
    const caller = await callerOf(request, env);
    // A pattern may match every stream of the tenant.
    caller.require(call.action === "claim" ? "read" : "admin", "**");
    tenant = caller.tenant;
    headers.set(TENANT_HEADER, encodeURIComponent(tenant));
  }
  return subscriptionsOf(env, tenant).fetch(
    new Request(request.url, { method: request.method, headers, body: bodyIn(request) }),
  );
}

/** Only these methods have a body that means something. A GET with a body could not even be passed on. */
const bodyIn = ({ method, body }: Request): ReadableStream<Uint8Array> | null =>
  method === "PUT" || method === "POST" ? body : null;

const pathOf = (pathname: string, prefix: string): string =>
  checkPath(decodePath(pathname.slice(prefix.length)), "the stream's path");

/**
 * Passes the request on to the stream's object. Only `own` headers speak for the router; a client's headers of those
 * names are dropped.
 */
async function forward(
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
  try {
    return await stubOf(env, tenant, path).fetch(target);
  } catch (thrown) {
    // The object was reset, moved or replaced. A new stub finds it again, and a read may simply be repeated.
    if (isReading(request) && !isOverload(thrown))
      return stubOf(env, tenant, path)
        .fetch(target)
        .catch((again: unknown) => Promise.reject(lostRead(again)));
    throw await lostChange(thrown, () => head(env, tenant, path));
  }
}

/** Asks the object only whether it answers. */
function head(env: Env, tenant: string, path: string): Promise<Response> {
  const headers = { [PATH_HEADER]: encodeURIComponent(path), [TENANT_HEADER]: encodeURIComponent(tenant) };
  return stubOf(env, tenant, path).fetch(new Request("https://head.invalid/", { method: "HEAD", headers }));
}

/** A small append is read here and passed to the object whole (http-append.ts). */
async function appendByCall(request: Request, env: Env, seen: Seen, tenant: string, path: string): Promise<Answer> {
  const passed: Record<string, string> = {};
  for (const name of OF_APPENDS) if (seen[name] !== undefined) passed[name] = seen[name];
  const body = await readBody(request);
  try {
    return await stubOf(env, tenant, path).append(tenant, passed, body);
  } catch (thrown) {
    throw await lostChange(thrown, () => head(env, tenant, path));
  }
}

const isReading = ({ method }: Request): boolean => method === "GET" || method === "HEAD";
