/**
 * Parts of a follow of a log: where it begins, which batches its credits allow, and the frame for credits that don't
 * suffice.
 */
import { viewOf } from "../../src/record/bytes.ts";
import { LENGTH_AT, LENGTH_OVERHEAD, nextOffsetOf, readHeader } from "../../src/record/format.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import { encodeFrame, type Frame, FrameType, jsonOf } from "../../src/sync/frames.ts";
import { badRequest } from "../errors.ts";
import { seekTime } from "../stream/seek-time.ts";
import type { Stream } from "../stream/stream.ts";
import { quoted } from "../wire/fields.ts";

export const starve = ({ channel }: { readonly channel: number }, id: number, bytes: number): Uint8Array => {
  const payload = new Uint8Array(4);
  viewOf(payload).setUint32(0, bytes);
  return encodeFrame({ type: FrameType.STARVE, channel, id, payload });
};

/**
 * The whole batches that fit into the credits; or the size of the first batch, as a number, if not even that one fits.
 */
export function fitting({ bytes }: { readonly bytes: Uint8Array }, credits: number): Uint8Array | number {
  if (bytes.length <= credits) return bytes;
  const view = viewOf(bytes);
  let end = 0;
  for (let next = 0; next <= credits && next < bytes.length;) {
    end = next;
    next += view.getInt32(next + LENGTH_AT) + LENGTH_OVERHEAD;
  }
  return end > 0 ? bytes.subarray(0, end) : view.getInt32(LENGTH_AT) + LENGTH_OVERHEAD;
}

export const endOf = (bytes: Uint8Array): number => nextOffsetOf(readHeader(splitBatches(bytes).at(-1)!));

const POSITIONS = "from must be an offset, earliest, latest or { timestamp }";

export async function positionOf(stream: Stream, frame: Frame): Promise<number> {
  // A payload that can't be read must not mean "from the beginning".
  const fields = frame.payload.length === 0 ? {} : jsonOf(frame);
  if (!fields) throw badRequest(`the payload is not a JSON object; ${POSITIONS}`);
  const from = Object.hasOwn(fields, "from") ? fields["from"] : undefined;
  if (from === undefined || from === "earliest") return stream.start;
  if (typeof from === "number") {
    if (!Number.isSafeInteger(from)) throw badRequest(`from is ${quoted(from)}; ${POSITIONS}`);
    stream.checkOffset(from);
    return from;
  }
  const { timestamp } = Object(from) as { timestamp?: unknown };
  if (from === "latest") return stream.tail;
  if (!(typeof timestamp === "number" && Number.isFinite(timestamp)))
    throw badRequest(`from is ${quoted(from)}; ${POSITIONS}`);
  return seekTime(stream, timestamp);
}
