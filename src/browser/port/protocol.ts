/**
 * Between a page and the worker that leads its logs.
 *
 *   page                                        worker
 *    │ ─── HostOptions, with the data port ──────▶│   the worker's first message
 *
 *   data port
 *    │ ◀── { event: alive } ──────────────────────│   it holds the lock by which its end will be known
 *    │ ◀── hello { version, credit, opened } ─────│   or { failed }
 *    │ ─── { id, op: "append", topic, batch } ───▶│   batch transferred; its bytes count against the credit
 *    │ ◀── { id, ok } or { id, error } ───────────│   the answer gives them back, and the memory of a large batch with them
 *    │ ─── { id, op: "fetch", topic, from … } ───▶│   one answer; with `wait` it may come much later
 *    │ ─── { id, op: "cancel" } ─────────────────▶│   ends the request of that id
 *    │ ─── { id, op: "ready" } ──────────────────▶│   answered once a failed store is open again
 *    │ ─── { id, op: "topic", topic, settings } ─▶│   has it at hand; answered with when it was born, if it is there
 *    │ ─── { id, op: "delete", topic, born } ────▶│   answered once it is gone for good
 *    │ ─── { id, op: "control", port } ──────────▶│   Comlink on that port from now on (envelope.ts)
 *    │ ─── { id, op: "join", port, life } ───────▶│   another tab's data port (membership.ts); only from the leader's own page
 *    │ ─── { ping: n } ──────────────────────────▶│   does it live?
 *    │ ◀── { pong: n } ───────────────────────────│   said at once
 *    │ ─── { id, op: "close" } ──────────────────▶│   flushes and closes everything
 *    │ ─── { id, op: "leave" } ──────────────────▶│   from a page that goes: the worker ends once that page's appends are written
 *    │ ◀── { event } ─────────────────────────────│   a TideEvent, unasked
 *
 * Requests are numbered by the page and answered in any order. An error keeps its code. What does not parse is answered
 * INVALID_ARGUMENT if it has an id, and dropped if not.
 */
import type { WireError } from "../../errors.ts";
import type { Acks, AppendResult, Isolation } from "../../log/types.ts";
import type { LogRecovery } from "../../store/log-store.ts";
import type { Engine, VolumeInfo } from "../../store/volume.ts";
import type { TopicSettings } from "../../topic/settings.ts";
import type { StorageReport, TideEvent } from "../api.ts";
import type { Parts } from "../platform/parts.ts";

export const PROTOCOL_VERSION = 3;
/** Un-acked bytes that one page may have on their way: two commits of the largest queue. */
export const CREDIT_BYTES = 32 * 1024 * 1024;
/** Requests of one page under way: reads parked by followers, and appends. */
export const REQUESTS_MAX = 4096;

/** What a worker that is to lead opens. */
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
  /** Of the volume that the page has known; undefined when it opens. */
  readonly id?: string | undefined;
}

export interface Opened extends Pick<StorageReport, "engine" | "rejected"> {
  readonly durability: VolumeInfo["durability"];
  readonly segmentBytes: number;
  /** Of the volume: another one under the same name is another tide. */
  readonly id: string;
  /** Of this term: higher than any before it. */
  readonly epoch: number;
  readonly recovery: readonly LogRecovery[];
  /** The largest batch that a slot of the volume takes. */
  readonly batchBytesMax: number;
  /** Of the topics that have some, as of this moment. */
  readonly settings: Readonly<Record<string, TopicSettings>>;
}

/** To a worker that is kept ready: what it may look up before it leads (standby-workers.ts). */
export interface StandBy {
  /** Its HostOptions come here. */
  readonly standBy: MessagePort;
  /** It holds this as long as it lives, and says so. */
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

/** To such a worker: another one leads. */
export interface Follow {
  readonly leader: string;
}

/** Goes with the HostOptions to such a worker, which opens as soon as the last leader's worker is gone. */
export interface Last {
  /** That one's life lock; "" when it is gone; undefined when it is not to be waited for, because it hangs. */
  readonly last: string | undefined;
}

/** What a page has for a topic is for the one that it knows, and not for a later one of the same name (topics.ts). */
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
  /** Told to a page that did not know it. */
  readonly born?: number | undefined;
  /** The batch's, moved back: the page writes a later batch into it. */
  readonly memory?: ArrayBuffer | undefined;
}
export interface FetchRequest extends OfTopic {
  readonly op: "fetch";
  readonly from: number;
  readonly maxBytes?: number | undefined;
  readonly isolation?: Isolation | undefined;
  readonly wait?: boolean | undefined;
  readonly verify?: boolean | undefined;
}
export interface ResolveRequest extends OfTopic {
  readonly op: "resolve";
  readonly position: unknown;
  readonly isolation?: Isolation;
}
/** A port; or, where none can be sent, the name of a BroadcastChannel that both ends open. */
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
/** What concerns the tide and not one log's records. */
export type ManageRequest =
  | {
      readonly op: "topic";
      readonly topic: string;
      readonly settings?: TopicSettings | undefined;
      readonly born?: number | undefined;
    }
  | { readonly op: "delete"; readonly topic: string; readonly born: number }
  | { readonly op: "control"; readonly port: PortOrName }
  | JoinRequest
  | LeaveRequest
  | { readonly op: "ready" }
  | { readonly op: "close" };
export type Request = AppendRequest | FetchRequest | ResolveRequest | ManageRequest | { readonly op: "cancel" };
/** Not one of the requests: neither counted, nor in their order. */
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
/** All that a page is told on its data port. */
export type ToPage = Hello | Failed | Told | Answer | Pong;
