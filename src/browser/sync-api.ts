/**
 * The public API of sync, part of `tidemark/browser` (docs/sync.md).
 *
 *     const tide = await open("my-app", { sync: { url: "https://edge.example", topics: ["orders"], token } });
 *     tide.syncing.subscribe(({ state }) => { … });
 *     await tide.syncing.drained();
 */
import type { ErrorCode, ErrorDetails } from "../errors.ts";
import type { CompactionSettings, RetentionSettings } from "../log/types.ts";

/** Why a token is asked for. */
export interface TokenAsk {
  readonly reason: "connect" | "expiring" | "expired" | "refused";
}

/**
 * Gives a token each time one is needed. A token that was refused is never sent again. null: nobody is signed in, and
 * sync waits for authenticate(); it asks again, too, when a page is seen or online again, or opens anew. A rejection
 * means "not now": asked again after a back-off. The leader's page is asked first, so each tab's function should know
 * of a sign-in on another tab.
 */
export type TokenProvider = string | ((ask: TokenAsk) => string | null | Promise<string | null>);

/**
 * The volume keeps them. A later call of sync() changes those that it names, and leaves the others as they are.
 */
export interface SyncedTopicOptions {
  /** Path at the edge; it can't be changed. Default: the topic's name. */
  readonly path?: string | undefined;
  /** Where this device's copy begins; without effect once there is one. Default "earliest". */
  readonly from?: "earliest" | "latest" | { readonly last: number } | { readonly timestamp: number } | undefined;
  /** Makes the edge's log where it is missing. Default {}. false: waits until somebody makes it. */
  readonly create?:
    | false
    | { readonly retention?: RetentionSettings | undefined; readonly compaction?: CompactionSettings | undefined }
    | undefined;
  /** Bytes that are not at the edge and are kept here; beyond them append() rejects OUTBOX_FULL. Default 256 MiB. */
  readonly outboxBytesMax?: number | undefined;
  /** What this device keeps of committed records. Default: what the edge keeps. Records that are not there stay. */
  readonly keep?: RetentionSettings | undefined;
  /**
   * What the topic's values are: the edge's log is made for them. Default: as this page has the topic; else "json".
   */
  readonly serializer?: "json" | "text" | "bytes" | undefined;
  /** The edge let go of records that this device never had. "skip" (default) goes on and tells a gap; "stop" asks. */
  readonly onTrimmed?: "skip" | "stop" | undefined;
}

export interface SyncOptions {
  /** The edge, http or https. */
  readonly url: string | URL;
  readonly token?: TokenProvider | undefined;
  /** By name. An array means defaults for each. */
  readonly topics: readonly string[] | Readonly<Record<string, SyncedTopicOptions>>;
  /**
   * "pause" (default): when no tab is visible and nothing was to send for 60 s, the connection closes. The volume keeps
   * it; a call that does not name it leaves it as it is.
   */
  readonly background?: "pause" | "keep" | undefined;
}

export interface BlockedBatch {
  readonly code: string;
  readonly message: string;
  /** Offset of the first blocked record, 2^52 or above. Undefined where the whole outbox waits. */
  readonly firstOffset: number | undefined;
  readonly records: number;
  readonly bytes: number;
  /** The keys of the first ten blocked records, as text. Empty where the whole outbox waits. */
  readonly keys: readonly (string | null)[];
}

export interface TopicSyncStatus {
  readonly state: "joining" | "catching-up" | "live" | "offline" | "blocked" | "stopped";
  /** What is not at the edge. Computed from positions, never counted by events. */
  readonly pending: { readonly records: number; readonly bytes: number };
  /** Offsets that the edge has and this device does not. Undefined before the first join. */
  readonly behind?: { readonly records: number } | undefined;
  /** 0 to 1, of this catch-up. */
  readonly progress?: number | undefined;
  /** Exclusive. */
  readonly watermark: number;
  /** What the topic's values are, by sync(). */
  readonly serializer: "json" | "text" | "bytes";
  /** This device was level with the edge since the tab that leads began to lead: false again behind a fail-over. */
  readonly hasSynced: boolean;
  /** When it was last level, in the same time. */
  readonly lastSyncedAt?: number | undefined;
  /**
   * Below this offset the copy may hold records that were deleted while this device was away, until it is made anew
   * from the edge. `error`: why the newest try has failed; it is made again, at the latest after an hour. Without one
   * it goes on, or waits for a connection, or until own records are at the edge.
   */
  readonly stale?: { readonly below: number; readonly error?: SyncStatus["error"] } | undefined;
  readonly blocked?: BlockedBatch | undefined;
  readonly stopped?: { readonly code: ErrorCode; readonly details: ErrorDetails } | undefined;
}

export interface SyncStatus {
  /** "blocked": at least one topic is blocked, or has stopped: it needs an answer. "offline": see nextTryAt. */
  readonly state: "idle" | "offline" | "connecting" | "catching-up" | "live" | "paused" | "blocked";
  /** The edge has said something on this connection. Until then it is "connecting": a proxy may have opened it. */
  readonly connected: boolean;
  /** Why it is paused or blocked. "owner": the token is another owner's than the records'. */
  readonly reason?: "user" | "hidden" | "signed-out" | "forbidden" | "owner" | "version" | ErrorCode | undefined;
  /** The last failure, until sync is live again. */
  readonly error?: { readonly code: ErrorCode; readonly message: string; readonly at: number } | undefined;
  readonly nextTryAt?: number | undefined;
  readonly topics: Readonly<Record<string, TopicSyncStatus>>;
}

/** A topic that is still blocked, or has stopped, is told of again when another tab begins to lead. */
export type SyncEvent =
  | { readonly type: "blocked"; readonly topic: string; readonly blocked: BlockedBatch }
  | { readonly type: "stopped"; readonly topic: string; readonly code: ErrorCode; readonly details: ErrorDetails }
  | { readonly type: "gap"; readonly topic: string; readonly from: number; readonly to: number }
  /**
   * The edge fences what else speaks for this outbox: a copy of this profile was met, or records in its middle were set
   * aside, discarded or offered again. `found` of its batches were at the edge already.
   */
  | { readonly type: "claimed"; readonly topic: string; readonly generation: number; readonly found: number }
  /**
   * What resolve(topic, "offerAgain") came to: `records` of them are at the edge again, and `left` are in
   * `<name>.kept` only, because nobody can tell whether they are at the edge, or because the edge takes them no more.
   */
  | { readonly type: "offered"; readonly topic: string; readonly records: number; readonly left: number }
  /** Appends are OUTBOX_FULL until an eighth of `outboxBytesMax` is at the edge. */
  | { readonly type: "outboxfull"; readonly topic: string }
  /** Damaged bytes of this device's copy: records [from, to) were made anew from the edge's. */
  | { readonly type: "healed"; readonly topic: string; readonly from: number; readonly to: number }
  /** This device's copy can't be made anew, for this reason (`stale` of the status); told once for each code. */
  | { readonly type: "stale"; readonly topic: string; readonly code: ErrorCode; readonly message: string }
  | { readonly type: "quota"; readonly topic: string; readonly where: "device" | "edge" }
  | { readonly type: "token"; readonly outcome: "renewed" | "refused" | "missing" }
  | { readonly type: "status"; readonly status: SyncStatus };

export interface SyncWaitOptions {
  readonly topic?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One for all tabs: each sees the same states in the same order. Once the tide has ended the state is "idle". */
export interface Sync {
  readonly status: SyncStatus;
  /** After each change. Gives back what ends it. Fits useSyncExternalStore together with `status`. */
  subscribe(listener: (status: SyncStatus) => void): () => void;
  on(listener: (event: SyncEvent) => void): () => void;
  /**
   * Resolves when everything that was appended before this call is at the edge. Rejects with the code of a topic that
   * is blocked or stopped, with INVALID_ARGUMENT {edge: "FORBIDDEN"} where the edge refuses the token the topic, or to
   * make its log, or with the signal's reason. Waits on for what may pass: a network, a sign-in, `resume()`, a log that
   * others make (`create: false`).
   */
  drained(options?: SyncWaitOptions): Promise<void>;
  /**
   * Resolves when this device holds all that the edge had at some moment after this call. The edge is asked, so this
   * waits for a connection. Rejects as `drained()` does.
   */
  caughtUp(options?: SyncWaitOptions): Promise<void>;
  /** In all tabs, and in later openings, until resume(). */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /**
   * Another provider; or without one: ask again now. What this page gives counts, whatever other tabs would say.
   * TIMEOUT if it has not answered within ten seconds.
   */
  authenticate(token?: TokenProvider): Promise<void>;
  /**
   * Answers a blocked topic. "retry": the same bytes again. "setAside": into the local topic `<name>.aside`, the reason
   * in headers. "discard": gone for good. Where no batch is named, all that is not at the edge is meant. Readers are
   * told of the last two as retracted. Durable when it resolves.
   */
  unblock(topic: string, choice: "retry" | "setAside" | "discard"): Promise<void>;
  /**
   * Answers a stopped topic. "detach": as detach() with force. "restart": the copy stays as the local topic
   * `<name>.kept`, a new one begins, and what is not at the edge goes to the log that stands there now. "offerAgain",
   * for DIVERGED only: as "restart", and first those records go there that this device wrote and the edge has lost.
   * Resolves when the new copy has begun; drained() waits until they are at the edge. INVALID_ARGUMENT: the topic has
   * not stopped, there is a topic `<name>.kept` already, another call answers it, or the choice does not fit what
   * stopped it. OUTCOME_UNKNOWN, here and of detach(): the tab that did it has ended, and it may be done.
   */
  resolve(topic: string, choice: "detach" | "restart" | "offerAgain"): Promise<void>;
  /**
   * Ends sync of a topic: its copy stays as the local topic `<name>.kept`. SYNC_PAUSED while records are not at the
   * edge, unless `force` is true: they stand behind the copy then.
   */
  detach(topic: string, options?: { readonly force?: boolean | undefined }): Promise<void>;
}
