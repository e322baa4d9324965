/**
 * The index: an outbox's batches in memory. It knows which are settled, where they stand at the edge, and whether a
 * batch of the edge is one of them. It is made of headers, so it can always be made again.
 *
 *   start                          end of the index          end of the outbox
 *     ▼                                   ▼                         ▼
 *   ──┬─settled─┬─un-settled─┬─settled─┬──┬─────────────────────────┬──
 *     │ in order of positions          │  │ not yet in the index    │
 *
 * The index holds the oldest INDEX_BATCHES_MAX batches. Later ones are added as those are trimmed.
 */
import type { BatchHeader } from "../record/format.ts";
import { lowerBound, showsBatch } from "./settling.ts";

/** Most batches in the index, which then takes 6 MiB. */
export const INDEX_BATCHES_MAX = 65_536;

export interface OwnBatch {
  readonly at: number;
  readonly next: number;
  readonly bytes: number;
  /** Undefined: its bytes are damaged, and nobody can tell which batch it was. */
  readonly header: BatchHeader | undefined;
  /** The watermark at its append; undefined: it was appended in an earlier opening. */
  readonly appendedAt: number | undefined;
  isSettled: boolean;
  /** True if a retracted run of the note covers it. */
  isRetracted: boolean;
  /** Its offset in the replica; -1 if that is not known. */
  offset: number;
}

const keyOf = ({ producerId, producerEpoch, baseSequence }: BatchHeader): string =>
  `${producerId}/${producerEpoch}/${baseSequence}`;

export class OwnBatches {
  #list: OwnBatch[] = [];
  readonly #byIdentity = new Map<string, OwnBatch[]>();
  /** All of the list before this place is settled. */
  #settledTo = 0;
  #unsettled = { records: 0, batches: 0, bytes: 0 };
  #settledBytes = 0;

  get size(): number {
    return this.#list.length;
  }
  get all(): readonly OwnBatch[] {
    return this.#list;
  }
  /** Un-settled batches of the index. */
  get pending(): { readonly records: number; readonly batches: number; readonly bytes: number } {
    return this.#unsettled;
  }
  get settled(): { readonly batches: number; readonly bytes: number } {
    return { batches: this.#list.length - this.#unsettled.batches, bytes: this.#settledBytes };
  }

  add(batch: OwnBatch): void {
    this.#list.push(batch);
    if (batch.isSettled) this.#settledBytes += batch.bytes;
    else this.#count(batch, 1);
    if (!batch.header || batch.header.producerId < 0) return;
    const key = keyOf(batch.header);
    const twins = this.#byIdentity.get(key);
    if (twins) twins.push(batch);
    else this.#byIdentity.set(key, [batch]);
  }

  #count({ at, next, bytes }: OwnBatch, sign: 1 | -1): void {
    this.#unsettled.records += sign * (next - at);
    this.#unsettled.batches += sign;
    this.#unsettled.bytes += sign * bytes;
  }

  /** The lowest offset at which an un-settled batch may have been taken; the watermark where nothing is un-settled. */
  lowestDoubt(doubtFrom: number, watermark: number): number {
    let lowest = watermark;
    for (const { isSettled, appendedAt } of this.#list)
      if (!isSettled) lowest = Math.min(lowest, lowerBound(doubtFrom, appendedAt));
    return lowest;
  }

  /** The first un-settled one. */
  get firstUnsettled(): OwnBatch | undefined {
    while (this.#list[this.#settledTo]?.isSettled) this.#settledTo++;
    return this.#list[this.#settledTo];
  }

  /** Runs of positions behind the first un-settled one that are settled and not retracted. Mostly there are none. */
  get settledBehind(): (readonly [from: number, to: number])[] {
    if (!this.firstUnsettled || this.settled.batches === this.#settledTo) return [];
    return this.#list
      .slice(this.#settledTo)
      .flatMap(({ at, next, isSettled, isRetracted }) => (isSettled && !isRetracted ? [[at, next]] : []));
  }

  /** The own batch that a batch of the edge is (T1), or of which compaction has left that batch (T1c). */
  find(header: BatchHeader): OwnBatch | undefined {
    if (header.producerId < 0) return undefined;
    const { crc, recordCount, lastOffsetDelta } = header;
    return this.#byIdentity.get(keyOf(header))?.find((own) => {
      const isSame = own.header!.crc === crc;
      const isThinned = own.header!.lastOffsetDelta === lastOffsetDelta && recordCount <= lastOffsetDelta;
      return showsBatch(isSame || isThinned ? 1 : 0, own.next - own.at);
    });
  }

  settle(batch: OwnBatch, offset: number): boolean {
    if (offset >= 0) batch.offset = offset;
    if (batch.isSettled) return false;
    batch.isSettled = true;
    this.#settledBytes += batch.bytes;
    this.#count(batch, -1);
    return true;
  }

  /** Place of the first batch that ends behind `position`. */
  placeOf(position: number): number {
    let low = 0;
    let high = this.#list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#list[middle]!.next > position) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Bytes of the batches of [position, next); Infinity where the index does not go so far. */
  bytesOf(position: number, next: number): number {
    const batches = this.#list.slice(this.placeOf(position), this.placeOf(next - 1) + 1);
    return batches.at(-1)?.next === next ? batches.reduce((sum, { bytes }) => sum + bytes, 0) : Infinity;
  }

  /** Removes the batches that end at or below `position`. */
  dropBelow(position: number): void {
    const count = this.placeOf(position);
    for (const batch of this.#list.slice(0, count)) {
      if (batch.isSettled) this.#settledBytes -= batch.bytes;
      else this.#count(batch, -1);
      if (!batch.header || batch.header.producerId < 0) continue;
      const key = keyOf(batch.header);
      const left = this.#byIdentity.get(key)!.filter((each) => each !== batch);
      if (left.length > 0) this.#byIdentity.set(key, left);
      else this.#byIdentity.delete(key);
    }
    this.#list.splice(0, count);
    this.#settledTo = Math.max(0, this.#settledTo - count);
  }
}
