/**
 * The windows of a link's follows: how many bytes of batches the edge may send to each before credits go back. All of
 * them together stay within WINDOWS_BYTES, however topics come and go.
 *
 *   WINDOWS_BYTES │ BASE_BYTES for each topic that a link may carry │ the pool: what larger windows have beyond that │
 *
 * A follow begins small, or wider where it is far behind. It doubles while it catches up, up to an even part of the
 * pool, and is small again when it is level. Near the end of the log it takes no more than is left to come, because
 * credits that the edge has stay there. A window shrinks by credits that are not given back. Only a batch that is
 * larger than its window goes beyond. Frames that cost none, such as those of own batches, shrink nothing: a wide
 * window that is of no use ends with its follow, and another follow begins with a small one (receiver.ts).
 *
 * An edge that ends the socket as too slow (4429) halves all of that, and the pushes under way. Each RESTORE_MS of a
 * connection doubles it again.
 */

/** The edge's limit of logs on one socket. */
export const TOPICS_MAX = 256;
export const WINDOWS_BYTES = 12 * 1024 * 1024;
const BASE_BYTES = 16 * 1024;
/** The window of a follow that is level, or begins near the log's end, if the pool has that much. */
export const LEVEL_BYTES = 64 * 1024;
/**
 * A follow that begins far behind has up to this many times LEVEL_BYTES, and at most a sixteenth of what the pool has
 * left. Over a slow line each doubling that it need not wait for spares a round trip.
 */
const BEGIN_LEVELS_MAX = 8;
const FREE_PART_SHIFT = 4;
/**
 * Bytes of a record, before any came. A log whose records are smaller may leave the window too wide at its end: then
 * the follow begins anew once.
 */
const RECORD_BYTES = 64;
/** Most of one follow. The window divided by the round trip is its speed. */
export const FOLLOW_BYTES_MAX = 8 * 1024 * 1024;
const PUSHES = 8;
const HALVINGS_MAX = 6;
export const RESTORE_MS = 600_000;

/** Bytes of windows. */
export interface WindowSizes {
  /** Of all follows together. Default: 12 MiB. */
  readonly all: number;
  /** That every follow has, whatever others have. Default: 16 KiB. */
  readonly base: number;
  /** Of one that is level, or begins near the end. Default: 64 KiB. */
  readonly level: number;
  /** Most of one follow. Default: 8 MiB. */
  readonly most: number;
}

export const WINDOW_SIZES: WindowSizes = {
  all: WINDOWS_BYTES,
  base: BASE_BYTES,
  level: LEVEL_BYTES,
  most: FOLLOW_BYTES_MAX,
};

/** Where a follow stands when the loop has taken a frame. */
export interface FollowedTo {
  /** Bytes of batches in the frame. */
  readonly bytes: number;
  readonly nextOffset: number;
  readonly isLevel: boolean;
}

export class WindowBudget {
  readonly sizes: WindowSizes;
  #halvings = 0;
  #used = 0;
  readonly #catching = new Set<WindowShare>();

  constructor(sizes = WINDOW_SIZES) {
    this.sizes = sizes;
  }

  /** Pushes of one topic that may be under way. */
  get pushes(): number {
    return Math.max(1, PUSHES >> this.#halvings);
  }
  get isHalved(): boolean {
    return this.#halvings > 0;
  }
  get #pool(): number {
    const { all, base } = this.sizes;
    return (all - TOPICS_MAX * base) >> this.#halvings;
  }
  halve(): void {
    this.#halvings = Math.min(HALVINGS_MAX, this.#halvings + 1);
  }
  restore(): void {
    this.#halvings = Math.max(0, this.#halvings - 1);
  }

  /** The window of one follow, until its end(). `edgeEnd`: the end of the edge's log, as it was told last. */
  share(from: number, edgeEnd: () => number | undefined): WindowShare {
    return new WindowShare(this, from, edgeEnd);
  }

  /** Called by a share: its window is `to` now, and was `from`. */
  changed(from: number, to: number): void {
    const { base } = this.sizes;
    this.#used += Math.max(0, to - base) - Math.max(0, from - base);
  }

  /** For a share that has `has` bytes and would have `wanted`. Those that catch up have even parts of the pool. */
  most(share: WindowShare, has: number, wanted: number, isCatchingUp: boolean): number {
    if (isCatchingUp) this.#catching.add(share);
    else this.#catching.delete(share);
    const { base, most } = this.sizes;
    const pool = this.#pool;
    let caught = 0;
    for (const { bytes } of this.#catching) caught += Math.max(0, bytes - base);
    // Only the pool is shared out, not what level follows have.
    const fair = base + Math.floor((pool - this.#used + caught) / Math.max(1, this.#catching.size));
    const free = Math.max(has, base) + pool - this.#used;
    return Math.max(base, Math.min(wanted, most >> this.#halvings, fair, free));
  }

  /** The window of a share that begins, where some `behind` bytes are to come. */
  first(share: WindowShare, behind: number): number {
    const { level } = this.sizes;
    const wider = Math.min(behind, BEGIN_LEVELS_MAX * level, (this.#pool - this.#used) >> FREE_PART_SHIFT);
    return this.most(share, 0, Math.max(level, wider), false);
  }

  left(share: WindowShare): void {
    this.#catching.delete(share);
  }
}

export class WindowShare {
  readonly #budget: WindowBudget;
  #from: number;
  readonly #edgeEnd: () => number | undefined;
  readonly #level: number;
  #came = 0;
  /** Bytes that cost no credits, since the last that did. */
  #free = 0;
  /** The window, as the budget counts it. */
  #bytes = 0;

  constructor(budget: WindowBudget, from: number, edgeEnd: () => number | undefined) {
    this.#budget = budget;
    this.#from = from;
    this.#edgeEnd = edgeEnd;
    this.#level = budget.sizes.level;
    this.#become(budget.first(this, RECORD_BYTES * ((edgeEnd() ?? 0) - from)));
  }

  /** What the follow begins with, and what it has since. */
  get bytes(): number {
    return this.#bytes;
  }

  #become(bytes: number): number {
    this.#budget.changed(this.#bytes, bytes);
    return (this.#bytes = bytes);
  }

  /** The window from now on. It was `has` bytes, and of these the edge may have `least` already. */
  next(has: number, least: number, { bytes, nextOffset, isLevel }: FollowedTo): number {
    this.#come(has, bytes);
    // By the mean of bytes an offset so far. Where the rest has more, the window grows once more.
    const mean = this.#came / Math.max(1, nextOffset - this.#from);
    // Whole bytes: a frame of credits has no part of one, and a follow that lacks a byte would wait for ever.
    const left = isLevel ? 0 : Math.ceil(mean * Math.max(0, (this.#edgeEnd() ?? Infinity) - nextOffset));
    const wanted = Math.max(this.#level, Math.min(2 * has, left + this.#level));
    return this.#become(Math.max(least, this.#budget.most(this, has, wanted, left > this.#level)));
  }

  /** So many bytes came without credits. True if the follow is to begin anew: a whole window has gone by unused. */
  isUnused(bytes: number): boolean {
    this.#free += bytes;
    return this.#free >= this.#bytes && this.#bytes > this.#level;
  }
  /** True if a follow that is level is to begin anew. */
  get isWide(): boolean {
    return this.#bytes > this.#level;
  }

  /** The follow has ended, and another one begins there. */
  restart(from: number): void {
    this.#from = from;
    this.#came = this.#free = 0;
    // Its old window goes back to the pool first, so that it does not make the new one smaller.
    this.#become(0);
    this.#become(this.#budget.most(this, 0, this.#level, false));
  }

  #come(has: number, bytes: number): void {
    this.#came += bytes;
    this.#free = 0;
    // A batch that was larger than the window has widened it.
    this.#become(has);
  }

  end(): void {
    this.#budget.left(this);
    this.#become(0);
  }
}
