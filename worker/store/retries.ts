/**
 * What an object tries again after a failure, and when. It is kept in a table, so that it survives the object's sleep.
 * Otherwise an object that is woken by anything would try again at once, with the shortest pause.
 *
 *   retry   name PK │ failures in a row │ at: no try before this time
 *
 *   failed ──▶ row, pause twice as long ──▶ `at` is over ──▶ tried again ──▶ succeeded: no row; no row left: no table
 *
 * While nothing has failed nothing is written. A time that is further away than any pause was noted by a clock that
 * was ahead, and is over.
 */
import { type BackOff, pauseMs } from "../../src/log/back-off.ts";
import type { Sql } from "./sql.ts";

interface RetryRow {
  readonly failures: number;
  readonly at: number;
}

interface RetriesHost {
  readonly sql: Sql;
  now(): number;
  /** Spreads the pauses of many objects. In [0, 1]. */
  random(): number;
}

/** One thing that is tried again after a failure. */
export interface Retry {
  /** How often it has failed in a row. */
  readonly failures: number;
  /** No try before this time, in milliseconds since 1970; 0 if the last try succeeded. */
  readonly at: number;
  /** When to look again: when the next try may be made, or if one is under way, in case it is lost with the object. */
  readonly next: number;
  /** Counts a failure. Returns the pause until the next try, in milliseconds. */
  failed(): number;
  succeeded(): void;
}

export class Retries {
  readonly #host: RetriesHost;
  #rows: Map<string, RetryRow> | undefined;

  constructor(host: RetriesHost) {
    this.#host = host;
  }

  of(name: string, backOff: BackOff): Retry {
    const { now, random } = this.#host;
    const present = (): RetryRow => {
      const { failures, at } = this.#all().get(name) ?? { failures: 0, at: 0 };
      return { failures, at: at > now() + backOff.maxMs ? 0 : at };
    };
    return {
      get failures() {
        return present().failures;
      },
      get at() {
        return present().at;
      },
      get next() {
        const { failures, at } = present();
        return failures > 0 && at > 0 ? at : now() + backOff.minMs;
      },
      failed: () => {
        const failures = present().failures + 1;
        const pause = pauseMs(backOff, failures, random());
        this.#save(name, { failures, at: Math.trunc(now()) + pause });
        return pause;
      },
      succeeded: () => this.#remove(name),
    };
  }

  /** Forgets the failures of everything but this. */
  forgetAllBut(kept: string): void {
    for (const name of this.#all().keys()) if (name !== kept) this.#remove(name);
  }

  #run(query: string, ...bindings: (string | number)[]) {
    return [...this.#host.sql.exec(query, ...bindings)];
  }

  #all(): Map<string, RetryRow> {
    return (this.#rows ??= new Map(
      this.#load().map((row) => [String(row["name"]), { failures: Number(row["failures"]), at: Number(row["at"]) }]),
    ));
  }

  #load() {
    const isThere = this.#run("SELECT name FROM sqlite_master WHERE name = 'retry'").length > 0;
    return isThere ? this.#run("SELECT name, failures, at FROM retry") : [];
  }

  #save(name: string, row: RetryRow): void {
    this.#all().set(name, row);
    try {
      this.#run(
        "CREATE TABLE IF NOT EXISTS retry(name TEXT PRIMARY KEY, failures INTEGER NOT NULL, at INTEGER NOT NULL) " +
          "STRICT, WITHOUT ROWID",
      );
      this.#run("INSERT OR REPLACE INTO retry VALUES (?, ?, ?)", name, row.failures, row.at);
    } catch {
      // The tables themselves may have failed. The failure then counts as long as the object is awake.
    }
  }

  #remove(name: string): void {
    if (!this.#all().delete(name)) return;
    if (this.#all().size > 0) this.#run("DELETE FROM retry WHERE name = ?", name);
    else this.#run("DROP TABLE IF EXISTS retry");
  }
}
