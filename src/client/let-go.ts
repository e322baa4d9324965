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

/** Told with the head of each request that Node's fetch and WebSocket send. */
const SENT = "undici:client:sendHeaders";
/** The package ws has a way to end a connection. A close that is not answered for so long is not waited for. */
const ANSWER_MS = 1_000;

const diagnostics = (globalThis as Node).process?.getBuiltinModule?.("node:diagnostics_channel");
const connections = new Set<Connection>();
let open = 0;

function heard(told: unknown): void {
  const { request, socket } = told as Told;
  if (request?.upgrade !== "websocket" || !String(request.path).endsWith("/v1/socket") || !socket) return;
  connections.add(socket);
  // One that has ended is not held until the last socket of a client that always has some.
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
