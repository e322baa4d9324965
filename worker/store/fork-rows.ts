/**
 * The forks that read from a stream, as rows of `meta`:
 *
 *   "fork:" and the fork's path │ id of the fork's creation; "" in rows of older versions
 */
import type { Sql } from "./sql.ts";

export class ForkRows {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  get paths(): string[] {
    const rows = this.#sql.exec("SELECT key FROM meta WHERE key >= 'fork:' AND key < 'fork;'");
    return [...rows].map((row) => String(row["key"]).slice(5));
  }

  add(path: string, id: string): void {
    void [...this.#sql.exec("INSERT OR REPLACE INTO meta VALUES (?, ?)", `fork:${path}`, id)];
  }

  /** Without an id any fork at this path; with one, only the fork with that id, not a later one. */
  remove(path: string, id?: string): void {
    const statement = "DELETE FROM meta WHERE key = ?1 AND (value = '' OR ?2 IS NULL OR value = ?2)";
    void [...this.#sql.exec(statement, `fork:${path}`, id ?? null)];
  }
}
