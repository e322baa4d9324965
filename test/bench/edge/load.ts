/**
 * Load over HTTP that costs little itself: many connections that post the same bytes, and a reader that follows the
 * offsets.
 */
import { connect, type Socket } from "node:net";

/**
 * One kept connection with one request at a time. It understands only answers that have a Content-Length or no body. A
 * server may close one that has waited long for its turn: the next request goes over a new one.
 */
export class Connection {
  readonly #port: number;
  #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #answer: ((status: number) => void) | undefined;
  #fail: ((error: Error) => void) | undefined;

  constructor(port: number) {
    this.#port = port;
    this.#socket = this.#connected();
  }

  #connected(): Socket {
    this.#received = Buffer.alloc(0);
    const socket = connect({ port: this.#port, host: "127.0.0.1", noDelay: true });
    const fail = (error: Error): void => {
      if (socket === this.#socket) this.#fail?.(error);
    };
    socket.on("data", (data) => this.#take(data));
    socket.on("error", fail);
    socket.on("close", () => fail(new Error("the server closed the connection")));
    return socket;
  }

  #take(data: Buffer): void {
    this.#received = this.#received.length === 0 ? data : Buffer.concat([this.#received, data]);
    const end = this.#received.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = this.#received.toString("latin1", 0, end);
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    if (this.#received.length < end + 4 + length) return;
    this.#received = this.#received.subarray(end + 4 + length);
    this.#answer?.(Number(head.slice(9, 12)));
  }

  request(head: Buffer, body: Buffer): Promise<number> {
    const isKept = this.#socket.bytesRead > 0;
    if (this.#socket.closed) this.#socket = this.#connected();
    return new Promise((resolve, reject) => {
      this.#answer = resolve;
      this.#fail = (error) => {
        if (!isKept) return reject(error);
        // It was closed while the request was on its way to it.
        this.#socket.destroy();
        this.#socket = this.#connected();
        this.#fail = reject;
        this.#send(head, body);
      };
      this.#send(head, body);
    });
  }

  #send(head: Buffer, body: Buffer): void {
    this.#socket.cork();
    this.#socket.write(head);
    this.#socket.write(body);
    this.#socket.uncork();
  }

  end(): void {
    this.#fail = undefined;
    this.#socket.destroy();
  }
}

export const headOf = (
  url: URL,
  length: number,
  type = "application/octet-stream",
  more: Readonly<Record<string, string>> = {},
): Buffer =>
  Buffer.from(
    `POST ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Type: ` +
      `${type}\r\nContent-Length: ${length}\r\n` +
      `${Object.entries(more)
        .map(([name, value]) => `${name}: ${value}\r\n`)
        .join("")}\r\n`,
  );

/** What is appended where it is not so many bytes of no type. */
export interface Appended {
  readonly body: Buffer;
  readonly type: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Appends of one size over several connections, in slices of time. */
export class AppendLoad {
  readonly #lines: Connection[];
  readonly #head: Buffer;
  readonly #body: Buffer;
  count = 0;
  ms = 0;

  constructor(address: string, connections: number, appended: number | Appended) {
    const url = new URL(address);
    const isSize = typeof appended === "number";
    this.#body = isSize ? Buffer.alloc(appended, 0x61) : appended.body;
    this.#head = isSize
      ? headOf(url, this.#body.length)
      : headOf(url, this.#body.length, appended.type, appended.headers);
    this.#lines = Array.from({ length: connections }, () => new Connection(Number(url.port)));
  }

  /** Runs one slice. The first one is not counted: it also pays for connections and compilers. */
  async run(ms: number, isCounted = true): Promise<void> {
    const started = performance.now();
    let count = 0;
    await Promise.all(
      this.#lines.map(async (line) => {
        while (performance.now() < started + ms) {
          const status = await line.request(this.#head, this.#body);
          if (status !== 200 && status !== 204) throw new Error(`append: ${status}`);
          count++;
        }
      }),
    );
    if (!isCounted) return;
    this.count += count;
    this.ms += performance.now() - started;
  }

  get rate(): number {
    return (this.count * 1000) / this.ms;
  }

  end(): void {
    for (const line of this.#lines) line.end();
  }
}

export async function create(address: string, type = "application/octet-stream"): Promise<void> {
  const response = await fetch(address, { method: "PUT", headers: { "content-type": type } });
  if (response.status !== 201) throw new Error(`create: ${response.status}`);
}

/** Makes `count` appends of this size, one after the other on each connection. */
export async function fill(address: string, bytes: number, count: number, connections = 1): Promise<void> {
  const url = new URL(address);
  const body = Buffer.alloc(bytes, 0x62);
  let left = count;
  await Promise.all(
    Array.from({ length: connections }, async () => {
      const line = new Connection(Number(url.port));
      while (left-- > 0) {
        const status = await line.request(headOf(url, bytes), body);
        if (status !== 200 && status !== 204) throw new Error(`fill: ${status}`);
      }
      line.end();
    }),
  );
}

/**
 * Reads answers without keeping them. Bodies, with a length or chunked, are read into one buffer that is used again and
 * again, so that the server is what is measured.
 */
class Reader {
  readonly #socket: Socket;
  #head = "";
  /** Bytes of the body, or of the current chunk, that are still to come. */
  #left = 0;
  #state: "head" | "body" | "size" | "chunk" | "trailer" = "head";
  #line = "";
  #headers = "";
  bytes = 0;
  #done: ((headers: string) => void) | undefined;
  #fail: ((error: Error) => void) | undefined;

  constructor(port: number) {
    this.#socket = connect({
      port,
      host: "127.0.0.1",
      noDelay: true,
      onread: {
        buffer: Buffer.alloc(512 * 1024),
        callback: (count, buffer) => (this.#take(buffer as Buffer, count), true),
      },
    });
    this.#socket.on("error", (error) => this.#fail?.(error));
    this.#socket.on("close", () => this.#fail?.(new Error("the server closed the connection")));
  }

  get(url: URL, accept: string): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#done = resolve;
      this.#fail = reject;
      const request = `GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nAccept: ${accept}\r\n\r\n`;
      // One that was closed before says so here only.
      this.#socket.write(request, (error) => error && reject(error));
    });
  }

  #take(buffer: Buffer, count: number): void {
    for (let at = 0; at < count;) {
      if (this.#state === "body" || this.#state === "chunk") {
        const part = Math.min(this.#left, count - at);
        this.#left -= part;
        this.bytes += part;
        at += part;
        if (this.#left === 0 && this.#state === "body") this.#end();
        else if (this.#left === 0) this.#state = "size";
      } else at = this.#state === "head" ? this.#takeHead(buffer, at, count) : this.#takeLine(buffer, at, count);
    }
  }

  #takeHead(buffer: Buffer, at: number, count: number): number {
    const before = this.#head.length;
    this.#head += buffer.toString("latin1", at, Math.min(count, at + 8192));
    const end = this.#head.indexOf("\r\n\r\n");
    if (end < 0) return count;
    this.#headers = this.#head.slice(0, end);
    this.#head = "";
    const length = /\r\ncontent-length: *(\d+)/i.exec(this.#headers)?.[1];
    this.#state = length === undefined ? "size" : "body";
    this.#left = Number(length ?? 0);
    if (length === "0") this.#end();
    return at + end + 4 - before;
  }

  /**
   * Takes one line between chunks: the line with a chunk's size, the empty line after a chunk, or the one after the
   * last.
   */
  #takeLine(buffer: Buffer, at: number, count: number): number {
    const end = buffer.indexOf(10, at);
    const upTo = end < 0 || end >= count ? count : end + 1;
    this.#line += buffer.toString("latin1", at, upTo);
    if (!this.#line.endsWith("\n")) return upTo;
    const line = this.#line.trim();
    this.#line = "";
    if (this.#state === "trailer") this.#end();
    else if (line !== "") {
      this.#left = parseInt(line, 16);
      this.#state = this.#left === 0 ? "trailer" : "chunk";
    }
    return upTo;
  }

  #end(): void {
    this.#state = "head";
    this.#done?.(this.#headers);
  }

  end(): void {
    this.#fail = undefined;
    this.#socket.destroy();
  }
}

/**
 * Reads a stream from its beginning to its end. Returns bytes and milliseconds; `onAnswer` is called after each answer.
 */
export async function catchUp(
  address: string,
  { accept = "*/*", onAnswer = () => undefined }: { readonly accept?: string; readonly onAnswer?: () => unknown } = {},
): Promise<{ readonly bytes: number; readonly ms: number }> {
  const reader = new Reader(Number(new URL(address).port));
  const started = performance.now();
  for (let offset = "-1"; ;) {
    const headers = await reader.get(new URL(`${address}?offset=${offset}`), accept);
    if (!headers.startsWith("HTTP/1.1 200")) throw new Error(`read: ${headers.slice(0, 40)}`);
    offset = /\r\nstream-next-offset: *(\S+)/i.exec(headers)?.[1] ?? "";
    onAnswer();
    if (/\r\nstream-up-to-date: *true/i.test(headers)) break;
  }
  const { bytes } = reader;
  reader.end();
  return { bytes, ms: performance.now() - started };
}
