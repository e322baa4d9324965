/** Sockets inside the platform, between a Worker and an object or a client. */

/** The object that holds an end, also while it sleeps. */
interface Hibernating {
  socketEvent(socket: End, type: string, event: { data?: unknown }): void;
  left(socket: End): void;
}

/** One end of a socket inside the platform. */
export class End {
  binaryType = "arraybuffer";
  other!: End;
  isClosed = false;
  hibernates: Hibernating | undefined;
  tags: string[] = [];
  attachment: unknown = null;
  readonly #listeners: Record<string, ((event: unknown) => void)[]> = {};
  #held: (readonly [string, unknown])[] | undefined = [];

  accept(): void {
    // Behind the turn, in which its owner adds listeners.
    queueMicrotask(() => {
      const held = this.#held ?? [];
      this.#held = undefined;
      for (const [type, event] of held) this.#emit(type, event);
    });
  }
  addEventListener(type: string, listener: (event: unknown) => void): void {
    (this.#listeners[type] ??= []).push(listener);
  }
  #emit(type: string, event: unknown): void {
    if (this.hibernates) return this.hibernates.socketEvent(this, type, event as { data?: unknown });
    if (this.#held) return void this.#held.push([type, event]);
    for (const listener of this.#listeners[type] ?? []) listener(event);
  }
  tell(type: string, event: unknown): void {
    queueMicrotask(() => this.#emit(type, event));
  }
  send(data: ArrayBuffer | Uint8Array | string): void {
    if (this.isClosed) throw new TypeError("Can't call WebSocket send() after close().");
    const copy = typeof data === "string" ? data : new Uint8Array(data).slice().buffer;
    if (!this.other.isClosed) this.other.tell("message", { data: copy });
  }
  close(code = 1005, reason = ""): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.hibernates?.left(this);
    if (this.other.isClosed) return;
    this.other.tell("close", { code, reason, wasClean: true });
    this.other.isClosed = true;
  }
  serializeAttachment(value: unknown): void {
    this.attachment = structuredClone(value);
  }
  deserializeAttachment(): unknown {
    return structuredClone(this.attachment);
  }
}
