/**
 * Node's own SQLite behind the interface that the chunk store uses, and a variant that loses power at a chosen write:
 * whatever was not committed is gone.
 */
import { DatabaseSync } from "node:sqlite";
import type { Sql, SqlRow } from "../../worker/store/sql.ts";

export function nodeSql(): Sql {
  const database = new DatabaseSync(":memory:");
  return {
    exec: (query, ...bindings) =>
      database.prepare(query).iterate(...(bindings as (string | number | null | Uint8Array)[])) as Iterable<SqlRow>,
    transaction(work) {
      database.exec("BEGIN");
      try {
        const result = work();
        database.exec("COMMIT");
        return result;
      } catch (thrown) {
        database.exec("ROLLBACK");
        throw thrown;
      }
    },
  };
}

/** From the `after`th write on every statement fails, as in a process that was killed. */
export class DyingSql implements Sql {
  readonly #inner: Sql;
  /** Writes that still succeed. Undefined means no end. */
  after: number | undefined;
  isDead = false;
  /** A planted bug: writes of an unfinished transaction stay. */
  readonly #forgetsToRollBack: boolean;

  constructor(inner: Sql, forgetsToRollBack = false) {
    this.#inner = inner;
    this.#forgetsToRollBack = forgetsToRollBack;
  }

  exec(query: string, ...bindings: never[]): Iterable<SqlRow> {
    if (!query.startsWith("SELECT") && this.after !== undefined && this.after-- <= 0) this.isDead = true;
    if (this.isDead) throw new Error("power lost");
    return this.#inner.exec(query, ...bindings);
  }

  transaction<T>(work: () => T): T {
    if (this.isDead) throw new Error("power lost");
    return this.#forgetsToRollBack ? work() : this.#inner.transaction(work);
  }
}
