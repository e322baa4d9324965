/**
 * Catch-up reads with long answers. A reader that is far behind would otherwise ask for one MiB after the other and
 * spend most of its time asking. So a read of old records is answered some rows at a time: rows are read from SQLite
 * when the client has taken those before them, which bounds memory to a few rows, however slow the client is. The
 * kernel makes a row's part of the body in one call; a reader of batches gets the row's bytes unchanged.
 *
 *   plan     sizes and offsets of contiguous rows, from the row that contains the offset on; no blob is read
 *   answer   rows │ rows │ rows │ …   Stream-Next-Offset is the plan's end, so it is known at the beginning
 *
 * If a row does not verify, the answer breaks off. The reader asks again, and from then on this object answers page by
 * page, where the damage is named. A row that is no longer here (object storage, compaction, trim) ends a plan.
 */
import { EdgeError } from "../errors.ts";
import { type PackingKernel, Status } from "../../src/kernel/types.ts";
import { copyOf, textEncoder } from "../../src/record/bytes.ts";
import { nextOffsetOf, readHeader } from "../../src/record/format.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import type { PlannedRow } from "../store/chunk-tables.ts";
import type { Stream, ReadResult } from "./stream.ts";
import { packRequestFor, type Parts, partsIn, partsOf } from "./values.ts";

/** Answers up to this size are sent in one piece, with their length. */
const PAGE_BYTES = 1024 * 1024;
const LONG_BYTES = 16 * 1024 * 1024;
const LONG_ROWS = 1024;
/** Smaller pieces are joined, because each piece of a body costs a turn. */
const PIECE_BYTES = 64 * 1024;
/**
 * Bytes that are read, and sent, in one turn. A turn costs as much as copying 100 KiB; more than this does not fit into
 * the nearer caches.
 */
const AHEAD_BYTES = 1024 * 1024;
/** Bytes of the rows that one statement fetches. */
const GROUP_BYTES = 512 * 1024;
const OPEN_BYTE = 0x5b;

export interface LongRead extends ReadResult {
  /** The whole body, some rows at a time. `parts` is empty then. */
  readonly rest?: AsyncGenerator<Parts>;
}

/** Streams in which a long read met a damaged row. They are read page by page from then on. */
const damagedStreams = new WeakSet<Stream>();

/** Undefined if one page is enough, or if only page by page is safe. `form`: values as one body, or whole batches. */
export function longRead(
  stream: Stream,
  position: number | "start" | "now",
  form: "values" | "batches" = "values",
): LongRead | undefined {
  const from = position === "start" ? stream.start : position;
  if (
    from === "now" ||
    from < stream.log.logStartOffset ||
    from >= stream.tail ||
    damagedStreams.has(stream) ||
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
    rest: partsOfRows(stream, rows, from, form === "values" ? valuesOfGroup : batchesFrom(from)),
  };
}

/** The records of some rows from `from` on. */
type PartsOfGroup = (stream: Stream, group: readonly PlannedRow[], from: number) => Promise<Parts>;

async function* partsOfRows(
  stream: Stream,
  rows: readonly PlannedRow[],
  from: number,
  partsOfGroup: PartsOfGroup,
): AsyncGenerator<Parts> {
  for (let start = 0, end = 0; start < rows.length; start = end) {
    let bytes = 0;
    do bytes += rows[end++]!.size;
    while (end < rows.length && bytes + rows[end]!.size <= GROUP_BYTES);
    try {
      yield await partsOfGroup(stream, rows.slice(start, end), from);
    } catch (thrown) {
      damagedStreams.add(stream);
      throw thrown;
    }
  }
}

/** The rows of a plan as they stand now: undefined where a row has gone since, or compaction has put others there. */
function rowsOfGroup(stream: Stream, group: readonly PlannedRow[]): (Uint8Array | undefined)[] {
  const found = stream.tables.batchesBetween(group[0]!.baseOffset, group.at(-1)!.nextOffset);
  const isWhole = found.length === group.length;
  return group.map(({ nextOffset }, i) =>
    isWhole && found[i]!.nextOffset === nextOffset ? found[i]!.bytes : undefined,
  );
}

/** Whole batches, each once: compaction may have joined some of two planned rows since. */
function batchesFrom(from: number): PartsOfGroup {
  let sent = from;
  return async (stream, group) => {
    const parts: Parts = [];
    for (const [i, row] of rowsOfGroup(stream, group).entries()) {
      const planned = group[i]!;
      if (planned.nextOffset <= sent) continue;
      if (row) parts.push(batchesOfRow(planned, row, sent));
      else
        for await (const { bytes } of batchesMoved(stream, planned, sent))
          for (const batch of splitBatches(bytes)) {
            const header = readHeader(batch);
            const next = nextOffsetOf(header);
            // A read may reach beyond what was asked for, and what lies there comes with the next row.
            if (next <= sent || header.baseOffset >= planned.nextOffset) continue;
            parts.push(batch.slice());
            sent = next;
          }
      sent = Math.max(sent, planned.nextOffset);
    }
    return parts;
  };
}

/** Whole batches of a row, from the one that holds `from` on. */
function batchesOfRow(planned: PlannedRow, row: Uint8Array, from: number): Uint8Array {
  let [start, at, expected] = [0, 0, planned.baseOffset];
  for (const bytes of splitBatches(row)) {
    const header = readHeader(bytes);
    if (header.baseOffset !== expected) break;
    expected = nextOffsetOf(header);
    at += bytes.length;
    if (expected <= from) start = at;
  }
  if (expected !== planned.nextOffset || at !== row.length) throw notFollowing(expected, planned);
  return row.subarray(start);
}

async function valuesOfGroup(stream: Stream, group: readonly PlannedRow[], from: number): Promise<Parts> {
  const { isJson, kernel } = stream;
  const parts: Parts = [];
  let packed: Uint8Array | undefined;
  let [start, end] = [0, 0];
  for (const [i, row] of rowsOfGroup(stream, group).entries()) {
    const planned = group[i]!;
    const request =
      row && packRequestFor(row, { from, to: planned.nextOffset, expectedOffset: planned.baseOffset, isJson });
    if (row && request) {
      packed ??= new Uint8Array(group.reduce((sum, { size }) => sum + size, 0));
      const { status, nextOffset, packedBytes } = kernel.pack(row, request, packed.subarray(end));
      if (status === Status.OK && nextOffset === planned.nextOffset) {
        end += packedBytes;
        continue;
      }
    }
    if (end > start) parts.push(packed!.subarray(start, end));
    start = end;
    parts.push(
      ...(row ? await partsOfRow(kernel, planned, row, from, isJson) : await partsMoved(stream, planned, from)),
    );
  }
  if (end > start) parts.push(packed!.subarray(start, end));
  return parts;
}

/** The same batches from object storage, where they have moved to since the plan was made. */
async function* batchesMoved(stream: Stream, { baseOffset, nextOffset }: PlannedRow, from: number) {
  for (let at = Math.max(baseOffset, from); at < nextOffset;) {
    const found = await stream.readBatches(at, nextOffset, PAGE_BYTES);
    if (found.nextOffset <= at) throw new EdgeError("OFFSET_OUT_OF_RANGE", "trimmed while it was read", { offset: at });
    yield { at, ...found };
    at = found.nextOffset;
  }
}

/** Copies: what came from object storage may be kept by others. */
async function partsMoved(stream: Stream, planned: PlannedRow, from: number): Promise<Parts> {
  const parts: Parts = [];
  for await (const { at, bytes, nextOffset } of batchesMoved(stream, planned, from)) {
    const part = await partsIn(stream.kernel, bytes, at, nextOffset, stream.isJson);
    if (part.nextOffset < nextOffset) throw notFollowing(part.nextOffset, planned);
    parts.push(...part.parts.map((each) => each.slice()));
  }
  return parts;
}

const notFollowing = (from: number, { nextOffset: to }: PlannedRow): EdgeError =>
  new EdgeError("CORRUPT_RANGE", "offsets do not follow each other", { from, to });

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
  if (expected !== planned.nextOffset) throw notFollowing(expected, planned);
  return parts;
}

/** Pieces of one body: values back to back, or as a JSON array. */
async function* piecesOf(found: LongRead, isJson: boolean): AsyncGenerator<Uint8Array> {
  let isFirst = true;
  for await (const parts of found.rest!) {
    for (const piece of joinSmall(parts)) {
      // Replaces the comma before the very first value.
      if (isJson && isFirst) piece[0] = OPEN_BYTE;
      isFirst = false;
      yield piece;
    }
  }
  if (isJson) yield textEncoder.encode(isFirst ? "[]" : "]");
}

/** Each piece gets a buffer that nobody else uses, because the body transfers it. */
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
  // Pieces may be views of one buffer. Only the last of them may keep it, because a transfer takes the whole buffer.
  return out.map((piece, i) =>
    out.slice(i + 1).some(({ buffer }) => buffer === piece.buffer) ? piece.slice() : piece,
  );
}

export function longBody(found: LongRead, isJson: boolean): ReadableStream<Uint8Array> {
  const pieces = piecesOf(found, isJson);
  // How many bytes are read while earlier ones are on their way. The stream is one of bytes, so that buffers are
  // passed on without a copy.
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
          // The answer breaks off, so that the client can't take it for complete.
          controller.error(thrown);
        }
      },
      cancel: async () => void (await pieces.return(undefined)),
    } as UnderlyingByteSource,
    ahead,
  );
}
