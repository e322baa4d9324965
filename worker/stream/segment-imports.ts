/**
 * Takes Kafka's .log files into an empty stream; records keep their offsets. The files come in pieces, one request
 * each, and wait in tables aside (store/incoming-tables.ts) until all are there.
 *
 *   begin   the names and sizes of the files; the same request again says how far the import is
 *   piece   bytes of a file where the import is: each batch is checked and becomes rows aside, in one transaction
 *   take    in the request of the last piece, one transaction: the rows aside are the log's
 *
 * So a reader sees nothing or all. Crash: the last finished step; a sender goes on there, and a piece that comes twice
 * counts once. An append that comes before the end makes the import end with `filled`.
 */
import { TidemarkError } from "../../src/errors.ts";
import { SEGMENT_OFFSETS_MAX } from "../../src/kernel/types.ts";
import { nobodyKnownBelow } from "../../src/log/nobody-known.ts";
import { nextOffsetOf } from "../../src/record/format.ts";
import { type ImportDamage, PIECE_BYTES_MAX, refuseFilled } from "../../src/store/segment-files.ts";
import { damageError, type OpenDamage, type ScannedBatch, SegmentScan } from "../../src/store/segment-scan.ts";
import { damageOfBatch } from "../../src/store/unreadable-batch.ts";
import { badRequest, EdgeError } from "../errors.ts";
import { rowsOf } from "../store/chunk-rows.ts";
import { type ChunkRow, CHUNK_BYTES_MAX, emptySegment, type SegmentRow } from "../store/chunk-tables.ts";
import { type ImportProgress, IncomingTables } from "../store/incoming-tables.ts";
import { FULL, isFull } from "../store/sql.ts";
import { BATCHES_MAX, checkBatches } from "./batch-check.ts";
import { RECORDS_MAX } from "./body-limits.ts";
import type { Stream } from "./stream.ts";

/** An import without a piece for this long is given up: what has come is removed. */
const IMPORT_IDLE_MS = 24 * 3600_000;
/** More damaged places than this are not skipped. */
const DAMAGE_MAX = 1_000;
/** Beside errors of the kind "fix", these say that the same import can't succeed. */
const ENDING = new Set<string>(["DECOMPRESSION_LIMIT", "STREAM_CLOSED"]);

export interface ImportFile {
  readonly name: string;
  readonly bytes: number;
  readonly mark?: string;
}

export interface ImportRequest {
  readonly files: readonly ImportFile[];
  readonly damage: "refuse" | "skip";
}

export interface ImportPiece {
  readonly id: string;
  readonly file: number;
  readonly position: number;
  readonly bytes: Uint8Array;
}

/** How far an import is. `taken`: the stream's tables have changed, and it must be opened anew. */
export interface ImportStanding extends ImportProgress {
  readonly id: string;
  readonly taken: boolean;
}

const START: Omit<ImportProgress, "heardAt"> = {
  file: 0,
  position: 0,
  batches: 0,
  records: 0,
  nextOffset: 0,
  damage: [],
  done: false,
};

function refuse(stream: Stream): void {
  if (stream.closed) throw new EdgeError("STREAM_CLOSED", "the stream is closed", { nextOffset: stream.tail });
  if (stream.config.fork)
    throw new TidemarkError("INVALID_ARGUMENT", "a fork takes no segments: its records come from its source", {
      reason: "fork",
    });
  refuseFilled(stream.log);
}

/** The next file that has bytes, from this place on. */
function placeAt(files: readonly ImportFile[], file: number, position: number) {
  let [at, from] = [file, position];
  while (at < files.length && from >= files[at]!.bytes) [at, from] = [at + 1, 0];
  return { file: at, position: from };
}

/**
 * Begins an import, or says how far the one of the same request is. Another import that was under way is given up.
 * INVALID_ARGUMENT {reason: "filled" or "fork"}, STREAM_CLOSED.
 */
export async function beginImport(
  stream: Stream,
  request: ImportRequest,
  newId: () => string,
): Promise<ImportStanding> {
  const tables = new IncomingTables(stream.tables);
  const text = JSON.stringify(request);
  const asked = tables.asked();
  if (asked?.text === text) {
    const progress = tables.progress();
    if (progress.done) return { ...progress, id: asked.id, taken: false };
    return ended(stream, tables, async () => onward(stream, tables, request, asked.id, progress));
  }
  refuse(stream);
  const id = newId();
  const progress = { ...START, ...placeAt(request.files, 0, 0), heardAt: stream.now() };
  return ended(stream, tables, async () => {
    tables.begin({ id, text }, progress);
    return onward(stream, tables, request, id, progress);
  });
}

/**
 * Takes the bytes where the import is; for another place it changes nothing, and says where the import is.
 * OFFSET_CONFLICT: another import has been begun since. BAD_REQUEST with `wants` or `left`: the piece has too few or
 * too many bytes, and the import stays where it is. INVALID_BATCH, BATCH_TOO_LARGE, UNSUPPORTED_FORMAT,
 * DECOMPRESSION_LIMIT, SCHEMA_MISMATCH, BAD_REQUEST with `file` and `position` of a batch, QUOTA_EXCEEDED, and what
 * beginImport() refuses: the import is given up, and nothing was taken.
 */
export async function takePiece(stream: Stream, piece: ImportPiece): Promise<ImportStanding> {
  const tables = new IncomingTables(stream.tables);
  const asked = tables.asked();
  if (asked?.id !== piece.id)
    throw new TidemarkError("OFFSET_CONFLICT", "this import is not under way any more: begin it again", {
      reason: "replaced",
      import: piece.id,
    });
  const progress = tables.progress();
  const { id, text } = asked;
  const isHere = piece.file === progress.file && piece.position === progress.position;
  if (progress.done) return { ...progress, id, taken: false };
  const request = JSON.parse(text) as ImportRequest;
  // Where all pieces are there, an object that ended before they were taken has not said so.
  if (!isHere) return ended(stream, tables, () => onward(stream, tables, request, id, progress));
  const { name, bytes } = request.files[piece.file]!;
  const { position } = piece;
  const left = bytes - position;
  if (piece.bytes.length > left)
    throw badRequest(`${name} has ${bytes} bytes: this piece reaches beyond its end`, { file: name, position, left });
  const standing = await ended(stream, tables, async () => {
    refuse(stream);
    const damage = new Damage(request, progress);
    const scanned = scan(stream, request, piece, { progress, damage });
    if ("wants" in scanned) return scanned;
    const found = await check(stream, name, scanned.found, damage);
    const next = onBehind(stream, progress, { found, damage, reached: scanned.reached });
    const { segments, rows } = segmentsOf(stream, found, progress);
    tables.stage(segments, rows, next);
    return onward(stream, tables, request, id, next);
  });
  if (!("wants" in standing)) return standing;
  const { wants } = standing;
  throw badRequest(`a piece of ${name} at ${position} has at least ${wants} bytes`, { file: name, position, wants });
}

/** Removes what has come, if the import was given up long ago. Gives back when that will be. */
export function dropIdle(stream: Stream): number | undefined {
  const tables = new IncomingTables(stream.tables);
  if (!tables.asked()) return undefined;
  const { done, heardAt } = tables.progress();
  if (done) return undefined;
  if (stream.now() < heardAt + IMPORT_IDLE_MS) return heardAt + IMPORT_IDLE_MS;
  tables.discard();
  return undefined;
}

/** After a refusal the same import can't succeed, so its rows are removed. Any other failure leaves it where it was. */
async function ended<T>(stream: Stream, tables: IncomingTables, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    const full = isFull(thrown);
    const { kind, code } = EdgeError.from(thrown);
    const isRefusal = EdgeError.isOne(thrown) && (kind === "fix" || ENDING.has(code));
    if ((full || isRefusal) && !stream.store.isEnded) tables.discard();
    if (!full) throw thrown;
    throw new TidemarkError("QUOTA_EXCEEDED", `nothing was taken: ${FULL}`, {}, { cause: thrown });
  }
}

/** The damage of an import, with that of a piece. It throws unless damage is skipped, and once it is too much. */
class Damage {
  readonly all: ImportDamage[];
  readonly skips: boolean;

  constructor({ damage }: ImportRequest, before: ImportProgress) {
    this.skips = damage === "skip";
    this.all = [...before.damage];
  }

  add(each: ImportDamage): void {
    if (!this.skips) throw damageError(each);
    this.all.push(each);
    if (this.all.length > DAMAGE_MAX)
      throw new TidemarkError("INVALID_BATCH", `the files are damaged in more than ${DAMAGE_MAX} places`, { ...each });
  }
}

/** Where a scan has come to. */
interface Reached {
  readonly file: number;
  readonly position: number;
  /** The next batch has this offset or a later one. */
  readonly expected: number;
  readonly open: OpenDamage | undefined;
}

interface Scanned {
  readonly found: readonly ScannedBatch[];
  readonly reached: Reached;
}

/** The piece's batches, or how many bytes it has at least. */
function scan(
  stream: Stream,
  { files }: ImportRequest,
  piece: ImportPiece,
  { progress, damage }: { readonly progress: ImportProgress; readonly damage: Damage },
): Scanned | { readonly wants: number } {
  const { name: file, bytes: fileBytes } = files[piece.file]!;
  const bounds = { batchBytesMax: CHUNK_BYTES_MAX, pieceBytesMax: PIECE_BYTES_MAX, skips: damage.skips };
  const { nextOffset: expected, open } = progress;
  const walk = new SegmentScan(stream.kernel, bounds, (each) => damage.add(each), { expected, open });
  const found: ScannedBatch[] = [];
  const walking = walk.batchesIn({ file, fileBytes, position: piece.position, bytes: piece.bytes });
  let step = walking.next();
  for (; !step.done; step = walking.next()) found.push(step.value);
  const { position, wants } = step.value;
  if (position === piece.position && wants > 0) return { wants };
  const place = placeAt(files, piece.file, position);
  if (place.file === files.length) walk.end();
  return { found, reached: { ...place, ...walk.state } };
}

/** How far the import is behind a piece of which these batches are taken. */
function onBehind(
  stream: Stream,
  before: ImportProgress,
  { found, damage, reached }: Scanned & { readonly damage: Damage },
): ImportProgress {
  const { expected: _, ...place } = reached;
  const last = found.at(-1);
  return {
    ...before,
    ...place,
    batches: before.batches + found.length,
    records: found.reduce((sum, { header }) => sum + header.recordCount, before.records),
    firstOffset: before.firstOffset ?? found[0]?.header.baseOffset,
    nextOffset: last ? nextOffsetOf(last.header) : before.nextOffset,
    damage: damage.all,
    heardAt: stream.now(),
  };
}

/**
 * Checks each batch as one that comes to this stream, in groups of as many as one request may have. Gives those whose
 * records can be had; the others are damage.
 */
async function check(
  stream: Stream,
  file: string,
  found: readonly ScannedBatch[],
  damage: Damage,
): Promise<readonly ScannedBatch[]> {
  const { kernel, isJson, judge, config } = stream;
  const good: ScannedBatch[] = [];
  for (let from = 0, to = 0; from < found.length; from = to) {
    for (let records = 0; to < found.length && to - from < BATCHES_MAX; to++) {
      records += found[to]!.header.recordCount;
      if (records > RECORDS_MAX && to > from) break;
    }
    const group = found.slice(from, to);
    await checkBatches(
      kernel,
      group.map(({ bytes }) => bytes),
      { isJson, judge, config, takesReserved: true },
    ).then(
      () => good.push(...group),
      (thrown: unknown) => {
        if (!EdgeError.isOne(thrown)) throw thrown;
        const { code, message, details } = EdgeError.from(thrown);
        const { batch, ...rest } = details;
        const which = Number(batch ?? 0);
        const bad = group[which]!;
        if (code === "INVALID_BATCH") {
          damage.add(damageOfBatch(bad, String(details["reason"])));
          good.push(...group.slice(0, which));
          // The batches behind it have not been looked at.
          to = from + which + 1;
          return;
        }
        const { position } = bad;
        const told = `${file}, byte ${position}: ${message}; nothing was taken`;
        throw new EdgeError(code, told, { ...rest, file, position }, { cause: thrown });
      },
    );
  }
  return good;
}

/** Batches that may share a segment: its indexes hold offsets from its base on in 32 bits. */
function* runsOf(found: readonly ScannedBatch[], expected: number): Generator<readonly [number, ScannedBatch[]]> {
  let base = expected;
  let run: ScannedBatch[] = [];
  for (const batch of found) {
    if (nextOffsetOf(batch.header) - base > SEGMENT_OFFSETS_MAX) {
      if (run.length > 0) yield [base, run];
      base = batch.header.baseOffset;
      run = [];
    }
    run.push(batch);
  }
  if (run.length > 0) yield [base, run];
}

/** Sealed segments with rows of these batches. A hole before a segment's first batch is the segment's own. */
function segmentsOf(
  stream: Stream,
  found: readonly ScannedBatch[],
  { firstOffset, nextOffset }: ImportProgress,
): { readonly segments: readonly SegmentRow[]; readonly rows: readonly ChunkRow[] } {
  const epoch = stream.store.leaderEpoch;
  const now = Math.trunc(stream.now());
  const segments: SegmentRow[] = [];
  const rows: ChunkRow[] = [];
  const expected = firstOffset === undefined ? found[0]?.header.baseOffset : nextOffset;
  for (const [base, run] of runsOf(found, expected ?? 0)) {
    const made = rowsOf(
      run.map(({ bytes }) => bytes.slice()),
      epoch,
      now,
    );
    let at = base;
    let hasHoles = false;
    for (const { header } of run) {
      hasHoles ||= header.baseOffset !== at || header.recordCount !== header.lastOffsetDelta + 1;
      at = nextOffsetOf(header);
    }
    segments.push({
      ...emptySegment(base, now, epoch),
      nextOffset: at,
      bytes: made.reduce((sum, row) => sum + row.bytes.length, 0),
      batches: run.length,
      records: made.reduce((sum, row) => sum + row.recordCount, 0),
      maxTimestamp: made.reduce((max, row) => Math.max(max, row.maxTimestamp), -1),
      sealedAt: now,
      compacted: hasHoles,
    });
    // With holes, what lies between two offsets proves nothing: the row has a checksum of its own.
    rows.push(...made.map((row) => (hasHoles ? { ...row, crc: stream.kernel.crc32c(row.bytes) } : row)));
  }
  return { segments, rows };
}

/** Goes on to the end, if all pieces are there. */
async function onward(
  stream: Stream,
  tables: IncomingTables,
  { files }: ImportRequest,
  id: string,
  progress: ImportProgress,
): Promise<ImportStanding> {
  if (progress.file < files.length) return { ...progress, id, taken: false };
  const done = { ...progress, id, done: true };
  if (progress.firstOffset === undefined) {
    tables.stage([], [], done);
    return { ...done, taken: false };
  }
  const { firstOffset: start, nextOffset: end } = progress;
  // Appends that are under way make the stream one that is filled.
  await stream.settled();
  refuse(stream);
  const { kernel, store, outboxes } = stream;
  tables.take(done, () => {
    stream.tables.saveLog({ start, end, epoch: store.leaderEpoch, swaps: store.swaps });
    stream.tables.saveProducers(end, nobodyKnownBelow(kernel, end));
    stream.saveState(end);
    outboxes.seal(end);
  });
  return { ...done, taken: true };
}
