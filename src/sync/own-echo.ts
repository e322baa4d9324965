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

/**
 * Undefined if the outbox has not exactly these batches any more, or their bytes are damaged. A copy of this device may
 * have pushed others at the same positions, so their checksums are compared.
 */
export async function ownBytes(
  outbox: Outbox,
  kernel: Kernel,
  { position, next, offset, crcs }: OwnRun,
): Promise<Uint8Array | undefined> {
  if (position < outbox.start || next > outbox.end) return undefined;
  const found: Uint8Array[] = [];
  let at = position;
  while (at < next) {
    const read = await outbox.segments.read(at, next - position, next).catch(() => undefined);
    if (!read) return undefined;
    for (const batch of splitBatches(read.bytes.slice())) {
      const header = readHeader(batch);
      const isSame = header.baseOffset === at && header.crc === crcs[found.length];
      if (!isSame || kernel.validateBatch(batch) !== Status.OK) return undefined;
      at = nextOffsetOf(header);
      stampBaseOffset(batch, offset + header.baseOffset - position);
      found.push(batch);
    }
  }
  return at === next ? concat(found) : undefined;
}

/** The same from the edge, where the outbox could not give them: whole batches of [from, to). */
export async function fetchedBytes(log: EdgeLog, from: number, to: number): Promise<Uint8Array> {
  const found: Uint8Array[] = [];
  for (let at = from; at < to;) {
    const batches = splitBatches(await log.fetch(at)).filter((batch) => nextOffsetOf(readHeader(batch)) <= to);
    if (batches.length === 0) break;
    found.push(...batches);
    at = nextOffsetOf(readHeader(batches.at(-1)!));
  }
  return concat(found);
}
