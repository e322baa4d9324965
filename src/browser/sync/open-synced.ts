/**
 * Opens a synced topic's storage: its outbox, its replica, and the log that readers and writers see over both. With an
 * edge address, a local topic becomes synced, and a topic that does not exist is made.
 */
import type { Kernel } from "../../kernel/types.ts";
import { withDefaults } from "../../log/limits.ts";
import type { Log } from "../../log/log.ts";
import type { LogApi } from "../../log/types.ts";
import type { SegmentStore } from "../../store/segment-store.ts";
import { becomeSynced } from "../../sync/become-synced.ts";
import { SyncedLog } from "../../sync/synced-log.ts";
import { TopicStorage } from "../../sync/topic-storage.ts";
import { logSettingsOf, type TopicSettings } from "../../topic/settings.ts";
import type { TopicStore } from "../../sync/topic-store.ts";

export interface EdgeAddress {
  readonly url: string;
  readonly path: string;
}

/** A topic as the volume has it once it is synced. */
export interface SyncedTopic {
  readonly store: TopicStore;
  /** What readers and writers of the topic are given. */
  readonly log: LogApi;
}

/** What is needed of the worker that keeps the topics. */
export interface SyncedVolume {
  readonly store: SegmentStore;
  readonly kernel: Kernel;
  breathe(): Promise<void>;
  /** The topic's stored settings. */
  settingsOf(topic: string): TopicSettings;
  /** The plain log of a topic, if it is open. The worker gives it up. */
  takePlain(topic: string): Promise<Log | undefined>;
}

/** 63 random bits, and not 0. */
function newOutboxId(): string {
  for (;;) {
    const [random] = crypto.getRandomValues(new BigUint64Array(1));
    const id = random! >> 1n;
    if (id > 0n) return id.toString(16).padStart(16, "0");
  }
}

export async function openSynced(
  volume: SyncedVolume,
  topic: string,
  edge: EdgeAddress | undefined,
): Promise<SyncedTopic> {
  const { store, kernel, settingsOf } = volume;
  const breathe = (): Promise<void> => volume.breathe();
  const clock = { now: store.now };
  if (edge) await becomeSynced({ topic, store, ...edge, newOutboxId, log: await volume.takePlain(topic) });
  const settings = logSettingsOf(settingsOf(topic));
  const storage = await TopicStorage.open({ topic, store, kernel, clock, newOutboxId, breathe, settings });
  const log = new SyncedLog({ storage, kernel, clock, breathe, settings: () => withDefaults(settings) });
  return { store: storage, log };
}
