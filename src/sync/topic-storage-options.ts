/** What a synced topic's storage is opened with. */
import type { Kernel } from "../kernel/types.ts";
import type { Clock, LogSettings } from "../log/types.ts";
import type { SegmentStore } from "../store/segment-store.ts";

export interface TopicStorageOptions {
  readonly topic: string;
  readonly store: SegmentStore;
  readonly kernel: Kernel;
  readonly clock: Clock;
  /** 63 random bits as 16 hex digits. */
  readonly newOutboxId: () => string;
  readonly breathe?: (() => Promise<void>) | undefined;
  /** The topic's settings. Retention and compaction apply to the replica only. */
  readonly settings?: Partial<LogSettings> | undefined;
  /** Most batches of the outbox that are held in memory. */
  readonly indexMax?: number | undefined;
}
