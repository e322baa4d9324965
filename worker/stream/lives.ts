/**
 * The lives of a log: each opening of it that led to an append, and where the log ended then. A device keeps the life
 * in which its newest records came. A log that was put back to an earlier state has lost lives, or has begun another one
 * below what the device has; so the device learns of it even where all that it holds is gone without a trace.
 *
 *   life   the leader epoch of the opening in the upper half, 32 random bits in the lower: an epoch that comes twice
 *          after the log was put back does not name the same life
 */
import type { LogLife } from "../store/outbox-bytes.ts";

/** Sixteen bytes each in every snapshot. */
export const LIVES_MAX = 4096;

const epochOf = (life: string): number => Number.parseInt(life.slice(0, 8), 16);

export const lifeNumber = (epoch: number, random: number): string =>
  [epoch, random].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");

export class Lives {
  readonly #random: () => number;
  #all: readonly LogLife[] = [];
  #dropped = 0;
  /** Before the transaction that is under way. */
  #before: readonly LogLife[] | undefined;
  /** This opening is a life once it writes a row. */
  #isDue = false;
  #epoch = 0;

  /** `random` gives 32 bits. */
  constructor(random: () => number) {
    this.#random = random;
  }

  get all(): readonly LogLife[] {
    return this.#all;
  }
  get dropped(): number {
    return this.#dropped;
  }
  get current(): string {
    return this.#all.at(-1)?.life ?? lifeNumber(0, 0);
  }

  /** What earlier openings were; this one will be another. */
  load(all: readonly LogLife[], dropped: number): void {
    this.#all = all;
    this.#dropped = dropped;
    this.#isDue = true;
  }

  replay(life: LogLife): void {
    this.#add(life);
  }

  opened(epoch: number): void {
    this.#epoch = epoch;
  }

  /** Lives are kept from here on; this opening is one at once. The caller writes it, or takes it back. */
  begin(logEndOffset: number): void {
    this.#before = this.#all;
    this.#add(this.#drawn(logEndOffset));
    this.#isDue = false;
  }

  /** The earlier ones are not known any more. */
  beginAnew(logEndOffset: number): void {
    this.#dropped += this.#all.length + 1;
    this.#all = [this.#drawn(logEndOffset)];
    this.#isDue = false;
  }

  /** The life that a row at this offset begins; undefined where it goes on. */
  at(baseOffset: number): LogLife | undefined {
    if (!this.#isDue) return undefined;
    this.begin(baseOffset);
    return this.#all.at(-1);
  }

  /** Is what was begun written? */
  done(isThrough: boolean): void {
    if (!isThrough && this.#before) {
      this.#all = this.#before;
      this.#isDue = true;
    }
    this.#before = undefined;
  }

  #drawn(start: number): LogLife {
    return { life: lifeNumber(this.#epoch, this.#random()), start };
  }

  #add(life: LogLife): void {
    const all = [...this.#all, life];
    this.#all = all.slice(-LIVES_MAX);
    this.#dropped += all.length - this.#all.length;
  }

  /** Has a device that was told of everything below `end`, last in `life`, seen more than there is? */
  wentBack(life: string, end: number): boolean {
    const at = this.#all.findIndex((each) => each.life === life);
    const next = this.#all[at + 1];
    if (at >= 0) return next !== undefined && next.start < end;
    // Let go, or lost? The epochs say which.
    const oldest = this.#all[0];
    if (this.#dropped === 0 || !oldest || epochOf(life) >= epochOf(oldest.life)) return true;
    return oldest.start < end;
  }
}
