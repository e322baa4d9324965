/**
 * WebSockets at the edge: how a pair is made, what is used of its ends, and how an end travels in an answer.
 *
 *   client ◀── socket ──▶ Worker          ◀── socket ──▶ log's object
 *                         ServerSocket      socketIn()   HibernatingSocket
 *                         client-socket.ts               log-object/sockets.ts, watchers.ts
 */

/** The most that a log's object answers a fetch with. The Worker keeps that much room for the answer. */
export const FETCH_BYTES_MAX = 2 * 1024 * 1024;

/** An end that the Worker holds. */
export interface ServerSocket {
  binaryType: string;
  accept(): void;
  send(data: ArrayBuffer | Uint8Array | string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { code: number; reason: string }) => void): void;
  addEventListener(type: "error", listener: () => void): void;
}

/** An end that an object holds: what is attached to it is there again after the object has slept. */
export interface HibernatingSocket {
  send(data: ArrayBuffer | Uint8Array | string): void;
  close(code: number, reason?: string): void;
  serializeAttachment(value: unknown): void;
  deserializeAttachment(): unknown;
}

/** What an object needs of its platform to hold such ends. */
export interface SocketState {
  acceptWebSocket(socket: HibernatingSocket, tags: string[]): void;
  getWebSockets(tag: string): HibernatingSocket[];
  getTags(socket: HibernatingSocket): string[];
}

export const pairOf = (): { readonly client: WebSocket; readonly server: WebSocket } => {
  const { 0: client, 1: server } = new WebSocketPair();
  return { client, server };
};

/** The answer that hands the other end to whoever asked. */
export const upgraded = (client: WebSocket, headers: Record<string, string> = {}): Response =>
  new Response(null, { status: 101, webSocket: client, headers });

/** The end that came with an answer; null for a refusal. */
export const socketIn = (response: Response): WebSocket | null => response.webSocket;

export function closeSocket(socket: Pick<ServerSocket, "close"> | undefined, code?: number, reason?: string): void {
  try {
    socket?.close(code, reason);
  } catch {
    // Closed already.
  }
}
