/**
 * The edge's database: Node's SQLite, whose statements are prepared once. Its power can be cut at any statement, it can
 * be full, and it can be put back to an earlier moment.
 *
 *   SimSql ── life() ──▶ the Sql of one opening of the object: dead once the next one has begun
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { EdgeError } from "../../../worker/errors.ts";
import type { Sql, SqlRow, SqlValue } from "../../../worker/store/sql.ts";

/** All tables at one moment. */
export interface DatabaseState {
  readonly schema: readonly string[];
  readonly rows: readonly { readonly insert: string; readonly values: readonly (readonly SqlValue[])[] }[];
}

/** Tables that are there already are not made again, and what is removed needs no room. */
const isWrite = (query: string): boolean => /^\s*(INSERT|REPLACE|UPDATE|DELETE)/i.test(query);
const needsRoom = (query: string): boolean => !/^\s*DELETE/i.test(query);

/** Nobody hears of it: all channels of the object have ended. */
const powerLost = (): EdgeError => new EdgeError("CLOSED", "this opening of the object is over", { reason: "reset" });

export class SimSql {
  #database = new DatabaseSync(":memory:");
  #statements = new Map<string, StatementSync>();
  /** Writes that still succeed before the power is cut. Undefined: no end. */
  writesLeft: number | undefined;
  isFull = false;
  onCut: () => void = () => undefined;
  /** Called with each write whose transaction is committed, in their order. */
  onWritten: (query: string, values: readonly SqlValue[]) => void = () => undefined;
  #inTransaction: (readonly [string, readonly SqlValue[]])[] | undefined;
  #life = 0;
  /** Power cuts and refused writes that happened. */
  readonly strikes = { cut: 0, full: 0 };

  /** The database as the object's next opening has it. Earlier openings can't reach it any more. */
  life(): Sql {
    const life = ++this.#life;
    this.writesLeft = undefined;
    const check = (): void => {
      if (life !== this.#life) throw powerLost();
    };
    return {
      exec: (query, ...bindings) => {
        check();
        if (!isWrite(query)) return this.#exec(query, bindings);
        this.#strike(query);
        const rows = this.#exec(query, bindings);
        if (this.#inTransaction) this.#inTransaction.push([query, bindings]);
        else this.onWritten(query, bindings);
        return rows;
      },
      transaction: (work) => {
        check();
        return this.#transaction(work);
      },
    };
  }

  #strike(query: string): void {
    if (this.writesLeft !== undefined && this.writesLeft-- <= 0) {
      this.strikes.cut++;
      this.#life++;
      this.writesLeft = undefined;
      this.onCut();
      throw powerLost();
    }
    if (!this.isFull || !needsRoom(query)) return;
    this.strikes.full++;
    throw new Error("database or disk is full: SQLITE_FULL");
  }

  #exec(query: string, bindings: readonly SqlValue[]): SqlRow[] {
    let statement = this.#statements.get(query);
    if (!statement) this.#statements.set(query, (statement = this.#database.prepare(query)));
    return statement.all(...(bindings as (string | number | null | Uint8Array)[])) as SqlRow[];
  }

  #transaction<T>(work: () => T): T {
    const written: (readonly [string, readonly SqlValue[]])[] = (this.#inTransaction = []);
    this.#exec("BEGIN", []);
    try {
      const result = work();
      this.#exec("COMMIT", []);
      this.#inTransaction = undefined;
      for (const [query, values] of written) this.onWritten(query, values);
      return result;
    } catch (thrown) {
      this.#exec("ROLLBACK", []);
      throw thrown;
    } finally {
      this.#inTransaction = undefined;
    }
  }

  state(): DatabaseState {
    const master = this.#exec("SELECT name, type, sql FROM sqlite_master WHERE sql IS NOT NULL", []);
    const tables = master.filter(({ type }) => type === "table").map(({ name }) => String(name));
    return {
      schema: master.map(({ sql }) => String(sql)),
      rows: tables.map((table) => {
        const rows = this.#exec(`SELECT * FROM ${table}`, []);
        const names = Object.keys(rows[0] ?? {});
        const insert = `INSERT INTO ${table} (${names.join()}) VALUES (${names.map(() => "?").join()})`;
        return { insert, values: rows.map((row) => names.map((name) => row[name]!)) };
      }),
    };
  }

  /** Undefined: as a new object has it. */
  putBack(state: DatabaseState | undefined): void {
    this.#life++;
    this.#statements.clear();
    this.#database.close();
    this.#database = new DatabaseSync(":memory:");
    for (const statement of state?.schema ?? []) this.#database.exec(statement);
    for (const { insert, values } of state?.rows ?? []) for (const row of values) this.#exec(insert, row);
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }
}
