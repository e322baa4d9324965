/**
 * Live reads, which are held open by the Worker and never by the object. One hibernating socket for each reader tells
 * when the log's end has moved, and brings small records at once (watch.ts); larger ones are then read like any others.
 * So a slow reader only asks late, and until then costs at most the records of one notice.
 *
 *   client ── long-poll, SSE ──▶ Worker ── GET, for what no notice brought ──▶ object
 *                                   ◀── notices over a socket that lets the object sleep
 *
 * A long-poll asks once: its read is answered by the records, or by the socket over which they will come.
 *
 * This file holds long-poll, and what it shares with SSE (sse.ts).
 */
import { BYTES_HEADER } from "../../src/sync/http-words.ts";
import { EdgeError } from "../errors.ts";
import { nextCursor } from "../wire/cursors.ts";
import { H } from "../wire/durable-streams.ts";
import { formatOffset } from "../wire/offsets.ts";
import { fromOf, isEnded, nextOf } from "../wire/read-answer.ts";
import { closeSocket, socketIn } from "../rpc/sockets.ts";
import { TIDE_ASKED_HEADER, WAIT_HEADER } from "../rpc/internal-headers.ts";
import { type Ask, Watch } from "../rpc/watch.ts";

export interface LiveRequest {
  readonly offset: string;
  readonly cursor: string | undefined;
  readonly waitMs: number;
  /** The client's Accept header. */
  readonly accept: string | null;
  /** Aborts when the client has gone, if the runtime reports that. */
  readonly signal: AbortSignal | undefined;
}

/** The answer that would be read now, made of the one that had nothing and of the news since. */
function answerOf(waiting: Response, watch: Watch, from: number): Response | undefined {
  const news = watch.take(from);
  if (!news) return undefined;
  const headers = new Headers(waiting.headers);
  headers.delete("content-length");
  headers.set(H.next, formatOffset(news.end));
  if (headers.has(BYTES_HEADER)) headers.set(BYTES_HEADER, String(news.body.length));
  if (news.end < watch.end) headers.delete(H.upToDate);
  else if (watch.closed) headers.set(H.closed, "true");
  return new Response(news.body as BodyInit, { status: 200, headers });
}

export interface LongPollRequest extends LiveRequest {
  /** True for a device that syncs: its answers name the life of the log from which their bytes are. */
  readonly wantsTide: boolean;
}

export async function longPoll(
  ask: Ask,
  { offset, cursor, waitMs, accept, signal, wantsTide }: LongPollRequest,
): Promise<Response> {
  const deadline = Date.now() + waitMs;
  const asked = { ...(accept !== null && { accept }), ...(wantsTide && { [TIDE_ASKED_HEADER]: "1" }) };
  const read = (at: string, own: Record<string, string> = {}): Promise<Response> =>
    ask(`?offset=${encodeURIComponent(at)}`, { ...asked, ...own });
  let found = await read(offset, { upgrade: "websocket", [WAIT_HEADER]: "1" });
  const socket = socketIn(found);
  if (socket && !found.headers.has(H.from)) {
    // An object of an earlier version watches without reading.
    closeSocket(socket, 1000);
    throw new EdgeError("CLOSED", "the stream's object is about to change its version", { retryAfter: 1 });
  }
  if (socket) {
    const watch = Watch.over(socket, signal);
    const from = fromOf(found);
    let answer: Response | undefined;
    try {
      // Records of a notice may be of a later life than the headers of the first answer name.
      if ((await watch.past(from, deadline)) && !wantsTide) answer = answerOf(found, watch, from);
    } finally {
      watch.close();
    }
    // The log's start may have moved because of retention; "now" was turned into an offset when the reader came.
    found = answer ?? (await read(offset === "now" ? formatOffset(from) : offset));
  }
  if (found.status !== 200) return found;
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
