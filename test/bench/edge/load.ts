/** Load over HTTP with as little of its own as can be: many connections that post the same bytes, and a reader that follows the offsets. */
import { connect, type Socket } from "node:net";
import http from "node:http";

/** One kept connection; a request at a time. Only answers with a Content-Length or without a body are understood. */
class Connection {
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #answer: ((status: number) => void) | undefined;
  #fail: ((error: Error) => void) | undefined;

  constructor(port: number) {
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.on("data", (data) => this.#take(data));
    this.#socket.on("error", (error) => this.#fail?.(error));
    this.#socket.on("close", () => this.#fail?.(new Error("the server closed the connection")));
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
    return new Promise((resolve, reject) => {
      this.#answer = resolve;
      this.#fail = reject;
      this.#socket.cork();
      this.#socket.write(head);
      this.#socket.write(body);
      this.#socket.uncork();
    });
  }

  end(): void {
    this.#fail = undefined;
    this.#socket.destroy();
  }
}

const headOf = (url: URL, length: number): Buffer =>
  Buffer.from(`POST ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Type: application/octet-stream\r\nContent-Length: ${length}\r\n\r\n`);

/** Appends of one size over so many connections, in slices. */
export class AppendLoad {
  readonly #lines: Connection[];
  readonly #head: Buffer;
  readonly #body: Buffer;
  count = 0;
  ms = 0;

  constructor(address: string, connections: number, bytes: number) {
    const url = new URL(address);
    this.#body = Buffer.alloc(bytes, 0x61);
    this.#head = headOf(url, bytes);
    this.#lines = Array.from({ length: connections }, () => new Connection(Number(url.port)));
  }

  /** A slice of work, counted unless it is the first one: what that does besides is not the append's. */
  async run(ms: number, isCounted = true): Promise<void> {
    const started = performance.now();
    let count = 0;
    await Promise.all(this.#lines.map(async (line) => {
      while (performance.now() < started + ms) {
        const status = await line.request(this.#head, this.#body);
        if (status !== 200 && status !== 204) throw new Error(`append: ${status}`);
        count++;
      }
    }));
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

/** So many appends of this size, one after the other. */
export async function fill(address: string, bytes: number, count: number): Promise<void> {
  const url = new URL(address);
  const line = new Connection(Number(url.port));
  const body = Buffer.alloc(bytes, 0x62);
  for (let i = 0; i < count; i++) {
    const status = await line.request(headOf(url, bytes), body);
    if (status !== 200 && status !== 204) throw new Error(`fill: ${status}`);
  }
  line.end();
}

interface Page {
  readonly bytes: number;
  readonly next: string;
  readonly upToDate: boolean;
}

function page(agent: http.Agent, address: string, onMiB: () => void): Promise<Page> {
  return new Promise((resolve, reject) => {
    http.get(address, { agent }, (response) => {
      let bytes = 0;
      response.on("data", (part: Buffer) => {
        if (Math.floor(bytes / 2 ** 22) !== Math.floor((bytes += part.length) / 2 ** 22)) onMiB();
      });
      response.on("error", reject);
      response.on("end", () => {
        const { "stream-next-offset": next = "", "stream-up-to-date": upToDate } = response.headers;
        if (response.statusCode !== 200) return reject(new Error(`read: ${response.statusCode}`));
        resolve({ bytes, next: String(next), upToDate: upToDate === "true" });
      });
    }).on("error", reject);
  });
}

/** Reads a stream from its beginning to its end; bytes and milliseconds. `onMiB` is told every few of them. */
export async function catchUp(address: string, onMiB: () => void = () => undefined): Promise<{ readonly bytes: number; readonly ms: number }> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const started = performance.now();
  let bytes = 0;
  for (let offset = "-1"; ; ) {
    const found = await page(agent, `${address}?offset=${offset}`, onMiB);
    bytes += found.bytes;
    offset = found.next;
    if (found.upToDate) break;
  }
  agent.destroy();
  return { bytes, ms: performance.now() - started };
}
