/**
 * The SQL chunk store: one log in the tables of one Durable Object. Rows are billed whatever their size, so pages in
 * rows would be expensive. Here a commit of any number of records is one row and nothing else.
 *
 *   chunk    base_offset PK │ next_offset │ max_timestamp │ record_count │ written_at │ crc │ bytes (record batches,
 *            back to back) │ origins (what a row-book notes)
 *   segment  base_offset PK │ next_offset │ bytes, batches, records, max_timestamp, created_at, sealed_at, compacted,
 *            epoch
 *   meta     "log": start, end of what was trimmed, epoch │ "producers": offset, then the log's snapshot
 *   damage   from_offset PK │ to_offset │ position, bytes, reason
 *   archive  sealed segments that are in object storage instead (archive-tables.ts): their chunks are gone, their
 *            segment rows stay
 *
 *   append → one INSERT INTO chunk of at most 1 MiB; at 4 MiB or 1,024 rows also a row in segment and one in meta
 *   open   → the rows behind the last segment are read and verified: they give next offset, epoch and producers
 *
 * `bytes` comes late in a chunk's row, so that a query for offsets reads no blob. There is no secondary index, because
 * it would be one more billed row for each commit. A segment is only a note about a run of chunks, so sealing one moves
 * no bytes.
 *
 * Durability: statements run in the object's implicit transaction. `flush` promises no more than the host does: in a
 * Durable Object the output gate holds every answer back until the transaction is on enough disks. A crash leaves whole
 * transactions, so there is no torn tail; a chunk that does not verify is damaged and is quarantined.
 */
import { assert, TidemarkError } from "../../src/errors.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { type BatchHeader, nextOffsetOf } from "../../src/record/format.ts";
import type {
  FetchedBatches,
  LogRecovery,
  LogStore,
  OnSeal,
  QuarantinedRange,
  ReplacementSegment,
  SegmentInfo,
} from "../../src/store/log-store.ts";
import { takeSnapshot } from "../../src/store/take-snapshot.ts";
import { Archive } from "./segment-archive.ts";
import { SegmentsToMove } from "./segments-to-move.ts";
import type { ArchiveEntry } from "./archive-tables.ts";
import { MovedSegments } from "./moved-segments.ts";
import { ChunkReader } from "./chunk-reader.ts";
import { infoOf, outputOf, rowsOf } from "./chunk-rows.ts";
import type { RowBook } from "./row-book.ts";
import { type ChunkRow, ChunkTables, CHUNK_BYTES_MAX, emptySegment, type SegmentRow } from "./chunk-tables.ts";
import { isFull, quotaExceeded, type Sql } from "./sql.ts";

/** A segment is sealed at this size or this many rows. That bounds what an object must read when it wakes. */
const SEGMENT_BYTES = 4 * 1024 * 1024;
const SEGMENT_CHUNKS = 1024;
/** The producers' snapshot goes into one row as well. */
const SNAPSHOT_BYTES_MAX = CHUNK_BYTES_MAX - 64;
const NOTHING = new Uint8Array(0);

export interface ChunkLogOptions {
  readonly sql: Sql;
  readonly kernel: Kernel;
  readonly now: () => number;
  readonly name: string;
  /** Where a new log begins. A fork continues its source's offsets. */
  readonly baseOffset?: number;
  readonly segmentBytes?: number;
  /** Reads segments that have moved to object storage. */
  readonly archive?: Archive;
  /**
   * True if somebody needs all records (a fork): then nothing is trimmed or replaced. Asked in the turn of the change.
   */
  readonly isHeld?: () => boolean;
  /** Runs inside the transaction of a seal: what it writes is committed together with the seal. */
  readonly onSealed?: (nextOffset: number) => void;
  /** Runs after the transaction of an append, in the same turn. */
  readonly onAppended?: (nextOffset: number) => void;
  /** Notes that are kept with the rows (row-book.ts). */
  readonly book?: RowBook;
}

export class ChunkLog implements LogStore {
  readonly name: string;
  readonly recovery: LogRecovery;
  readonly batchBytesMax = CHUNK_BYTES_MAX;
  readonly leaderEpoch: number;
  onSeal: OnSeal | undefined;

  readonly #options: ChunkLogOptions;
  readonly #tables: ChunkTables;
  readonly #kernel: Kernel;
  readonly #now: () => number;
  readonly #segmentBytes: number;
  readonly #archive: Archive;
  readonly #rows: ChunkReader;
  readonly #moved: MovedSegments;
  /** Sealed segments that are still in rows and can move to object storage. */
  readonly toMove: SegmentsToMove;
  #sealed: SegmentRow[];
  #active: SegmentRow;
  #activeChunks: number;
  #start: number;
  #flushed: number;
  #failure: TidemarkError | undefined;
  #closed = false;
  #swaps: number;

  constructor(options: ChunkLogOptions) {
    const { sql, kernel, now, name, baseOffset = 0, segmentBytes = SEGMENT_BYTES } = options;
    this.#options = options;
    this.name = name;
    this.#kernel = kernel;
    this.#now = now;
    this.#segmentBytes = segmentBytes;
    this.#tables = new ChunkTables(sql);
    this.#tables.create();
    const meta = this.#tables.log() ?? { start: baseOffset, end: baseOffset, epoch: 0, swaps: 0 };
    this.#start = meta.start;
    this.#swaps = meta.swaps ?? 0;
    this.#sealed = this.#tables.segments();
    this.#archive = options.archive ?? new Archive(undefined, kernel);
    this.#moved = new MovedSegments(this.#archive, this.#tables.archive.kept());
    this.#rows = new ChunkReader(this.#tables, kernel, () => ({ sealed: this.#sealed, active: this.#active }));
    this.toMove = new SegmentsToMove({
      tables: this.#tables,
      rows: this.#rows,
      moved: this.#moved,
      sealed: () => this.#sealed,
      start: () => this.#start,
      check: () => this.#check(),
    });
    const remembered = this.#rows.damage.length;
    for (const [from, to] of this.#moved.strays(this.#sealed)) this.#rows.lost(from, to);
    const base = Math.max(meta.end, this.#sealed.at(-1)?.nextOffset ?? 0);
    this.#active = emptySegment(base, now(), Math.max(meta.epoch, this.#sealed.at(-1)?.epoch ?? 0));
    this.#activeChunks = 0;
    const { book } = options;
    book?.open(base);
    for (const row of this.#tables.chunksFrom(base)) {
      this.#recover(row);
      book?.replay({ ...row, origins: row.origins ?? null });
    }
    this.#flushed = this.logEndOffset;
    this.leaderEpoch = this.#active.epoch + 1;
    book?.opened(this.logEndOffset, this.leaderEpoch);
    this.recovery = {
      log: name,
      segments: this.#sealed.length + 1,
      scannedBytes: this.#active.bytes,
      scannedBatches: this.#active.batches,
      cut: undefined,
      lost: undefined,
      quarantined: this.#rows.damage.slice(remembered),
      rebuilt: [],
      logStartOffset: this.#start,
      logEndOffset: this.logEndOffset,
      // Transactions are whole or absent, so there is no unclean end.
      cleanShutdown: true,
    };
  }

  /** Counts a row of the active segment after verifying every byte of it. */
  #recover(row: ChunkRow): void {
    const epochs = this.#rows.recover(row, this.logEndOffset);
    for (const epoch of epochs) this.#active.epoch = Math.max(this.#active.epoch, epoch);
    this.#count(row, epochs.length);
  }

  #count(row: ChunkRow, batches: number): void {
    const active = this.#active;
    if (this.#activeChunks === 0) active.createdAt = row.writtenAt;
    active.bytes += row.bytes.length;
    active.batches += batches;
    active.records += row.recordCount;
    active.maxTimestamp = Math.max(active.maxTimestamp, row.maxTimestamp);
    active.nextOffset = row.nextOffset;
    this.#activeChunks++;
  }

  get logStartOffset(): number {
    return this.#start;
  }
  get logEndOffset(): number {
    return this.#active.nextOffset;
  }
  get flushedOffset(): number {
    return this.#flushed;
  }
  get quarantined(): readonly QuarantinedRange[] {
    return [...this.#rows.damage, ...this.#moved.damage].filter((range) => range.to > this.#start);
  }
  segments(): readonly SegmentInfo[] {
    const shown = this.#sealed.filter((segment) => segment.nextOffset > this.#start);
    return [...shown, this.#active].map((segment) => infoOf(segment));
  }

  // --- writing -----------------------------------------------------------------------------------------------------

  async append(batches: readonly Uint8Array[]): Promise<void> {
    this.#check();
    const tooLarge = batches.find((batch) => batch.length > this.batchBytesMax);
    if (tooLarge)
      throw new TidemarkError("BATCH_TOO_LARGE", `a batch of ${tooLarge.length} bytes; at most ${this.batchBytesMax}`, {
        bytes: tooLarge.length,
        batchBytesMax: this.batchBytesMax,
      });
    const rows = rowsOf(batches, this.leaderEpoch, Math.trunc(this.#now()));
    const isOne = rows.length === 1 && !this.#isFull() && !this.#options.book?.needsTransaction(rows[0]!.nextOffset);
    this.#change(() => rows.forEach((row) => this.#insert(row)), isOne);
    this.#options.onAppended?.(this.logEndOffset);
  }

  #insert(row: ChunkRow & { readonly batches: number }): void {
    if (this.#isFull()) this.#seal();
    const { baseOffset, nextOffset, recordCount } = row;
    assert(baseOffset === this.logEndOffset && nextOffset > baseOffset, "a row continues the log");
    assert(recordCount === nextOffset - baseOffset, "a row has a record for each of its offsets");
    this.#tables.insertChunk({ ...row, origins: this.#options.book?.notes(baseOffset, nextOffset) ?? null });
    this.#count(row, row.batches);
    this.#active.epoch = this.leaderEpoch;
  }

  #isFull(): boolean {
    return this.#active.bytes >= this.#segmentBytes || this.#activeChunks >= SEGMENT_CHUNKS;
  }

  #seal(): void {
    const sealed = { ...this.#active, sealedAt: this.#now() };
    this.#tables.insertSegment(sealed);
    const snapshot = this.onSeal?.(SNAPSHOT_BYTES_MAX, takeSnapshot);
    if (snapshot) this.#tables.saveProducers(sealed.nextOffset, snapshot);
    this.#options.onSealed?.(sealed.nextOffset);
    this.#options.book?.seal(sealed.nextOffset);
    for (const range of this.#rows.damage) if (range.from >= sealed.baseOffset) this.#tables.saveDamage(range);
    this.#sealed = [...this.#sealed, sealed];
    this.#active = emptySegment(sealed.nextOffset, this.#now(), sealed.epoch);
    this.#activeChunks = 0;
  }

  async handOver(): Promise<void> {
    this.#check();
  }

  async flush(): Promise<void> {
    this.#check();
    this.#flushed = this.logEndOffset;
  }

  async roll(): Promise<void> {
    this.#check();
    if (this.#activeChunks === 0) return;
    this.#change(() => this.#seal());
    this.#flushed = this.logEndOffset;
  }

  async trim(offset: number): Promise<void> {
    this.#check();
    if (offset <= this.#start) return;
    if (offset > this.#flushed) {
      throw new TidemarkError("OFFSET_OUT_OF_RANGE", "only durable records can be trimmed", {
        offset,
        flushedOffset: this.#flushed,
      });
    }
    this.#checkHeld();
    const kept = this.#sealed.filter((segment) => segment.nextOffset > offset);
    const end = kept[0]?.baseOffset ?? this.#active.baseOffset;
    // The deletion comes first: in a full database it makes room for the note.
    this.#change(() => {
      this.#tables.deleteBelow(end);
      this.#saveLog(offset);
    });
    this.#moved.retire(0, end);
    this.#sealed = kept;
    this.#start = offset;
    this.#rows.forgetBelow(offset);
  }

  /** Saves what can't be derived once the rows are gone that it came from. */
  #saveLog(start: number): void {
    this.#tables.saveLog({ start, end: this.#active.baseOffset, epoch: this.leaderEpoch, swaps: this.#swaps });
  }

  async replace(from: number, to: number, outputs: readonly ReplacementSegment[]): Promise<void> {
    this.#check();
    const inputs = this.#sealed.filter(({ baseOffset, nextOffset }) => baseOffset >= from && nextOffset <= to);
    if (inputs[0]?.baseOffset !== from || inputs.at(-1)?.nextOffset !== to) {
      throw new TidemarkError("INVALID_ARGUMENT", "no sealed segments cover this range", { from, to });
    }
    this.#checkHeld();
    const made: SegmentRow[] = [];
    this.#change(() => {
      this.#tables.deleteRange(from, to);
      this.#swaps++;
      this.#saveLog(this.#start);
      for (const output of outputs) {
        const { segment, rows } = outputOf(this.#kernel, output, this.#now(), this.leaderEpoch);
        for (const row of rows) this.#tables.insertChunk(row);
        this.#tables.insertSegment(segment);
        made.push(segment);
      }
    });
    this.#moved.retire(from, to);
    this.#sealed = [
      ...this.#sealed.filter((segment) => segment.nextOffset <= from),
      ...made,
      ...this.#sealed.filter((segment) => segment.baseOffset >= to),
    ];
  }

  /** Commits all that `work` writes, or nothing. A single statement is atomic and needs no transaction of its own. */
  #change(work: () => void, isOneStatement = false): void {
    const before = {
      sealed: this.#sealed,
      active: { ...this.#active },
      chunks: this.#activeChunks,
      swaps: this.#swaps,
    };
    try {
      if (isOneStatement) work();
      else this.#tables.transaction(work);
      this.#options.book?.done(true);
    } catch (thrown) {
      this.#sealed = before.sealed;
      this.#active = before.active;
      this.#activeChunks = before.chunks;
      this.#swaps = before.swaps;
      this.#options.book?.done(false);
      throw this.#failed(thrown);
    }
  }

  /** If the database is full, nothing has changed. After any other error the outcome is unknown. */
  #failed(thrown: unknown): TidemarkError {
    if (isFull(thrown)) return quotaExceeded(thrown);
    this.#failure = TidemarkError.from(thrown, "STORAGE_FAILED").with({ poisoned: true });
    return this.#failure;
  }

  #check(): void {
    if (this.#closed) throw new TidemarkError("CLOSED", "the log is closed", { reason: "closed" });
    if (this.#failure)
      throw new TidemarkError("CLOSED", "the log must be opened again", { reason: "fault" }, { cause: this.#failure });
  }

  #checkHeld(): void {
    if (this.#options.isHeld?.())
      throw new TidemarkError("INVALID_ARGUMENT", "forks read from this log, so nothing of it may be removed", {
        reason: "held",
      });
  }

  /** How often compaction has changed records below the end. */
  get swaps(): number {
    return this.#swaps;
  }

  /** The tables are gone, or belong to another log: this object must not touch them any more. */
  end(): void {
    this.#closed = true;
  }
  get isEnded(): boolean {
    return this.#closed;
  }

  async close(): Promise<void> {
    this.#check();
    this.#closed = true;
  }

  // --- reading -----------------------------------------------------------------------------------------------------

  async read(from: number, maxBytes: number, limitOffset: number, verify = false): Promise<FetchedBatches> {
    const { logStartOffset, logEndOffset } = this;
    if (!(from >= logStartOffset && from <= logEndOffset)) {
      throw new TidemarkError("OFFSET_OUT_OF_RANGE", `offset ${from} is not in the log`, {
        offset: from,
        logStartOffset,
        logEndOffset,
      });
    }
    const limit = Math.min(limitOffset, logEndOffset);
    for (let at = from; at < limit;) {
      const { moved, end } = this.#moved.place(this.#sealed, at, limit);
      if (!moved && verify) this.#rows.examine(at);
      if (moved && at < moved.baseOffset) this.#rows.checkHole(at, Math.min(end, moved.baseOffset));
      const found = moved
        ? await this.#archive.read(moved, at, maxBytes, limit, verify)
        : this.#rows.read(at, maxBytes, end);
      // The segment was trimmed, compacted or moved during the read.
      if (moved?.retired) return this.read(from, maxBytes, limitOffset, verify);
      if (found && found.bytes.length > 0) return found;
      // Compaction left a hole here, or rows are missing.
      if (moved?.sealed?.compacted !== true) this.#rows.checkHole(at, end);
      at = end;
    }
    return { bytes: NOTHING, nextOffset: from };
  }

  /** As read(), and also the rows of the active segment below the start, which a trim leaves: they say who wrote. */
  readKept(from: number, maxBytes: number): FetchedBatches {
    return this.#rows.read(from, maxBytes, this.logEndOffset);
  }

  async offsetForTimestamp(timestamp: number): Promise<number | undefined> {
    for (const segment of [...this.#sealed, this.#active]) {
      if (segment.nextOffset <= this.#start || segment.maxTimestamp < timestamp) continue;
      const moved = this.#moved.at(segment.baseOffset);
      if (moved) {
        const found = await this.#archive.offsetForTimestamp(moved, timestamp, this.#start);
        if (moved.retired) return this.offsetForTimestamp(timestamp);
        if (found !== undefined) return found;
        continue;
      }
      for (const baseOffset of this.#tables.chunksByTime(segment, timestamp)) {
        const row = this.#tables.chunkAt(baseOffset);
        for (const { header } of this.#rows.hops(row)) {
          if (header.maxTimestamp >= timestamp && nextOffsetOf(header) > this.#start)
            return Math.max(header.baseOffset, this.#start);
        }
      }
    }
    return undefined;
  }

  async *headers(from: number): AsyncGenerator<BatchHeader> {
    for (const segment of [...this.#sealed, this.#active]) {
      if (segment.nextOffset <= from) continue;
      const moved = this.#moved.at(segment.baseOffset);
      if (moved) for await (const header of this.#archive.headers(moved)) if (header.baseOffset >= from) yield header;
      for (const row of this.#tables.chunksOf(segment))
        for (const { header } of this.#rows.hops(row)) if (header.baseOffset >= from) yield this.#unlessCounted(header);
    }
  }

  #unlessCounted(header: BatchHeader): BatchHeader {
    return this.#options.book?.hasCounted(header.baseOffset) ? { ...header, producerId: -1 } : header;
  }

  async producerSnapshot(): Promise<{ readonly offset: number; readonly bytes: Uint8Array } | undefined> {
    return this.#tables.producers();
  }

  // --- object storage ----------------------------------------------------------------------------------------------

  /** The log is about to be deleted: dooms its objects in object storage. Runs in the caller's transaction. */
  forgetMoved(): void {
    this.#tables.archive.forget();
    this.#moved.retire(0, Infinity);
  }

  /**
   * What a reader needs to know of moved segments, from the one that contains `offset` on, as far as they follow each
   * other without a gap.
   */
  movedFrom(offset: number, limit: number): ArchiveEntry[] {
    return this.#moved.entriesFrom(this.#sealed, offset, limit);
  }

  /**
   * Notes that the segment is in object storage and deletes its rows, in one transaction. False if it is no longer the
   * segment that was read (trimmed, compacted): then its object is useless and is doomed. Crash: the state before or
   * after.
   */
  moved(row: SegmentRow, entry: ArchiveEntry): boolean {
    this.#check();
    const isSame =
      this.#sealed.includes(row) && row.nextOffset === entry.sealed.nextOffset && row.nextOffset > this.#start;
    this.#change(() => {
      if (!isSame) return this.#tables.archive.doom(entry.key);
      this.#tables.deleteChunks(row.baseOffset, row.nextOffset);
      this.#tables.archive.keep(entry, Math.trunc(this.#now()));
    });
    if (isSame) this.#moved.add(entry);
    return isSame;
  }
}
