/** What a log and its stream need of the platform: SQLite with its transactions, and a later turn. */
import type { DurableObjectStorage } from "@cloudflare/workers-types";
import { queried } from "../bindings.ts";
import type { Sql, SqlRow } from "../store/sql.ts";

/**
 * A group commit follows a commit of several batches by at least this time, and appends that arrive in between share
 * it. After a commit of a single batch it follows in the next turn: a lone writer has nobody to wait for, and of many
 * writers the others have arrived by then.
 */
const GROUP_MS = 4;

export const sqlOf = (storage: DurableObjectStorage): Sql => ({
  exec: (query, ...bindings) => queried(() => storage.sql.exec(query, ...bindings)) as Iterable<SqlRow>,
  transaction: (work) => storage.transactionSync(work),
});

export const groupTurn = (committed?: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, committed === 1 ? 0 : GROUP_MS));
