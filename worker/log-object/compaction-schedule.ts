/**
 * Key compaction of a stream, driven by its object's alarm. src/log/compaction.ts does the work; this file decides
 * when, and how much at a time.
 *
 *   mark, a row of `meta`   { to, dueAt, doneAt }   below `to` each key has one record; `dueAt`: the next tombstone
 *                                                   there may go
 *
 *   due       as many bytes are dirty as clean, in segments that are old enough; or a tombstone may go
 *   portion   about 16 MiB read in one alarm, then the next alarm at once. An unfinished pass is only in memory: if
 *             that is lost, the pass begins again
 *   swap      old rows out, new rows in, objects in R2 doomed: one transaction
 *   done      the mark. If it is lost, the pass is repeated and finds nothing to remove
 *
 * So a log that repeats the same keys is read and written only a few times for what is appended, however large it is.
 * Forks suspend compaction: they see what was newest when they were made. Readers of R2 may use replaced segments for a
 * minute, so a tombstone is removed one pass later than the records that it deletes.
 */
import { TidemarkError } from "../../src/errors.ts";
import { settledTimes } from "../../src/log/age.ts";
import { Compactor } from "../../src/log/compaction.ts";
import { saneCompaction } from "../../src/log/limits.ts";
import type { CompactionSettings } from "../../src/log/types.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { turn } from "../stream/body-encoder.ts";
import { EdgeError } from "../errors.ts";
import type { Retry } from "../store/retries.ts";
import type { Stream } from "../stream/stream.ts";
import { COMPACTION_MARK, forgetTombstones } from "../stream/tombstones.ts";

const PORTION_BYTES = 16 * 1024 * 1024;
/** About 16 MiB of memory, at 64 bytes a key plus its text. More keys take several passes. */
const KEYS_MAX = 100_000;
/** Rewritten segments wait in the database for object storage. No pass begins while more than this many wait. */
const WAITING_SEGMENTS_MAX = 8;
/** Longer than any Worker keeps a manifest of what is in object storage. */
const TOMBSTONES_LAST_MS = 120_000;

interface Mark {
  readonly to: number;
  readonly dueAt: number | null;
  readonly doneAt: number;
}

export interface CompactionHost {
  stream(): Stream | undefined;
  kernel(): Promise<Kernel>;
  now(): number;
  /** True if segments move on to object storage. */
  hasBucket(): boolean;
  event(name: "compaction" | "compaction_failed", fields: Record<string, string | number | boolean>): void;
  abort(reason: string): void;
  readonly retry: Retry;
}

export class Compaction {
  readonly #host: CompactionHost;
  #of: { readonly stream: Stream; readonly compactor: Compactor; mark: Mark } | undefined;

  constructor(host: CompactionHost) {
    this.#host = host;
  }

  /** When there is work; undefined if nothing is due as things are. */
  get due(): number | undefined {
    const stream = this.#host.stream();
    if (!stream?.config.compaction || stream.config.releasing || stream.store.isEnded || stream.isHeld)
      return undefined;
    if (this.#host.hasBucket() && stream.store.toMove.count > WAITING_SEGMENTS_MAX) return undefined;
    const isUnderWay = this.#of?.stream === stream && this.#of.compactor.isUnderWay;
    const due = isUnderWay
      ? this.#host.now()
      : dueOf(stream, this.#of?.stream === stream ? this.#of.mark : markOf(stream), this.#host.now());
    return due === undefined ? undefined : Math.max(due, this.#host.retry.at, this.#host.now());
  }

  /** Runs one portion if it is due. Never throws. */
  async run(): Promise<void> {
    const { due } = this;
    const { retry } = this.#host;
    const stream = this.#host.stream();
    if (!stream || due === undefined || due > this.#host.now()) return;
    try {
      if (await this.#portion(stream)) retry.succeeded();
      // The segments were trimmed, or damage was met. The retry waits, in case the same is still there.
      else retry.failed();
    } catch (thrown) {
      // The stream was deleted meanwhile.
      if (this.#isGone(stream)) return;
      this.#of = undefined;
      if (TidemarkError.from(thrown).details["poisoned"]) this.#host.abort(String(thrown));
      const retryMs = retry.failed();
      this.#host.event("compaction_failed", { message: String(thrown), failures: retry.failures, retryMs });
    }
  }

  /** Its tables are empty, or belong to another stream. */
  #isGone(stream: Stream): boolean {
    return stream.store.isEnded || this.#host.stream() !== stream;
  }

  /** False if the portion led to nothing. */
  async #portion(stream: Stream): Promise<boolean> {
    const kernel = await this.#host.kernel();
    if (this.#of?.stream !== stream)
      this.#of = { stream, mark: markOf(stream), compactor: compactorOf(stream, kernel) };
    const { compactor } = this.#of;
    const { passesDone } = compactor;
    const started = this.#host.now();
    const { log, store } = stream;
    const ends = compactor.eligible(started, log.highWatermark);
    // The store refuses a swap if a fork was made meanwhile. The pass then ends, and begins again once the fork is
    // gone.
    const swap = async (work: () => Promise<void>): Promise<void> => {
      if (this.#isGone(stream)) throw new EdgeError("CLOSED", "deleted");
      await work();
    };
    const done = await compactor.run(started, log.highWatermark, swap, PORTION_BYTES);
    if (this.#isGone(stream)) return true;
    if (compactor.passesDone > passesDone) {
      const { cleanTo, nextDueMs } = compactor;
      this.#of.mark = { to: cleanTo, dueAt: Number.isFinite(nextDueMs) ? nextDueMs : null, doneAt: this.#host.now() };
      stream.tables.saveMeta(COMPACTION_MARK, JSON.stringify(this.#of.mark));
    }
    this.#host.event("compaction", {
      segments: done.segments,
      bytesBefore: done.bytesBefore,
      bytesAfter: done.bytesAfter,
      records: done.recordsRemoved,
      to: compactor.cleanTo,
      eligible: ends.at(-1)?.nextOffset ?? 0,
      more: compactor.isUnderWay,
      ms: this.#host.now() - started,
      start: store.logStartOffset,
    });
    return compactor.passesDone > passesDone || compactor.isUnderWay || stream.isHeld;
  }
}

function compactorOf(stream: Stream, kernel: Kernel): Compactor {
  const { config, log, store } = stream;
  const { to: cleanTo, dueAt } = markOf(stream);
  const compaction: CompactionSettings = {
    ...saneCompaction(config.compaction ?? {}),
    // The records that a fork's tombstone deletes may be in its source, which a fork never changes. So it must stay.
    ...(config.fork && { tombstoneRetentionMs: Infinity }),
  };
  const settings = { ...log.settings, compaction, compactionKeysMax: KEYS_MAX };
  const forgetting = (to: number): void => forgetTombstones(stream.tables, to);
  forgetting(0);
  return new Compactor({
    store,
    kernel,
    settings,
    cleanTo,
    nextDueMs: dueAt ?? Infinity,
    tombstonesLast: true,
    forgetting,
    breathe: turn,
  });
}

function markOf(stream: Stream): Mark {
  const text = stream.tables.meta(COMPACTION_MARK);
  return text === undefined ? { to: 0, dueAt: null, doneAt: 0 } : (JSON.parse(String(text)) as Mark);
}

/** When a pass is worth its cost. */
function dueOf({ config, log }: Stream, { to, dueAt, doneAt }: Mark, nowMs: number): number | undefined {
  const { minLagMs = 0 } = saneCompaction(config.compaction!);
  const segments = log.segments();
  const settled = settledTimes(segments, nowMs);
  const bad = log.quarantined();
  const tombstones = dueAt === null ? Infinity : Math.max(dueAt, doneAt + TOMBSTONES_LAST_MS);
  let [clean, dirty, at, full] = [0, 0, 0, Infinity];
  for (const [i, segment] of segments.entries()) {
    const isBad = bad.some((range) => range.from < segment.nextOffset && range.to > segment.baseOffset);
    if (segment.sealedAt === undefined || isBad || (minLagMs > 0 && settled[i] === undefined)) break;
    at = Math.max(at, (settled[i] ?? 0) + minLagMs);
    if (segment.nextOffset <= to) clean += segment.bytes;
    else dirty += segment.bytes;
    if (dirty > 0 && dirty >= clean) full = Math.min(full, at);
  }
  const due = Math.min(tombstones, full);
  return due === Infinity ? undefined : due;
}
