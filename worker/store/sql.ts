/** The part of a Durable Object's SQLite that is needed, so that Node's SQLite serves tests as well. */

export type SqlValue = number | string | null | Uint8Array | ArrayBuffer;
export type SqlRow = Record<string, SqlValue>;

/** The platform refused a statement because the database is full; it is as it was. */
export const isFull = (thrown: unknown): boolean => /SQLITE_FULL|database or disk is full/.test(String(thrown));

export interface Sql {
  exec(query: string, ...bindings: SqlValue[]): Iterable<SqlRow>;
  /** All or nothing: what `work` did is undone when it throws. */
  transaction<T>(work: () => T): T;
}
