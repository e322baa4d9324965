/**
 * Reads of few records in large batches. The whole batch is read and checked here, into memory that the next such read
 * uses again, and a batch of the wanted records alone goes to the reader. Loaded once a log had such a read.
 *
 *   stored     ┌ header ┬ r0 ┬ r1 ┬ r2 ┬ r3 ┬ … ┐    checked with its CRC
 *   sent       ┌ header ┬ r2 ┬ r3 ┐                  count, length and CRC anew, which the reader checks
 */
import { type Kernel, KERNEL_BATCH_RECORDS_MAX, Status } from "../kernel/types.ts";
import { CODEC_MASK, nextOffsetOf, readHeader } from "../record/format.ts";
import type { FetchedBatches, LogStore } from "../store/log-store.ts";
import { LARGE_BATCH_BYTES } from "./few-records-layout.ts";

/** A part holds about as many bytes as are asked for, and at least these. */
const PART_BYTES_MIN = 4096;
/** The size of a record that nobody has seen yet. A wrong guess costs a round trip, or bytes that nobody reads. */
const RECORD_BYTES = 1024;

let spare: Uint8Array | undefined;

export interface Few {
  readonly store: LogStore;
  readonly kernel: Kernel;
}

/**
 * As `store.read` with the limit `to`, where only the records in [from, to) are wanted. Of a large batch the answer may
 * hold a part, and then ends behind that part. INVALID_BATCH is left to the reader: a damaged batch is answered whole.
 */
export async function readFew(
  { store, kernel }: Few,
  from: number,
  to: number,
  maxBytes: number,
  verify: boolean,
): Promise<FetchedBatches> {
  const wanted = Math.min(maxBytes, (to - from) * RECORD_BYTES);
  if (wanted > LARGE_BATCH_BYTES) return store.read(from, maxBytes, to, verify);
  const memory = spare;
  // Another read may come meanwhile.
  spare = undefined;
  const found = await store.read(from, wanted, to, verify, memory);
  const { bytes } = found;
  const isLarge = bytes.length > LARGE_BATCH_BYTES;
  const part = isLarge ? partOf(kernel, bytes, from, to, wanted) : { ...found, bytes: bytes.slice() };
  // The reader owns the memory of its answer, so no later read may use it.
  if (!part) return found;
  const used = new Uint8Array(bytes.buffer as ArrayBuffer);
  spare = memory && memory.length >= used.length ? memory : used;
  return part;
}

/** The wanted records of one batch. Undefined where nothing is gained, the batch is compressed, or it is damaged. */
function partOf(
  kernel: Kernel,
  bytes: Uint8Array,
  from: number,
  to: number,
  wantedBytes: number,
): FetchedBatches | undefined {
  const header = readHeader(bytes);
  const { baseOffset, recordCount, attributes } = header;
  // A batch that compaction went through has holes, and nothing but its records tells where.
  const isDense = nextOffsetOf(header) - baseOffset === recordCount && recordCount <= KERNEL_BATCH_RECORDS_MAX;
  if (!isDense || (attributes & CODEC_MASK) !== 0) return undefined;
  const first = Math.max(0, from - baseOffset);
  const most = Math.ceil((Math.max(wantedBytes, PART_BYTES_MIN) * recordCount) / bytes.length);
  const end = Math.min(recordCount, to - baseOffset, first + most);
  if ((end - first) * 2 > recordCount) return undefined;
  const keep = new Uint8Array((recordCount + 7) >>> 3);
  for (let i = first; i < end; i++) keep[i >>> 3]! |= 1 << (i & 7);
  const { status, bytes: part } = kernel.filterBatch(bytes, keep);
  return status === Status.OK ? { bytes: part, nextOffset: baseOffset + end } : undefined;
}
