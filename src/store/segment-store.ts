/**
 * The segmented store: many logs in one volume. It owns what they share: the catalog, the free slots, the leader epoch.
 *
 *   volume ── slot 0, 1   catalog A, B
 *          ── slot 2 …    a segment of some log, or free (= named by no log in the catalog)
 *
 * Structural changes (new log, roll, trim, compaction) take slots, write into them, flush them and commit the catalog,
 * one change at a time. A slot that a change frees is used again only after the change is committed. After any failed
 * write or flush the store is poisoned: what is on disk is unknown until it is opened again, and nothing is retried in
 * place.
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { Catalog, type CatalogState, type LogEntry, type StoredSettings } from "./catalog.ts";
import { gone } from "./gone.ts";
import type { LogRecovery } from "./log-store.ts";
import { reportUnused } from "./log-report.ts";
import type { Disk, RecoveredLog } from "./recover-log.ts";
import { slotBatchBytesMax } from "./sections-room.ts";
import { SlotPool } from "./slot-pool.ts";
import { Segment } from "./segment.ts";
import { SegmentReader } from "./segment-reader.ts";
import { SegmentedLog } from "./segmented-log.ts";
import { encodeHeaderPage, type Mark, roleOf } from "./slot.ts";
import type { Beginning, CatalogChange, StoreContext } from "./store-context.ts";
import { CATALOG_SLOTS, type Volume } from "./volume.ts";

/** A topic's name has up to 249 characters (Kafka's rule), followed by "-" and the number of the partition. */
const LOG_NAME = /^[A-Za-z0-9._-]{1,255}$/;

export interface SegmentStoreOptions {
  readonly volume: Volume;
  readonly kernel: Kernel;
  /** Milliseconds, for segments' ages. */
  readonly now: () => number;
  /** Draws the id of a volume that has none. Without it such a volume stays without an id. */
  readonly newId?: (() => string) | undefined;
  /** A turn of the host's event loop, for long work, as in LogOptions. */
  readonly breathe?: (() => Promise<void>) | undefined;
  /** The id that the volume must have. With another one the open fails as CLOSED: the data was replaced. */
  readonly id?: string | undefined;
}

export interface StoreRecovery {
  readonly formatted: boolean;
  /** Valid copies of the catalog that agreed. 1 means that the other one was torn or damaged and was written again. */
  readonly catalogCopies: number;
  readonly generation: number;
  readonly epoch: number;
  readonly logs: readonly LogRecovery[];
}

/** How a log begins, where that is not at 0 and without a note. */
interface Made {
  readonly from?: number;
  readonly note?: StoredSettings;
}

export class SegmentStore implements StoreContext {
  /** Records go through it. Another may be put between, which measures (src/browser/worker/flush-times.ts). */
  volume: Volume;
  readonly kernel: Kernel;
  readonly now: () => number;
  readonly reader: SegmentReader;
  recovery!: StoreRecovery;
  readonly id: string | undefined;

  readonly #catalog: Catalog;
  /** All logs. A LogEntry stands for a log that was not used since the opening: its slots were not read yet. */
  readonly #logs = new Map<string, SegmentedLog | LogEntry>();
  readonly #opening = new Map<string, Promise<SegmentedLog>>();
  /** Logs that wait for the commit that says that they may be appended to. */
  readonly #beginning = new Set<Beginning>();
  #beginningRun: Promise<void> | undefined;
  /** The catalog as it was found. */
  readonly #disk: Disk;
  /** True if the last commit says of some log that it may be appended to. */
  #anyAppending = false;
  #epoch: number;
  #usedSlots: number;
  readonly #pool: SlotPool;
  #poison: TidemarkError | undefined;
  #closed = false;
  /** The last of the structural changes that run one after the other. */
  #changes: Promise<unknown> = Promise.resolve();

  private constructor(options: SegmentStoreOptions, catalog: Catalog, state: CatalogState) {
    this.volume = options.volume;
    this.kernel = options.kernel;
    this.now = options.now;
    const { volume, kernel } = options;
    this.id = state.id ?? options.newId?.();
    const tide = this.id ?? "";
    this.#disk = { volume, kernel, tide, generation: catalog.generation, epoch: state.epoch };
    this.reader = new SegmentReader(
      volume,
      kernel,
      undefined,
      async (segment) => {
        const { readRole, whose } = await import("./slot-read.ts");
        return whose(await readRole(kernel, volume, segment.slot), roleOf(tide, segment.log, segment));
      },
      options.breathe,
    );
    this.#pool = new SlotPool(volume, () => !this.#closed && !this.#poison);
    this.#catalog = catalog;
    this.#epoch = state.epoch;
    this.#usedSlots = state.usedSlots;
  }

  /**
   * Opens the volume, formats it if it is new, and recovers every log that was in use. Crash inside: the next open does
   * the same again. Errors: CORRUPT_CATALOG, UNSUPPORTED_FORMAT, QUOTA_EXCEEDED (no room even for the first slots),
   * STORAGE_FAILED.
   */
  static async open(options: SegmentStoreOptions): Promise<SegmentStore> {
    const { volume, kernel, id } = options;
    const missing = CATALOG_SLOTS + 1 - volume.slotCount;
    const hadSlots = volume.slotCount > CATALOG_SLOTS;
    // If a certain tide is expected, a volume without a catalog is not formatted.
    if (id !== undefined && volume.slotCount < CATALOG_SLOTS) throw gone();
    if (missing > 0) await volume.addSlots(missing);
    const { catalog, state, copies } = await Catalog.read(volume, kernel);
    // Loads beside what the checks below load. A failure is met again, and reported, where the file is needed.
    if (state?.logs.some(hasSealed)) import("./roll.ts").catch(() => undefined);
    // Slots that were made above hold nothing.
    if (!state && hadSlots) await (await import("./check-catalog.ts")).refuseLostCatalog(volume, kernel);
    if (id !== undefined && state?.id !== id) throw gone();
    const known = state ?? { epoch: 0, usedSlots: CATALOG_SLOTS, logs: [] };
    if (known.logs.length > 0) await (await import("./check-catalog.ts")).refuseForeignCatalog(volume, kernel, known);
    const store = new SegmentStore(options, catalog, known);
    const used = known.logs
      .flatMap((log) => log.segments)
      .reduce((most, { slot }) => Math.max(most, slot + 1), known.usedSlots);
    if (used > volume.slotCount) await volume.addSlots(used - volume.slotCount);
    await store.#recover(known);
    store.recovery = {
      formatted: !state,
      catalogCopies: copies,
      generation: catalog.generation,
      epoch: store.#epoch,
      logs: [...store.#logs.values()].map((log) => (log instanceof SegmentedLog ? log.recovery : reportUnused(log))),
    };
    store.#pool.growAhead();
    return store;
  }

  get epoch(): number {
    return this.#epoch;
  }
  get batchBytesMax(): number {
    return slotBatchBytesMax(this.volume.slotBytes);
  }
  names(): readonly string[] {
    return [...this.#logs.keys()];
  }

  /**
   * The epoch in which the log of this name was made (LogEntry.born). Undefined if there is none, 0 if an earlier
   * version made it.
   */
  bornOf(name: string): number | undefined {
    const log = this.#logs.get(name);
    return log && (log.born ?? 0);
  }

  /** What the catalog keeps for others with the log of this name (LogEntry), whether it is in use or not. */
  keptOf(name: string): Pick<LogEntry, "settings" | "note"> | undefined {
    return this.#logs.get(name);
  }

  /** The log of this name, as log() returns it, or undefined if there is none. */
  async find(name: string): Promise<SegmentedLog | undefined> {
    return this.#logs.has(name) ? this.log(name) : undefined;
  }

  /**
   * The log of this name. It is created, with these settings, if there is none. A log that was not in use is recovered
   * by its first use; its report is then newer than the store's. INVALID_ARGUMENT: a name must be 1 to 255 of A-Z a-z
   * 0-9 . _ - (Kafka's rule).
   */
  async log(name: string, settings?: StoredSettings, made: Made = {}): Promise<SegmentedLog> {
    const known = this.#logs.get(name);
    if (known instanceof SegmentedLog) return known;
    const underWay = this.#opening.get(name);
    if (underWay) return underWay;
    if (!LOG_NAME.test(name))
      throw new TidemarkError("INVALID_ARGUMENT", "a log's name must be 1 to 255 of A-Z a-z 0-9 . _ -", { name });
    const opening = known ? this.#find(known).then((found) => this.#adopt(found)) : this.#create(name, settings, made);
    this.#opening.set(name, opening);
    try {
      return await opening;
    } finally {
      this.#opening.delete(name);
    }
  }

  async #find(known: LogEntry): Promise<RecoveredLog> {
    const { recoverLog } = await import("./recover-log.ts");
    return recoverLog(this.#disk, known);
  }

  async #create(name: string, settings: StoredSettings | undefined, { from = 0, note }: Made): Promise<SegmentedLog> {
    this.check();
    let log!: SegmentedLog;
    await this.change(async (change) => {
      const { segment, mark } = await this.beginActive(change, name, from);
      const end = { nextOffset: from, position: 0 };
      const entry: LogEntry = {
        name,
        born: this.#epoch,
        settings,
        note,
        logStartOffset: from,
        segments: [segment.entry()],
        quarantined: [],
        end,
        appending: segment.epoch,
      };
      await change.commit([entry]);
      log = new SegmentedLog(this, entry, { segments: [segment], mark, recovery: reportUnused(entry) });
      this.adopt(log);
    });
    return log;
  }

  /** The log of its name is this one from now on, as the catalog says. */
  adopt(log: SegmentedLog): void {
    this.#logs.set(log.name, log);
  }

  /** Takes a slot, begins a segment in it, and flushes it. */
  async beginActive(
    change: CatalogChange,
    name: string,
    baseOffset: number,
  ): Promise<{ segment: Segment; mark: Mark }> {
    const slot = await change.takeSlot();
    const segment = new Segment(
      {
        slot,
        baseOffset,
        epoch: change.epochFor(slot, this.#epoch),
        createdAt: this.now(),
        begun: this.nextGeneration,
      },
      name,
    );
    const mark = await this.beginSegment(segment);
    await this.volume.flush([slot]);
    return { segment, mark };
  }

  /** Brings a recovered log into use. */
  async #adopt(found: RecoveredLog): Promise<SegmentedLog> {
    if (found.replace) {
      const { replaceLost } = await import("./lost-log.ts");
      return replaceLost(this, found);
    }
    // Its end is recorded by the next commit, and nothing is behind it.
    const log = new SegmentedLog(this, { ...found.entry, appending: 0 }, found);
    this.adopt(log);
    return log;
  }

  beginAppending(log: Beginning): Promise<void> {
    this.#beginning.add(log);
    this.#beginningRun ??= this.change(async () => {
      this.#beginningRun = undefined;
      const logs = [...this.#beginning];
      this.#beginning.clear();
      for (const each of logs) each.appending = true;
      try {
        await this.#commit();
      } catch (thrown) {
        // The catalog is full and names none of them, so each must ask again before it is appended to.
        for (const each of logs) each.appending = false;
        throw thrown;
      }
    });
    return this.#beginningRun;
  }

  /**
   * Loads the indexes of sealed segments, the newest first, as many as are kept in memory. Runs beside other work after
   * opening, so that a seek need not open closed slots. A failure here is ignored: it is met again, and reported, when
   * the segment is needed.
   */
  async warm(breathe?: () => Promise<void>): Promise<void> {
    const newestFirst = this.#used()
      .flatMap((log) => log.all)
      .filter(({ sealed }) => sealed)
      .sort((a, b) => b.createdAt - a.createdAt);
    for (const segment of newestFirst.slice(0, this.reader.loadedMax)) {
      if (this.#closed || this.#poison) return;
      // A compacted segment's body is verified when it is loaded, which is too much work to do ahead of need.
      if (!segment.retired && !segment.sealed?.compacted) await this.reader.prepare(segment).catch(() => undefined);
      // Each reads about 40 KiB and verifies it. Other work gets a turn in between.
      await breathe?.();
    }
  }

  #used(): SegmentedLog[] {
    return [...this.#logs.values()].filter((log) => log instanceof SegmentedLog);
  }

  /**
   * Closes the logs that were appended to and records in the catalog where each ends, unless the store is poisoned. If
   * nothing was appended there is nothing to record. The volume is released in any case.
   */
  async close(): Promise<void> {
    if (this.#closed) return;
    await this.#changes.catch(() => undefined);
    await this.#pool.settled();
    try {
      if (!this.#poison) {
        for (const log of this.#used()) await log.close();
        if (this.#anyAppending) await this.#commit();
      }
    } finally {
      this.#closed = true;
      await this.volume.close();
    }
  }

  // --- recovery ----------------------------------------------------------------------------------------------------

  async #recover(state: CatalogState): Promise<void> {
    for (const entry of state.logs) this.#logs.set(entry.name, entry);
    // All that these logs will need, now: what was opened must not depend on a file that can't be loaded any more.
    if (state.logs.length > 0) await import("./recover-log.ts");
    if (state.logs.some(hasSealed)) await import("./roll.ts");
    const found: RecoveredLog[] = [];
    for (const entry of state.logs) if (entry.appending !== 0) found.push(await this.#find(entry));
    this.#epoch = state.epoch + 1;
    const whole = found.filter(({ replace }) => !replace);
    for (const log of whole) await this.#adopt(log);
    const taken = new Set(state.logs.flatMap(({ segments }) => segments.map(({ slot }) => slot)));
    for (let slot = CATALOG_SLOTS; slot < this.volume.slotCount; slot++) if (!taken.has(slot)) this.#pool.put(slot);
    try {
      // What a killed process had handed over is in the system's cache. It must be durable before the catalog says so.
      if (whole.length > 0) await this.volume.flush(whole.map(({ segments }) => segments.at(-1)!.slot));
      // The new epoch is committed before any mark or batch has it.
      await this.#commit();
      // A log that gets no slot now is tried again by its first use.
      for (const log of found) if (log.replace) await this.#adopt(log).catch(ignoreRefused);
    } catch (thrown) {
      // The disk is so full that it refuses even this commit. What is there can still be read.
      const error = this.poison(thrown);
      if (error.code !== "QUOTA_EXCEEDED") throw error;
    }
  }

  // --- structural changes ------------------------------------------------------------------------------------------

  change(work: (change: CatalogChange) => Promise<void>): Promise<void> {
    const taken: number[] = [];
    const change: CatalogChange = {
      takeSlot: async () => {
        const slot = await this.#pool.take();
        taken.push(slot);
        return slot;
      },
      epochFor: (slot, current) => {
        if (slot >= this.#usedSlots) {
          this.#usedSlots = slot + 1;
          return current;
        }
        return ++this.#epoch;
      },
      commit: (entries, removed) => this.#commit(entries, removed),
    };
    const run = this.#changes.then(() => {
      this.check();
      return this.poisonOnFailure(
        () => work(change),
        () => this.#pool.put(...taken),
      );
    });
    this.#changes = run.catch(() => undefined);
    return run;
  }

  /** Commits with these entries in place of what their logs would say, and without the log that is `removed`. */
  async #commit(entries: readonly LogEntry[] = [], removed?: string): Promise<void> {
    if (removed !== undefined) this.#epoch++;
    const known = new Map<string, LogEntry>();
    for (const [name, log] of this.#logs)
      if (name !== removed) known.set(name, log instanceof SegmentedLog ? log.entry() : log);
    for (const entry of entries) known.set(entry.name, entry);
    const logs = [...known.values()];
    await this.#catalog.commit({ id: this.id, epoch: this.#epoch, usedSlots: this.#usedSlots, logs });
    if (removed !== undefined) this.#logs.delete(removed);
    this.#anyAppending = logs.some(({ appending }) => appending !== 0);
  }

  async beginSegment(segment: Segment): Promise<Mark> {
    const { baseOffset, epoch, log } = segment;
    const mark: Mark = { count: 0, baseOffset, position: 0, nextOffset: baseOffset, epoch, clean: false };
    await this.volume.write(
      segment.slot,
      0,
      encodeHeaderPage(this.kernel, roleOf(this.#disk.tide, log, segment), mark),
    );
    return { ...mark, count: 1 };
  }

  get nextGeneration(): number {
    return this.#catalog.generation + 1;
  }

  ownerOf({ log, begun }: Segment): string {
    return `${this.#disk.tide}/${log}/${begun}`;
  }

  release(segment: Segment): void {
    this.reader.forget(segment);
    // Compaction's outputs may have taken this slot without a new epoch.
    this.#usedSlots = Math.max(this.#usedSlots, segment.slot + 1);
    this.#pool.put(segment.slot);
  }

  reserveSlots(count: number): Promise<void> {
    return this.#pool.reserve(count);
  }

  // --- failure -----------------------------------------------------------------------------------------------------

  check(): void {
    if (this.#closed) throw new TidemarkError("CLOSED", "the store is closed");
    if (this.#poison) throw this.#poison.with({ poisoned: true, earlier: true });
  }

  get poisoned(): boolean {
    return this.#poison !== undefined;
  }

  async poisonOnFailure<T>(work: () => Promise<T>, giveBack?: () => void): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      const error = TidemarkError.from(thrown, "STORAGE_FAILED");
      if (error.details["slotRefused"] || error.code === "INVALID_ARGUMENT" || error.code === "LIMIT_EXCEEDED") {
        giveBack?.();
        throw error;
      }
      throw this.poison(error);
    }
  }

  poison(thrown: unknown): TidemarkError {
    const error = TidemarkError.from(thrown, "STORAGE_FAILED");
    this.#poison ??= error;
    return error.with({ poisoned: true });
  }
}

const hasSealed = ({ segments }: LogEntry): boolean => segments.length > 1;

function ignoreRefused(thrown: unknown): void {
  if (TidemarkError.from(thrown).details["slotRefused"] !== true) throw thrown;
}
