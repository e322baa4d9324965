/**
 * A view's arithmetic: the committed state C, own records without a place P, and the current state X, which is C with P
 * on top. docs/sync.md, "Views", has the table; this is it.
 *
 *   change                             C             P           X
 *   own record r without a place                     push r      apply(X, r)
 *   committed r = P[0], X not stale    apply(C, r)   shift       stays; C once P is empty
 *   any other committed r              apply(C, r)   without r   stale; C where P is empty
 *   retract                                          without it  stale; C where P is empty
 */
import { TidemarkError } from "../errors.ts";
import { PROVISIONAL_FROM } from "../log/provisional-layout.ts";
import { type ChangedRecord, inOrder, type TopicChange } from "./change-reader.ts";

export interface Folding<S, R> {
  readonly initial: () => S;
  readonly apply: (state: S, record: R) => S;
  readonly gap?: ((state: S, gap: { readonly from: number; readonly to: number }) => S | "restart") | undefined;
}

/** Gives the state back. Nobody hears what becomes of a Promise: the function is asynchronous by mistake. */
export function noPromise<S>(state: S): S {
  if (!(state instanceof Promise)) return state;
  state.catch(() => undefined);
  throw new TidemarkError("INVALID_ARGUMENT", "apply and initial must give a state, not a Promise", { field: "apply" });
}

export class ViewFold<S, R extends ChangedRecord> {
  committed: S;
  current: S;
  /** How far `committed` goes, exclusive. */
  offset: number;
  /** True if `current` must be made anew before it may be shown. */
  isStale = false;
  /** True if `current` shows records that have their place as if they had none. */
  isDated = false;
  pending = new Map<string, R>();
  #newest = 0;
  /** Ids of own records in their order, from `#head` on: a Map from which the first are deleted is slow to begin. */
  #order: string[] = [];
  #head = 0;
  readonly #folding: Folding<S, R>;

  constructor(folding: Folding<S, R>, committed: S, offset: number) {
    this.#folding = folding;
    this.committed = this.current = noPromise(committed);
    this.offset = offset;
  }

  take(change: TopicChange<R>): void {
    const { initial, apply, gap } = this.#folding;
    switch (change.type) {
      case "append":
      case "settle": {
        const { record } = change;
        if (change.type === "append" && record.offset >= PROVISIONAL_FROM) {
          this.pending.set(record.id, record);
          this.#order.push(record.id);
          // The record is told anew, and its position is before that of records that stayed in the list.
          if (record.offset < this.#newest) this.#sort();
          this.#newest = Math.max(this.#newest, record.offset);
          if (!this.isStale) this.current = noPromise(apply(this.current, record));
          return;
        }
        const isFirst = this.pending.has(record.id) && this.#first() === record.id;
        this.committed = noPromise(apply(this.committed, record));
        this.offset = record.offset + 1;
        this.pending.delete(record.id);
        if (isFirst) this.isDated = true;
        else this.isStale = true;
        break;
      }
      case "retract":
        this.pending.delete(change.id);
        this.isStale = true;
        break;
      case "gap": {
        const state = gap ? gap(this.committed, change) : this.committed;
        if (state !== this.committed) this.isStale = true;
        this.committed = state === "restart" ? initial() : (state as S);
        this.offset = change.to;
        break;
      }
      case "reset":
        this.pending.clear();
        this.#sort();
        this.#newest = 0;
        this.committed = initial();
        this.offset = change.logStartOffset;
        break;
      case "level":
        noPromise(this.current);
        this.offset = change.watermark;
    }
    if (this.pending.size === 0) this.refolded(this.committed);
  }

  #sort(): void {
    this.pending = inOrder(this.pending);
    this.#order = [...this.pending.keys()];
    this.#head = 0;
    this.isStale = true;
  }

  #first(): string | undefined {
    while (this.#head < this.#order.length && !this.pending.has(this.#order[this.#head]!)) this.#head++;
    if (this.#head * 2 > this.#order.length) this.#order = this.#order.slice(this.#head);
    else return this.#order[this.#head];
    this.#head = 0;
    return this.#order[0];
  }

  /** fold(C, P), in steps, so that others have a turn between them. Give the result to refolded(). */
  *refold(): Generator<S, S> {
    let state = this.committed;
    for (const record of this.pending.values()) yield (state = noPromise(this.#folding.apply(state, record)));
    return state;
  }

  refolded(current: S): void {
    this.current = current;
    this.isStale = this.isDated = false;
  }
}
