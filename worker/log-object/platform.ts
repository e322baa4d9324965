/** The platform as a log and its stream need it: SQLite with its transactions, and a later turn. */
import type { DurableObjectStorage } from "@cloudflare/workers-types";
import type { Sql, SqlRow } from "../store/sql.ts";

/** A group commit follows the one before it by at least so much; what arrives meanwhile shares it. */
const GROUP_MS = 4;

export const sqlOf = (storage: DurableObjectStorage): Sql => ({
  exec: (query, ...bindings) => storage.sql.exec(query, ...bindings) as Iterable<SqlRow>,
  transaction: (work) => storage.transactionSync(work),
});

export const groupTurn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, GROUP_MS));
