/**
 * Events: one JSON line for each, with enough fields to answer questions that nobody foresaw. The Worker reports
 * requests (append, read, create, delete, rejection); an object reports what it does by itself (commit, seal, archive).
 *
 *   TIDEMARK_EVENTS   all       everything, also each append, read and commit
 *                     changes   seals, archives, creations, deletions, rejections: the default
 *                     none
 *
 * If an Analytics Engine data set is bound, each event is also a data point: index tenant; blobs event, path, code,
 * dialect; doubles status, milliseconds, bytes.
 */
import type { Env } from "../env.ts";
import { traceOf } from "../wire/durable-streams.ts";
import { ERROR_HEADER } from "../wire/error-status.ts";

export interface EventFields {
  readonly tenant?: string | undefined;
  readonly path?: string | undefined;
  readonly code?: string | undefined;
  readonly status?: number;
  readonly ms?: number;
  readonly bytes?: number;
  readonly [field: string]: string | number | boolean | null | undefined;
}

const BUSY = new Set(["append", "read", "commit"]);

export function emit(env: Env, event: string, fields: EventFields): void {
  const level = env.TIDEMARK_EVENTS ?? "changes";
  if (level === "none" || (level !== "all" && BUSY.has(event))) return;
  console.log(JSON.stringify({ event, ...fields }));
  const { tenant = "", path = "", code = "", status = 0, ms = 0, bytes = 0 } = fields;
  // One of another kind is refused with the request (bindings.ts); to say so must not fail.
  env.EVENTS?.writeDataPoint?.({
    indexes: [tenant.slice(0, 90)],
    blobs: [event, path, code, String(fields["source"] ?? "")],
    doubles: [status, ms, bytes],
  });
}

const EVENT_OF: Readonly<Record<string, string>> = {
  GET: "read",
  HEAD: "read",
  POST: "append",
  PUT: "create",
  DELETE: "delete",
};

export interface Asked {
  tenant?: string;
  path?: string;
  /** Where the data came from: the stream's object, or segments in object storage. */
  source?: string;
}

/** Emits the event about a request and its answer. */
export function emitRequest(env: Env, request: Request, response: Response, asked: Asked, startedMs: number): void {
  const { status } = response;
  const event = status >= 400 ? "rejection" : (EVENT_OF[request.method] ?? "read");
  if (env.TIDEMARK_EVENTS !== "all" && BUSY.has(event)) return;
  const { headers } = response;
  emit(env, event, {
    ...asked,
    method: request.method,
    status,
    code: headers.get(ERROR_HEADER) ?? undefined,
    ms: Date.now() - startedMs,
    bytes: Number((request.method === "GET" ? headers : request.headers).get("content-length") ?? 0),
    type: (request.headers.get("accept") ?? request.headers.get("content-type") ?? "").slice(0, 64) || undefined,
    next: headers.get("stream-next-offset") ?? undefined,
    trace: traceOf(request.headers),
    ray: request.headers.get("cf-ray") ?? undefined,
  });
}
