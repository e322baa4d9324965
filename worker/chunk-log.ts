/**
 * The SQL chunk store: one log in the tables of one Durable Object. A page file system on rows is the known way to ruin
 * (rows are billed, whatever their size), so a commit of any number of records is one row, and nothing beside it.
 *
 *   chunk    base_offset PK │ next_offset │ max_timestamp │ record_count │ written_at │ crc │ bytes: record batches, back to back
 *   segment  base_offset PK │ next_offset │ bytes, batches, records, max_timestamp, created_at, sealed_at, compacted, epoch
 *   meta     "log": start, end of trimmed things, epoch │ "producers": offset, then the log's snapshot
 *   damage   from_offset PK │ to_offset │ position, bytes, reason
 *
 *   append → one INSERT INTO chunk of at most 1 MiB; at 4 MiB or 1,024 rows also a row in segment and one in meta
 *   open   → the rows behind the last segment are scanned, checksums and all: next offset, epoch and producers come from there
 *
 * Chunks carry `bytes` last, so that what only asks for offsets reads no blob. There is no secondary index: each would be one
 * more billed row per commit. A segment is only a note about a run of chunks; sealing one moves no bytes.
 *
 * Durability: statements run in the object's implicit transaction. `flush` claims no more than the host does: in a
 * Durable Object the output gate holds every answer back until the transaction is on enough disks. A crash leaves
 * whole transactions, so a torn tail can't be; a chunk that does not check is damage and is quarantined.
 */
import { TidemarkError } from "../src/errors.ts";
import type { Kernel } from "../src/kernel/types.ts";
import { type BatchHeader, nextOffsetOf, readHeader, stampLeaderEpoch } from "../src/record/format.ts";
import { concat } from "../src/store/bytes.ts";
import type { FetchedBatches, LogRecovery, LogStore, QuarantinedRange, ReplacementSegment, SegmentInfo } from "../src/store/log-store.ts";
import { damageIn, hops } from "./chunk-hops.ts";
import { type ChunkRow, ChunkTables, CHUNK_BYTES_MAX, emptySegment, type SegmentRow, type Sql } from "./chunk-tables.ts";

/** A segment is sealed at this size, or at so many rows: what a waking object has to scan. */
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
  /** Where a new log begins: a fork continues its source's offsets. */
  readonly baseOffset?: number;
  readonly segmentBytes?: number;
  /** Run inside the transaction of a seal and of an append: what they write is there together with it, or not at all. */
  readonly onSealed?: (nextOffset: number) => void;
  readonly onAppended?: (nextOffset: number) => void;
}

export class ChunkLog implements LogStore {
  readonly name: string;
  readonly recovery: LogRecovery;
  readonly batchBytesMax = CHUNK_BYTES_MAX;
  readonly leaderEpoch: number;
  onSeal: ((maxBytes: number) => Uint8Array) | undefined;

  readonly #options: ChunkLogOptions;
  readonly #tables: ChunkTables;
  readonly #kernel: Kernel;
  readonly #now: () => number;
  readonly #segmentBytes: number;
  #sealed: SegmentRow[];
  #active: SegmentRow;
  #activeChunks: number;
  #start: number;
  #flushed: number;
  #damage: QuarantinedRange[];
  #failure: TidemarkError | undefined;
  #closed = false;

  constructor(options: ChunkLogOptions) {
    const { sql, kernel, now, name, baseOffset = 0, segmentBytes = SEGMENT_BYTES } = options;
    this.#options = options;
    this.name = name;
    this.#kernel = kernel;
    this.#now = now;
    this.#segmentBytes = segmentBytes;
    this.#tables = new ChunkTables(sql);
    this.#tables.create();
    const meta = this.#tables.log() ?? { start: baseOffset, end: baseOffset, epoch: 0 };
    this.#start = meta.start;
    this.#sealed = this.#tables.segments();
    this.#damage = this.#tables.damage();
    const remembered = this.#damage.length;
    const base = Math.max(meta.end, this.#sealed.at(-1)?.nextOffset ?? 0);
    this.#active = emptySegment(base, now(), Math.max(meta.epoch, this.#sealed.at(-1)?.epoch ?? 0));
    this.#activeChunks = 0;
    for (const row of this.#tables.chunksFrom(base)) this.#recover(row);
    this.#flushed = this.logEndOffset;
    this.leaderEpoch = this.#active.epoch + 1;
    this.recovery = {
      log: name,
      segments: this.#sealed.length + 1,
      scannedBytes: this.#active.bytes,
      scannedBatches: this.#active.batches,
      cut: undefined,
      quarantined: this.#damage.slice(remembered),
      rebuilt: [],
      logStartOffset: this.#start,
      logEndOffset: this.logEndOffset,
      // Nothing is ever half written, so there is no unclean end.
      cleanShutdown: true,
    };
  }

  /** Counts a row of the active segment, after looking at every byte of it. */
  #recover(row: ChunkRow): void {
    const found = damageIn(this.#kernel, row, false);
    for (const range of found) if (!this.#damage.some(({ from }) => from === range.from)) this.#damage.push(range);
    let batches = 0;
    for (const { header } of hops(row, false, found, Infinity)) {
      batches++;
      this.#active.epoch = Math.max(this.#active.epoch, header.leaderEpoch);
    }
    this.#count(row, batches);
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
    return this.#damage.filter((range) => range.to > this.#start);
  }
  segments(): readonly SegmentInfo[] {
    const shown = this.#sealed.filter((segment) => segment.nextOffset > this.#start);
    return [...shown, this.#active].map((segment) => infoOf(segment));
  }

  // --- writing -----------------------------------------------------------------------------------------------------

  async append(batches: readonly Uint8Array[]): Promise<void> {
    this.#check();
    const tooLarge = batches.find((batch) => batch.length > this.batchBytesMax);
    if (tooLarge) throw new TidemarkError("BATCH_TOO_LARGE", "a batch must fit one row", { bytes: tooLarge.length, batchBytesMax: this.batchBytesMax });
    const rows = rowsOf(batches, this.leaderEpoch, Math.trunc(this.#now()));
    const before = { sealed: this.#sealed, active: { ...this.#active }, chunks: this.#activeChunks };
    try {
      // One row needs no transaction of its own: the statement is atomic.
      if (rows.length === 1 && !this.#isFull()) this.#insert(rows[0]!);
      else this.#tables.transaction(() => rows.forEach((row) => this.#insert(row)));
      this.#options.onAppended?.(this.logEndOffset);
    } catch (thrown) {
      this.#sealed = before.sealed;
      this.#active = before.active;
      this.#activeChunks = before.chunks;
      throw this.#failed(thrown);
    }
  }

  #insert(row: ChunkRow & { readonly batches: number }): void {
    if (this.#isFull()) this.#seal();
    this.#tables.insertChunk(row);
    this.#count(row, row.batches);
    this.#active.epoch = this.leaderEpoch;
  }

  #isFull(): boolean {
    return this.#active.bytes >= this.#segmentBytes || this.#activeChunks >= SEGMENT_CHUNKS;
  }

  #seal(): void {
    const sealed = { ...this.#active, sealedAt: this.#now() };
    this.#tables.insertSegment(sealed);
    const snapshot = this.onSeal?.(SNAPSHOT_BYTES_MAX);
    if (snapshot) this.#tables.saveProducers(sealed.nextOffset, snapshot);
    this.#options.onSealed?.(sealed.nextOffset);
    for (const range of this.#damage) if (range.from >= sealed.baseOffset) this.#tables.saveDamage(range);
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
      throw new TidemarkError("OFFSET_OUT_OF_RANGE", "only durable records can be trimmed", { offset, flushedOffset: this.#flushed });
    }
    const kept = this.#sealed.filter((segment) => segment.nextOffset > offset);
    const end = kept[0]?.baseOffset ?? this.#active.baseOffset;
    this.#change(() => {
      this.#saveLog(offset);
      this.#tables.deleteBelow(end);
    });
    this.#sealed = kept;
    this.#start = offset;
    this.#damage = this.#damage.filter((range) => range.to > offset);
  }

  /** What can't be derived any more once the rows it came from are gone. */
  #saveLog(start: number): void {
    this.#tables.saveLog({ start, end: this.#active.baseOffset, epoch: this.leaderEpoch });
  }

  async replace(from: number, to: number, outputs: readonly ReplacementSegment[]): Promise<void> {
    this.#check();
    const inputs = this.#sealed.filter((segment) => segment.baseOffset >= from && segment.nextOffset <= to);
    if (inputs[0]?.baseOffset !== from || inputs.at(-1)?.nextOffset !== to) {
      throw new TidemarkError("INVALID_ARGUMENT", "no sealed segments cover this range", { from, to });
    }
    const made: SegmentRow[] = [];
    this.#change(() => {
      this.#saveLog(this.#start);
      this.#tables.deleteRange(from, to);
      for (const output of outputs) made.push(this.#writeOutput(output));
    });
    this.#sealed = [...this.#sealed.filter((segment) => segment.nextOffset <= from), ...made, ...this.#sealed.filter((segment) => segment.baseOffset >= to)];
  }

  #writeOutput({ baseOffset, nextOffset, bytes, sealedAt }: ReplacementSegment): SegmentRow {
    const segment: SegmentRow = { ...emptySegment(baseOffset, this.#now(), this.leaderEpoch), nextOffset, bytes: bytes.length, sealedAt, compacted: true };
    const batches = [...hops({ baseOffset, nextOffset, crc: null, bytes }, true)].map(({ header, position }) => bytes.slice(position, position + header.sizeBytes));
    // Their own epochs stay: these records were written in those terms.
    for (const row of rowsOf(batches, undefined, Math.trunc(sealedAt))) {
      this.#tables.insertChunk({ ...row, crc: this.#kernel.crc32c(row.bytes) });
      segment.batches += row.batches;
      segment.records += row.recordCount;
      segment.maxTimestamp = Math.max(segment.maxTimestamp, row.maxTimestamp);
    }
    this.#tables.insertSegment(segment);
    return segment;
  }

  #change(work: () => void): void {
    const before = { sealed: this.#sealed, active: this.#active, chunks: this.#activeChunks };
    try {
      this.#tables.transaction(work);
    } catch (thrown) {
      this.#sealed = before.sealed;
      this.#active = before.active;
      this.#activeChunks = before.chunks;
      throw this.#failed(thrown);
    }
  }

  /** A full database refused the statement and is as it was; anything else leaves the outcome unknown. */
  #failed(thrown: unknown): TidemarkError {
    if (/SQLITE_FULL|database or disk is full/.test(String(thrown))) return new TidemarkError("QUOTA_EXCEEDED", "the database is full", {}, { cause: thrown });
    this.#failure = TidemarkError.from(thrown, "STORAGE_FAILED").with({ poisoned: true });
    return this.#failure;
  }

  #check(): void {
    if (this.#closed) throw new TidemarkError("CLOSED", "the log is closed", { reason: "closed" });
    if (this.#failure) throw new TidemarkError("CLOSED", "the log must be opened again", { reason: "fault" }, { cause: this.#failure });
  }

  async close(): Promise<void> {
    this.#check();
    this.#closed = true;
  }

  // --- reading -----------------------------------------------------------------------------------------------------

  async read(from: number, maxBytes: number, limitOffset: number, verify = false): Promise<FetchedBatches> {
    const { logStartOffset, logEndOffset } = this;
    if (!(from >= logStartOffset && from <= logEndOffset)) {
      throw new TidemarkError("OFFSET_OUT_OF_RANGE", `offset ${from} is not in the log`, { offset: from, logStartOffset, logEndOffset });
    }
    if (verify) this.#examine(from);
    const limit = Math.min(limitOffset, logEndOffset);
    const found: Uint8Array[] = [];
    let nextOffset = from;
    let room = maxBytes;
    for (const row of from < limit ? this.#tables.chunksAround(from) : []) {
      if (row.baseOffset >= limit) break;
      const part = this.#part(row, from, room, limit, found.length === 0);
      if (part.bytes.length > 0) found.push(part.bytes);
      nextOffset = Math.max(nextOffset, part.nextOffset);
      room -= part.bytes.length;
      if (part.stopped) break;
    }
    return { bytes: found.length === 0 ? NOTHING : concat(found), nextOffset };
  }

  /** What of one row goes into a read. Damage ends the read before it; where nothing stands before it, it is the answer. */
  #part(row: ChunkRow, from: number, room: number, limit: number, isFirst: boolean) {
    let start = -1;
    let end = 0;
    let nextOffset = from;
    const answer = (stopped: boolean) => ({ bytes: start < 0 ? NOTHING : row.bytes.subarray(start, end), nextOffset, stopped });
    try {
      for (const { header, position } of this.#hops(row, from)) {
        const next = nextOffsetOf(header);
        if (next <= from) continue;
        if (header.baseOffset >= limit) return answer(true);
        const size = position + header.sizeBytes - Math.max(start, 0);
        const isOnly = start < 0 && isFirst;
        if (!isOnly && (start < 0 ? header.sizeBytes : size) > room) return answer(true);
        if (start < 0) start = position;
        end = position + header.sizeBytes;
        nextOffset = next;
      }
    } catch (thrown) {
      if (start < 0 && isFirst) throw thrown;
      return answer(true);
    }
    return answer(false);
  }

  /** A row's batches; damage that ends at or before `behind` is stepped over, by default all that is known. */
  #hops(row: ChunkRow, behind = Infinity) {
    const within = () => this.#damage.filter((range) => range.from < row.nextOffset && range.to > row.baseOffset);
    if (within().length === 0 && row.crc !== null && row.crc !== this.#kernel.crc32c(row.bytes)) this.#examine(row.baseOffset);
    return hops(row, this.#isCompacted(row.baseOffset), within(), behind);
  }

  #isCompacted(offset: number): boolean {
    return this.#sealed.some((segment) => segment.compacted && segment.baseOffset <= offset && offset < segment.nextOffset);
  }

  /** Checks every byte of the rows of the segment around `offset`, and remembers what is bad. */
  #examine(offset: number): void {
    const segment = this.#sealed.find((each) => each.nextOffset > offset) ?? this.#active;
    for (const row of this.#tables.chunksFrom(segment.baseOffset)) {
      if (row.baseOffset >= segment.nextOffset) break;
      for (const range of damageIn(this.#kernel, row, segment.compacted)) {
        if (this.#damage.some(({ from, to }) => from === range.from && to === range.to)) continue;
        this.#damage.push(range);
        if (segment !== this.#active) this.#tables.saveDamage(range);
      }
    }
  }

  async offsetForTimestamp(timestamp: number): Promise<number | undefined> {
    for (const segment of [...this.#sealed, this.#active]) {
      if (segment.nextOffset <= this.#start || segment.maxTimestamp < timestamp) continue;
      for (const baseOffset of this.#tables.chunksByTime(segment, timestamp)) {
        const row = this.#tables.chunkAt(baseOffset);
        for (const { header } of this.#hops(row)) {
          if (header.maxTimestamp >= timestamp && nextOffsetOf(header) > this.#start) return Math.max(header.baseOffset, this.#start);
        }
      }
    }
    return undefined;
  }

  async *headers(from: number): AsyncGenerator<BatchHeader> {
    for (const row of this.#tables.chunksAround(from)) {
      for (const { header } of this.#hops(row)) if (header.baseOffset >= from) yield header;
    }
  }

  async producerSnapshot(): Promise<{ readonly offset: number; readonly bytes: Uint8Array } | undefined> {
    return this.#tables.producers();
  }
}

function infoOf(segment: SegmentRow): SegmentInfo {
  const { epoch: _, ...rest } = segment;
  return { ...rest, state: segment.sealedAt === undefined ? "active" : "sealed", offsetEntries: 0, timeEntries: 0, slot: undefined, bodyPosition: undefined };
}

/** Batches joined into rows as full as they may be. With an epoch it is stamped into each batch. */
function rowsOf(batches: readonly Uint8Array[], epoch: number | undefined, writtenAt: number): (ChunkRow & { readonly batches: number })[] {
  const rows: (ChunkRow & { readonly batches: number })[] = [];
  let run: Uint8Array[] = [];
  let size = 0;
  const end = () => {
    if (run.length === 0) return;
    const headers = run.map((batch) => readHeader(batch));
    rows.push({
      baseOffset: headers[0]!.baseOffset,
      nextOffset: nextOffsetOf(headers.at(-1)!),
      maxTimestamp: headers.reduce((max, header) => Math.max(max, header.maxTimestamp), -1),
      recordCount: headers.reduce((sum, header) => sum + header.recordCount, 0),
      writtenAt,
      crc: null,
      bytes: concat(run),
      batches: run.length,
    });
    run = [];
    size = 0;
  };
  for (const batch of batches) {
    if (size + batch.length > CHUNK_BYTES_MAX) end();
    if (epoch !== undefined) stampLeaderEpoch(batch, epoch);
    run.push(batch);
    size += batch.length;
  }
  end();
  return rows;
}
