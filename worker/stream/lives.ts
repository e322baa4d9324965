/**
 * The lives of a log: each opening of it that led to an append, and where the log ended then. A device stores the life
 * from which its newest records came. A log that was put back to an earlier state has lost lives, or has begun another
 * life below the device's records. So the device learns of it even if no record that it holds is left to compare.
 *
 *   life   the leader epoch of the opening in the upper half, 32 random bits in the lower. If the log was put back, an
 *          epoch may come a second time; the random bits make it another life
 */
import type { LogLife } from "../store/outbox-bytes.ts";

/** Each takes sixteen bytes in every snapshot. */
const LIVES_MAX = 4096;

const epochOf = (life: string): number => Number.parseInt(life.slice(0, 8), 16);

export const lifeNumber = (epoch: number, random: number): string =>
  [epoch, random].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");

export class Lives {
  readonly #random: () => number;
  #all: readonly LogLife[] = [];
  #dropped = 0;
  /** As it was before the transaction that is under way. */
  #before: { readonly all: readonly LogLife[]; readonly isDue: boolean } | undefined;
  /** True if this opening becomes a life as soon as it writes a row. */
  #isDue = false;
  #epoch = 0;

  /** `random` returns 32 bits. */
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

  /** Loads the lives of earlier openings. This opening will be another one. */
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

  /** Starts to keep lives. This opening is one at once. The caller writes it, or undoes it. */
  begin(logEndOffset: number): void {
    this.#before = { all: this.#all, isDue: this.#isDue };
    this.#add(this.#drawn(logEndOffset));
    this.#isDue = false;
  }

  /** Earlier lives are not known any more. */
  beginAnew(logEndOffset: number): void {
    this.#dropped += this.#all.length + 1;
    this.#all = [this.#drawn(logEndOffset)];
    this.#isDue = false;
  }

  /** The life that a row at this offset begins. Undefined if it belongs to the current one. */
  at(baseOffset: number): LogLife | undefined {
    if (!this.#isDue) return undefined;
    this.begin(baseOffset);
    return this.#all.at(-1);
  }

  /** Ends the transaction: what was begun is now written, or is undone. */
  done(isThrough: boolean): void {
    // If not even the first life could be written, none is due: rows have none before there is a snapshot.
    if (!isThrough && this.#before) {
      this.#all = this.#before.all;
      this.#isDue = this.#before.isDue;
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

  has(life: string): boolean {
    return this.#all.some((each) => each.life === life);
  }

  /**
   * The offset at which the log and what a device last received in `life` part at the latest. A batch that is the same
   * in both above it came there again. Infinity: the lives do not part them.
   */
  partsAt(life: string): number {
    const at = this.#all.findIndex((each) => each.life === life);
    // `life` may be missing here. The log then parts from it where the first life with its epoch, or a later one,
    // begins.
    const epoch = epochOf(life);
    const next = at >= 0 ? this.#all[at + 1] : this.#all.find((each) => epochOf(each.life) >= epoch);
    return next?.start ?? Infinity;
  }

  /** True if a device that received everything below `end`, last in `life`, has seen more than the log has. */
  wentBack(life: string, end: number): boolean {
    const at = this.#all.findIndex((each) => each.life === life);
    const next = this.#all[at + 1];
    if (at >= 0) return next !== undefined && next.start < end;
    // A life that is not in the list was dropped or lost. The epochs tell which.
    const oldest = this.#all[0];
    if (this.#dropped === 0 || !oldest || epochOf(life) >= epochOf(oldest.life)) return true;
    return oldest.start < end;
  }
}
