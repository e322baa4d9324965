/**
 * Live reads, held open by the Worker and never by the object. One hibernating socket per reader tells when the log's
 * end has moved (watch.ts); the data itself is then read like any other. So a slow reader asks late and costs nothing
 * meanwhile: what it has not asked for is in no buffer.
 *
 *   client ── long-poll, SSE ──▶ Worker ── GET, when asked ──▶ object
 *                                   ◀── { end, closed } over a socket that lets the object sleep
 *
 * This file has long-poll and what it shares with SSE (sse.ts).
 */
import { nextCursor } from "../wire/cursors.ts";
import { H } from "../wire/durable-streams.ts";
import { formatOffset } from "../wire/offsets.ts";
import { type Ask, Watch } from "../rpc/watch.ts";

export interface LiveRequest {
  readonly offset: string;
  readonly cursor: string | undefined;
  readonly waitMs: number;
  /** The client's Accept. */
  readonly accept: string | null;
  /** Aborts when the client has gone, where the runtime says so. */
  readonly signal: AbortSignal | undefined;
}

const offsetIn = (response: Response, name: string): number => Number((response.headers.get(name) ?? "").slice(0, 16));
export const nextOf = (response: Response): number => offsetIn(response, H.next);
/** Where an answer begins: -1 is where the log begins, which need not be 0. */
export const fromOf = (response: Response): number => offsetIn(response, H.from);
export const isAtTail = (response: Response): boolean => response.headers.get(H.upToDate) === "true";
export const isEnded = (response: Response): boolean => response.headers.get(H.closed) === "true";

/** Nothing was skipped and nothing is there: a live reader waits here. */
export const isWaiting = (found: Response): boolean =>
  isAtTail(found) && !isEnded(found) && nextOf(found) === fromOf(found);

export async function longPoll(ask: Ask, { offset, cursor, waitMs, accept, signal }: LiveRequest): Promise<Response> {
  const deadline = Date.now() + waitMs;
  const read = (at: string): Promise<Response> =>
    ask(`?offset=${encodeURIComponent(at)}`, accept === null ? {} : { accept });
  let found = await read(offset);
  if (found.status !== 200) return found;
  if (isWaiting(found)) {
    const from = fromOf(found);
    void found.body?.cancel();
    const watch = await Watch.open(ask, from, signal);
    try {
      await watch.past(from, deadline);
    } finally {
      watch.close();
    }
    // The start may have moved on with retention; "now" was an offset when the reader came.
    found = await read(offset === "now" ? formatOffset(from) : offset);
    if (found.status !== 200) return found;
  }
  const headers = new Headers(found.headers);
  headers.delete("etag");
  if (!isEnded(found)) headers.set(H.cursor, nextCursor(Date.now(), cursor, Math.random));
  if (nextOf(found) === fromOf(found)) {
    void found.body?.cancel();
    headers.set("cache-control", "no-store");
    return new Response(null, { status: 204, headers });
  }
  headers.set("cache-control", offset === "now" ? "no-store" : "public, max-age=20");
  return new Response(found.body, { status: 200, headers });
}
