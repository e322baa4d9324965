/** Starts sync in the worker that leads, with what it needs of that worker, whose other parts are loaded already. */
import { TidemarkError } from "../../errors.ts";
import type { Kernel } from "../../kernel/types.ts";
import type { Log } from "../../log/log.ts";
import type { SegmentStore } from "../../store/segment-store.ts";
import { keptTopic, outboxName } from "../../sync/log-names.ts";
import { readableOutboxNote } from "../../sync/notes.ts";
import { becameSynced } from "../../sync/synced-now.ts";
import { topicOfOutbox } from "../../sync/places.ts";
import { checkTopicName } from "../../topic/names.ts";
import type { TopicSettings } from "../../topic/settings.ts";
import type { TideEvent } from "../api.ts";
import { laterTurn } from "../platform/timing.ts";
import type { SyncEvent } from "../sync-api.ts";
import { openSynced } from "./open-synced.ts";
import { TideSync } from "./tide-sync.ts";
import type { TokenPage } from "./token-desk.ts";

export interface LeadingWorker {
  readonly store: SegmentStore;
  /** Plain logs that are open, by topic. */
  readonly logs: Map<string, Promise<Log>>;
  readonly kernel: Kernel;
  readonly topics: {
    readonly settings: Readonly<Record<string, TopicSettings>>;
    /** Told when a topic does not exist any more, with the topic that has its records. */
    ended(topic: string, kept: string): void;
    /** The log of a local topic, which is made if it is not there. */
    writable(topic: string): Promise<{ readonly log: Log }>;
    /** Ends the reads that wait until this topic is made. */
    end(error: TidemarkError, topic: string): void;
  };
  /** Every tab's port; the leader's own page first. */
  readonly pages: Iterable<{ tell(event: TideEvent): void }>;
  prove(): Promise<void>;
  emit(event: TideEvent): void;
  failed(error: TidemarkError): void;
  due(topic: string): void;
}

export function leadingSync(worker: LeadingWorker): TideSync {
  const { store, logs, kernel, topics } = worker;
  const volume = {
    store,
    kernel,
    breathe: laterTurn,
    settingsOf: (topic: string): TopicSettings => new Map(Object.entries(topics.settings)).get(topic) ?? {},
    takePlain(topic: string): Promise<Log | undefined> {
      const log = logs.get(topic);
      logs.delete(topic);
      return Promise.resolve(log);
    },
  };
  return new TideSync({
    epoch: store.epoch,
    kernel,
    store,
    ended: (topic) => topics.ended(topic, keptTopic(topic)),
    async local(topic) {
      checkTopicName(topic);
      if (store.bornOf(outboxName(topic)) !== undefined)
        throw new TidemarkError("INVALID_ARGUMENT", `the topic ${topic} is synced: records can't be put there`, {
          topic,
          reason: "synced",
        });
      return (await topics.writable(topic)).log;
    },
    async open(topic, asked) {
      const opened = await openSynced(volume, topic, asked);
      topics.end(becameSynced(topic), topic);
      return opened;
    },
    synced() {
      const topics = store.names().flatMap((name) => topicOfOutbox(name) ?? []);
      // To open one that a later version has written is refused, and that keeps no other topic from its sync.
      return new Map(topics.map((topic) => [topic, readableOutboxNote(store.keptOf(outboxName(topic))?.note) ?? {}]));
    },
    due: (topic) => worker.due(topic),
    pages: () => worker.pages as Iterable<TokenPage>,
    // News that only the page's part of sync understands goes the same way as events.
    tell: (event) => worker.emit({ type: "sync", event: event as SyncEvent }),
    proveTerm: () => worker.prove(),
    failed: (error) => worker.failed(error),
  });
}
