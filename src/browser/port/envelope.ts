/**
 * Control calls as both ends see them. Each result is in an envelope, because Comlink would lose an error's code.
 *
 *   page    control-client.ts ── Comlink ──▶ worker/control-host.ts   worker
 */
import type { WireError } from "../../errors.ts";
import type { TopicState } from "../api.ts";

/**
 * `born` identifies the topic that is meant (topics.ts). A later topic of the same name is neither trimmed nor shown
 * instead.
 */
export interface Control {
  topics(): Promise<readonly string[]>;
  state(topic: string, born: number | undefined): Promise<TopicState>;
  upkeep(topic: string, born: number | undefined, work: "trim" | "roll" | "clean", offset?: number): Promise<unknown>;
  /** How long the leader's flushes took (worker/flush-times.ts). `isWanted` false: the observer stops. */
  flushes(observer: string, isWanted: boolean): Promise<readonly FlushTime[]>;
  look(topic: string, born: number | undefined, tool: Tool, what: unknown): Promise<unknown>;
}
export interface FlushTime {
  readonly ms: number;
  /** The error's code if the flush failed. */
  readonly failed?: string | undefined;
}
export type Tool = "explainSeek" | "exportSegment" | "statusOf" | "importSegments";

export type Outcome = { readonly ok: unknown } | { readonly error: WireError };
export type Call = (...args: unknown[]) => Promise<unknown>;

/**
 * An object whose every method is `call` with the method's name, except `then`, which would make it look like a
 * promise.
 */
export const methods = (call: (method: string) => Call): Record<string, Call> =>
  new Proxy({}, { get: (_, method) => (method === "then" ? undefined : call(String(method))) });
