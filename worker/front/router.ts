/**
 * The way in: `/v1/stream/<path>`. Who asks, and for what, is decided here before any object is woken, because an
 * object that is asked is billed even if it only refuses. Also adds the headers that all answers share.
 */
import { IMPORT_TYPE, PIECE_TYPE } from "../../src/store/segment-files.ts";
import { FRAME_TYPE, TIDE_HEADER } from "../../src/sync/http-words.ts";
import { CALL_BYTES_MAX } from "../rpc/append-call.ts";
import { type Action, type Caller, callerOf } from "./auth.ts";
import { checkBindings } from "../bindings.ts";
import { type Env, numberOf } from "../env.ts";
import { IMPORT_HEADER, LONG_HEADER, METRICS_HEADER, TIDE_ASKED_HEADER } from "../rpc/internal-headers.ts";
import { type Asked, emitRequest } from "../telemetry/events.ts";
import { EdgeError } from "../errors.ts";
import { objectName } from "../rpc/stubs.ts";
import { type Answer, errorAnswer } from "../wire/http.ts";
import { withCommonHeaders, preflight } from "../wire/cors.ts";
import { mediaType } from "../stream/media-type.ts";
import { checkHeeded } from "../wire/heeded.ts";
import { checkBody, checkRate, checkHeaders, headersSeen, type Seen } from "./request-limits.ts";
import { longPoll } from "./live-reads.ts";
import { forkOf, methodNotAllowed, onlyRead, readRequestOf } from "../wire/durable-streams.ts";
import { checkPath, decodePath, isReservedPath, placeOf, SEGMENT_PREFIX, STREAM_PREFIX } from "../wire/paths.ts";
import { forgetManifest, readThrough } from "./archived-reads.ts";
import { upgrade } from "./client-socket.ts";
import { appendByCall, askOf, forward, isReading } from "./forward.ts";
import { frameOverHttp } from "./frame-over-http.ts";
import type { Background } from "./segment-cache.ts";
import { recordsResponse } from "./records-read.ts";
import { segmentResponse } from "./segment-download.ts";
import { subscriptionResponse } from "./subscription-calls.ts";
import { sse } from "./sse.ts";
import { welcome, WELCOMES } from "./welcome.ts";

const METRICS_PREFIX = "/v1/metrics/";
const ONLY_READ = [SEGMENT_PREFIX, METRICS_PREFIX];
/** The path of sockets that serve many logs. */
const SOCKET_PATH = "/v1/socket";
const ACTIONS = new Map<string, Action>([
  ["GET", "read"],
  ["HEAD", "read"],
  ["POST", "write"],
  ["PUT", "write"],
  ["DELETE", "admin"],
]);
export async function handle(request: Request, env: Env, background?: Background): Promise<Response> {
  if (request.method === "OPTIONS") return preflight(request);
  const started = Date.now();
  const asked: Asked = {};
  let response: Response;
  try {
    const seen = checkHeaders(request);
    response = withCommonHeaders(await route(request, env, seen, asked, background));
  } catch (thrown) {
    response = withCommonHeaders(errorAnswer(thrown));
  }
  emitRequest(env, request, response, asked, started);
  return response;
}

async function route(
  request: Request,
  env: Env,
  seen: Seen,
  asked: Asked,
  background: Background | undefined,
): Promise<Response | Answer> {
  const { method, url } = request;
  const { pathname } = placeOf(url);
  // The welcome says how to begin, and asks nothing of them.
  if (!WELCOMES.has(pathname)) checkBindings(env);
  const isUpgrade = method === "GET" && seen["upgrade"]?.toLowerCase() === "websocket";
  if (pathname === SOCKET_PATH) {
    if (!isUpgrade)
      throw new EdgeError(
        "UPGRADE_REQUIRED",
        "this address only opens WebSockets: send Upgrade: websocket, or use /v1/stream/<path>",
      );
    return upgrade(request, env, askOf(env, new URL(request.url)), await callerOf(request, env), undefined);
  }
  if (pathname.startsWith(SEGMENT_PREFIX) && isReading(request)) {
    const rest = decodePath(pathname.slice(SEGMENT_PREFIX.length));
    const caller = await callerOf(request, env);
    caller.require("read", rest.slice(0, Math.max(0, rest.lastIndexOf("/"))));
    Object.assign(asked, { tenant: caller.tenant, path: rest, source: "segment" });
    return withPrivateCache(caller, await segmentResponse(request, env, caller.tenant, rest, background));
  }
  if (pathname.startsWith(METRICS_PREFIX) && isReading(request)) return metrics(request, env, asked, pathname);
  if (WELCOMES.has(pathname) && isReading(request)) return welcome(request);
  if (ONLY_READ.some((prefix) => pathname.startsWith(prefix)) || (WELCOMES.has(pathname) && pathname !== STREAM_PREFIX))
    throw onlyRead();
  if (!pathname.startsWith(STREAM_PREFIX))
    throw new EdgeError(
      "NOT_FOUND",
      "there is nothing at this address: streams are at /v1/stream/<path>; GET / shows more",
      // A client tells a wrong address by it from a stream that is not made yet.
      { reason: "address" },
    );
  const isTrim = method === "POST" && seen["tidemark-trim-before"] !== undefined;
  const action = isTrim ? "admin" : ACTIONS.get(method);
  if (action === undefined) throw methodNotAllowed();
  if (action !== "read") checkHeeded(method, headersSeen(seen));
  const path = pathOf(pathname, STREAM_PREFIX);
  asked.path = path;
  if (isReservedPath(path)) return subscriptionResponse(request, env, seen, pathname);
  const found = callerOf(request, env, headersSeen(seen));
  const caller = found instanceof Promise ? await found : found;
  asked.tenant = caller.tenant;
  // A token that allows only appends may open a socket as well: each frame is checked.
  if (isUpgrade) return upgrade(request, env, askOf(env, new URL(request.url)), caller, path);
  const posted = method === "POST" ? mediaType(seen["content-type"] ?? "") : "";
  const isFrame = posted === FRAME_TYPE;
  const isImport = posted === IMPORT_TYPE || posted === PIECE_TYPE;
  if (!isFrame) caller.require(isImport ? "admin" : action, path);
  checkBody(seen);
  if (env.RATE_LIMIT) await checkRate(env, caller.tenant, path);
  if (isFrame) return frameOverHttp(request, env, caller, path);
  if (isTrim) return forwardTrim(request, env, caller.tenant, path);
  if (isImport) return forwardImport(request, env, caller.tenant, path);
  // A fork reads the records that it inherits, so that right is needed as well.
  const fork = method === "PUT" ? forkOf(request.headers, STREAM_PREFIX) : undefined;
  if (fork) caller.require("read", fork.path);
  if (method === "POST" && Number(seen["content-length"] ?? Infinity) <= CALL_BYTES_MAX)
    return await appendByCall(request, env, seen, caller.tenant, path);
  return withPrivateCache(caller, await answerStream(request, env, caller, path, asked, background));
}

/** This isolate's manifest would still show what is gone. */
const forwardTrim = (request: Request, env: Env, tenant: string, path: string): Promise<Response> =>
  forward(new URL(request.url), request, env, tenant, path).finally(() => forgetManifest(tenant, path));

/** The metrics of one stream, for its admin. */
async function metrics(request: Request, env: Env, asked: Asked, pathname: string): Promise<Response> {
  const path = pathOf(pathname, METRICS_PREFIX);
  const { tenant, require } = await callerOf(request, env);
  Object.assign(asked, { tenant, path, source: "metrics" });
  require("admin", path);
  const url = new URL(request.url);
  const found = await forward(url, new Request(url), env, tenant, path, { [METRICS_HEADER]: "1" });
  return request.method === "HEAD" ? new Response(null, found) : found;
}

/** Begins an import of segments, or brings a piece of one. What Workers know of the stream's segments is old then. */
function forwardImport(request: Request, env: Env, tenant: string, path: string): Promise<Response> {
  const url = new URL(request.url);
  url.searchParams.delete("token");
  return forward(url, request, env, tenant, path, { [IMPORT_HEADER]: "1" }).finally(() => forgetManifest(tenant, path));
}

async function answerStream(
  request: Request,
  env: Env,
  caller: Caller,
  path: string,
  asked: Asked,
  background: Background | undefined,
): Promise<Response> {
  const { tenant } = caller;
  const url = new URL(request.url);
  url.searchParams.delete("token");
  const records =
    request.method === "GET"
      ? await recordsResponse({ request, url, env, tenant, path, told: asked, caller, background })
      : undefined;
  if (records) return records;
  const { offset, live, cursor } =
    request.method === "GET" ? readRequestOf(url) : { offset: "start", live: undefined, cursor: undefined };
  const ask = (own: Record<string, string>) => forward(url, request, env, tenant, path, { ...own, [LONG_HEADER]: "1" });
  const wantsTide = request.headers.get(TIDE_HEADER) === "1";
  if (live === undefined && wantsTide) return ask({ [TIDE_ASKED_HEADER]: "1" });
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
  if (live === "long-poll")
    return longPoll(asking, { ...common, wantsTide, waitMs: numberOf(env.TIDEMARK_LONG_POLL_MS, 20_000) });
  return sse(asking, {
    ...common,
    log: objectName(tenant, path),
    waitMs: numberOf(env.TIDEMARK_SSE_MS, 60_000),
    heartbeatMs: numberOf(env.TIDEMARK_SSE_HEARTBEAT_MS, 15_000),
    stalledMs: numberOf(env.TIDEMARK_SSE_STALLED_MS, 15_000),
    lastEventId: request.headers.get("last-event-id"),
  });
}

/** An answer that needed a token must not reach another reader: only the client's own cache may keep it. */
function withPrivateCache(caller: Caller, response: Response): Response {
  const control = response.headers.get("cache-control");
  if (caller.isOpen || control === null || !control.startsWith("public")) return response;
  const headers = new Headers(response.headers);
  headers.set("cache-control", control.replace("public", "private"));
  headers.append("vary", "authorization");
  return new Response(response.body, { status: response.status, headers });
}

const pathOf = (pathname: string, prefix: string): string =>
  checkPath(decodePath(pathname.slice(prefix.length)), "the stream's path");
