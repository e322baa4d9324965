/**
 * The topics of one open tide, in the worker: making, settings, deleting.
 *
 *   topic { settings }     a topic that is there: stored when they differ, and told to every tab
 *                          one that is not: kept until it is made
 *   append                 makes the topic, with the settings that were given for it
 *   fetch, resolve, state  never make it: there is nothing in it
 *   delete                 takes it out of the catalog; what is under way on it is UNKNOWN_TOPIC
 *
 * `born` tells a topic from a later one of the same name. A page sends the `born` that it knows with its requests. So
 * what was meant for a deleted topic, above all a batch that is sent again, never comes into the next topic of that
 * name.
 */
import { TidemarkError } from "../../errors.ts";
import type { Kernel } from "../../kernel/types.ts";
import { Log } from "../../log/log.ts";
import { offsetConflict } from "../../log/offset-conflict.ts";
import type { LogApi } from "../../log/types.ts";
import { Waiters } from "../../log/waiters.ts";
import type { LogRecovery } from "../../store/log-store.ts";
import type { StoredSettings } from "../../store/catalog.ts";
import type { SegmentStore } from "../../store/segment-store.ts";
import type { SegmentedLog } from "../../store/segmented-log.ts";
import { topicOfOutbox } from "../../sync/places.ts";
import { logName, topicName } from "../../topic/log-names.ts";
import { changedSettings, logSettingsOf, soundSettings, type TopicSettings } from "../../topic/settings.ts";
import type { TideEvent } from "../api.ts";
import { REQUESTS_MAX } from "../port/protocol.ts";

/** Most topics that have settings and do not exist yet. Settings for one more fail as LIMIT_EXCEEDED. */
const GIVEN_MAX = 10_000;

export interface OpenLogs {
  readonly store: SegmentStore;
  readonly logs: Map<string, Promise<Log>>;
}

/** What topics need of the worker's host. */
export interface TopicsHost {
  kernel(): Kernel;
  open(): Promise<OpenLogs>;
  breathe(): Promise<void>;
  tell(event: TideEvent): void;
  /** Retention or compaction may have something to remove from this topic, even if nobody appends to it. */
  due(topic: string): void;
}

export interface Asked {
  readonly topic: string;
  readonly settings?: TopicSettings | undefined;
  readonly born?: number | undefined;
}

export class Topics {
  readonly #host: TopicsHost;
  /** The stored settings of topics. */
  readonly #settings = new Map<string, TopicSettings>();
  /** Settings that were given for topics that do not exist yet. */
  readonly #given = new Map<string, TopicSettings>();
  /** Reads that wait until such a topic is made. */
  readonly #readers = new Map<string, Waiters>();
  /** Changes of one topic go one after the other; each entry is the last of them. */
  readonly #changes = new Map<string, Promise<unknown>>();

  constructor(host: TopicsHost) {
    this.#host = host;
  }

  /** Called when the store was opened, for the first time or again. */
  load(store: SegmentStore): void {
    this.#settings.clear();
    for (const name of store.names()) {
      const settings = store.keptOf(name)?.settings;
      if (settings) this.#settings.set(topicName(name), soundSettings(settings));
    }
  }

  /** Settings of all topics that have some. */
  get settings(): Readonly<Record<string, TopicSettings>> {
    return Object.fromEntries(this.#settings);
  }

  /** Names of all topics that exist, but for the library's own, which begin with two underscores. */
  async names(): Promise<readonly string[]> {
    const names = (await this.#host.open()).store.names();
    // A synced topic has an outbox from the start, but its replica comes only later.
    const topics = new Set(names.map((name) => topicOfOutbox(name) ?? topicName(name)));
    return [...topics].filter((topic) => !topic.startsWith("__"));
  }

  /** The stored log of a topic that exists, for tools. */
  async stored(topic: string): Promise<SegmentedLog | undefined> {
    return (await this.#host.open()).store.find(logName(topic));
  }

  #tellSettings(topic: string, settings: TopicSettings): void {
    this.#settings.set(topic, settings);
    this.#host.tell({ type: "settings", topic, settings });
  }

  /** UNKNOWN_TOPIC if the topic that was born at `expected` does not exist any more. */
  async #find(
    topic: string,
    expected: number | undefined,
  ): Promise<{ readonly open: OpenLogs; readonly born: number | undefined }> {
    const open = await this.#host.open();
    const born = open.store.bornOf(logName(topic));
    if (expected !== undefined && born !== expected) throw deleted(topic);
    return { open, born };
  }

  /** The open log of a topic that exists. */
  #logOf(open: OpenLogs, topic: string): Promise<Log> {
    const known = open.logs.get(topic);
    if (known) return known;
    const log = this.#openLog(open.store, topic);
    open.logs.set(topic, log);
    // An opening that failed may succeed later.
    log.catch(() => open.logs.delete(topic));
    return log;
  }

  async #openLog(store: SegmentStore, topic: string): Promise<Log> {
    const found = await store.find(logName(topic));
    if (!found) throw deleted(topic);
    this.#tellRecovery(store, topic, found.recovery);
    const settings = logSettingsOf(soundSettings(found.settings));
    const log = await Log.open({
      store: found,
      kernel: this.#host.kernel(),
      clock: { now: store.now },
      breathe: () => this.#host.breathe(),
      settings,
    });
    // The topic may not have been open for long, so something may be due for removal.
    if (settings.compaction || Object.keys(settings.retention ?? {}).length > 0) this.#host.due(topic);
    return log;
  }

  /**
   * When the store is opened, topics are not looked at before their first use. What that use finds lost or damaged is
   * told here.
   */
  #tellRecovery(store: SegmentStore, topic: string, found: LogRecovery): void {
    const told = store.recovery.logs.find(({ log }) => log === found.log);
    const news = found.lost !== undefined || found.quarantined.length > (told?.quarantined.length ?? 0);
    if (told !== found && news) this.#host.tell({ type: "recovery", report: [{ ...found, log: topic }] });
  }

  /** The log of a topic that exists. */
  async log(topic: string): Promise<Log> {
    return (await this.#there(topic)).log;
  }

  async #there(topic: string): Promise<{ readonly log: Log; readonly born: number }> {
    const { open, born } = await this.#find(topic, undefined);
    if (born === undefined)
      throw new TidemarkError("UNKNOWN_TOPIC", `there is no topic ${topic}: the first append makes it`, { topic });
    return { log: await this.#logOf(open, topic), born };
  }

  /**
   * For an append: makes the topic if it does not exist, unless the topic that was born at `expected` was deleted, or
   * the append's condition says that there is a record.
   */
  async writable(
    topic: string,
    expected?: number,
    ifEnd?: number,
  ): Promise<{ readonly log: Log; readonly born: number; readonly open: OpenLogs }> {
    for (;;) {
      const { open, born } = await this.#find(topic, expected);
      if (born !== undefined) return { log: await this.#logOf(open, topic), born, open };
      await this.#change(topic, () => this.#make(topic, ifEnd));
    }
  }

  async #make(topic: string, ifEnd: number | undefined): Promise<void> {
    const { store } = await this.#host.open();
    const name = logName(topic);
    // An append before this one may have made it.
    if (store.bornOf(name) !== undefined) return;
    if (ifEnd) throw offsetConflict(0, ifEnd);
    const settings = this.#given.get(topic);
    await store.log(name, settings as StoredSettings | undefined);
    this.#given.delete(topic);
    if (settings) this.#tellSettings(topic, settings);
    this.#readers.get(topic)?.advance(1);
  }

  /** The log of a topic. For a topic that does not exist it is one without records (absent-log.ts). */
  async readable(
    topic: string,
    expected?: number,
  ): Promise<{ readonly log: LogApi; readonly born: number | undefined }> {
    const { open, born } = await this.#find(topic, expected);
    if (born !== undefined) return { log: await this.#logOf(open, topic), born };
    const { absentLog } = await import("./absent-log.ts");
    const made = async (signal?: AbortSignal) => {
      // The topic may have been made while absent-log.ts was loaded.
      if ((await this.#find(topic, undefined)).born === undefined) await this.#made(topic, signal);
      return this.#there(topic);
    };
    return { log: absentLog(logName(topic), open.store, made), born };
  }

  async #made(topic: string, signal: AbortSignal | undefined): Promise<void> {
    const readers = this.#readers.get(topic) ?? new Waiters(REQUESTS_MAX);
    this.#readers.set(topic, readers);
    try {
      await readers.wait(0, signal);
    } finally {
      if (readers.count === 0 && this.#readers.get(topic) === readers) this.#readers.delete(topic);
    }
  }

  /** A page begins to use a topic. Returns the topic's `born`; undefined if the topic does not exist. */
  async ask({ topic, settings, born: expected }: Asked): Promise<{ readonly born: number | undefined }> {
    if (settings) await this.#change(topic, () => this.#set(topic, settings, expected));
    const { open, born } = await this.#find(topic, expected);
    if (born !== undefined) await this.#logOf(open, topic);
    return { born };
  }

  async #set(topic: string, given: TopicSettings, expected: number | undefined): Promise<void> {
    const { open, born } = await this.#find(topic, expected);
    if (born === undefined) {
      if (this.#given.size >= GIVEN_MAX)
        throw new TidemarkError("LIMIT_EXCEEDED", "too many topics have settings and no record", {
          givenMax: GIVEN_MAX,
        });
      return void this.#given.set(topic, { ...this.#given.get(topic), ...given });
    }
    const settings = changedSettings(this.#settings.get(topic) ?? {}, given);
    if (!settings) return;
    const log = await this.#logOf(open, topic);
    const before = log.settings;
    // Done before they are stored: this fails if they are not possible together with the settings that were there.
    log.configure(logSettingsOf(settings));
    try {
      await (await open.store.find(logName(topic)))!.saveSettings(settings as StoredSettings);
    } catch (thrown) {
      log.configure(before);
      throw thrown;
    }
    this.#host.due(topic);
    this.#tellSettings(topic, settings);
  }

  /** Resolves when the topic is gone for good. Does nothing if the topic that was born at `expected` does not exist. */
  async delete(topic: string, expected: number): Promise<void> {
    await this.#change(topic, async () => {
      const open = await this.#host.open();
      if (open.store.bornOf(logName(topic)) !== expected) return;
      const { deleteLog } = await import("../../store/trim-and-replace.ts");
      const log = await this.#logOf(open, topic);
      const store = (await open.store.find(logName(topic)))!;
      await log.delete(() => deleteLog(store), deleted(topic));
      open.logs.delete(topic);
      this.ended(topic);
    });
  }

  /** There is no topic of this name any more; its records are in `kept`, where its sync was ended. */
  ended(topic: string, kept?: string): void {
    this.#settings.delete(topic);
    this.#host.tell({ type: "deleted", topic, kept });
  }

  #change<T>(topic: string, work: () => Promise<T>): Promise<T> {
    const before = this.#changes.get(topic) ?? Promise.resolve();
    const run = before.then(work);
    const last = run
      .catch(() => undefined)
      .then(() => void (this.#changes.get(topic) === last && this.#changes.delete(topic)));
    this.#changes.set(topic, last);
    return run;
  }

  /** Ends the reads that wait for topics, or for this one, with this error. */
  end(error: TidemarkError, topic?: string): void {
    for (const [name, readers] of this.#readers) if ((topic ?? name) === name) readers.fail(error);
  }
}

export const deleted = (topic: string, kept?: string): TidemarkError =>
  new TidemarkError(
    "UNKNOWN_TOPIC",
    `the topic ${topic} was ${kept ? `detached: ${kept} has its records` : "deleted"}; topic() gives a new one`,
    { topic, deleted: true },
  );
