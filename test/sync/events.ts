/**
 * What a page of the end-to-end runs tells the ledger (ledger.ts), and what the driver may ask of it. Each message is
 * a note of test/crash/events.ts, so that it comes through the same wire.
 */
import type { SyncStatus } from "../../src/browser/index.ts";

export const TOPIC = "orders";

export interface DeviceConfig {
  /** Names this life of a tab: no two in a run are equal. */
  readonly name: string;
  readonly edge: string | undefined;
  readonly path: string;
  /** The address that gives tokens; undefined: this page has no token function. */
  readonly tokens?: string | undefined;
  readonly engine?: "opfs" | "indexeddb" | undefined;
  /** The tide's name; one for all tabs of a test unless a browser has several. */
  readonly database?: string | undefined;
  /** Default: 64 KiB, so that a short run has many segments. */
  readonly segmentBytes?: number | undefined;
  /** What the topic's values are; default "json". */
  readonly serializer?: "bytes" | undefined;
  /** Values that begin with a brace are written as they are, though they may be no JSON. */
  readonly odd?: boolean | undefined;
  readonly leaderTimeoutMs?: number | undefined;
  /** Pause between two appends. */
  readonly pauseMs?: number | undefined;
}

/** A tab is about to append these values; they are acknowledged; one has its place at the edge. */
export type SyncNote =
  | { readonly sent: readonly string[]; readonly by: string }
  | { readonly acked: readonly string[]; readonly offsets: readonly number[] }
  | { readonly refused: readonly string[]; readonly code: string; readonly message: string }
  | { readonly committed: string; readonly offset: number | undefined }
  | { readonly uncommitted: string; readonly code: string }
  | { readonly event: string; readonly by: string; readonly details: unknown };

export interface Brief {
  readonly role: "leader" | "follower";
  readonly status: SyncStatus | undefined;
  /** Appends without an answer, and records that were acknowledged and have no place yet. */
  readonly unanswered: number;
  readonly unplaced: number;
  readonly closed: string | undefined;
  /** How often the page came back from the browser's cache of pages. */
  readonly restored: number;
}

/** Digest of all committed records, in their order. */
export interface Held {
  readonly records: number;
  readonly firstOffset: number;
  readonly digest: string;
}
