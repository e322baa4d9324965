/** A stream's description: one row, written when it changes. */
import type { CompactionSettings, RetentionSettings } from "../../src/log/types.ts";
import type { WriterProducer } from "./writer-state.ts";

/** Where a fork has come from: below `offset` its records are those of the stream at `path` that was made with `id`. */
export interface Fork {
  readonly path: string;
  readonly id?: string | undefined;
  readonly offset: number;
  readonly requested: string | undefined;
  readonly subOffset: number;
  /** Its first record: the source's, or the fork's own once the source is gone. Absent: 0. */
  readonly start?: number;
}

export interface StreamConfig {
  /** Of this creation: a stream made anew under the same path has another, and so other ETags. */
  readonly id: string;
  readonly path: string;
  /** Alarms come without a request to say whose stream this is. */
  readonly tenant: string;
  /** Somebody subscribes to this stream. */
  readonly watched: boolean;
  readonly contentType: string;
  readonly ttl: number | undefined;
  readonly expiresAt: string | undefined;
  readonly fork: Fork | undefined;
  readonly closed: boolean;
  readonly closedBy: WriterProducer | undefined;
  /** Deleted, and kept for its forks. */
  readonly deleted: boolean;
  /** Deleted for good, but the source has not been told yet. */
  readonly releasing: boolean;
  readonly touchedAt: number;
  /** What may go from the front; absent: nothing does. */
  readonly retention?: RetentionSettings;
  /** Of each key only the newest record has to stay; absent: all do. */
  readonly compaction?: CompactionSettings;
  /** When the forks are asked whether they are, and the pause before that (forks.ts). */
  readonly forkCheck?: { readonly at: number; readonly pauseMs: number } | undefined;
}
