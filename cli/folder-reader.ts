/**
 * A folder of tidemark/node as a target for commands that only read (targets.ts): without its lock and without a write,
 * so another process may have it open (folder-view.ts).
 */
import { readBatches, type ReadSource } from "../src/delivery/reader.ts";
import type { PlainRecord } from "../src/delivery/read-record.ts";
import { TidemarkError } from "../src/errors.ts";
import type { Kernel } from "../src/kernel/types.ts";
import { DEFAULT_SETTINGS } from "../src/log/limits.ts";
import type { Fetched, FetchOptions, StartPosition } from "../src/log/types.ts";
import type { KafkaFiles } from "../src/store/kafka-files.ts";
import { exportSegment } from "../src/browser/tools/inspect.ts";
import { topicOfOutbox } from "../src/sync/places.ts";
import { topicName } from "../src/topic/log-names.ts";
import { serializerOf } from "../src/topic/serializer.ts";
import { Failure } from "./failure.ts";
import { FolderChanges } from "./folder-changes.ts";
import { FolderView, type ViewedLog } from "./folder-view.ts";
import type { LogTarget, Place, ReadFrom } from "./target.ts";

/** A call is made again this often if the catalog changes during it. */
const TRIES_MAX = 100;

/** One topic, as a reader asks for it. Looks again whenever the folder has changed. */
class FolderTopic implements ReadSource {
  readonly #reader: FolderReader;
  readonly #topic: string;
  #viewed: ViewedLog | undefined;
  #born: number | undefined;
  #changes: FolderChanges | undefined;

  constructor(reader: FolderReader, topic: string) {
    this.#reader = reader;
    this.#topic = topic;
  }

  /** Undefined if there is no such topic. TIMEOUT. */
  async viewed(): Promise<ViewedLog | undefined> {
    if (this.#viewed?.isCurrent()) return this.#viewed;
    for (let tries = 1; ; tries++) {
      const view = await this.#reader.view();
      try {
        const viewed = await view.topic(this.#topic);
        if (!viewed || (await viewed.stillHas([viewed.log.all.at(-1)!]))) return (this.#viewed = viewed);
      } catch (thrown) {
        if (tries >= TRIES_MAX || view.isCurrent()) throw thrown;
      }
      if (tries >= TRIES_MAX) throw this.#busy();
    }
  }

  #busy(): TidemarkError {
    return new TidemarkError("TIMEOUT", "the topic is trimmed or compacted all the time", { topic: this.#topic });
  }

  async #log(): Promise<ViewedLog> {
    const viewed = await this.viewed();
    const born = viewed?.log.born;
    if (!viewed || (this.#born !== undefined && born !== this.#born))
      throw new TidemarkError("UNKNOWN_TOPIC", `there is no topic ${this.#topic} any more`, { topic: this.#topic });
    this.#born = born;
    return viewed;
  }

  /** What the work says of the folder at a moment: it runs again if slots that it may have read were freed. */
  async #stable<T>(work: (viewed: ViewedLog) => Promise<T>, from = 0): Promise<T> {
    for (let tries = 1; ; tries++) {
      const viewed = await this.#log();
      const isStable = (): Promise<boolean> => viewed.stillHas(viewed.log.all.filter((each) => each.nextOffset > from));
      try {
        const result = await work(viewed);
        if (await isStable()) return result;
      } catch (thrown) {
        if (tries >= TRIES_MAX || viewed.isCurrent() || (await isStable())) throw thrown;
      }
      if (tries >= TRIES_MAX) throw this.#busy();
    }
  }

  resolve(position: StartPosition): Promise<number> {
    return this.#stable(({ reads }) => reads.resolve(position));
  }

  async fetch(from: number, options: FetchOptions): Promise<Fetched> {
    const { wait, signal } = options;
    for (;;) {
      signal?.throwIfAborted();
      if (wait) this.#watched().seen();
      const fetch = ({ reads }: ViewedLog): Promise<Fetched> => reads.fetch(from, { ...options, wait: false });
      let found = await this.#stable(fetch, from);
      if (found.bytes.length === 0 && found.nextOffset === from && wait) {
        if (!(await (await this.#log()).extend())) this.#viewed = undefined;
        found = await this.#stable(fetch, from);
      }
      if (found.bytes.length > 0 || found.nextOffset > from || !wait) return found;
      await this.#watched().next(signal);
    }
  }

  #watched(): FolderChanges {
    return (this.#changes ??= new FolderChanges(this.#reader.where));
  }

  close(): void {
    this.#changes?.close();
  }

  async *segments(from: number): AsyncIterable<KafkaFiles> {
    const viewed = await this.#log();
    const { log } = viewed;
    for (const { baseOffset, nextOffset, bytes } of log.segments()) {
      if (nextOffset <= from || bytes === 0) continue;
      const files = await exportSegment(log, { baseOffset });
      if (!(await viewed.stillHas(log.all.filter((each) => each.baseOffset === baseOffset))))
        throw new Failure(`${this.#topic} was trimmed or compacted meanwhile; make the same call again`);
      yield files;
    }
  }
}

export class FolderReader implements LogTarget {
  readonly batchBytesMax = DEFAULT_SETTINGS.batchBytesMax;
  readonly #topics = new Map<string, FolderTopic>();

  constructor(
    readonly where: string,
    readonly kernel: Kernel,
  ) {}

  view(): Promise<FolderView> {
    return FolderView.of(this.where, this.kernel);
  }

  async topics(): Promise<readonly string[]> {
    const names = (await this.view()).names().map((name) => topicOfOutbox(name) ?? topicName(name));
    return [...new Set(names)].filter((topic) => !topic.startsWith("__"));
  }

  #topic(name: string): FolderTopic {
    const known = this.#topics.get(name) ?? new FolderTopic(this, name);
    this.#topics.set(name, known);
    return known;
  }

  async place(topic: string): Promise<Place | undefined> {
    const viewed = await this.#topic(topic).viewed();
    if (!viewed) return undefined;
    const { log, settings, reads } = viewed;
    const details = { settings, segments: log.segments(), quarantined: log.quarantined };
    return { start: log.logStartOffset, end: reads.highWatermark, details };
  }

  async end(topic: string): Promise<number> {
    return (await this.place(topic))?.end ?? 0;
  }

  async *read(topic: string, { from, to, follow = false, signal }: ReadFrom): AsyncGenerator<PlainRecord<Uint8Array>> {
    const source = this.#topic(topic);
    const batches = readBatches(source, this.kernel, serializerOf<Uint8Array>("bytes"), { from, to, follow, signal });
    for await (const batch of batches) for (let i = 0; i < batch.count; i++) yield batch.plain(i);
  }

  async append(): Promise<never> {
    throw new TidemarkError("INTERNAL", "a folder that is only read is not appended to");
  }

  async trim(): Promise<never> {
    throw new TidemarkError("INTERNAL", "a folder that is only read is not trimmed");
  }

  resolve(topic: string, position: StartPosition): Promise<number> {
    return this.#topic(topic).resolve(position);
  }

  segments(topic: string, from: number): AsyncIterable<KafkaFiles> {
    return this.#topic(topic).segments(from);
  }

  async close(): Promise<void> {
    for (const topic of this.#topics.values()) topic.close();
  }
}
