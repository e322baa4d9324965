/**
 * What Workers' types have and the DOM's lack, as far as the worker uses it. Two programs compile the worker with the
 * DOM's types: that of the tests, which run in Node and in browsers as well, and that of the package's declarations.
 * worker/tsconfig.json checks the same files with Workers' own types.
 */
interface WebSocket {
  /** The DOM's takes no view of memory that threads share. */
  send(data: string | ArrayBuffer | ArrayBufferView): void;
  accept(): void;
  serializeAttachment(value: unknown): void;
  deserializeAttachment(): unknown;
}
declare const WebSocketPair: new () => { readonly 0: WebSocket; readonly 1: WebSocket };
interface ResponseInit {
  webSocket?: WebSocket | null;
}
interface Response {
  readonly webSocket: WebSocket | null;
}
