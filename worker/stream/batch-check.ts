/**
 * Checks record batches as a client encoded them, before they go to the log: their number, and contents that readers of
 * other dialects could not handle.
 */
import { TidemarkError } from "../../src/errors.ts";
import type { Sending } from "../../src/log/producer-state.ts";
import { RECORD_COST_BYTES } from "../../src/log/slices.ts";
import type { PackingKernel } from "../../src/kernel/types.ts";
import { CODEC_MASK, readHeader } from "../../src/record/format.ts";
import { decodeBatch, type RecordBatch } from "../../src/record/record-batch.ts";
import { reasonOf } from "../../src/store/unreadable-batch.ts";
import { badRequest, EdgeError } from "../errors.ts";
import { turn } from "./body-encoder.ts";
import { ENCODE_SLICE_BYTES, RECORDS_MAX } from "./body-limits.ts";
import { isReserved } from "../../src/record/reserved-headers.ts";

/** Judges records by the schema that the Worker has for their stream (log-object/stream-schemas.ts). */
export interface StreamJudge {
  /** Throws SCHEMA_MISMATCH, maybe later. */
  batch(batch: RecordBatch, contentType: string): void | Promise<void>;
  body(judged: JudgedBody): void | Promise<void>;
  /** Runs `append` once the body is judged. Appends run in the order of the calls. */
  append<T>(judged: JudgedBody, append: () => Promise<T>): Promise<T>;
}

export interface JudgedBody {
  readonly body: Uint8Array;
  /** The stream's. */
  readonly contentType: string;
  /** The body is of whole records, each a line. */
  readonly isLines?: boolean;
}

/** What is checked depends on the stream. */
export interface CheckedStream {
  readonly isJson: boolean;
  readonly judge: StreamJudge | undefined;
  readonly config: { readonly contentType: string };
  /** True for records that an edge has stored before: their headers may be the server's. */
  readonly takesReserved?: boolean;
  /** The offset at which the log has this batch already. Undefined if it is new, or can't be taken. */
  holds?(batch: Uint8Array, sending: Sending): number | undefined;
}

export const BATCHES_MAX = 1000;
/** Checking costs a quarter of encoding for the same bytes, so this many slices share a turn. */
const TURN_SLICES = 4;
/** A compressed batch may expand to this size, however small it is. */
const UNPACKED_BYTES = 2 * 1024 * 1024;

/**
 * Checks all batches of a request, and gives what is to be said of them to the log. Other streams of this isolate get a
 * turn after each slice of work.
 *
 * The schema may have changed since a batch was appended, so a repeat of it need not fit. It is given the offset at
 * which it is there: a log that has forgotten its producer by then refuses it, and does not take it as new.
 */
export async function checkBatches(
  kernel: PackingKernel,
  batches: readonly Uint8Array[],
  stream: CheckedStream,
  sending: Sending = {},
): Promise<Sending> {
  if (batches.length === 0) throw badRequest(`an append has 1 to ${BATCHES_MAX} batches`);
  if (batches.length > BATCHES_MAX) throw new EdgeError("TOO_LARGE", `an append has at most ${BATCHES_MAX} batches`);
  const headers = batches.map((batch) => readHeader(batch));
  const records = headers.reduce((sum, { recordCount }) => sum + Math.max(0, recordCount), 0);
  if (records > RECORDS_MAX) throw new EdgeError("TOO_LARGE", `a request has at most ${RECORDS_MAX} records`);
  let work = 0;
  let { resentSince } = sending;
  for (const [i, batch] of batches.entries()) {
    const { attributes, recordCount } = headers[i]!;
    work += ((attributes & CODEC_MASK) === 0 ? batch.length : UNPACKED_BYTES) + recordCount * RECORD_COST_BYTES;
    await checkBatch(kernel, batch, stream).catch((thrown: unknown) => {
      const { code, message, details } = EdgeError.from(thrown);
      const held = code === "SCHEMA_MISMATCH" ? stream.holds?.(batch, sending) : undefined;
      if (held !== undefined) return (resentSince = Math.min(held, resentSince ?? held));
      throw EdgeError.isOne(thrown)
        ? new EdgeError(code, message, { ...details, batch: i }, { cause: thrown })
        : thrown;
    });
    if (work < ENCODE_SLICE_BYTES * TURN_SLICES || i === batches.length - 1) continue;
    work = 0;
    await turn();
  }
  return resentSince === undefined ? sending : { ...sending, resentSince };
}

/**
 * Checks what the log does not: a compressed batch that can't be decompressed, or is too large then; a value that is
 * not JSON in a stream of JSON; a header whose name is reserved for this server; the stream's schema.
 */
async function checkBatch(kernel: PackingKernel, bytes: Uint8Array, stream: CheckedStream): Promise<void> {
  const { isJson, judge, config, takesReserved = false } = stream;
  const batch = await Promise.resolve()
    .then(() => decodeBatch(kernel, bytes))
    .catch((thrown: unknown) => {
      const error = TidemarkError.from(thrown, "INVALID_BATCH");
      if (error.code !== "CORRUPT_RANGE") throw error;
      throw new EdgeError("INVALID_BATCH", error.toWire().message, { reason: reasonOf(error) });
    });
  for (let i = 0; i < batch.count; i++) {
    if (!takesReserved && batch.headersAt(i).some(([name]) => isReserved(name)))
      throw badRequest("the record headers ds.producer and ds.seq are the server's: choose another name", {
        record: i,
      });
    const value = batch.valueAt(i);
    if (isJson && value !== null && !kernel.isJson(value))
      throw badRequest("a record of this stream is one JSON message", { record: i });
  }
  if (judge && !batch.isControl) await judge.batch(batch, config.contentType);
}
