/**
 * What the leader checks before it takes a batch: the kernel's verdict, and rules that hold only for a batch that is
 * appended.
 */
import { TidemarkError } from "../errors.ts";
import { COLUMNS, RECORD_POSITION } from "../kernel/columns-layout.ts";
import { type Kernel, Status } from "../kernel/types.ts";
import {
  ATTRIBUTE_CONTROL,
  ATTRIBUTE_DELETE_HORIZON,
  ATTRIBUTE_TRANSACTIONAL,
  BATCH_HEADER_BYTES,
  type BatchHeader,
  CODEC_GZIP,
  CODEC_NONE,
  CODEC_MASK,
  codecName,
  readHeader,
} from "../record/format.ts";

const LOGS_OWN = ATTRIBUTE_CONTROL | ATTRIBUTE_TRANSACTIONAL | ATTRIBUTE_DELETE_HORIZON;

export interface AppendLimits {
  readonly recordBytesMax: number;
  readonly batchBytesMax: number;
}

/** The header of a good batch, else INVALID_BATCH, BATCH_TOO_LARGE, RECORD_TOO_LARGE or UNSUPPORTED_FORMAT. */
export function validate(kernel: Kernel, batch: Uint8Array, limits: AppendLimits): BatchHeader {
  if (batch.length > limits.batchBytesMax) {
    throw new TidemarkError("BATCH_TOO_LARGE", `a batch of ${batch.length} bytes; at most ${limits.batchBytesMax}`, {
      bytes: batch.length,
      batchBytesMax: limits.batchBytesMax,
    });
  }
  const status = kernel.validateBatch(batch);
  if (status !== Status.OK)
    throw new TidemarkError("INVALID_BATCH", `not a valid batch (status ${status})`, { status });
  const header = readHeader(batch);
  const codec = header.attributes & CODEC_MASK;
  if (codec !== CODEC_NONE && codec !== CODEC_GZIP) {
    throw new TidemarkError("UNSUPPORTED_FORMAT", `codec ${codecName(codec)}: send batches of codec none or gzip`, {
      codec,
    });
  }
  if (header.attributes & LOGS_OWN)
    throw new TidemarkError("INVALID_BATCH", "a producer can't append control or transactional batches", {
      attributes: header.attributes,
    });
  if (header.recordCount === 0 || header.recordCount !== header.lastOffsetDelta + 1) {
    throw new TidemarkError("INVALID_BATCH", "a new batch must have one record for each offset", {
      recordCount: header.recordCount,
    });
  }
  if (header.producerId >= 0 && (header.producerEpoch < 0 || header.baseSequence < 0)) {
    throw new TidemarkError("INVALID_BATCH", "with a producer id, epoch and base sequence must be set", {
      producerId: header.producerId,
    });
  }
  // The sizes of compressed records are unknown here. The batch as a whole is bounded all the same.
  if (codec === CODEC_NONE && batch.length - BATCH_HEADER_BYTES > limits.recordBytesMax)
    checkRecords(kernel, batch, limits.recordBytesMax);
  return header;
}

function checkRecords(kernel: Kernel, batch: Uint8Array, recordBytesMax: number): void {
  const { columns } = kernel.decodeBatch(batch, false);
  let end = batch.length;
  for (let i = columns.count - 1; i >= 0; i--) {
    const start = columns.ints[i * COLUMNS + RECORD_POSITION]!;
    if (end - start > recordBytesMax)
      throw new TidemarkError("RECORD_TOO_LARGE", `a record of ${end - start} bytes; at most ${recordBytesMax}`, {
        bytes: end - start,
        recordBytesMax,
        record: i,
      });
    end = start;
  }
}
