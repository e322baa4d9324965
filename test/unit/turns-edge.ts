/** An edge in this process with one log, by requests and by sockets. It counts what it still does for its client. */
import { encodeBatch } from "../../src/client/encode-batch.ts";
import { concat, viewOf } from "../../src/record/bytes.ts";
import { decodeFrame, encodeFrame, type Frame, FrameType, jsonFrame, jsonOf } from "../../src/sync/frames.ts";
import { formatOffset } from "../../src/sync/http-words.ts";

const decoder = new TextDecoder();
/** What an append's frame has before its batches. */
const APPEND_HEAD_BYTES = 8;
const FIRST_BYTE_OF_JSON = 0x7b;

interface Stored {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export class TurnsEdge {
  /** Requests that were sent, and those that have no answer yet. */
  asked = 0;
  readonly underway = new Set<object>();
  /** Sockets that are not closed. */
  readonly sockets = new Set<EventTarget>();
  readonly #log: Stored[] = [];
  readonly #follows = new Set<() => void>();

  constructor(records: number) {
    for (let n = 0; n < records; n++)
      this.#append(
        encodeBatch([{ key: null, value: new TextEncoder().encode(String(n)), timestamp: n }], {
          producerId: 5,
          producerEpoch: 0,
          baseSequence: n,
        }),
      );
  }

  get #end(): number {
    return this.#log.at(-1)?.nextOffset ?? 0;
  }

  /** All that the log has, as text. */
  get text(): string {
    return this.#log.map(({ bytes }) => decoder.decode(bytes)).join();
  }

  #append(batch: Uint8Array) {
    const bytes = batch.slice() as Uint8Array<ArrayBuffer>;
    const baseOffset = this.#end;
    const nextOffset = baseOffset + viewOf(bytes).getInt32(57);
    viewOf(bytes).setBigInt64(0, BigInt(baseOffset));
    this.#log.push({ baseOffset, nextOffset, bytes });
    for (const wake of this.#follows) wake();
    return { baseOffset, lastOffset: nextOffset - 1, duplicate: false };
  }

  #from(offset: number): Uint8Array<ArrayBuffer> {
    return concat(this.#log.filter(({ nextOffset }) => nextOffset > offset).map(({ bytes }) => bytes)).slice();
  }

  readonly fetch: typeof globalThis.fetch = async (address, init) => {
    const { method = "GET", body, signal } = init!;
    const { searchParams } = new URL(String(address));
    this.asked++;
    signal!.throwIfAborted();
    const request = {};
    this.underway.add(request);
    let abort!: () => void;
    const aborted = new Promise<never>((_, reject) => (abort = () => reject(signal!.reason as Error)));
    signal!.addEventListener("abort", abort);
    try {
      return await Promise.race([this.#answer(method, searchParams, body as Uint8Array | undefined), aborted]);
    } finally {
      signal!.removeEventListener("abort", abort);
      this.underway.delete(request);
    }
  };

  async #answer(method: string, query: URLSearchParams, body: Uint8Array | undefined): Promise<Response> {
    await null;
    const isLive = query.has("live");
    const from = Number((query.get("offset") ?? "0").slice(0, 16));
    if (isLive && from >= this.#end) await new Promise<void>((resolve) => this.#follows.add(resolve));
    const isImport = query.has("import") || body?.[0] === FIRST_BYTE_OF_JSON;
    const standing = { import: "i", file: 0, position: 0, done: query.has("import"), batches: 1, records: 1 };
    const told = isImport
      ? { ...standing, firstOffset: 0, nextOffset: 1, damage: [] }
      : method === "POST" && body && { appended: [this.#append(body)] };
    const headers = {
      "stream-next-offset": formatOffset(this.#end),
      "tidemark-start-offset": formatOffset(0),
      "stream-up-to-date": "true",
      "tidemark-log": "one",
      "content-type": "application/json",
      ...(method === "POST" && !body && { "stream-closed": "true" }),
    };
    const status = { PUT: 201, DELETE: 204 }[method] ?? 200;
    return new Response(told ? JSON.stringify(told) : method === "GET" ? this.#from(from) : null, { status, headers });
  }

  /** The frames that answer one, each told later. `tell` gives back what ends a follow. */
  #take(frame: Frame, tell: (answer: Uint8Array) => void): (() => void) | undefined {
    const { type, channel, id, payload } = frame;
    if (type === FrameType.OPEN) tell(jsonFrame({ type: FrameType.HELLO, channel }, {}));
    if (type === FrameType.APPEND) {
      const appended = [this.#append(payload.subarray(APPEND_HEAD_BYTES))];
      tell(jsonFrame({ type: FrameType.OK, channel, id }, { appended }));
    }
    if (type !== FrameType.FOLLOW) return undefined;
    let { from } = jsonOf(frame) as { from: number };
    const wake = (): void => {
      if (from >= this.#end) return;
      tell(encodeFrame({ type: FrameType.BATCHES, channel, id, payload: this.#from(from) }));
      from = this.#end;
    };
    this.#follows.add(wake);
    wake();
    return () => this.#follows.delete(wake);
  }

  /** A class of sockets to this edge, each of which opens some turns after it was made. */
  socketClass(): unknown {
    const { sockets } = this;
    const take = (frame: Frame, tell: (answer: Uint8Array) => void) => this.#take(frame, tell);
    return class Socket extends EventTarget {
      binaryType = "";
      #isOpen = false;
      readonly #ends: (() => void)[] = [];
      constructor() {
        super();
        sockets.add(this);
        void this.#open();
      }
      async #open(): Promise<void> {
        for (let turn = 0; turn < 5; turn++) await null;
        if (!sockets.has(this)) return;
        this.#isOpen = true;
        this.dispatchEvent(new Event("open"));
      }
      send(data: unknown): void {
        if (!this.#isOpen) throw new DOMException("the socket is not open yet", "InvalidStateError");
        const frame = decodeFrame(data);
        const end =
          frame &&
          take(frame, (data) =>
            queueMicrotask(() => sockets.has(this) && this.dispatchEvent(new MessageEvent("message", { data }))),
          );
        if (end) this.#ends.push(end);
      }
      close(): void {
        if (!sockets.delete(this)) return;
        for (const end of this.#ends) end();
        queueMicrotask(() => {
          // As sockets do that have not opened.
          if (!this.#isOpen) this.dispatchEvent(new Event("error"));
          this.dispatchEvent(Object.assign(new Event("close"), { code: 1000, reason: "" }));
        });
      }
    };
  }
}
