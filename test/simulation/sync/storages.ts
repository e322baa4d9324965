/** What a history needs of its devices' storage: the simulation's own in memory, or the real one over a volume. */
import type { TopicStore } from "../../../src/sync/topic-store.ts";

export interface OpenTopic {
  readonly newId: () => string;
  readonly pause: () => Promise<void>;
  readonly now: () => number;
}

export interface SimStore {
  readonly store: TopicStore;
  readonly term: number;
  /** Resolves when the batch is flushed. */
  append(batch: Uint8Array): Promise<void>;
  /** What a reader is shown, of one moment: batches that are committed, and own ones without a place. */
  shown(): Promise<{ readonly committed: Uint8Array; readonly provisional: Uint8Array }>;
  /** The device crashes: nothing reaches the disk any more, and nothing is answered. */
  kill(): void;
}

/** What outlives a crash. */
export interface SimDisk {
  copy(): SimDisk;
  open(options: OpenTopic): Promise<SimStore>;
}
