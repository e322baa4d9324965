/**
 * What sync needs of its program (src/sync/sync-host.ts), in a browser's worker: clocks, timers, sockets and requests.
 */
import { TidemarkError } from "../../errors.ts";
import type { Wire } from "../../sync/edge-socket.ts";
import { retryMsOf } from "../../sync/http-words.ts";
import type { HttpAnswer, HttpRequest } from "../../sync/http-wire.ts";
import type { SyncHost } from "../../sync/sync-host.ts";

const REQUEST_MS = 10_000;

export interface BrowserHostOptions {
  token: SyncHost["token"];
  proveTerm(): Promise<void>;
}

function connect(url: string, protocols: readonly string[], signal: AbortSignal): Promise<Wire> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, [...protocols]);
    socket.binaryType = "arraybuffer";
    const failed = (): void => {
      socket.close();
      reject(new TidemarkError("CLOSED", `no socket to ${url}`, { reason: "connect" }));
    };
    signal.addEventListener("abort", failed, { once: true });
    socket.onerror = failed;
    socket.onopen = () => {
      signal.removeEventListener("abort", failed);
      socket.onerror = null;
      socket.onopen = null;
      resolve(wireOf(socket));
    };
  });
}

const wireOf = (socket: WebSocket): Wire => ({
  send: (data) => socket.send(data),
  close: (code, reason) => socket.close(code, reason),
  addEventListener: (type: "message" | "close", listener: (event: never) => void) =>
    socket.addEventListener(type, listener as (event: Event) => void),
});

function after(ms: number, work: () => void): () => void {
  const timer = setTimeout(work, ms);
  return () => clearTimeout(timer);
}

/** A long-poll is answered within 20 s. A request that takes longer than this is lost. */
const POLL_MS = 40_000;

async function request({ method, url, headers, body, signal }: HttpRequest): Promise<HttpAnswer> {
  const ends = AbortSignal.any([signal, AbortSignal.timeout(POLL_MS)]);
  const response = await fetch(url, { method, headers, signal: ends, cache: "no-store", ...(body && { body }) });
  return {
    status: response.status,
    header: (name) => response.headers.get(name),
    bytes: async () => new Uint8Array(await response.arrayBuffer()),
  };
}

export const browserHost = ({ token, proveTerm }: BrowserHostOptions): SyncHost => ({
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after,
  random: () => Math.random(),
  connect,
  async overHttp(url, bearer) {
    const { HttpWire } = await import("../../sync/http-wire.ts");
    return new HttpWire({ url, token: bearer, request, after });
  },
  async http({ method, url, token: bearer, headers }) {
    const authorization = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
    const response = await fetch(url, {
      method,
      headers: { ...headers, ...authorization },
      signal: AbortSignal.timeout(REQUEST_MS),
    });
    return { status: response.status, retryMs: retryMsOf(response.headers.get("retry-after"), Date.now()) };
  },
  token,
  proveTerm,
});
