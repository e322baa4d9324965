/**
 * Between a page and the worker that leads its logs: the data port. (Control calls go through Comlink; they are rare.)
 *
 *   page                                        worker
 *    │ ◀── hello { version, creditBytes } ────────│
 *    │ ─── { id, op: "append", topic, batch } ───▶│   batch transferred; its bytes count against the credit
 *    │ ◀── { id, ok } or { id, error } ───────────│   the answer gives them back
 *    │ ─── { id, op: "fetch", topic, from … } ───▶│   one answer; with `wait` it may come much later
 *    │ ─── { id, op: "cancel" } ─────────────────▶│   ends the request of that id
 *    │ ─── { id, op: "ready" } ──────────────────▶│   answered once a failed store is open again
 *    │ ◀── { event } ─────────────────────────────│   a TideEvent, unasked
 *
 * Requests are numbered by the page and answered in any order. An error keeps its code. What does not parse is answered
 * INVALID_ARGUMENT if it has an id, and dropped if not.
 */
import type { WireError } from "../errors.ts";
import type { Acks, Isolation } from "../log/types.ts";
import type { TideEvent } from "./api.ts";

export const PROTOCOL_VERSION = 1;
/** Un-acked bytes that one page may have on their way: two commits of the largest queue. */
export const CREDIT_BYTES = 32 * 1024 * 1024;
/** Requests of one page under way: reads parked by followers, and appends. */
export const REQUESTS_MAX = 4096;

export interface AppendRequest {
  readonly op: "append";
  readonly topic: string;
  readonly batch: Uint8Array;
  readonly acks?: Acks;
  readonly ifEnd?: number;
}
export interface FetchRequest {
  readonly op: "fetch";
  readonly topic: string;
  readonly from: number;
  readonly maxBytes?: number;
  readonly isolation?: Isolation;
  readonly wait?: boolean;
  readonly verify?: boolean;
}
export interface ResolveRequest {
  readonly op: "resolve";
  readonly topic: string;
  readonly position: unknown;
  readonly isolation?: Isolation;
}
export type Request = AppendRequest | FetchRequest | ResolveRequest | { readonly op: "ready" } | { readonly op: "cancel" };

export interface Told {
  readonly event: TideEvent;
}
export interface Hello {
  readonly hello: number;
  readonly creditBytes: number;
}
export type Answer = { readonly id: number; readonly ok: unknown } | { readonly id: number; readonly error: WireError };

/** Results of control calls: Comlink would lose an error's code. */
export type Outcome<T> = { readonly ok: T } | { readonly error: WireError };
