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

/** Appends per second over so many connections. */
export async function appendRate(address: string, { connections, bytes, ms }: { readonly connections: number; readonly bytes: number; readonly ms: number }): Promise<number> {
  const url = new URL(address);
  const body = Buffer.alloc(bytes, 0x61);
  const head = headOf(url, bytes);
  const lines = Array.from({ length: connections }, () => new Connection(Number(url.port)));
  let count = 0;
  const run = async (until: number): Promise<void> => {
    await Promise.all(lines.map(async (line) => {
      while (performance.now() < until) {
        const status = await line.request(head, body);
        if (status !== 200 && status !== 204) throw new Error(`append: ${status}`);
        count++;
      }
    }));
  };
  // What a first request does besides is not the append's.
  await run(performance.now() + ms / 4);
  count = 0;
  const started = performance.now();
  await run(started + ms);
  const rate = (count * 1000) / (performance.now() - started);
  for (const line of lines) line.end();
  return rate;
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

function page(agent: http.Agent, address: string): Promise<Page> {
  return new Promise((resolve, reject) => {
    http.get(address, { agent }, (response) => {
      let bytes = 0;
      response.on("data", (part: Buffer) => (bytes += part.length));
      response.on("error", reject);
      response.on("end", () => {
        const { "stream-next-offset": next = "", "stream-up-to-date": upToDate } = response.headers;
        if (response.statusCode !== 200) return reject(new Error(`read: ${response.statusCode}`));
        resolve({ bytes, next: String(next), upToDate: upToDate === "true" });
      });
    }).on("error", reject);
  });
}

/** Reads a stream from its beginning to its end; bytes and milliseconds. */
export async function catchUp(address: string, onPage: () => void = () => undefined): Promise<{ readonly bytes: number; readonly ms: number }> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const started = performance.now();
  let bytes = 0;
  for (let offset = "-1"; ; ) {
    const found = await page(agent, `${address}?offset=${offset}`);
    bytes += found.bytes;
    offset = found.next;
    onPage();
    if (found.upToDate) break;
  }
  agent.destroy();
  return { bytes, ms: performance.now() - started };
}
