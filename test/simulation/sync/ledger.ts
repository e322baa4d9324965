/**
 * What the edge's log has ever held, from its commits, so that nothing that retention or compaction removes later is
 * missed. A log that is made anew, or put back to an earlier moment, begins another history.
 *
 *   offset   0    1    2    3    4
 *   name     r1   r4   r2   -    r7        a name twice, or below one that its device appended before: a fault
 *   gone     ▒▒   ▒▒                       trimmed, or taken by compaction
 */
export interface EdgeHistory {
  /** Names by offset. */
  readonly names: string[];
  readonly at: Map<string, number>;
  readonly gone: Set<number>;
  /** The offsets in `gone` that only a trim can have taken. */
  readonly trimmed: Set<number>;
  start: number;
}

const fresh = (): EdgeHistory => ({ names: [], at: new Map(), gone: new Set(), trimmed: new Set(), start: 0 });

export class Ledger {
  readonly #fail: (why: string) => void;
  /** Records that a person said to send again although they may be at the edge. */
  readonly mayBeTwice = new Set<string>();
  #now = fresh();
  readonly #past: EdgeHistory[] = [];

  constructor(fail: (why: string) => void) {
    this.#fail = fail;
  }

  get now(): EdgeHistory {
    return this.#now;
  }
  /** True if the log was put back or made anew. */
  get hasPast(): boolean {
    return this.#past.length > 0;
  }
  /** How often that was. */
  get past(): number {
    return this.#past.length;
  }
  get end(): number {
    return this.#now.names.length;
  }

  /** True if the edge has taken it, now or in a past that is over. */
  hasTaken(name: string): boolean {
    return this.#now.at.has(name) || this.#past.some(({ at }) => at.has(name));
  }

  /** True if it has stood there, now or in a past that is over. */
  hasStood(name: string, offset: number): boolean {
    return this.#now.names[offset] === name || this.#past.some(({ names }) => names[offset] === name);
  }

  /** True if the edge has taken it and does not hold it any more, or in a past that is over. */
  isGone(name: string): boolean {
    const { at, gone, start } = this.#now;
    const offset = at.get(name);
    if (offset !== undefined && (offset < start || gone.has(offset))) return true;
    return this.#past.some((history) => history.at.has(name));
  }

  /** True if retention or compaction had taken it before the log was put back or made anew. */
  wasGone(name: string): boolean {
    return this.#past.some(({ at, gone }) => gone.has(at.get(name) ?? -1));
  }

  /** True if it stood below that offset in a past that is over. */
  stoodBelow(name: string, offset: number): boolean {
    return this.#past.some(({ at }) => (at.get(name) ?? Infinity) < offset);
  }

  add(offset: number, name: string): void {
    const { names, at } = this.#now;
    if (offset !== names.length) return this.#fail(`edge: ${name} is at ${offset}, and ${names.length} is next`);
    const before = at.get(name);
    if (before !== undefined && !this.mayBeTwice.has(name)) this.#fail(`twice: ${name} at ${before} and ${offset}`);
    names.push(name);
    if (before === undefined) at.set(name, offset);
  }

  /** What is left of [0, end) in the log. `isTrim`: nothing but trims has happened since it was said last. */
  left(start: number, held: ReadonlyMap<number, string>, isTrim: boolean): void {
    const { names, gone, trimmed } = this.#now;
    this.#now.start = start;
    for (let offset = 0; offset < names.length; offset++) {
      if (!held.has(offset)) {
        if (isTrim && !gone.has(offset)) trimmed.add(offset);
        gone.add(offset);
      } else if (held.get(offset) !== names[offset]) this.#fail(`edge: offset ${offset} holds another record`);
    }
  }

  /** The log is back at an earlier moment, when it had held these. It begins at `start`. */
  putBack(names: readonly string[], start: number, held: ReadonlyMap<number, string>): void {
    this.#past.push(this.#now);
    this.#now = fresh();
    names.forEach((name, offset) => {
      this.#now.names.push(name);
      if (!this.#now.at.has(name)) this.#now.at.set(name, offset);
    });
    this.left(start, held, false);
  }

  madeAnew(): void {
    this.#past.push(this.#now);
    this.#now = fresh();
  }
}
