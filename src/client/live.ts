/**
 * The way to the edge's WebSocket: its code is a file of its own, which the first read that follows loads. While that
 * can't be, as in a service worker or offline, there is no socket, and requests do the same. It is tried again behind
 * the next long-poll.
 */
import type { WebSocketClass } from "./api.ts";
import type { LiveSocket } from "./live-socket.ts";
import type { Page } from "./page.ts";
import type { EdgeRequests } from "./requests.ts";

/** After a failure to load the file, it is not asked for again for this long. */
const AVOID_MS = 10_000;

export interface SocketWay {
  readonly requests: EdgeRequests;
  /** Undefined: there is no socket. */
  readonly Class: WebSocketClass | undefined;
  readonly closed: AbortSignal;
  /** From the first read that follows on. */
  socket?: LiveSocket;
  /** By performance.now(). */
  avoidUntil?: number;
}

/** Undefined if there is no socket for now. */
export function followOver(
  way: SocketWay,
  name: string,
  from: number,
  signal: AbortSignal,
): AsyncGenerator<Page> | undefined {
  if (way.socket) return way.socket.follow(name, from, signal);
  if (performance.now() < (way.avoidUntil ?? 0)) return undefined;
  return way.Class && first(way, way.Class, name, from, signal);
}

async function* first(
  way: SocketWay,
  Class: WebSocketClass,
  ...asked: Parameters<LiveSocket["follow"]>
): AsyncGenerator<Page> {
  try {
    const { LiveSocket } = await import("./live-socket.ts");
    way.socket ??= new LiveSocket(way.requests, Class, way.closed);
  } catch {
    way.avoidUntil = performance.now() + AVOID_MS;
  }
  asked[2].throwIfAborted();
  const follow = way.socket?.follow(...asked);
  if (follow) yield* follow;
}
