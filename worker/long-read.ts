/**
 * Catch-up in long answers. A reader that is far behind would ask for one MiB after the other, and most of the time would go into
 * asking. So a plain read of what is long past is answered row by row, each read from SQLite when the client has taken those
 * before it: memory stays that of a few rows, whatever the client's speed.
 *
 *   plan     sizes and offsets of the rows from the one that holds the offset: contiguous ones only, no blob is touched
 *   answer   row │ row │ row │ …      Stream-Next-Offset is the plan's end, so it can be told at the beginning
 *
 * A row that does not check out breaks the answer off; the reader asks again, and from then on this object answers page by page, where
 * damage is named. Rows that are no longer here (object storage, compaction, trim) end a plan.
 */
import { TidemarkError } from "../src/errors.ts";
import type { Kernel } from "../src/kernel/types.ts";
import { decodeBatch, splitBatches } from "../src/record/record-batch.ts";
import type { Stream, ReadResult } from "./stream.ts";
import { valuesIn } from "./stream-codec.ts";

/** What fits here is answered in one piece, with its length. */
const PAGE_BYTES = 1024 * 1024;
const LONG_BYTES = 16 * 1024 * 1024;
const LONG_ROWS = 1024;
/** Smaller pieces are joined: each piece of a body costs a turn. */
const PIECE_BYTES = 64 * 1024;
/** Read in one turn, and sent in one: each turn costs what copying 100 KiB costs; more than this leaves the nearer caches. */
const AHEAD_BYTES = 1024 * 1024;

export interface LongRead extends ReadResult {
  /** All values, row by row; `values` are none then. */
  readonly rest?: AsyncGenerator<Uint8Array[]>;
}

/** Objects whose rows were found wanting. */
const wanting = new WeakSet<Stream>();

/** Undefined when a page is enough, or the only safe thing. */
export function longRead(stream: Stream, kernel: Kernel, position: number | "start" | "now"): LongRead | undefined {
  const from = position === "start" ? stream.start : position;
  if (from === "now" || from < stream.log.logStartOffset || from >= stream.tail || wanting.has(stream) || stream.log.quarantined().length > 0) return undefined;
  const { rows, bytes } = stream.tables.rowsAround(from, LONG_BYTES, LONG_ROWS);
  const nextOffset = rows.at(-1)?.nextOffset ?? 0;
  if (bytes <= PAGE_BYTES || nextOffset > stream.tail) return undefined;
  stream.touch();
  const upToDate = nextOffset === stream.tail;
  const rest = valuesOfRows(stream, kernel, rows, from);
  return { values: [], from, nextOffset, upToDate, ended: upToDate && stream.closed, rest };
}

async function* valuesOfRows(stream: Stream, kernel: Kernel, rows: readonly PlannedRow[], from: number): AsyncGenerator<Uint8Array[]> {
  for (const row of rows) {
    try {
      yield await valuesOfRow(stream, kernel, row, from);
    } catch (thrown) {
      wanting.add(stream);
      throw thrown;
    }
  }
}

interface PlannedRow {
  readonly baseOffset: number;
  readonly nextOffset: number;
}

/** The same records from object storage, where they have moved to since the plan was made. */
async function valuesMoved(stream: Stream, kernel: Kernel, { baseOffset, nextOffset }: PlannedRow, from: number): Promise<Uint8Array[]> {
  const values: Uint8Array[] = [];
  for (let at = Math.max(baseOffset, from); at < nextOffset; ) {
    const found = await stream.readBatches(at, nextOffset, PAGE_BYTES);
    if (found.nextOffset <= at) throw new TidemarkError("OFFSET_OUT_OF_RANGE", "trimmed while it was read", { offset: at });
    // Copies: what came from object storage may be kept by others.
    const part = await valuesIn(kernel, found.bytes, at, found.nextOffset);
    values.push(...part.values.map((value) => value.slice()));
    at = part.nextOffset;
  }
  return values;
}

async function valuesOfRow(stream: Stream, kernel: Kernel, planned: PlannedRow, from: number): Promise<Uint8Array[]> {
  const { baseOffset } = planned;
  const row = stream.tables.findChunk(baseOffset);
  // Also where compaction has put another row there, with the same beginning.
  if (!row || row.nextOffset !== planned.nextOffset || row.crc !== null) return valuesMoved(stream, kernel, planned, from);
  const values: Uint8Array[] = [];
  let expected = baseOffset;
  for (const bytes of splitBatches(row.bytes)) {
    const decoded = decodeBatch(kernel, bytes);
    const batch = decoded instanceof Promise ? await decoded : decoded;
    if (batch.baseOffset !== expected) break;
    expected = batch.nextOffset;
    for (let i = 0; i < batch.count && !batch.isControl; i++) {
      const value = batch.valueAt(i);
      if (value !== null && batch.offsetAt(i) >= from) values.push(value);
    }
  }
  if (expected !== row.nextOffset) throw new TidemarkError("CORRUPT_RANGE", "offsets do not follow each other", { from: expected, to: row.nextOffset });
  return values;
}

const encoder = new TextEncoder();
const [OPEN, COMMA] = ["[", ","].map((text) => encoder.encode(text)) as [Uint8Array, Uint8Array];

/** Pieces of one body: values back to back, or as a JSON array. */
async function* piecesOf(found: LongRead, isJson: boolean): AsyncGenerator<Uint8Array> {
  let isFirst = true;
  const joined = (values: readonly Uint8Array[]): Uint8Array[] => {
    const parts = isJson ? values.flatMap((value) => (isFirst ? ((isFirst = false), [OPEN, value]) : [COMMA, value])) : values;
    return joinSmall(parts);
  };
  for await (const values of found.rest!) yield* joined(values);
  if (isJson) yield encoder.encode(isFirst ? "[]" : "]");
}

/** Each with a buffer that nobody else looks at: the body takes it away. */
function joinSmall(parts: readonly Uint8Array[]): Uint8Array[] {
  const out: Uint8Array[] = [];
  let run: Uint8Array[] = [];
  let size = 0;
  const end = (): void => {
    if (size === 0) return;
    const piece = new Uint8Array(size);
    let at = 0;
    for (const part of run) {
      piece.set(part, at);
      at += part.length;
    }
    out.push(piece);
    run = [];
    size = 0;
  };
  for (const part of parts) {
    if (part.length >= PIECE_BYTES) {
      end();
      out.push(part);
      continue;
    }
    run.push(part);
    size += part.length;
    if (size >= 4 * PIECE_BYTES) end();
  }
  end();
  // Of pieces of one buffer the last may have it.
  return out.map((piece, i) => (out.slice(i + 1).some(({ buffer }) => buffer === piece.buffer) ? piece.slice() : piece));
}

export function longBody(found: LongRead, isJson: boolean): ReadableStream<Uint8Array> {
  const pieces = piecesOf(found, isJson);
  // So much is read while what came before it is on its way. Bytes, so that the buffers themselves are passed on.
  const ahead = { highWaterMark: AHEAD_BYTES };
  return new ReadableStream({
    type: "bytes",
    async pull(controller: ReadableByteStreamController) {
      try {
        for (let room = AHEAD_BYTES; room > 0; ) {
          const { done, value } = await pieces.next();
          if (done) return controller.close();
          room -= value.length;
          controller.enqueue(value as Uint8Array<ArrayBuffer>);
        }
      } catch (thrown) {
        // Cut off: the client never takes it for the whole.
        controller.error(thrown);
      }
    },
    cancel: async () => void (await pieces.return(undefined)),
  } as UnderlyingByteSource, ahead);
}
