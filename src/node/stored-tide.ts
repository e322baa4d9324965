/**
 * The logs of an open tide, in this process: the volume, the store and a log for each topic.
 *
 *   topics ── DirectCalls ──▶ StoredTide ── Topics ──▶ Log ──▶ SegmentStore ──▶ FileVolume ──▶ FOLDER/slot-0000 …
 *
 * A store that failed is opened again from what is on disk, with recovery, a few times with growing pauses. Producers
 * then send batches without an ack again.
 */
import { randomUUID } from "node:crypto";
import { TidemarkError } from "../errors.ts";
import type { TideEvent } from "../browser/api.ts";
import { sleep } from "../browser/platform/timing.ts";
import { Topics } from "../browser/worker/topics.ts";
import { UpkeepTimer } from "../browser/worker/upkeep.ts";
import type { Kernel } from "../kernel/types.ts";
import type { Log } from "../log/log.ts";
import { gone } from "../store/gone.ts";
import type { LogRecovery } from "../store/log-store.ts";
import { SegmentStore } from "../store/segment-store.ts";
import { topicName } from "../topic/log-names.ts";
import { FileVolume } from "./file-volume.ts";

const REOPEN_TRIES = 5;
const REOPEN_PAUSE_MS = 50;
/** While the disk is full, the store is opened again at most once in this time. */
const FULL_PAUSE_MS = 1_000;

export interface StoredTideOptions {
  readonly folder: string;
  readonly segmentBytes: number;
  readonly mustExist: boolean;
  readonly kernel: Kernel;
  tell(event: TideEvent): void;
}

interface OpenStore {
  readonly volume: FileVolume;
  readonly store: SegmentStore;
  readonly logs: Map<string, Promise<Log>>;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const ignore = (): void => undefined;

/** Recovery's reports, by topics' names as an app knows them. */
const recoveryOf = (store: SegmentStore): LogRecovery[] =>
  store.recovery.logs.map((report) => ({ ...report, log: topicName(report.log) }));

export class StoredTide {
  readonly #options: StoredTideOptions;
  /** The open store, or the opening of the next one. Rejects once the tide is closed for good. */
  #open: Promise<OpenStore>;
  #id: string | undefined;
  #reopening = false;
  #reopenedAt = 0;
  ended: TidemarkError | undefined;
  readonly topics = new Topics({
    kernel: () => this.#options.kernel,
    open: () => this.#open,
    breathe: turn,
    tell: (event) => this.#options.tell(event),
    due: (topic) => this.appended(topic),
  });
  readonly #upkeep = new UpkeepTimer({
    checkAttached: () => this.#checkAttached(),
    clean: (topic) => this.#clean(topic),
  });

  constructor(options: StoredTideOptions) {
    this.#options = options;
    this.#open = this.#openStore();
    this.#open.catch(() => undefined);
  }

  /** Resolves when the logs are open. Rejects when they never will be. */
  async ready(): Promise<void> {
    await this.#open;
  }

  /** What was found by the opening. */
  async opened() {
    const { volume, store } = await this.#open;
    const { slotBytes: segmentBytes, lockedBy } = volume;
    return { segmentBytes, lockedBy, batchBytesMax: store.batchBytesMax, recovery: recoveryOf(store) };
  }

  /** When the log of this name was made; undefined if there is none. */
  async bornOf(log: string): Promise<number | undefined> {
    return (await this.#open).store.bornOf(log);
  }

  async #openStore(): Promise<OpenStore> {
    const { folder, segmentBytes: slotBytes, mustExist, kernel } = this.#options;
    const id = this.#id;
    const volume = await FileVolume.open({ folder, slotBytes, mustExist: mustExist || id !== undefined });
    try {
      const store = await SegmentStore.open({
        volume,
        kernel,
        now: Date.now,
        newId: () => randomUUID(),
        breathe: turn,
        id,
      });
      this.#id = store.id;
      this.topics.load(store);
      return { volume, store, logs: new Map() };
    } catch (thrown) {
      await volume.close().catch(() => undefined);
      throw thrown;
    }
  }

  /** This topic has new records: upkeep follows some time later. */
  appended(topic: string): void {
    // Upkeep does not keep a process alive: the next opening does what this one had no time for.
    if (!this.ended) (this.#upkeep.arm(topic) as NodeJS.Timeout).unref();
  }

  /** A log said CLOSED or worse. If the store has failed and nobody is opening it again, it is opened again. */
  failed(error: TidemarkError): void {
    const now = Date.now();
    // The clock may go back, too.
    const isSoon = Math.abs(now - this.#reopenedAt) < FULL_PAUSE_MS;
    if (this.#reopening || this.ended || (error.code === "QUOTA_EXCEEDED" && isSoon)) return;
    this.#reopenedAt = now;
    this.#reopening = true;
    this.#open = this.#reopen(this.#open, error).finally(() => (this.#reopening = false));
    this.#open.catch((thrown: unknown) => this.#end(TidemarkError.from(thrown)));
  }

  async #reopen(before: Promise<OpenStore>, cause: TidemarkError): Promise<OpenStore> {
    const old = await before;
    if (!old.store.poisoned) return old;
    const isThere = await old.volume.checkAttached().catch(() => true);
    await old.store.close().catch(() => undefined);
    if (!isThere) throw gone();
    for (let tries = 1; ; tries++) {
      try {
        const open = await this.#openStore();
        this.#options.tell({ type: "reopened", reason: cause.message });
        this.#options.tell({ type: "recovery", report: recoveryOf(open.store) });
        return open;
      } catch (thrown) {
        if (tries >= REOPEN_TRIES) throw thrown;
        await sleep(REOPEN_PAUSE_MS * 2 ** tries);
      }
    }
  }

  #end(error: TidemarkError): void {
    if (this.ended) return;
    this.ended = error;
    this.#upkeep.end();
    this.topics.end(error);
    this.#options.tell({ type: "closed", reason: error.message });
  }

  /** Open files that were removed still seem to work, so somebody must look. */
  async #checkAttached(): Promise<void> {
    const open = await this.#open.catch(() => undefined);
    if (!open || this.ended || (await open.volume.checkAttached().catch(() => true))) return;
    const error = open.store.poison(gone());
    this.#open = Promise.reject(error);
    this.#open.catch(() => undefined);
    this.#end(error);
    await open.store.close().catch(() => undefined);
  }

  async #clean(topic: string): Promise<void> {
    try {
      await (await this.topics.log(topic)).clean();
    } catch (thrown) {
      const error = TidemarkError.from(thrown);
      if (error.code === "QUOTA_EXCEEDED") this.#options.tell({ type: "quota", topic, message: error.message });
      if (error.kind === "reopen") this.failed(error);
    }
  }

  /** Flushes, records in the catalog where each log ends, and releases the folder. */
  async close(): Promise<void> {
    if (this.ended) return;
    this.#upkeep.end();
    const closed = new TidemarkError("CLOSED", "the tide is closed", { reason: "closed" });
    const open = this.#open;
    this.ended = closed;
    this.#open = open.then(() => Promise.reject(closed));
    this.#open.catch(() => undefined);
    this.topics.end(closed);
    const { store, logs } = await open;
    // A log that could not be opened has nothing to close. One that can't be closed must not keep the folder locked.
    const outcomes: PromiseSettledResult<void>[] = [];
    for (const log of logs.values())
      outcomes.push(...(await Promise.allSettled([log.then((opened) => opened.close(), ignore)])));
    await store.close();
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  }
}
