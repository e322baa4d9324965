/**
 * I8: at the edge the standing of an outbox, (generation, term), never falls. Judged by what its database is told to
 * keep: rows of the registry, and the notes in the rows of the log, in the order of the writes.
 *
 *   INSERT outbox(id, …, generation, term) ─┐
 *   INSERT chunk(…, origins) ───────────────┴─▶ each write's standing ≥ the one before
 *
 * And what is taken in a term was sent by the leader of that term: a push is known again by its last checksum.
 */
import { readHeader } from "../../../src/record/format.ts";
import { splitBatches } from "../../../src/record/record-batch.ts";
import { readPush } from "../../../src/sync/sync-frames.ts";
import { readOrigins } from "../../../worker/store/outbox-bytes.ts";
import type { SqlValue } from "../../../worker/store/sql.ts";
import type { Joiner } from "./network.ts";

const ROW = /^INSERT OR REPLACE INTO outbox\(/;
const GONE = /^DELETE FROM outbox/;
const CHUNK = /^INSERT INTO chunk\(/;
/** Places of the values in these statements (worker/store/outbox-tables.ts). */
const GENERATION = 2;
const TERM = 3;

interface Standing {
  readonly generation: number;
  readonly term: number;
}

export class StandingJudge {
  readonly #fail: (why: string) => void;
  readonly #known = new Map<string, Standing>();
  readonly #sent = new Set<string>();

  constructor(fail: (why: string) => void) {
    this.#fail = fail;
  }

  /** A push reaches the log's object. */
  sent({ outbox, term }: Joiner, payload: Uint8Array): void {
    const last = splitBatches(readPush(payload)!.batches).at(-1)!;
    this.#sent.add(`${outbox}/${readHeader(last).crc}/${term}`);
  }

  /** A statement whose transaction is through. True: an entry of the registry got a row of its own. */
  wrote(query: string, values: readonly SqlValue[]): boolean {
    const isRow = ROW.test(query);
    if (isRow) this.#rises(String(values[0]), Number(values[GENERATION]), Number(values[TERM]), "row");
    else if (CHUNK.test(query)) {
      const origins = values.at(-1);
      if (!origins) return false;
      const bytes = new Uint8Array(origins as ArrayBuffer | Uint8Array<ArrayBuffer>);
      for (const { id, generation, term, crc } of readOrigins(bytes).pushes) {
        this.#rises(id, generation, term, "push");
        if (!this.#sent.has(`${id}/${crc}/${term}`)) this.#fail(`standing: no leader of term ${term} of ${id} sent it`);
      }
    } else if (GONE.test(query)) {
      if (values.length > 0) this.#known.delete(String(values[0]));
      else this.#known.clear();
    }
    return isRow;
  }

  #rises(id: string, generation: number, term: number, what: string): void {
    const before = this.#known.get(id);
    if (before && (generation - before.generation || term - before.term) < 0)
      return this.#fail(
        `standing: a ${what} of ${id} in (${generation}, ${term}) behind (${before.generation}, ${before.term})`,
      );
    this.#known.set(id, { generation, term });
  }

  /** The log is another one, or an earlier one. */
  forget(): void {
    this.#known.clear();
  }
}
