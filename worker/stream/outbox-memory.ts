/**
 * The entries of the registry that are in use, in order of last use, over the table that has a row for each outbox.
 *
 *   find   memory, else the row; what a snapshot or a note has brought is compared with the row at its first use
 *   put    beyond the bound those leave whose row says the same; no other does
 *   spill  at a seal: the longest silent are written into their rows, and leave once that transaction is through
 */
import { RecentMap } from "../../src/store/recent-map.ts";
import type { OutboxEntry } from "../store/outbox-bytes.ts";
import type { OutboxTables } from "../store/outbox-tables.ts";

/** Rows of the table that one seal looks at for age. */
const SWEEP_ROWS = 4_096;

export interface HotOutbox {
  /** As of the end of the log's queue. */
  at: OutboxEntry;
  /** Undefined while the claim that brought it is on its way. */
  written: OutboxEntry | undefined;
  /** Pushes between the two. */
  queued: number;
  /** Compared with the row of the table since the log was opened. */
  isChecked: boolean;
  /** The row says the same. */
  isSaved: boolean;
}

/** What two books say of one outbox: the later counts, and the pair never falls. */
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
  /** Anywhere: a log that seals once in each opening gets around as well. */
  #sweptTo: string;

  constructor(tables: OutboxTables, max: number, sweptTo: string) {
    this.#tables = tables;
    this.#max = max;
    this.#sweptTo = sweptTo;
  }

  get size(): number {
    return this.#hot.size;
  }

  /** Of a snapshot. */
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

  /** It was used last. */
  put(id: string, hot: HotOutbox): void {
    this.#hot.put(id, hot);
    // Not for each one more: where few may leave, all are looked at.
    if (this.#hot.size <= this.#max + (this.#max >> 3)) return;
    const stays = (other: string): boolean => {
      const { queued, isChecked, isSaved } = this.#hot.get(other)!;
      return other === id || queued > 0 || !isChecked || !isSaved;
    };
    this.#hot.dropAbove(this.#max, undefined, stays);
  }

  /** What is written, for a snapshot. */
  written(): (readonly [string, OutboxEntry])[] {
    return [...this.#hot]
      .filter(([id, { written }]) => written !== undefined && !this.#leaving.has(id))
      .map(([id, { written }]) => [id, written!] as const);
  }

  /** In the transaction of a seal. */
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

  /** In the transaction of a seal: those that nobody has seen since `before` are gone, in memory and table. */
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

  /** The transaction is over. */
  done(isThrough: boolean): void {
    if (isThrough) for (const id of this.#leaving) this.#hot.delete(id);
    this.#leaving.clear();
  }
}
