/**
 * The newest batches that were pushed, by the offset at which each stands: whose they are and where they stand in that
 * outbox. A follower that pushed a batch itself need not be sent its bytes again (log-object/own-runs.ts). Only in
 * memory: what is not known here is sent whole.
 */
const BATCHES_MAX = 4_096;

export interface PushedBatch {
  readonly outbox: string;
  /** Position of the batch's first record in the outbox. */
  readonly position: number;
  readonly crc: number;
}

export class RecentPushes {
  readonly #batches = new Map<number, PushedBatch>();

  add(offset: number, batch: PushedBatch): void {
    this.#batches.set(offset, batch);
    if (this.#batches.size > BATCHES_MAX) this.#batches.delete(this.#batches.keys().next().value!);
  }

  at(offset: number): PushedBatch | undefined {
    return this.#batches.get(offset);
  }
}
