/** A stream's description: one row, which is written when it changes. */
import type { CompactionSettings, RetentionSettings } from "../../src/log/types.ts";
import type { WriterProducer } from "./writer-state.ts";

/** The source of a fork: records below `offset` are those of the stream at `path` whose creation had this `id`. */
export interface Fork {
  readonly path: string;
  readonly id?: string | undefined;
  readonly offset: number;
  readonly requested: string | undefined;
  readonly subOffset: number;
  /** Offset of its first record: the source's, or the fork's own once the source is gone. Absent means 0. */
  readonly start?: number;
}

export interface StreamConfig {
  /** Id of this creation. A stream that is made again under the same path has another id, and so other ETags. */
  readonly id: string;
  readonly path: string;
  /** Stored because an alarm comes without a request that names the tenant. */
  readonly tenant: string;
  /** True if somebody subscribes to this stream. */
  readonly watched: boolean;
  readonly contentType: string;
  readonly ttl: number | undefined;
  readonly expiresAt: string | undefined;
  readonly fork: Fork | undefined;
  readonly closed: boolean;
  readonly closedBy: WriterProducer | undefined;
  /** Deleted, but kept for its forks. */
  readonly deleted: boolean;
  /** Deleted, but its source was not told yet. */
  readonly releasing: boolean;
  /**
   * Offset behind the records of the PUT that makes it, until these are stored and subscriptions were told of the
   * stream. A log that ends before it was cut short. Absent: the PUT is done.
   */
  readonly creating?: number | undefined;
  readonly touchedAt: number;
  /** What may be removed from the front. Absent: nothing. */
  readonly retention?: RetentionSettings;
  /** How it is compacted by key. Absent: it is not. */
  readonly compaction?: CompactionSettings;
  /** When its forks are asked next whether they exist, and the pause before that (log-object/forks.ts). */
  readonly forkCheck?: { readonly at: number; readonly pauseMs: number } | undefined;
}
