/**
 * The protocol between a page and the worker that leads its logs.
 *
 *   page                                        worker
 *    │ ─── HostOptions, with the data port ──────▶│   the worker's first message
 *
 *   data port
 *    │ ◀── { event: alive } ──────────────────────│   it holds the lock by which its end will be noticed
 *    │ ◀── hello { version, credit, opened } ─────│   or { failed }
 *    │ ─── { id, op: "append", topic, batch } ───▶│   batch transferred; its bytes count against the credit
 *    │ ◀── { id, ok } or { id, error } ───────────│   the answer gives them back, and a large batch its memory
 *    │ ─── { id, op: "fetch", topic, from … } ───▶│   one answer; with `wait` it may come much later; of a synced topic
 *    │                                            │   with `changes` it is a cut (src/sync/topic-cut.ts)
 *    │ ─── { id, op: "cancel" } ─────────────────▶│   ends the request of that id
 *    │ ─── { id, op: "ready" } ──────────────────▶│   answered once a failed store is open again
 *    │ ─── { id, op: "topic", topic, settings } ─▶│   opens it; answered with when it was born, if it exists
 *    │ ─── { id, op: "delete", topic, born } ────▶│   answered once it is gone for good
 *    │ ─── { id, op: "sync", ask } ──────────────▶│   of sync (../sync/words.ts)
 *    │ ─── { id, op: "control", port } ──────────▶│   Comlink on that port from now on (envelope.ts)
 *    │ ─── { id, op: "join", port, life } ───────▶│   another tab's data port (membership.ts); the leader's page only
 *    │ ─── { ping: n } ──────────────────────────▶│   asks whether it lives
 *    │ ◀── { pong: n } ───────────────────────────│   answered at once
 *    │ ─── { id, op: "close" } ──────────────────▶│   flushes and closes everything
 *    │ ─── { id, op: "leave" } ──────────────────▶│   the page goes: the worker ends once its appends are written
 *    │ ◀── { event } ─────────────────────────────│   a TideEvent, without a request
 *
 * Requests are numbered by the page and answered in any order. Errors keep their codes. A message that is not valid is
 * answered INVALID_ARGUMENT if it has an id, and dropped if not.
 */
import type { WireError } from "../../errors.ts";
import type { Acks, AppendResult, ChangesPlace, Isolation } from "../../log/types.ts";
import type { LogRecovery } from "../../store/log-store.ts";
import type { Engine, VolumeInfo } from "../../store/volume.ts";
import type { TopicSettings } from "../../topic/settings.ts";
import type { StorageReport, TideEvent } from "../api.ts";
import type { Parts } from "../platform/parts.ts";

export const PROTOCOL_VERSION = 3;
/** Bytes of appends that one page may have unanswered: two commits of the largest queue. */
export const CREDIT_BYTES = 32 * 1024 * 1024;
/** Requests of one page under way: reads parked by followers, and appends. */
export const REQUESTS_MAX = 4096;

/** What a worker that shall lead opens. */
export interface HostOptions {
  readonly name: string;
  readonly engine: Engine | "auto";
  readonly segmentBytes: number;
  readonly kernel: WebAssembly.Module;
  readonly port: MessagePort;
  /** Name of a lock that the worker holds as long as it lives, so that its page learns of its end. */
  readonly lifeLock: string;
  readonly parts: Parts;
  readonly takeover: true | undefined;
  /** Id of the volume that the page had open before; undefined when it opens for the first time. */
  readonly id?: string | undefined;
  /** True if the page is going to sync: what that needs is loaded while the volume opens. */
  readonly syncs?: boolean | undefined;
}

export interface Opened extends Pick<StorageReport, "rejected"> {
  readonly engine: Engine;
  readonly durability: VolumeInfo["durability"];
  readonly segmentBytes: number;
  /** Id of the volume. A volume with another id under the same name is another tide. */
  readonly id: string;
  /** Epoch of this term, higher than any before. */
  readonly epoch: number;
  readonly recovery: readonly LogRecovery[];
  /** The largest batch that a slot of the volume takes. */
  readonly batchBytesMax: number;
  /** Stored settings by topic, for topics that have some, at this moment. */
  readonly settings: Readonly<Record<string, TopicSettings>>;
}

/** To a standby worker: what it may look up before it leads (standby-workers.ts). */
export interface StandBy {
  /** Its HostOptions come over this port. */
  readonly standBy: MessagePort;
  /** It holds this lock as long as it lives, and says so. */
  readonly lock: string;
  readonly name: string;
  /** As the leader found them. */
  readonly engine: Engine;
  readonly durability: VolumeInfo["durability"];
  readonly kernel: WebAssembly.Module;
  readonly parts: Parts;
  /** Life lock of the worker that leads. */
  readonly leader: string;
}

/** To a standby worker: another worker leads now. */
export interface Follow {
  readonly leader: string;
}

/** Sent with the HostOptions to a standby worker, which opens as soon as the last leader's worker is gone. */
export interface Last {
  /** The last leader's life lock; "" if it is gone; undefined if it hangs and must not be waited for. */
  readonly last: string | undefined;
}

/** A page's request is for the topic that it knows, not for a later one of the same name (topics.ts). */
interface OfTopic {
  readonly topic: string;
  readonly born?: number | undefined;
}
export interface AppendRequest extends OfTopic {
  readonly op: "append";
  readonly batch: Uint8Array;
  readonly acks?: Acks | undefined;
  readonly ifEnd?: number | undefined;
  /** As in AppendOptions. */
  readonly fromZero?: boolean | undefined;
  readonly resentSince?: number | undefined;
}
/** What an append is answered with. */
export interface Appended extends AppendResult {
  /** When the topic was made (topics.ts). Only in answers to a page that did not know it. */
  readonly born?: number | undefined;
  /** The batch's memory, which moves back to the page for a later batch. */
  readonly memory?: ArrayBuffer | undefined;
}
export interface FetchRequest extends OfTopic {
  readonly op: "fetch";
  readonly from: number;
  readonly maxBytes?: number | undefined;
  readonly to?: number | undefined;
  readonly isolation?: Isolation | undefined;
  readonly wait?: boolean | undefined;
  readonly verify?: boolean | undefined;
  readonly changes?: ChangesPlace | undefined;
}
export interface ResolveRequest extends OfTopic {
  readonly op: "resolve";
  readonly position: unknown;
  readonly isolation?: Isolation | undefined;
}
/** A port or, where ports can't be sent, the name of a BroadcastChannel that both ends open. */
export type PortOrName = MessagePort | string;
export interface JoinRequest {
  readonly op: "join";
  readonly port: PortOrName;
  /** A lock that the tab holds as long as it keeps the port. */
  readonly life: string;
}
export interface LeaveRequest {
  readonly op: "leave";
}
/** `ask`: sync's own (src/browser/sync/words.ts). */
export interface SyncRequest {
  readonly op: "sync";
  readonly ask: unknown;
}
/** Requests about the tide, not about one log's records. */
export type ManageRequest =
  | {
      readonly op: "topic";
      readonly topic: string;
      readonly settings?: TopicSettings | undefined;
      readonly born?: number | undefined;
    }
  | { readonly op: "delete"; readonly topic: string; readonly born: number }
  | { readonly op: "control"; readonly port: PortOrName }
  | SyncRequest
  | JoinRequest
  | LeaveRequest
  | { readonly op: "ready" }
  | { readonly op: "close" };
export type Request = AppendRequest | FetchRequest | ResolveRequest | ManageRequest | { readonly op: "cancel" };
/** Not one of the requests: it is neither counted nor kept in their order. */
export interface Ping {
  readonly ping: number;
}
export interface Pong {
  readonly pong: number;
}

export interface Told {
  readonly event: TideEvent;
}
export interface Hello {
  readonly hello: number;
  readonly creditBytes: number;
  readonly opened: unknown;
}
export interface Failed {
  readonly failed: WireError;
}
export type Answer = { readonly id: number; readonly ok: unknown } | { readonly id: number; readonly error: WireError };
/** Everything that a page gets on its data port. */
export type ToPage = Hello | Failed | Told | Answer | Pong;
