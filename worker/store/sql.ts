/** The part of a Durable Object's SQLite that is used, so that Node's SQLite can replace it in tests. */

import { TidemarkError } from "../../src/errors.ts";

export type SqlValue = number | string | null | Uint8Array | ArrayBuffer;
export type SqlRow = Record<string, SqlValue>;

/** True if the platform refused a statement because the database is full. Nothing has changed then. */
export const isFull = (thrown: unknown): boolean =>
  Object(thrown).code === "QUOTA_EXCEEDED" || /SQLITE_FULL|database or disk is full/.test(String(thrown));

export interface Sql {
  exec(query: string, ...bindings: SqlValue[]): Iterable<SqlRow>;
  /** Bytes of records that still fit into the database. Default: no bound of its own. */
  room?(): number;
  /** All or nothing: what `work` did is undone if it throws. */
  transaction<T>(work: () => T): T;
}

/** The message of QUOTA_EXCEEDED. */
export const FULL = "the database is full: trim or delete, or bind a bucket, to which sealed segments move";

export const quotaExceeded = (cause?: unknown): TidemarkError =>
  new TidemarkError("QUOTA_EXCEEDED", FULL, {}, { cause });
