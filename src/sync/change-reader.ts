/**
 * Makes changes of a topic's cuts. It remembers which own records it has told as provisional, by their ids: so one that
 * comes back committed is told as `settle`, at its place among the committed ones, and not as another `append`.
 *
 *   cut ─┬ gap, reset                                        gap; reset, and everything begins anew
 *        ├ committed record ─┬ told before as provisional    settle
 *        │                   └ any other                     append
 *        ├ told before, and retracted                        retract: set aside, discarded
 *        ├ told before, settled, and not among the committed retract: superseded, compaction took it at the edge
 *        ├ own record without a place                        append
 *        └ nothing is missing                                level
 */
import { PROVISIONAL_FROM } from "../log/provisional-layout.ts";
import type { Range } from "./topic-store.ts";

/** What is read of a record here. */
export interface ChangedRecord {
  readonly id: string;
  readonly offset: number;
}

export type TopicChange<R> =
  | { readonly type: "append"; readonly record: R }
  /** The provisional record has its place: record.offset, and this place in the stream. */
  | { readonly type: "settle"; readonly id: string; readonly provisionalOffset: number; readonly record: R }
  | {
      readonly type: "retract";
      readonly id: string;
      readonly provisionalOffset: number;
      readonly why: "aside" | "discarded" | "superseded";
    }
  | { readonly type: "gap"; readonly from: number; readonly to: number }
  /** Another log stands here now, or its copy was made anew: begin with nothing. */
  | { readonly type: "reset"; readonly logStartOffset: number }
  /**
   * Level with this device's copy; `live`: and that with the edge. `copy` names the copy
   * that the offsets belong to. Store it beside `watermark` to continue there later. null: nothing has a place yet.
   */
  | { readonly type: "level"; readonly watermark: number; readonly live: boolean; readonly copy: string | null };

/** A cut with its records decoded. A topic that is not synced has no own records without a place. */
export interface DecodedCut<R> {
  readonly committed: readonly R[];
  readonly provisional: readonly R[];
  readonly nextOffset: number;
  readonly highWatermark: number;
  readonly logStartOffset: number;
  readonly nextProvisional: number;
  readonly firstUnsettled: number;
  readonly retracted: readonly (readonly [from: number, to: number, why: string])[];
  readonly level: boolean;
  readonly live: boolean;
  readonly told: string | undefined;
  /** Names the log: offsets of another one mean nothing here. null: it has no name yet. */
  readonly stream: string | null;
  readonly gap?: Range | undefined;
  readonly reset?: number | undefined;
}

/** Own records in the order of their positions. */
export const inOrder = <R extends ChangedRecord>(pending: ReadonlyMap<string, R>): Map<string, R> =>
  new Map([...pending].sort(([, a], [, b]) => a.offset - b.offset));

export class ChangeReader<R extends ChangedRecord> {
  /** From where on committed records, and own ones without a place, are wanted. */
  committed: number;
  provisional = 0;
  told: string | undefined;
  stream: string | null | undefined;
  /** Positions below are settled, as far as was told. */
  #settledTo = 0;
  /** Own records that were told and are not settled, in the order of positions. */
  #pending = new Map<string, R>();

  /** `copy`: of which `from` is an offset; undefined, null: whichever is here. */
  constructor(from: number, copy?: string | null) {
    this.committed = from;
    this.stream = copy;
  }

  #reset(logStartOffset: number): TopicChange<R>[] {
    this.committed = logStartOffset;
    this.provisional = this.#settledTo = 0;
    this.told = undefined;
    this.stream = undefined;
    this.#pending.clear();
    return [{ type: "reset", logStartOffset }];
  }

  /** The cut was read with this reader's place. */
  take(cut: DecodedCut<R>): TopicChange<R>[] {
    if (this.stream && this.stream !== cut.stream) return this.#reset(cut.logStartOffset);
    if (cut.reset !== undefined) return this.#reset(cut.reset);
    this.stream = cut.stream;
    // An ask that says nothing of what was told is answered at once: there is more.
    this.told = cut.level ? cut.told : undefined;
    const changes: TopicChange<R>[] = [];
    if (cut.gap) changes.push({ type: "gap", from: cut.gap[0], to: cut.gap[1] });
    for (const record of cut.committed) changes.push(this.#committed(record));
    this.committed = cut.nextOffset;
    this.#retract(cut, changes);
    if (cut.firstUnsettled < this.#settledTo) {
      // A new opening may not know any more that these records are settled, and shows them again. All is told anew
      // from there.
      this.provisional = this.#settledTo = cut.firstUnsettled;
      this.told = undefined;
      return changes;
    }
    this.#settledTo = cut.firstUnsettled;
    // A record that is told anew may have a lower position than records that stayed pending.
    const isAnew = cut.provisional.some(({ id }) => this.#pending.has(id));
    for (const record of cut.provisional) {
      if (this.#pending.has(record.id)) continue;
      this.#pending.set(record.id, record);
      changes.push({ type: "append", record });
    }
    if (isAnew) this.#pending = inOrder(this.#pending);
    this.provisional = cut.nextProvisional;
    if (cut.level) {
      const { highWatermark: watermark, live, stream: copy } = cut;
      changes.push({ type: "level", watermark, live, copy });
    }
    return changes;
  }

  #committed(record: R): TopicChange<R> {
    const { id } = record;
    const pending = this.#pending.get(id);
    if (!pending) return { type: "append", record };
    this.#pending.delete(id);
    return { type: "settle", id, provisionalOffset: pending.offset, record };
  }

  #retract({ retracted, firstUnsettled, nextOffset, highWatermark }: DecodedCut<R>, changes: TopicChange<R>[]): void {
    // What is settled may still come among the committed ones, until the reader is at the watermark.
    const settled = nextOffset >= highWatermark ? firstUnsettled : 0;
    if (settled === 0 && retracted.length === 0) return;
    const [oldest] = this.#pending.values();
    if (!oldest) return;
    if (oldest.offset >= PROVISIONAL_FROM + settled && retracted.length === 0) return;
    for (const { id, offset: provisionalOffset } of [...this.#pending.values()]) {
      const position = provisionalOffset - PROVISIONAL_FROM;
      const run = retracted.find(([from, to]) => position >= from && position < to);
      if (!run && position >= settled) continue;
      this.#pending.delete(id);
      const why = run?.[2] === "aside" || run?.[2] === "discarded" ? run[2] : "superseded";
      changes.push({ type: "retract", id, provisionalOffset, why });
    }
  }
}
