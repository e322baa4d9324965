/** What a log and its stream need of the platform: SQLite with its transactions, and a later turn. */
import type { DurableObjectStorage } from "@cloudflare/workers-types";
import { queried } from "../bindings.ts";
import { numberOf } from "../env.ts";
import { isFull, quotaExceeded, type Sql, type SqlRow } from "../store/sql.ts";

/**
 * A group commit follows a commit of several batches by at least this time, and appends that arrive in between share
 * it. After a commit of a single batch it follows in the next turn: a lone writer has nobody to wait for, and of many
 * writers the others have arrived by then.
 */
const GROUP_MS = 4;

/** A full database may refuse any statement that needs room, and whoever asked for it is told so. */
function fitted<R>(work: () => R): R {
  try {
    return work();
  } catch (thrown) {
    throw isFull(thrown) ? quotaExceeded(thrown) : thrown;
  }
}

/**
 * What records may take of an object's database, unless TIDEMARK_DATABASE_BYTES says otherwise. The platform's limit is
 * 10 GB. Where that is met it undoes whatever was not stored yet and restarts the object, so nobody is told why. What
 * lies between is for everything else: a close, a join, a trim, what moves to a bucket.
 */
const DATABASE_BYTES_MAX = 9.9e9;

export const sqlOf = (storage: DurableObjectStorage, bytesMax: () => string | undefined): Sql => ({
  room: () => numberOf(bytesMax(), DATABASE_BYTES_MAX) - storage.sql.databaseSize,
  exec: (query, ...bindings) => fitted(() => queried(() => storage.sql.exec(query, ...bindings))) as Iterable<SqlRow>,
  transaction: (work) => fitted(() => storage.transactionSync(work)),
});

export const groupTurn = (committed?: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, committed === 1 ? 0 : GROUP_MS));
