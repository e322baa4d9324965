/**
 * Own batches as the edge has them. The edge tells a device where its own batches stand instead of sending their bytes
 * (frame `own`, sync-frames.ts). The bytes are those of the outbox, with the edge's offsets written into them.
 */
import { type Kernel, Status } from "../kernel/types.ts";
import { concat } from "../record/bytes.ts";
import { nextOffsetOf, readHeader, stampBaseOffset } from "../record/format.ts";
import { splitBatches } from "../record/record-batch.ts";
import type { EdgeLog } from "./edge-socket.ts";
import type { Outbox } from "./outbox.ts";
import type { OwnRun } from "./sync-frames.ts";
import type { ReceivedFrame } from "./topic-store.ts";

/** Most bytes that are given at a time, unless one batch has more. */
const OWN_BYTES = 1024 * 1024;

/**
 * The first of these batches, at least one. Undefined if the outbox has not exactly these any more, or their bytes are
 * damaged. A copy of this device may have pushed others at the same positions, so their checksums are compared.
 */
export async function ownBytes(
  outbox: Outbox,
  kernel: Kernel,
  { position, next, offset, crcs }: OwnRun,
): Promise<Uint8Array | undefined> {
  if (position < outbox.start || next > outbox.end) return undefined;
  const read = await outbox.segments
    .read(position, Math.min(OWN_BYTES, outbox.batches.bytesOf(position, next)), next)
    .catch(() => undefined);
  if (!read) return undefined;
  let at = position;
  let count = 0;
  for (const batch of splitBatches(read.bytes)) {
    const header = readHeader(batch);
    const isSame = header.baseOffset === at && header.crc === crcs[count];
    if (!isSame || kernel.validateBatch(batch) !== Status.OK) return undefined;
    at = nextOffsetOf(header);
    stampBaseOffset(batch, offset + header.baseOffset - position);
    count++;
  }
  // The bytes that were read are a copy, so offsets may be written into them.
  return at > position && (at < next || (at === next && count === crcs.length)) ? read.bytes : undefined;
}

/**
 * The same from the edge, where the outbox could not give them: whole batches of [from, to), one fetch at a time, so
 * that a long run is never in memory whole.
 */
export async function* fetchedParts(
  log: Pick<EdgeLog, "fetch">,
  from: number,
  to: number,
): AsyncGenerator<Pick<ReceivedFrame, "bytes" | "nextOffset">> {
  for (let at = from; at < to;) {
    const batches = splitBatches(await log.fetch(at)).filter((batch) => nextOffsetOf(readHeader(batch)) <= to);
    // Where there are no more they were removed there, and the rest is a hole.
    at = batches.length > 0 ? nextOffsetOf(readHeader(batches.at(-1)!)) : to;
    yield { bytes: concat(batches), nextOffset: at };
  }
}
