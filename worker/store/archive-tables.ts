/**
 * The table of what an object has in object storage. A row is written before its R2 object and deleted after it, so the
 * bucket never holds an object that no row knows.
 *
 *   archive   key PK │ base_offset │ next_offset │ state │ at │ entry: JSON, what a reader needs to know (ArchiveEntry)
 *
 *   begun ──put──▶ kept ──trim, compaction, deletion──▶ doomed ──R2 delete──▶ no row
 *     └───── the put failed, or its object was reset ─────▲
 *
 * begun → kept happens in the transaction that deletes the segment's chunks. A row that stays begun is doomed only
 * after a while, because a put that is still on its way must not arrive after its own deletion.
 */
import type { SegmentEntry } from "../../src/store/catalog.ts";
import type { Sql, SqlRow, SqlValue } from "./sql.ts";

/** A sealed segment as one R2 object: its key, and what the catalog of a volume would say of it. */
export interface ArchiveEntry extends Omit<SegmentEntry, "begun"> {
  readonly key: string;
  readonly sealed: NonNullable<SegmentEntry["sealed"]>;
}

const BEGUN = 0;
const KEPT = 1;
const DOOMED = 2;

export const ARCHIVE_SCHEMA = `CREATE TABLE IF NOT EXISTS archive(key TEXT PRIMARY KEY,
  base_offset INTEGER NOT NULL, next_offset INTEGER NOT NULL, state INTEGER NOT NULL, at INTEGER NOT NULL,
  entry TEXT NOT NULL) STRICT, WITHOUT ROWID`;

export class ArchiveTables {
  constructor(readonly sql: Sql) {}

  #run(query: string, ...bindings: SqlValue[]): SqlRow[] {
    return [...this.sql.exec(query, ...bindings)];
  }

  isThere(): boolean {
    return this.#run("SELECT name FROM sqlite_master WHERE name = 'archive'").length > 0;
  }

  /** The entries that are kept, by base offset. */
  kept(): ArchiveEntry[] {
    return this.#run("SELECT entry FROM archive WHERE state = ? ORDER BY base_offset", KEPT).map(
      ({ entry }) => JSON.parse(String(entry)) as ArchiveEntry,
    );
  }

  begin(key: string, baseOffset: number, nextOffset: number, at: number): void {
    this.#run("INSERT INTO archive VALUES (?, ?, ?, ?, ?, '')", key, baseOffset, nextOffset, BEGUN, at);
  }

  keep(entry: ArchiveEntry, at: number): void {
    this.#run(
      "UPDATE archive SET state = ?, at = ?, entry = ? WHERE key = ?",
      KEPT,
      at,
      JSON.stringify(entry),
      entry.key,
    );
  }

  doom(key: string): void {
    this.#run("UPDATE archive SET state = ? WHERE key = ?", DOOMED, key);
  }

  /** Dooms kept entries in [from, to). An entry that only began is dealt with when its put has ended. */
  doomRange(from: number, to: number): void {
    this.#run(
      "UPDATE archive SET state = ? WHERE state = ? AND base_offset >= ? AND base_offset < ?",
      DOOMED,
      KEPT,
      from,
      to,
    );
  }

  /** The stream is gone: dooms all its entries. */
  forget(): void {
    this.#run("UPDATE archive SET state = ? WHERE state = ?", DOOMED, KEPT);
    if (this.isEmpty) this.drop();
  }

  /** Keys to delete now: doomed ones, and those that began before `since`. */
  condemned(since: number, limit: number): string[] {
    const query = "SELECT key FROM archive WHERE state = ? OR (state = ? AND at < ?) LIMIT ?";
    return this.#run(query, DOOMED, BEGUN, since, limit).map(({ key }) => String(key));
  }

  /** When the oldest entry began that is still begun; undefined if there is none. */
  oldestBegun(): number | undefined {
    const at = this.#run("SELECT min(at) AS at FROM archive WHERE state = ?", BEGUN)[0]?.["at"];
    return at === null || at === undefined ? undefined : Number(at);
  }

  remove(keys: readonly string[]): void {
    for (const key of keys) this.#run("DELETE FROM archive WHERE key = ?", key);
  }

  get isEmpty(): boolean {
    return this.#run("SELECT key FROM archive LIMIT 1").length === 0;
  }

  drop(): void {
    this.#run("DROP TABLE archive");
  }
}
