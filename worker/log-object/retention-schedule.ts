/**
 * Retention, driven by the alarm of the log object. It removes whole sealed segments from the front, as everywhere. A
 * stream that forks read from keeps all of them. Segments in R2 are deleted by the archiver's next run.
 */
import { TidemarkError } from "../../src/errors.ts";
import { settledTimes } from "../../src/log/age.ts";
import { saneRetention } from "../../src/log/limits.ts";
import { retentionOffset } from "../../src/log/retention.ts";
import type { EventFields } from "../telemetry/events.ts";
import type { Retry } from "../store/retries.ts";
import type { Stream } from "../stream/stream.ts";

/**
 * When retention has something to remove; undefined if that never happens as things are. While forks hold the stream
 * nothing is due until they are gone.
 */
export function retentionDue(stream: Stream, nowMs: number): number | undefined {
  const {
    config: { retention },
    log,
  } = stream;
  if (!retention || stream.isHeld || stream.config.releasing) return undefined;
  const segments = log.segments();
  const { logStartOffset, highWatermark } = log;
  if (retentionOffset(segments, retention, { logStartOffset, highWatermark, nowMs }) > logStartOffset) return nowMs;
  const [oldest] = segments;
  const { maxAgeMs } = saneRetention(retention);
  if (maxAgeMs === undefined || !oldest || (oldest.state === "active" && oldest.batches === 0)) return undefined;
  const from = settledTimes(segments, nowMs)[0] ?? segments.at(-1)!.createdAt;
  return Math.max(nowMs, from + maxAgeMs + 1);
}

interface RetentionHost {
  readonly abort: (reason: string) => void;
  readonly event: (name: string, fields: EventFields) => void;
}

/**
 * Removes what is due, and nothing while forks hold the stream. False if that failed. The active segment is rolled once
 * it is as old as retention allows, so that it can be removed later.
 */
export async function applyRetention(stream: Stream, { abort, event }: RetentionHost): Promise<boolean> {
  if (stream.config.releasing || stream.isHeld) return true;
  try {
    const { segments, bytes } = (await stream.log.clean()).retired;
    if (segments > 0) event("retention", { segments, bytes, start: stream.log.logStartOffset });
    return true;
  } catch (thrown) {
    const { details } = TidemarkError.from(thrown);
    // A fork was made meanwhile, or the stream was deleted: its storage is empty, and stays so.
    if (details["reason"] === "held" || stream.store.isEnded) return true;
    if (details["poisoned"]) abort(String(thrown));
    event("retention_failed", { message: String(thrown) });
    return false;
  }
}

interface RetentionScheduleHost extends RetentionHost {
  readonly stream: () => Stream | undefined;
  readonly now: () => number;
  readonly retry: Retry;
}

export class RetentionSchedule {
  readonly #host: RetentionScheduleHost;

  constructor(host: RetentionScheduleHost) {
    this.#host = host;
  }

  /** When there is something to remove; undefined if never as things are. */
  get due(): number | undefined {
    const stream = this.#host.stream();
    const due = stream && retentionDue(stream, this.#host.now());
    return due === undefined ? undefined : Math.max(due, this.#host.retry.at);
  }

  /** Never throws. */
  async run(): Promise<void> {
    const { retry, now } = this.#host;
    const stream = this.#host.stream();
    if (stream?.config.retention === undefined || now() < retry.at) return;
    if (await applyRetention(stream, this.#host)) retry.succeeded();
    else retry.failed();
  }
}
