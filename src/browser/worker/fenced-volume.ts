/**
 * A volume to which a worker writes only within its term. A worker that did not run for long may have been deposed, and
 * its successor reads the files one lease later. So nothing is written later than one lease after the last proof of the
 * term, and nothing is acked that was not written in that time.
 *
 *   write ─▶ prepare: all that must be awaited ─▶ is the term proved? ─▶ the volume's write, in the same turn
 *                                              └─ no: look at the lock ─▶ ours: once more │ not ours: the worker ends
 *
 * A process that is stopped after that check still makes the one write when it continues; copying-volume.ts and
 * idb-connection.ts handle that.
 */
import type { Volume, VolumeInfo } from "../../store/volume.ts";
import type { Term } from "./term.ts";

export class FencedVolume implements Volume {
  readonly #volume: Volume;
  readonly #term: Term;

  constructor(volume: Volume, term: Term) {
    this.#volume = volume;
    this.#term = term;
  }

  get info(): VolumeInfo {
    return this.#volume.info;
  }
  get slotCount(): number {
    return this.#volume.slotCount;
  }
  get slotBytes(): number {
    return this.#volume.slotBytes;
  }

  async #inTerm(work: () => Promise<void>): Promise<void> {
    // After this check of the clock nothing is awaited.
    while (!this.#term.holds) await this.#term.prove();
    return work();
  }

  addSlots(count: number): Promise<void> {
    return this.#inTerm(() => this.#volume.addSlots(count));
  }
  prepare(slot: number): Promise<void> {
    return this.#volume.prepare(slot);
  }
  async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    await this.#volume.prepare(slot);
    return this.#inTerm(() => this.#volume.write(slot, position, bytes));
  }
  read(slot: number, position: number, target: Uint8Array): Promise<number> {
    return this.#volume.read(slot, position, target);
  }
  handOver(slots: readonly number[]): Promise<void> {
    return this.#inTerm(() => this.#volume.handOver(slots));
  }
  flush(slots: readonly number[]): Promise<void> {
    return this.#inTerm(() => this.#volume.flush(slots));
  }
  checkAttached(): Promise<boolean> {
    return this.#volume.checkAttached();
  }
  close(): Promise<void> {
    return this.#volume.close();
  }
}
