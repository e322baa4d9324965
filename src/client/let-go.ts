/**
 * Lets a program end that has closed its sockets, whether or not the edge answers the close. Node's own WebSocket waits
 * for that answer, for ever if none comes, and gives no way to its connection: only Node's diagnostics tell of it. Once
 * no socket of this client is open, connections that still wait do not keep the program alive any more.
 */
import type { WebSocketLike } from "./api.ts";

interface Connection {
  unref?(): unknown;
  once?(event: "close", heard: () => void): unknown;
}
interface Told {
  readonly request?: { readonly upgrade?: unknown; readonly path?: unknown };
  readonly socket?: Connection;
}
interface Diagnostics {
  subscribe(name: string, heard: (told: unknown) => void): void;
  unsubscribe(name: string, heard: (told: unknown) => void): void;
}
interface Node {
  readonly process?: { getBuiltinModule?(name: string): Diagnostics | undefined };
}

/** The channel on which Node tells of each request that its fetch and its WebSocket send. */
const SENT = "undici:client:sendHeaders";
/** If a close is not answered within this time, the connection is ended. The package ws has a call for that. */
const ANSWER_MS = 1_000;

const diagnostics = (globalThis as Node).process?.getBuiltinModule?.("node:diagnostics_channel");
const connections = new Set<Connection>();
let open = 0;

function heard(told: unknown): void {
  const { request, socket } = told as Told;
  if (request?.upgrade !== "websocket" || !String(request.path).endsWith("/v1/socket") || !socket) return;
  connections.add(socket);
  // Dropped at once: a client may always have some socket open, and would keep every connection that has ended.
  socket.once?.("close", () => connections.delete(socket));
}

/** Call it when a socket is made, and what it gives when it is closed. */
export function openedSocket(socket: WebSocketLike & { terminate?(): void }): () => void {
  // Its request is sent in a later turn.
  if (open++ === 0) diagnostics?.subscribe(SENT, heard);
  let isOver = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const left = (): void => {
    if (isOver) return;
    isOver = true;
    if (--open > 0) return;
    diagnostics?.unsubscribe(SENT, heard);
    for (const connection of connections) connection.unref?.();
    connections.clear();
  };
  socket.addEventListener("close", () => {
    clearTimeout(timer);
    left();
  });
  return () => {
    if (!isOver && socket.terminate) timer = setTimeout(() => socket.terminate!(), ANSWER_MS);
    left();
  };
}
