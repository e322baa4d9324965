/** Retries as the upkeep of a log object makes them, with the shortest pauses that chance may give. */
import { type Retry, Retries } from "../../worker/store/retries.ts";
import type { Sql } from "../../worker/store/sql.ts";

export const retryIn = (sql: Sql, now: () => number, name: string): Retry =>
  new Retries({ sql, now, random: () => 0 }).of(name, { minMs: 2_000, maxMs: 600_000 });
