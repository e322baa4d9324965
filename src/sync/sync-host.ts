/**
 * What sync needs of the program that it runs in: clocks, timers, randomness, sockets, tokens, the proof of the term.
 * Nothing in src/sync has any of these by itself, so a test owns them all.
 */
import type { Wire } from "./edge-socket.ts";

export type TokenReason = "connect" | "expiring" | "expired" | "refused";

export interface SyncHost {
  /** Wall clock, milliseconds: for times that are shown, and for the expiry of tokens. */
  now(): number;
  /** A clock that only rises, milliseconds. */
  monotonic(): number;
  /** Runs `work` after `ms`, unless the function that it returns is called before. */
  after(ms: number, work: () => void): () => void;
  /** In [0, 1). */
  random(): number;
  /** An open socket. Rejects where it can't be opened. */
  connect(url: string, protocols: readonly string[], signal: AbortSignal): Promise<Wire>;
  /** A wire over HTTP (http-wire.ts), for networks without WebSockets. Left out by hosts that have none. */
  overHttp?(url: string, token: string | undefined): Promise<Wire>;
  /**
   * One request. `token` goes in a header, never in the address. `retryMs`: how long the answer says to wait before the
   * next one.
   */
  http(request: {
    readonly method: "PUT" | "HEAD";
    readonly url: string;
    readonly token: string | undefined;
    readonly headers: Readonly<Record<string, string>>;
  }): Promise<{ readonly status: number; readonly retryMs?: number }>;
  /**
   * undefined: no page has a provider, and the edge may want no token. null: nobody is signed in. Rejects if there is
   * none for now. `refused` is a token that the edge has refused: it is given only if no page has another one.
   */
  token(reason: TokenReason, refused?: string): Promise<string | null | undefined>;
  /** Resolves once the life lock was seen to be held. If the lock is gone, the program ends and this never resolves. */
  proveTerm(): Promise<void>;
}
