/**
 * What sync needs of the program that it runs in: clocks, timers, randomness, sockets, tokens, the proof of the term.
 * Nothing in src/sync has any of these by itself, so a test owns them all.
 */
import type { Wire } from "./edge-socket.ts";

export type TokenReason = "connect" | "expiring" | "expired" | "refused";

export interface SyncHost {
  /** Wall clock, milliseconds. Only shown. */
  now(): number;
  /** A clock that only rises, milliseconds. */
  monotonic(): number;
  /** Runs `work` after so long; what it gives back takes that away. */
  after(ms: number, work: () => void): () => void;
  /** In [0, 1). */
  random(): number;
  /** An open socket. Rejects where it can't be opened. */
  connect(url: string, protocols: readonly string[], signal: AbortSignal): Promise<Wire>;
  /** One request. `token` goes in a header, never in the address. */
  http(request: {
    readonly method: "PUT" | "HEAD";
    readonly url: string;
    readonly token: string | undefined;
    readonly headers: Readonly<Record<string, string>>;
  }): Promise<{ readonly status: number }>;
  /** undefined: the edge wants none. null: nobody is signed in. A rejection: not now. */
  token(reason: TokenReason): Promise<string | null | undefined>;
  /** Resolves when the life lock was seen to be held; where it is gone the program ends, and this never resolves. */
  proveTerm(): Promise<void>;
}
