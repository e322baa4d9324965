/**
 * The registry's entries that are in use, in order of last use, in front of the table that has a row for each outbox.
 *
 *   find   in memory, else in the row; an entry from a snapshot or a note is compared with the row at its first use
 *   put    beyond the limit, entries leave whose row says the same; no others do
 *   spill  at a seal: those unused for longest are written to their rows, and leave after that transaction
 */
import { RecentMap } from "../../src/store/recent-map.ts";
import type { OutboxEntry } from "../store/outbox-bytes.ts";
import type { OutboxTables } from "../store/outbox-tables.ts";

/** Rows of the table that one seal checks for their age. */
const SWEEP_ROWS = 4_096;

export interface HotOutbox {
  /** The entry as of the end of the log's queue. */
  at: OutboxEntry;
  /** The entry as of what is written. Undefined while the claim that created it is not written. */
  written: OutboxEntry | undefined;
  /** Pushes that are queued but not written. */
  queued: number;
  /** True if it was compared with the row of the table since the log was opened. */
  isChecked: boolean;
  /** True if the row says the same. */
  isSaved: boolean;
}

/** Merges two records of one outbox: the later one counts, and (generation, term) never falls. */
export function later(a: OutboxEntry, b: OutboxEntry): OutboxEntry {
  const newer = (a.generation - b.generation || a.next - b.next) >= 0 ? a : b;
  const term = a.generation === b.generation ? Math.max(a.term, b.term) : newer.term;
  return { ...newer, term, seenAt: Math.max(a.seenAt, b.seenAt) };
}

export class OutboxMemory {
  readonly #tables: OutboxTables;
  readonly #max: number;
  readonly #hot = new RecentMap<string, HotOutbox>();
  readonly #leaving = new Set<string>();
  /** Begins at a random id, so that a log that seals only once in each opening also gets around. */
  #sweptTo: string;

  constructor(tables: OutboxTables, max: number, sweptTo: string) {
    this.#tables = tables;
    this.#max = max;
    this.#sweptTo = sweptTo;
  }

  get size(): number {
    return this.#hot.size;
  }

  /** Loads an entry of a snapshot. */
  load(id: string, entry: OutboxEntry): void {
    this.#hot.set(id, { at: entry, written: entry, queued: 0, isChecked: false, isSaved: false });
  }

  clear(): void {
    this.#hot.clear();
  }

  highestGeneration(): number {
    return [...this.#hot.values()].reduce((highest, { at }) => Math.max(highest, at.generation), 0);
  }

  queuedOf(id: string): number {
    return this.#hot.get(id)?.queued ?? 0;
  }

  find(id: string): HotOutbox | undefined {
    const hot = this.#hot.get(id);
    if (hot?.isChecked) return hot;
    const row = this.#tables.row(id);
    if (!hot) {
      if (!row) return undefined;
      const found: HotOutbox = { at: row, written: row, queued: 0, isChecked: true, isSaved: true };
      this.put(id, found);
      return found;
    }
    if (row) hot.at = hot.written = later(row, hot.at);
    hot.isChecked = true;
    return hot;
  }

  /** Makes the entry the one that was used last. */
  put(id: string, hot: HotOutbox): void {
    this.#hot.put(id, hot);
    // Not for every new entry: if few may leave, each search goes through all of them.
    if (this.#hot.size <= this.#max + (this.#max >> 3)) return;
    const stays = (other: string): boolean => {
      const { queued, isChecked, isSaved } = this.#hot.get(other)!;
      return other === id || queued > 0 || !isChecked || !isSaved;
    };
    this.#hot.dropAbove(this.#max, undefined, stays);
  }

  /** The entries as written, for a snapshot. */
  written(): (readonly [string, OutboxEntry])[] {
    return [...this.#hot]
      .filter(([id, { written }]) => written !== undefined && !this.#leaving.has(id))
      .map(([id, { written }]) => [id, written!] as const);
  }

  /** Runs in the transaction of a seal. */
  spill(): void {
    let excess = this.#hot.size - this.#leaving.size - this.#max;
    for (const [id, hot] of this.#hot) {
      if (excess <= 0) return;
      if (hot.queued > 0 || this.#leaving.has(id)) continue;
      this.find(id);
      this.#tables.save(id, hot.at);
      this.#leaving.add(id);
      excess--;
    }
  }

  /**
   * Runs in the transaction of a seal: removes outboxes that were not used since `before`, in memory and in the table.
   */
  forget(before: number, gone: (entry: OutboxEntry) => void): void {
    const forget = (id: string, entry: OutboxEntry): void => {
      this.#tables.remove(id);
      this.#leaving.add(id);
      gone(entry);
    };
    for (const [id, hot] of this.#hot) {
      if (hot.at.seenAt >= before || hot.queued > 0) continue;
      const { at } = this.find(id)!;
      if (at.seenAt < before) forget(id, at);
    }
    const rows = this.#tables.behind(this.#sweptTo, SWEEP_ROWS);
    this.#sweptTo = rows.length < SWEEP_ROWS ? "" : rows.at(-1)![0];
    for (const [id, entry] of rows) if (entry.seenAt < before && !this.#hot.has(id)) forget(id, entry);
  }

  /** The transaction has ended. */
  done(isThrough: boolean): void {
    if (isThrough) for (const id of this.#leaving) this.#hot.delete(id);
    this.#leaving.clear();
  }
}
