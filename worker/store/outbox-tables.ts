/**
 * The registry of outboxes in the object's tables, in addition to its notes in the rows of the log:
 *
 *   outbox            one row for each outbox that was ever registered, as of its registration, of the last change of
 *                     its leader, or of when it left the memory
 *   meta "outboxes"   the snapshot (outbox-bytes.ts)
 *
 * The id is stored as text, because the platform's bindings can't hold a 64-bit number.
 */
import { bytesOf, type ChunkTables } from "./chunk-tables.ts";
import type { OutboxEntry } from "./outbox-bytes.ts";
import type { RowOrigins } from "./row-book.ts";
import type { SqlRow } from "./sql.ts";

const SNAPSHOT = "outboxes";
const COLUMNS = "id, since, generation, term, next, last_offset, last_crc, owner, seen_at";

const entryOf = (row: SqlRow): OutboxEntry => ({
  since: Number(row["since"]),
  generation: Number(row["generation"]),
  term: Number(row["term"]),
  next: Number(row["next"]),
  lastOffset: Number(row["last_offset"]),
  lastCrc: Number(row["last_crc"]),
  owner: String(row["owner"]),
  seenAt: Number(row["seen_at"]),
});

export class OutboxTables {
  readonly #tables: ChunkTables;

  constructor(tables: ChunkTables) {
    this.#tables = tables;
  }

  transaction<T>(work: () => T): T {
    return this.#tables.transaction(work);
  }

  #run(query: string, ...bindings: (string | number)[]): SqlRow[] {
    return [...this.#tables.sql.exec(query, ...bindings)];
  }

  row(id: string): OutboxEntry | undefined {
    return this.#run(`SELECT ${COLUMNS} FROM outbox WHERE id = ?`, id).map(entryOf)[0];
  }

  save(id: string, entry: OutboxEntry): void {
    this.#run(
      `INSERT OR REPLACE INTO outbox(${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      id,
      entry.since,
      entry.generation,
      entry.term,
      entry.next,
      entry.lastOffset,
      entry.lastCrc,
      entry.owner,
      Math.trunc(entry.seenAt),
    );
  }

  remove(id: string): void {
    this.#run("DELETE FROM outbox WHERE id = ?", id);
  }

  removeAll(): void {
    this.#run("DELETE FROM outbox");
  }

  count(): number {
    return Number(this.#run("SELECT count(*) AS rows FROM outbox")[0]!["rows"]);
  }

  highestGeneration(): number {
    return Number(this.#run("SELECT max(generation) AS highest FROM outbox")[0]?.["highest"] ?? 0);
  }

  /** Rows whose id is greater than `id`, in the order of ids. */
  behind(id: string, limit: number): (readonly [string, OutboxEntry])[] {
    return this.#run(`SELECT ${COLUMNS} FROM outbox WHERE id > ? ORDER BY id LIMIT ?`, id, limit).map(
      (row) => [String(row["id"]), entryOf(row)] as const,
    );
  }

  snapshot(): Uint8Array | undefined {
    const value = this.#tables.meta(SNAPSHOT);
    return value === undefined ? undefined : bytesOf(value);
  }

  saveSnapshot(bytes: Uint8Array): void {
    this.#tables.saveMeta(SNAPSHOT, bytes);
  }

  /** What the rows that begin in [from, to) note. */
  originsBetween(from: number, to: number): RowOrigins[] {
    const query =
      "SELECT base_offset, next_offset, written_at, origins FROM chunk WHERE base_offset >= ? AND base_offset < ? " +
      "ORDER BY base_offset";
    return this.#run(query, from, to).map((row) => ({
      baseOffset: Number(row["base_offset"]),
      nextOffset: Number(row["next_offset"]),
      writtenAt: Number(row["written_at"]),
      origins: row["origins"] === null ? null : bytesOf(row["origins"]),
    }));
  }
}
