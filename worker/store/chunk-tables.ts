/**
 * The chunk store's tables: the statements that touch them, and the rows as plain objects. chunk-log.ts draws them. Two
 * kinds of statements stand elsewhere: fork-rows.ts has the rows of forks in `meta`; outbox-tables.ts and
 * log-object/prometheus.ts read.
 */
import { quotaExceeded, type Sql, type SqlRow, type SqlValue } from "./sql.ts";
import { BATCH_BYTES_MAX } from "../../src/log/limits.ts";
import type { QuarantinedRange } from "../../src/store/log-store.ts";
import { OUTBOX_SCHEMA } from "./outbox-schema.ts";
import { ARCHIVE_SCHEMA, ArchiveTables } from "./archive-tables.ts";

/**
 * Largest value of `bytes`: a row must hold any single batch. The platform limits a whole row to 2 MB; its local
 * runtime enforces no limit.
 */
export const CHUNK_BYTES_MAX = BATCH_BYTES_MAX;

export interface ChunkRow {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly maxTimestamp: number;
  readonly recordCount: number;
  readonly writtenAt: number;
  /**
   * Checksum of all bytes, for rows whose batches leave holes between their offsets. For others continuity proves as
   * much.
   */
  readonly crc: number | null;
  readonly bytes: Uint8Array;
  /** What a row-book notes of the row (row-book.ts). */
  readonly origins?: Uint8Array | null;
}

/** The columns that a read needs. */
export type BatchesRow = Pick<ChunkRow, "nextOffset" | "bytes">;

/** A row without its blob. */
export interface PlannedRow {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly size: number;
}

export interface SegmentRow {
  baseOffset: number;
  nextOffset: number;
  bytes: number;
  batches: number;
  records: number;
  maxTimestamp: number;
  createdAt: number;
  sealedAt: number | undefined;
  compacted: boolean;
  /** Highest leader epoch of its batches. */
  epoch: number;
}

export interface LogMeta {
  readonly start: number;
  /** End of the sealed part when this was written. No row need record that offset any more. */
  readonly end: number;
  readonly epoch: number;
  /** How often compaction has replaced segments. */
  readonly swaps?: number;
}

export const emptySegment = (baseOffset: number, createdAt: number, epoch: number): SegmentRow => ({
  baseOffset,
  nextOffset: baseOffset,
  bytes: 0,
  batches: 0,
  records: 0,
  maxTimestamp: -1,
  createdAt,
  sealedAt: undefined,
  compacted: false,
  epoch,
});

/** Tables of these names hold what an import brings, until all is there (incoming-tables.ts). */
export const ASIDE = "incoming_";
const SCHEMA = [
  `CREATE TABLE IF NOT EXISTS chunk(base_offset INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL,
     max_timestamp INTEGER NOT NULL, record_count INTEGER NOT NULL, written_at INTEGER NOT NULL, crc INTEGER,
     bytes BLOB NOT NULL, origins BLOB) STRICT`,
  `CREATE TABLE IF NOT EXISTS segment(base_offset INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL,
     bytes INTEGER NOT NULL, batches INTEGER NOT NULL, records INTEGER NOT NULL, max_timestamp INTEGER NOT NULL,
     created_at INTEGER NOT NULL, sealed_at INTEGER NOT NULL, compacted INTEGER NOT NULL,
     epoch INTEGER NOT NULL) STRICT`,
  `CREATE TABLE IF NOT EXISTS damage(from_offset INTEGER PRIMARY KEY, to_offset INTEGER NOT NULL,
     position INTEGER NOT NULL, bytes INTEGER NOT NULL, reason TEXT NOT NULL) STRICT`,
  `CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID`,
  OUTBOX_SCHEMA,
  ARCHIVE_SCHEMA,
];
/** Tables of older versions lack this column. Adding it rewrites no row. */
const LATER_COLUMN = {
  of: "SELECT sql FROM sqlite_master WHERE name = 'chunk'",
  add: "ALTER TABLE chunk ADD COLUMN origins BLOB",
};
/** Limits of what one statement fetches. The number of rows is estimated from the sizes of earlier rows. */
const PAGE_ROWS_MAX = 64;
const PAGE_BYTES = 512 * 1024;
/** Rows of a plan's first page, while sizes are unknown. */
const FIRST_PLAN_ROWS = 32;
const CHUNK = "base_offset, next_offset, max_timestamp, record_count, written_at, crc, bytes, origins";

export const bytesOf = (value: SqlValue | undefined): Uint8Array =>
  value instanceof Uint8Array ? value : new Uint8Array(value as ArrayBuffer);

const chunkOf = (row: SqlRow): ChunkRow => ({
  baseOffset: Number(row["base_offset"]),
  nextOffset: Number(row["next_offset"]),
  maxTimestamp: Number(row["max_timestamp"]),
  recordCount: Number(row["record_count"]),
  writtenAt: Number(row["written_at"]),
  crc: row["crc"] as number | null,
  bytes: bytesOf(row["bytes"]),
  origins: row["origins"] === null ? null : bytesOf(row["origins"]),
});

export class ChunkTables {
  readonly archive: ArchiveTables;

  constructor(readonly sql: Sql) {
    this.archive = new ArchiveTables(sql);
  }

  create(): void {
    for (const statement of SCHEMA) this.#run(statement);
    if (!String(this.#run(LATER_COLUMN.of)[0]!["sql"]).includes("origins")) this.#run(LATER_COLUMN.add);
  }

  /** True if there is a log, or was one whose tables were not dropped. */
  get areThere(): boolean {
    return this.#run("SELECT name FROM sqlite_master WHERE name = 'meta'").length > 0;
  }

  /** Drops all tables but `archive`, whose rows stay until their objects are deleted. */
  drop(): void {
    this.dropAside();
    for (const table of ["chunk", "segment", "damage", "meta", "outbox"]) this.#run(`DROP TABLE IF EXISTS ${table}`);
  }

  /** Empty tables for rows that are not the log's yet. Those that were there are gone. */
  createAside(): void {
    this.dropAside();
    for (const statement of SCHEMA.slice(0, 2)) this.#run(statement.replace("EXISTS ", `EXISTS ${ASIDE}`));
  }

  dropAside(): void {
    for (const table of ["chunk", "segment"]) this.#run(`DROP TABLE IF EXISTS ${ASIDE}${table}`);
  }

  /** The rows aside are the log's, in place of those that it had. Renaming a table moves none of its rows. */
  takeAside(): void {
    for (const table of ["chunk", "segment"]) {
      this.#run(`DROP TABLE ${table}`);
      this.#run(`ALTER TABLE ${ASIDE}${table} RENAME TO ${table}`);
    }
  }

  transaction<T>(work: () => T): T {
    return this.sql.transaction(work);
  }

  /** Runs a statement to its end. */
  #run(query: string, ...bindings: SqlValue[]): SqlRow[] {
    return [...this.sql.exec(query, ...bindings)];
  }

  /** QUOTA_EXCEEDED if there is no room for it: before the platform refuses it, which restarts the object. */
  insertChunk(row: ChunkRow, prefix: "" | typeof ASIDE = ""): void {
    if (row.bytes.length > (this.sql.room?.() ?? Infinity)) throw quotaExceeded();
    this.#run(
      `INSERT INTO ${prefix}chunk(${CHUNK}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      row.baseOffset,
      row.nextOffset,
      row.maxTimestamp,
      row.recordCount,
      row.writtenAt,
      row.crc,
      row.bytes,
      row.origins ?? null,
    );
  }

  /**
   * Rows that begin at `baseOffset` or behind it. Each page is read to its end at once: an open cursor would lock its
   * table, and if it were held over an await it could mix old and new rows.
   */
  *chunksFrom(baseOffset: number): Generator<ChunkRow> {
    for (let limit = 1, from = baseOffset; ;) {
      const page = this.#run(
        `SELECT ${CHUNK} FROM chunk WHERE base_offset >= ? ORDER BY base_offset LIMIT ?`,
        from,
        limit,
      ).map(chunkOf);
      yield* page;
      const last = page.at(-1);
      if (page.length < limit || !last) return;
      from = last.baseOffset + 1;
      const bytes = page.reduce((sum, row) => sum + row.bytes.length, 0);
      limit = Math.max(
        1,
        Math.min(PAGE_ROWS_MAX, limit * 2, Math.floor((PAGE_BYTES * page.length) / Math.max(1, bytes))),
      );
    }
  }

  *chunksOf({ baseOffset, nextOffset }: SegmentRow): Generator<ChunkRow> {
    for (const row of this.chunksFrom(baseOffset)) {
      if (row.baseOffset >= nextOffset) return;
      yield row;
    }
  }

  /** How many bytes the segment's rows have. No blob is read. */
  bytesOf({ baseOffset, nextOffset }: SegmentRow): number {
    const query = "SELECT total(length(bytes)) AS bytes FROM chunk WHERE base_offset >= ? AND base_offset < ?";
    return Number(this.#run(query, baseOffset, nextOffset)[0]!["bytes"]);
  }

  /** The row that contains `offset`, if there is one, and the rows behind it. */
  *chunksAround(offset: number): Generator<ChunkRow> {
    const [floor] = this.#run(
      "SELECT base_offset, next_offset FROM chunk WHERE base_offset <= ? ORDER BY base_offset DESC LIMIT 1",
      offset,
    );
    const holds = floor !== undefined && Number(floor["next_offset"]) > offset;
    yield* this.chunksFrom(holds ? Number(floor["base_offset"]) : offset);
  }

  /**
   * The row that contains `offset` and those that follow it without a gap, up to `maxBytes`; no blob is read. A page of
   * rows is fetched as one text, because making an object for each row costs more than its columns. The page's length
   * is estimated from earlier rows.
   */
  rowsAround(
    offset: number,
    maxBytes: number,
    maxRows: number,
  ): { readonly rows: readonly PlannedRow[]; readonly bytes: number } {
    const query = `SELECT json_group_array(json_array(base_offset, next_offset, crc IS NULL, size)) AS page FROM (
      SELECT base_offset, next_offset, crc, length(bytes) AS size FROM chunk
      WHERE base_offset >= (SELECT max(base_offset) FROM chunk WHERE base_offset <= ?) ORDER BY base_offset LIMIT ?)`;
    const rows: PlannedRow[] = [];
    let bytes = 0;
    for (
      let limit = Math.min(FIRST_PLAN_ROWS, maxRows);
      rows.length < maxRows;
      limit = Math.min(maxRows - rows.length, Math.ceil(((maxBytes - bytes) * rows.length) / bytes) + 1)
    ) {
      const page = JSON.parse(String(this.#run(query, rows.at(-1)?.nextOffset ?? offset, limit)[0]!["page"])) as [
        number,
        number,
        number,
        number,
      ][];
      for (const [baseOffset, nextOffset, isPlain, size] of page) {
        const follows = rows.length === 0 ? nextOffset > offset : baseOffset === rows.at(-1)!.nextOffset;
        // A row with its own checksum has holes in it, so it ends the run.
        if (!follows || isPlain === 0 || bytes + size > maxBytes) return { rows, bytes };
        rows.push({ baseOffset, nextOffset, size });
        bytes += size;
      }
      if (page.length < limit) break;
    }
    return { rows, bytes };
  }

  /** True if there is any record. */
  get hasRows(): boolean {
    const query = "SELECT name FROM sqlite_master WHERE name = 'chunk'";
    return this.#run(query).length > 0 && this.#run("SELECT 1 FROM chunk LIMIT 1").length > 0;
  }

  chunkAt(baseOffset: number): ChunkRow {
    return chunkOf(this.#run(`SELECT ${CHUNK} FROM chunk WHERE base_offset = ?`, baseOffset)[0]!);
  }

  /**
   * Rows that begin in [from, to), in one statement: the caller knows that they are few. Rows with a checksum of their
   * own are left out. Only two columns are read: with small rows each further column costs noticeable time.
   */
  batchesBetween(from: number, to: number): BatchesRow[] {
    const query =
      "SELECT next_offset, bytes FROM chunk WHERE base_offset >= ? AND base_offset < ? AND crc IS " +
      "NULL ORDER BY base_offset";
    return this.#run(query, from, to).map((row) => ({
      nextOffset: Number(row["next_offset"]),
      bytes: bytesOf(row["bytes"]),
    }));
  }

  /** Base offsets of a segment's rows that have a timestamp of at least `timestamp`. */
  chunksByTime({ baseOffset, nextOffset }: SegmentRow, timestamp: number): number[] {
    const query =
      "SELECT base_offset FROM chunk WHERE base_offset >= ? AND base_offset < ? AND max_timestamp >= " +
      "? ORDER BY base_offset";
    return this.#run(query, baseOffset, nextOffset, timestamp).map((row) => Number(row["base_offset"]));
  }

  segments(): SegmentRow[] {
    return this.#run("SELECT * FROM segment ORDER BY base_offset").map((row) => ({
      baseOffset: Number(row["base_offset"]),
      nextOffset: Number(row["next_offset"]),
      bytes: Number(row["bytes"]),
      batches: Number(row["batches"]),
      records: Number(row["records"]),
      maxTimestamp: Number(row["max_timestamp"]),
      createdAt: Number(row["created_at"]),
      sealedAt: Number(row["sealed_at"]),
      compacted: row["compacted"] === 1,
      epoch: Number(row["epoch"]),
    }));
  }

  insertSegment(segment: SegmentRow, prefix: "" | typeof ASIDE = ""): void {
    this.#run(
      `INSERT INTO ${prefix}segment VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      segment.baseOffset,
      segment.nextOffset,
      segment.bytes,
      segment.batches,
      segment.records,
      segment.maxTimestamp,
      Math.trunc(segment.createdAt),
      Math.trunc(segment.sealedAt ?? 0),
      segment.compacted ? 1 : 0,
      segment.epoch,
    );
  }

  /** Also dooms what is in object storage. */
  deleteBelow(offset: number): void {
    this.deleteRange(0, offset);
    this.#run("DELETE FROM damage WHERE to_offset <= ?", offset);
  }

  deleteRange(from: number, to: number): void {
    this.deleteChunks(from, to);
    this.#run("DELETE FROM segment WHERE base_offset >= ? AND base_offset < ?", from, to);
    this.archive.doomRange(from, to);
  }

  deleteChunks(from: number, to: number): void {
    this.#run("DELETE FROM chunk WHERE base_offset >= ? AND base_offset < ?", from, to);
  }

  damage(): QuarantinedRange[] {
    return this.#run("SELECT * FROM damage ORDER BY from_offset").map((row) => ({
      from: Number(row["from_offset"]),
      to: Number(row["to_offset"]),
      slot: undefined,
      position: Number(row["position"]),
      bytes: Number(row["bytes"]),
      reason: String(row["reason"]),
    }));
  }

  saveDamage({ from, to, position, bytes, reason }: QuarantinedRange): void {
    this.#run("INSERT OR REPLACE INTO damage VALUES (?, ?, ?, ?, ?)", from, to, position, bytes, reason);
  }

  meta(key: string): SqlValue | undefined {
    return this.#run("SELECT value FROM meta WHERE key = ?", key)[0]?.["value"];
  }

  saveMeta(key: string, value: SqlValue): void {
    this.#run("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value);
  }

  dropMeta(key: string): void {
    this.#run("DELETE FROM meta WHERE key = ?", key);
  }

  log(): LogMeta | undefined {
    const text = this.meta("log");
    return text === undefined ? undefined : (JSON.parse(String(text)) as LogMeta);
  }

  saveLog(meta: LogMeta): void {
    this.saveMeta("log", JSON.stringify(meta));
  }

  producers(): { offset: number; bytes: Uint8Array } | undefined {
    const value = this.meta("producers");
    if (value === undefined) return undefined;
    const bytes = bytesOf(value);
    return { offset: Number(new DataView(bytes.buffer, bytes.byteOffset).getBigInt64(0)), bytes: bytes.subarray(8) };
  }

  /** Stores an offset and the log's snapshot for it, in one row. */
  saveProducers(offset: number, bytes: Uint8Array): void {
    const value = new Uint8Array(8 + bytes.length);
    new DataView(value.buffer).setBigInt64(0, BigInt(offset));
    value.set(bytes, 8);
    this.saveMeta("producers", value);
  }
}
