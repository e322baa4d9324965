/**
 * The way to the edge's WebSocket: its code is a file of its own, which the first read that follows loads. Where that
 * can't be, as in a service worker, there is no socket, and requests do the same.
 */
import type { WebSocketClass } from "./api.ts";
import type { LiveSocket } from "./live-socket.ts";
import type { Page } from "./read-topic.ts";
import type { EdgeRequests } from "./requests.ts";

export class SocketWay {
  readonly #requests: EdgeRequests;
  #Class: WebSocketClass | undefined;
  readonly #closed: AbortSignal;
  #socket: LiveSocket | undefined;

  constructor(requests: EdgeRequests, Class: WebSocketClass | undefined, closed: AbortSignal) {
    this.#requests = requests;
    this.#Class = Class;
    this.#closed = closed;
  }

  append: LiveSocket["append"] = async (...asked) => this.#socket?.append(...asked);

  /** Undefined if there is no socket for now. */
  follow(name: string, from: number, signal: AbortSignal): AsyncGenerator<Page> | undefined {
    if (this.#socket) return this.#socket.follow(name, from, signal);
    return this.#Class && this.#first(this.#Class, name, from, signal);
  }

  async *#first(Class: WebSocketClass, name: string, from: number, signal: AbortSignal): AsyncGenerator<Page> {
    try {
      const { LiveSocket } = await import("./live-socket.ts");
      this.#socket ??= new LiveSocket(this.#requests, Class, this.#closed);
    } catch {
      this.#Class = undefined;
    }
    signal.throwIfAborted();
    const follow = this.#socket?.follow(name, from, signal);
    if (follow) yield* follow;
  }
}
