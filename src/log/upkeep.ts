/**
 * A log's upkeep other than the roll: retention, then compaction, pass by pass, each in slices. Loaded by the first
 * `clean()` of a log whose settings ask for it.
 *
 * A pass is bounded (compaction.ts), and its progress is durable after each portion. A leader that ends loses at most
 * the map and one portion; segments that were swapped stay swapped. The next leader continues from there.
 */
import type { Kernel } from "../kernel/types.ts";
import type { LogStore } from "../store/log-store.ts";
import { Compactor } from "./compaction.ts";
import { saneCompaction, TOMBSTONE_RETENTION_MS } from "./limits.ts";
import { retire } from "./retention.ts";
import type { CleanResult, Clock, LogSettings } from "./types.ts";

/** A portion is this many segments' worth of bytes, usually 32 MiB. A pass maps at least twice that. */
const PORTION_SEGMENTS = 4;

export interface UpkeepOptions {
  readonly store: LogStore;
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly settings: LogSettings;
  readonly highWatermark: () => number;
  /** Runs work that must have the store alone, between two commits. */
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>;
  /** A turn of the event loop. It throws once the log is closed, so that no pass outlives the log. */
  readonly breathe: () => Promise<void>;
}

export class Upkeep {
  readonly #options: UpkeepOptions;
  #compactor: Compactor | undefined;

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  async run(): Promise<Pick<CleanResult, "retired" | "compacted">> {
    const { store, clock, settings, highWatermark, alone } = this.#options;
    const retired = await alone(() =>
      retire(store, settings.retention, { highWatermark: highWatermark(), nowMs: clock.now() }),
    );
    return { retired, compacted: await this.#compact() };
  }

  async #compact(): Promise<CleanResult["compacted"]> {
    const { store, clock, settings, highWatermark, alone } = this.#options;
    const total = { segments: 0, bytesBefore: 0, bytesAfter: 0, recordsRemoved: 0 };
    if (!settings.compaction) return total;
    // An empty log is no measure. The compactor stays, and one that may take no byte would never take a segment.
    const portionBytes = PORTION_SEGMENTS * Math.max(1, ...store.segments().map(({ bytes }) => bytes));
    const compactor = (this.#compactor ??= this.#make(2 * portionBytes));
    // Each pass raises `cleanTo`, so the loop ends once all segments that are sealed by then are compacted.
    for (let more = true; more;) {
      const { cleanTo } = compactor;
      const done = await compactor.run(clock.now(), highWatermark(), alone, portionBytes);
      for (const field of Object.keys(total) as (keyof typeof total)[]) total[field] += done[field];
      await alone(() => this.#remember(compactor));
      more = compactor.isUnderWay || (compactor.isBounded && compactor.cleanTo > cleanTo);
    }
    return total;
  }

  #make(passBytesMin: number): Compactor {
    const { store, kernel, settings, breathe } = this.#options;
    const { to = 0, dueAt = null, tombstoneRetentionMs, mapTo = 0, at = 0, passDueAt = null } = store.compacted ?? {};
    const resumed =
      at > 0 && tombstoneRetentionMs === this.#delayMs ? { mapTo, at, nextDueMs: passDueAt ?? Infinity } : undefined;
    // The due time was computed with another delay. In that case a pass looks again.
    const nextDueMs = tombstoneRetentionMs === this.#delayMs ? (dueAt ?? Infinity) : 0;
    return new Compactor({
      store,
      kernel,
      settings,
      breathe,
      cleanTo: to,
      nextDueMs: to === 0 ? Infinity : nextDueMs,
      resumed,
      passBytesMin,
    });
  }

  get #delayMs(): number {
    return saneCompaction(this.#options.settings.compaction ?? {}).tombstoneRetentionMs ?? TOMBSTONE_RETENTION_MS;
  }

  async #remember({ cleanTo: to, nextDueMs, underWay }: Compactor): Promise<void> {
    const dueOf = (ms: number): number | null => (Number.isFinite(ms) ? ms : null);
    if (to === 0 && !underWay) return;
    const pass = underWay && { mapTo: underWay.mapTo, at: underWay.at, passDueAt: dueOf(underWay.nextDueMs) };
    const mark = { to, dueAt: dueOf(nextDueMs), tombstoneRetentionMs: this.#delayMs, ...pass };
    if (JSON.stringify(mark) !== JSON.stringify(this.#options.store.compacted))
      await this.#options.store.saveCompacted?.(mark);
  }
}
