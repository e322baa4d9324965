/**
 * The Worker's end of a WebSocket: the methods that are used, how a pair is made, and how a socket is closed that may
 * be closed already.
 */

export interface ServerSocket {
  binaryType: string;
  accept(): void;
  send(data: ArrayBuffer | Uint8Array | string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { code: number; reason: string }) => void): void;
  addEventListener(type: "error", listener: () => void): void;
}

export function closeSocket(socket: ServerSocket | undefined, code?: number, reason?: string): void {
  try {
    socket?.close(code, reason);
  } catch {
    // Closed already.
  }
}

export function pairOf(): { client: unknown; server: ServerSocket } {
  const Pair = (globalThis as unknown as { WebSocketPair: new () => { 0: unknown; 1: ServerSocket } }).WebSocketPair;
  const pair = new Pair();
  return { client: pair[0], server: pair[1] };
}
