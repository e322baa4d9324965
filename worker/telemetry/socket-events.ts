/**
 * Frames as events: each append, read and refusal on a WebSocket is reported like a request over HTTP, with `source:
 * "socket"`. The object reports what it decides, the Worker what it refuses before (scope, rate, credits).
 */
import { type Frame, FrameType } from "../../src/sync/frames.ts";
import type { EventFields } from "./events.ts";
import { EdgeError } from "../errors.ts";
import { statusOf } from "../wire/error-status.ts";

const NAMES: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(FrameType).map(([name, type]) => [type, name.toLowerCase()]),
);
const SOURCE = "socket";

export const appended = (
  started: number,
  bytes: number,
  results: readonly { readonly lastOffset: number }[],
  duplicate: boolean,
): EventFields => ({
  source: SOURCE,
  status: 200,
  type: "append",
  ms: Date.now() - started,
  bytes,
  next: (results.at(-1)?.lastOffset ?? -1) + 1,
  batches: results.length,
  duplicate,
});

/** A follow is reported when it begins. How much it was sent is in the metrics. */
export const read = (type: "follow" | "fetch", from: number, bytes: number): EventFields => ({
  source: SOURCE,
  status: 200,
  type,
  from,
  bytes,
});

export const refusalOf = ({ type, payload }: Pick<Frame, "type" | "payload">, thrown: unknown): EventFields => {
  const error = EdgeError.from(thrown);
  return {
    source: SOURCE,
    code: error.code,
    status: statusOf(error),
    type: NAMES[type] ?? String(type),
    bytes: payload.length,
  };
};

/** The first digits tell outboxes apart, and are not enough to speak for one. */
const named = (outbox: string | null): string | undefined => outbox?.slice(0, 6);

export const joined = (outbox: string | null, refusal: string | undefined): EventFields => ({
  source: SOURCE,
  status: refusal === undefined ? 200 : 409,
  type: "join",
  outbox: named(outbox),
  ...(refusal !== undefined && { code: refusal }),
});

export const pushed = (
  started: number,
  bytes: number,
  outbox: string,
  { appended, duplicate, lastOffset }: { appended: readonly unknown[]; duplicate: boolean; lastOffset: number },
  isClaim: boolean,
): EventFields => ({
  source: SOURCE,
  status: 200,
  type: isClaim ? "claim" : "push",
  ms: Date.now() - started,
  bytes,
  outbox: named(outbox),
  next: lastOffset + 1,
  batches: appended.length,
  duplicate,
});
