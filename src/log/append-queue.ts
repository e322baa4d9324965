/**
 * Appends that have their offsets and wait for the next commit. The queue is bounded: what does not fit is refused
 * before it gets an offset.
 *
 *   checkRoom ─▶ add ─▶ add ─▶ … ─▶ take: the group of the next commit
 */
import { TidemarkError } from "../errors.ts";
import type { Pending } from "./pending.ts";
import type { LogSettings } from "./types.ts";

export class AppendQueue {
  #appends: Pending[] = [];
  #bytes = 0;

  get length(): number {
    return this.#appends.length;
  }
  /** BACKPRESSURE if a batch of so many bytes must wait. A batch that is larger than the limit may be queued alone. */
  checkRoom(bytes: number, { queueBytesMax, queueAppendsMax }: LogSettings): void {
    if (this.length > 0 && (this.#bytes + bytes > queueBytesMax || this.length >= queueAppendsMax))
      throw new TidemarkError("BACKPRESSURE", "the append queue is full", {
        queueBytes: this.#bytes,
        queueAppends: this.length,
      });
  }

  add(pending: Pending): void {
    this.#appends.push(pending);
    this.#bytes += pending.batch.length;
  }

  /** Takes all appends, or those behind the first `kept` ones. */
  take(kept = 0): Pending[] {
    const taken = this.#appends.splice(kept);
    for (const { batch } of taken) this.#bytes -= batch.length;
    return taken;
  }
}
