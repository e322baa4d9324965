/** Where a fork begins: at an offset of its source, or inside the message at that offset. */
import { badRequest } from "../errors.ts";
import { turn } from "./body-encoder.ts";
import type { Stream } from "./stream.ts";
import { recordsIn } from "./values.ts";

const FORK_READ_BYTES = 64 * 1024;

export interface ForkPoint {
  readonly offset: number;
  readonly prefix: Uint8Array | undefined;
}

/** The offset where a fork begins, and the part of the next message that it takes with it. */
export async function forkPointIn(
  stream: Stream,
  requested: number | undefined,
  subOffset: number,
): Promise<ForkPoint> {
  await stream.settled();
  const { tail, start, isJson, kernel } = stream;
  let offset = requested ?? tail;
  if (offset > tail || offset < start)
    throw badRequest("the fork offset is outside the source: HEAD of the source says where it begins and ends");
  if (subOffset > 0 && isJson && offset + subOffset > tail)
    throw badRequest("the sub-offset is beyond the source's end");
  // A sub-offset counts JSON messages, or bytes of other streams. Offsets may have holes, and a record without a value
  // counts as neither.
  for (let at = offset, left = subOffset; left > 0;) {
    const { bytes, nextOffset } = await stream.readBatches(at, tail, FORK_READ_BYTES);
    if (nextOffset === at) throw badRequest("the sub-offset is beyond the source's end");
    for (const { offset: found, value } of await recordsIn(kernel, bytes, at, nextOffset)) {
      const size = isJson ? 1 : value.length;
      if (left < size) return { offset: found, prefix: left > 0 ? value.slice(0, left) : undefined };
      left -= size;
      offset = found + 1;
      if (left === 0) break;
    }
    at = nextOffset;
    // A sub-offset may be far away, and other streams share this isolate.
    if (left > 0) await turn();
  }
  return { offset, prefix: undefined };
}
