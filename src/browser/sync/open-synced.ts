/**
 * Opens a synced topic's storage: its outbox, its replica, and the log that readers and writers see over both. If
 * sync() names the topic, a local topic becomes synced, and a topic that does not exist is made.
 */
import { TidemarkError } from "../../errors.ts";
import type { Kernel } from "../../kernel/types.ts";
import { withDefaults } from "../../log/limits.ts";
import type { Log } from "../../log/log.ts";
import type { SegmentStore } from "../../store/segment-store.ts";
import { outboxName } from "../../sync/log-names.ts";
import { SyncedLog } from "../../sync/synced-log.ts";
import { type KeptOptions, optionsAfter } from "../../sync/topic-options.ts";
import { TopicStorage } from "../../sync/topic-storage.ts";
import { logSettingsOf, type TopicSettings } from "../../topic/settings.ts";

/** What sync() says of a topic: where its log is at the edge, and what is kept in the topic's note. */
export interface AskedTopic {
  readonly url: string;
  readonly path: string;
  readonly options: KeptOptions;
}

/** A topic as the volume has it once it is synced. */
export interface SyncedTopic {
  readonly store: TopicStorage;
  /** What readers and writers of the topic are given. */
  readonly log: SyncedLog;
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

/**
 * Of 48 bits. A topic may have been synced before, and its copy was named by the edge log's id: an edge that was put
 * back has a log of the same id with other records.
 */
const randomCount = (): number => parseInt(newOutboxId().slice(4), 16);

/** What a call on the topic finds once its sync has ended. */
export const notSynced = (topic: string): TidemarkError =>
  new TidemarkError("UNKNOWN_TOPIC", `the topic ${topic} is synced no more: its records are in ${topic}.kept`, {
    topic,
    deleted: true,
  });

/** Work on a topic that was just opened. If it fails the topic is closed: the next call opens it anew. */
export async function orClosed({ log }: SyncedTopic, work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (thrown) {
    await log.close().catch(() => undefined);
    throw thrown;
  }
}

export async function openSynced(
  volume: SyncedVolume,
  topic: string,
  asked: AskedTopic | undefined,
): Promise<SyncedTopic> {
  const { store, kernel, settingsOf } = volume;
  const breathe = (): Promise<void> => volume.breathe();
  const clock = { now: store.now };
  if (asked && store.bornOf(outboxName(topic)) === undefined) {
    const { url, path } = asked;
    const options = optionsAfter({}, asked.options);
    const { becomeSynced } = await import("../../sync/become-synced.ts");
    const log = await volume.takePlain(topic);
    await becomeSynced({ topic, store, url, path, options, newOutboxId, log, anew: randomCount() });
  }
  const settings = logSettingsOf(settingsOf(topic));
  const storage = await TopicStorage.open({ topic, store, kernel, clock, newOutboxId, breathe, settings });
  if (storage.outboxNote.leaving !== undefined) {
    // An earlier opening had begun to end its sync.
    await storage.close();
    await (await import("../../sync/stop-syncing.ts")).detach(store, storage);
    throw notSynced(topic);
  }
  const wished = (): KeptOptions => storage.outboxNote.options ?? {};
  const log = new SyncedLog({
    storage,
    kernel,
    clock,
    breathe,
    settings() {
      const { keep } = wished();
      return withDefaults({ ...settings, ...(keep && { retention: keep }) });
    },
    get outboxBytesMax() {
      return wished().outboxBytesMax;
    },
  });
  return { store: storage, log };
}
