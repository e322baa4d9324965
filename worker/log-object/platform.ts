/** The platform as a log and its stream need it: SQLite with its transactions, and a later turn. */
import type { DurableObjectStorage } from "@cloudflare/workers-types";
import type { Sql, SqlRow } from "../store/sql.ts";

/**
 * A group commit follows one of several batches by at least so much; what arrives meanwhile shares it. Behind a commit
 * of a single batch it is a turn: a lone writer finds nobody to wait for, and of many writers the others are here by
 * then.
 */
const GROUP_MS = 4;

export const sqlOf = (storage: DurableObjectStorage): Sql => ({
  exec: (query, ...bindings) => storage.sql.exec(query, ...bindings) as Iterable<SqlRow>,
  transaction: (work) => storage.transactionSync(work),
});

export const groupTurn = (committed?: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, committed === 1 ? 0 : GROUP_MS));
