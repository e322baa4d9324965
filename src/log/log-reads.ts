/**
 * Reads of a log: what is visible below a limit, which offset a start position means, and reads that wait at the end.
 *
 *                     high watermark        log end
 *                          ▼                   ▼
 *   ──────┬────────────────┬───────────────────┬────▶
 *         │ committed      │ provisional only  │ waiting reads
 *
 * The log moves both limits and calls `advance`. A read that waits behind a limit then looks again.
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import type { LogStore } from "../store/log-store.ts";
import { LARGE_BATCH_BYTES } from "./few-records-layout.ts";
import { refuse } from "./limits.ts";
import type { Fetched, FetchOptions, Isolation, LogSettings, StartPosition } from "./types.ts";
import { Waiters } from "./waiters.ts";

const FETCH_BYTES = 1024 * 1024;

export interface LogReadsOptions {
  readonly store: LogStore;
  readonly kernel: Kernel;
  readonly waitersMax: number;
  /** The log's current settings. */
  readonly settings: () => LogSettings;
  /** Throws if the log is closed, deleted or failed. */
  readonly check: () => void;
  /** Gives other work a turn during long work. */
  readonly breathe: () => Promise<void>;
}

export class LogReads {
  /** Offset behind the last durable record. */
  highWatermark: number;
  readonly #options: LogReadsOptions;
  readonly #store: LogStore;
  readonly #committed: Waiters;
  readonly #provisional: Waiters;
  /** A read met much at once, so that reads of few records may meet large batches. */
  #isLarge = false;

  constructor(options: LogReadsOptions) {
    this.#options = options;
    this.#store = options.store;
    this.highWatermark = options.store.flushedOffset;
    this.#committed = new Waiters(options.waitersMax);
    this.#provisional = new Waiters(options.waitersMax);
  }

  /** Wakes reads that may see records that are written but not yet durable. */
  advanceProvisional(logEndOffset: number): void {
    this.#provisional.advance(logEndOffset);
  }

  /** Moves the high watermark up, and wakes all reads that waited for it. */
  raiseHighWatermark(offset: number): void {
    this.highWatermark = offset;
    this.#committed.advance(offset);
    this.advanceProvisional(offset);
  }

  /** Makes every waiting read fail. */
  fail(error: TidemarkError): void {
    this.#committed.fail(error);
    this.#provisional.fail(error);
  }

  async fetch(from: number, options: FetchOptions = {}): Promise<Fetched> {
    const {
      maxBytes = FETCH_BYTES,
      isolation = "committed",
      wait = false,
      verify = false,
      to = Infinity,
      signal,
    } = options;
    if (!Number.isSafeInteger(maxBytes) || maxBytes < 1) refuse("maxBytes", maxBytes, "a whole number from 1");
    for (;;) {
      signal?.throwIfAborted();
      const limit = this.#limit(isolation);
      const end = Math.min(limit, to);
      const found = await (this.#isLarge && to < Infinity
        ? (await import("./few-records.ts")).readFew(this.#options, from, end, maxBytes, verify)
        : this.#store.read(from, maxBytes, end, verify));
      this.#isLarge ||= found.bytes.length > LARGE_BATCH_BYTES;
      if (found.nextOffset > from || !wait) {
        const { logStartOffset, logEndOffset } = this.#store;
        return { ...found, logStartOffset, highWatermark: this.highWatermark, logEndOffset };
      }
      this.#options.check();
      // The limit may have risen during the read. A read that is parked behind the old limit would miss the wake-up.
      if (this.#limit(isolation) > limit) continue;
      await (isolation === "committed" ? this.#committed : this.#provisional).wait(from, signal);
    }
  }

  #limit(isolation: Isolation): number {
    return isolation === "committed" ? this.highWatermark : this.#store.logEndOffset;
  }

  async resolve(position: StartPosition, isolation: Isolation = "committed"): Promise<number> {
    const { logStartOffset } = this.#store;
    const limit = this.#limit(isolation);
    if (position === "earliest") return logStartOffset;
    if (position === "latest") return limit;
    if (typeof position === "number") {
      if (Number.isInteger(position) && position >= logStartOffset && position <= limit) return position;
      throw new TidemarkError("OFFSET_OUT_OF_RANGE", `offset ${position} is not in the log`, {
        offset: position,
        logStartOffset,
        logEndOffset: limit,
      });
    }
    if ("last" in position) {
      if (!(typeof position.last === "number" && position.last >= 0))
        refuse("last", position.last, "a number of offsets, 0 or more");
      return Math.max(logStartOffset, limit - Math.trunc(position.last));
    }
    const { firstAt } = await import("./time-seek.ts");
    return firstAt(this.#options, position.timestamp, limit);
  }
}
