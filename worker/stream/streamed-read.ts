/**
 * Catch-up in long answers. A reader that is far behind would ask for one MiB after the other, and most of the time
 * would go into asking. So a plain read of what is long past is answered some rows at a time, read from SQLite when the
 * client has taken those before them: memory stays that of a few rows, whatever the client's speed. The kernel makes a
 * row's body in one call.
 *
 *   plan     sizes and offsets of the rows from the one that holds the offset: contiguous ones only, no blob is touched
 *   answer   rows │ rows │ rows │ …   Stream-Next-Offset is the plan's end, so it can be told at the beginning
 *
 * A row that does not check out breaks the answer off; the reader asks again, and from then on this object answers page
 * by page, where damage is named. Rows that are no longer here (object storage, compaction, trim) end a plan.
 */
import { EdgeError } from "../errors.ts";
import { type PackingKernel, Status } from "../../src/kernel/types.ts";
import { copyOf } from "../../src/record/bytes.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import type { PlannedRow } from "../store/chunk-tables.ts";
import type { Stream, ReadResult } from "./stream.ts";
import { packing, type Parts, partsIn, partsOf } from "./values.ts";

/** What fits here is answered in one piece, with its length. */
const PAGE_BYTES = 1024 * 1024;
const LONG_BYTES = 16 * 1024 * 1024;
const LONG_ROWS = 1024;
/** Smaller pieces are joined: each piece of a body costs a turn. */
const PIECE_BYTES = 64 * 1024;
/**
 * Read in one turn, and sent in one: each turn costs what copying 100 KiB costs; more than this leaves the nearer
 * caches.
 */
const AHEAD_BYTES = 1024 * 1024;
/** Rows that one statement fetches. */
const GROUP_BYTES = 512 * 1024;
const OPEN_BYTE = 0x5b;

export interface LongRead extends ReadResult {
  /** All of them, some rows at a time; `parts` are none then. */
  readonly rest?: AsyncGenerator<Parts>;
}

/** Objects whose rows were found wanting. */
const wanting = new WeakSet<Stream>();

/** Undefined when a page is enough, or the only safe thing. */
export function longRead(
  stream: Stream,
  kernel: PackingKernel,
  position: number | "start" | "now",
): LongRead | undefined {
  const from = position === "start" ? stream.start : position;
  if (
    from === "now" ||
    from < stream.log.logStartOffset ||
    from >= stream.tail ||
    wanting.has(stream) ||
    stream.log.quarantined().length > 0
  )
    return undefined;
  const { rows, bytes } = stream.tables.rowsAround(from, LONG_BYTES, LONG_ROWS);
  const nextOffset = rows.at(-1)?.nextOffset ?? 0;
  if (bytes <= PAGE_BYTES || nextOffset > stream.tail) return undefined;
  stream.touch();
  const upToDate = nextOffset === stream.tail;
  return {
    parts: [],
    from,
    nextOffset,
    upToDate,
    ended: upToDate && stream.closed,
    rest: partsOfRows(stream, kernel, rows, from),
  };
}

async function* partsOfRows(
  stream: Stream,
  kernel: PackingKernel,
  rows: readonly PlannedRow[],
  from: number,
): AsyncGenerator<Parts> {
  for (let start = 0, end = 0; start < rows.length; start = end) {
    let bytes = 0;
    do bytes += rows[end++]!.size;
    while (end < rows.length && bytes + rows[end]!.size <= GROUP_BYTES);
    try {
      yield await partsOfGroup(stream, kernel, rows.slice(start, end), from);
    } catch (thrown) {
      wanting.add(stream);
      throw thrown;
    }
  }
}

async function partsOfGroup(
  stream: Stream,
  kernel: PackingKernel,
  group: readonly PlannedRow[],
  from: number,
): Promise<Parts> {
  const { isJson } = stream;
  const found = stream.tables.batchesBetween(group[0]!.baseOffset, group.at(-1)!.nextOffset);
  const parts: Parts = [];
  let packed: Uint8Array | undefined;
  let [start, end] = [0, 0];
  for (const [i, planned] of group.entries()) {
    // Not where a row has gone since, or compaction has put others there.
    const row = found.length === group.length && found[i]!.nextOffset === planned.nextOffset ? found[i] : undefined;
    const request = row && packing(row.bytes, { from, to: row.nextOffset, expectedOffset: planned.baseOffset, isJson });
    if (row && request) {
      packed ??= new Uint8Array(group.reduce((sum, { size }) => sum + size, 0));
      const { status, nextOffset, packedBytes } = kernel.pack(row.bytes, request, packed.subarray(end));
      if (status === Status.OK && nextOffset === row.nextOffset) {
        end += packedBytes;
        continue;
      }
    }
    if (end > start) parts.push(packed!.subarray(start, end));
    start = end;
    parts.push(
      ...(row
        ? await partsOfRow(kernel, planned, row.bytes, from, isJson)
        : await partsMoved(stream, kernel, planned, from)),
    );
  }
  if (end > start) parts.push(packed!.subarray(start, end));
  return parts;
}

/** The same records from object storage, where they have moved to since the plan was made. */
async function partsMoved(
  stream: Stream,
  kernel: PackingKernel,
  { baseOffset, nextOffset }: PlannedRow,
  from: number,
): Promise<Parts> {
  const parts: Parts = [];
  for (let at = Math.max(baseOffset, from); at < nextOffset;) {
    const found = await stream.readBatches(at, nextOffset, PAGE_BYTES);
    if (found.nextOffset <= at) throw new EdgeError("OFFSET_OUT_OF_RANGE", "trimmed while it was read", { offset: at });
    // Copies: what came from object storage may be kept by others.
    const part = await partsIn(kernel, found.bytes, at, found.nextOffset, stream.isJson);
    parts.push(...part.parts.map((each) => each.slice()));
    at = part.nextOffset;
  }
  return parts;
}

/** What the kernel does not take in one call: large values, compressed batches, damage, which gets its name here. */
async function partsOfRow(
  kernel: PackingKernel,
  planned: PlannedRow,
  row: Uint8Array,
  from: number,
  isJson: boolean,
): Promise<Parts> {
  const parts: Parts = [];
  let expected = planned.baseOffset;
  for (const bytes of splitBatches(row)) {
    const decoded = decodeBatch(kernel, bytes);
    const batch = decoded instanceof Promise ? await decoded : decoded;
    if (batch.baseOffset !== expected) break;
    expected = batch.nextOffset;
    for (let i = 0; i < batch.count && !batch.isControl; i++) {
      const value = batch.valueAt(i);
      if (value !== null && batch.offsetAt(i) >= from) parts.push(...partsOf(value, isJson));
    }
  }
  if (expected !== planned.nextOffset)
    throw new EdgeError("CORRUPT_RANGE", "offsets do not follow each other", {
      from: expected,
      to: planned.nextOffset,
    });
  return parts;
}

/** Pieces of one body: values back to back, or as a JSON array. */
async function* piecesOf(found: LongRead, isJson: boolean): AsyncGenerator<Uint8Array> {
  let isFirst = true;
  for await (const parts of found.rest!) {
    for (const piece of joinSmall(parts)) {
      // The comma before the first of all.
      if (isJson && isFirst) piece[0] = OPEN_BYTE;
      isFirst = false;
      yield piece;
    }
  }
  if (isJson) yield new TextEncoder().encode(isFirst ? "[]" : "]");
}

/** Each with a buffer that nobody else looks at: the body takes it away. */
function joinSmall(parts: readonly Uint8Array[]): Uint8Array[] {
  const out: Uint8Array[] = [];
  let run: Uint8Array[] = [];
  let size = 0;
  const end = (): void => {
    if (size === 0) return;
    out.push(copyOf(run));
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
  return out.map((piece, i) =>
    out.slice(i + 1).some(({ buffer }) => buffer === piece.buffer) ? piece.slice() : piece,
  );
}

export function longBody(found: LongRead, isJson: boolean): ReadableStream<Uint8Array> {
  const pieces = piecesOf(found, isJson);
  // So much is read while what came before it is on its way. Bytes, so that the buffers themselves are passed on.
  const ahead = { highWaterMark: AHEAD_BYTES };
  return new ReadableStream(
    {
      type: "bytes",
      async pull(controller: ReadableByteStreamController) {
        try {
          for (let room = AHEAD_BYTES; room > 0;) {
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
    } as UnderlyingByteSource,
    ahead,
  );
}
