/**
 * Retries as a log object's upkeep makes them. The random source is fixed so that each pause is the shortest possible.
 */
import { type Retry, Retries } from "../../worker/store/retries.ts";
import type { Sql } from "../../worker/store/sql.ts";

export const retryIn = (sql: Sql, now: () => number, name: string): Retry =>
  new Retries({ sql, now, random: () => 0 }).of(name, { minMs: 2_000, maxMs: 600_000 });
