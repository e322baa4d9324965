/**
 * What one session has heard of its log at the edge. Joins, tides and answers to pushes tell it; the receiver, the
 * status and the local retention ask for it. It outlives connections, so it may be older than the log is.
 *
 *   start ───────── caughtFrom ────── watermark ─────── end
 *   of the edge     of this catch-up  of this device    of the edge
 */
import type { Joined, TidePayload } from "./sync-frames.ts";

export class LogAtEdge {
  /** Offset behind the log's last record; undefined before the first join. */
  end: number | undefined;
  /** Offset of the log's first record. */
  start = 0;
  /** The device's watermark when this catch-up began. */
  caughtFrom = 0;
  /** The log's life, by the newest join or tide. A log that is made anew, or put back, has another one. */
  life = "";
  /** Up to this offset the device and the edge had the same records at the newest join. */
  agreedTo = 0;

  joined({ life, agreedTo, logEndOffset, logStartOffset }: Joined): void {
    this.life = life;
    this.agreedTo = agreedTo;
    this.end = logEndOffset;
    this.start = logStartOffset;
  }

  risen({ highWatermark, logStartOffset }: TidePayload): void {
    this.end = highWatermark;
    this.start = logStartOffset;
  }

  /** An answer to this device's own call says that the log reaches here. A tide may have said more since. */
  reaches(end: number): void {
    this.end = Math.max(this.end ?? 0, end);
  }
}
