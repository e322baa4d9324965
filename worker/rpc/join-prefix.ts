/**
 * What the Worker puts before the payload of a join on its way to the log's object: who joins, and whether it may
 * write. A client's own payload begins with JSON, so it can't be mistaken for one with this prefix.
 *
 *   owner, 12 characters │ w or r │ the client's payload
 */
import { encodeFrame, type Frame, FrameType } from "../../src/sync/frames.ts";
import { textEncoder } from "../../src/record/bytes.ts";
import { OWNER_CHARS } from "../store/outbox-bytes.ts";

export interface Asker {
  readonly owner: string;
  readonly mayWrite: boolean;
}

export function withAsker(frame: Frame, { owner, mayWrite }: Asker): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(OWNER_CHARS + 1 + frame.payload.length);
  payload.set(textEncoder.encode(owner + (mayWrite ? "w" : "r")));
  payload.set(frame.payload, OWNER_CHARS + 1);
  return encodeFrame({ ...frame, type: FrameType.JOIN, payload });
}

export function askerOf(frame: Frame): Asker & { readonly frame: Frame } {
  const text = new TextDecoder("latin1").decode(frame.payload.subarray(0, OWNER_CHARS + 1));
  return {
    owner: text.slice(0, OWNER_CHARS),
    mayWrite: text[OWNER_CHARS] === "w",
    frame: { ...frame, payload: frame.payload.subarray(OWNER_CHARS + 1) },
  };
}
