/** A synced topic takes no record that the edge would never take because of the name of a header. */
import { TidemarkError } from "../errors.ts";
import { COLUMNS, HEADERS_COUNT } from "../kernel/columns-layout.ts";
import { type Kernel, type RecordColumns, Status } from "../kernel/types.ts";
import { ATTRIBUTES_AT, BATCH_HEADER_BYTES, CODEC_MASK, CODEC_NONE, readHeader } from "../record/format.ts";
import { decodeBatch, RecordBatch } from "../record/record-batch.ts";
import { isReserved } from "../record/reserved-headers.ts";
import { viewOf } from "../record/bytes.ts";

/** The first such name in a batch; undefined if there is none. */
export function reservedIn(batch: RecordBatch): string | undefined {
  for (let i = 0; i < batch.count; i++) for (const [name] of batch.headersAt(i)) if (isReserved(name)) return name;
  return undefined;
}

/** Most batches have no headers at all, and cost no more than this. */
function hasHeaders({ ints, count }: RecordColumns): boolean {
  for (let i = 0; i < count; i++) if (ints[i * COLUMNS + HEADERS_COUNT] !== 0) return true;
  return false;
}

/**
 * Throws INVALID_ARGUMENT {header} if a record has such a header. A batch that can't be decoded is not judged here. For
 * a compressed batch a promise says it, because it is decompressed first.
 */
export function refuseReserved(kernel: Kernel, topic: string, batch: Uint8Array): Promise<void> | undefined {
  const judge = (decoded: RecordBatch): void => {
    const header = reservedIn(decoded);
    if (header !== undefined)
      throw new TidemarkError(
        "INVALID_ARGUMENT",
        `the record header ${header} is the edge's own, and the topic ${topic} is synced: choose another name`,
        { field: "headers", header, topic, reason: "reserved" },
      );
  };
  if (batch.length < BATCH_HEADER_BYTES) return undefined;
  if ((viewOf(batch).getInt16(ATTRIBUTES_AT) & CODEC_MASK) !== CODEC_NONE)
    return (async () => decodeBatch(kernel, batch))().then(judge, () => undefined);
  const { status, columns } = kernel.decodeBatch(batch, false);
  if (status === Status.OK && hasHeaders(columns)) judge(new RecordBatch(readHeader(batch), batch, columns));
  return undefined;
}
