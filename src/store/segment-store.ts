/**
 * The segmented store: many logs in one volume. It owns what they share: the catalog, the free slots, the leader epoch.
 *
 *   volume ── slot 0, 1   catalog A, B
 *          ── slot 2 …    a segment of some log, or free (= named by no log in the catalog)
 *
 * Structural changes (new log, roll, trim, compaction) take slots, write into them, flush them, and commit the catalog,
 * one change at a time. A slot that a change frees is used again only after that change is committed. After any failed
 * write or flush the store is poisoned: what is on disk is unknown until it is opened again (reliability rule: never retry in
 * place).
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { Catalog, CATALOG_SLOTS, type CatalogState, type LogEntry, type StoredSettings } from "./catalog.ts";
import type { LogRecovery } from "./log-store.ts";
import { epochBehind, markOrStart, type TailCut, type Walk, walkDurable, walkTail, walkUnmarked } from "./recovery.ts";
import { slotBatchBytesMax } from "./sections.ts";
import { Segment } from "./segment.ts";
import { SegmentReader } from "./segment-reader.ts";
import { SegmentedLog } from "./segmented-log.ts";
import { encodeHeaderPage, type Mark, readMark, readRole } from "./slot.ts";
import type { Volume } from "./volume.ts";

/** Free slots kept ready, so that a roll seldom waits for one and its name had time to reach the disk. */
export const SPARE_SLOTS = 2;
/** A topic's name has up to 249 characters (Kafka's rule), and "-" and the number of the partition come behind it. */
const LOG_NAME = /^[A-Za-z0-9._-]{1,255}$/;

export interface SegmentStoreOptions {
  readonly volume: Volume;
  readonly kernel: Kernel;
  /** Milliseconds, for segments' ages. */
  readonly now: () => number;
  /** Draws the id of a volume that has none. Without it volumes stay without one. */
  readonly newId?: () => string;
  /** The id of the volume that is expected: CLOSED when there is a new one in its place. */
  readonly id?: string | undefined;
}

export interface StoreRecovery {
  readonly formatted: boolean;
  /** Valid copies of the catalog that agreed; 1 means the other was torn or damaged and has been written anew. */
  readonly catalogCopies: number;
  readonly generation: number;
  readonly epoch: number;
  readonly logs: readonly LogRecovery[];
}

/** What a structural change may do while it holds the store. */
export interface Change {
  /** QUOTA_EXCEEDED when none is free and none can be made; then nothing was changed. */
  takeSlot(): Promise<number>;
  /** The epoch for a segment in this slot: a new one when the slot may hold stale batches, else `current`. */
  epochFor(slot: number, current: number): number;
  /** Makes `entry` the log's line in the catalog. The commit point. */
  commit(log: string, entry: LogEntry): Promise<void>;
  /** Takes the log out of the catalog; a log that gets its name is born in a later epoch. The commit point, too. */
  remove(log: string): Promise<void>;
}

export class SegmentStore {
  readonly volume: Volume;
  readonly kernel: Kernel;
  readonly now: () => number;
  readonly reader: SegmentReader;
  recovery!: StoreRecovery;
  readonly id: string | undefined;

  readonly #catalog: Catalog;
  readonly #logs = new Map<string, SegmentedLog>();
  #epoch: number;
  #usedSlots: number;
  readonly #free: number[] = [];
  #poison: TidemarkError | undefined;
  #closed = false;
  /** Tail of the queue of structural changes. */
  #changes: Promise<unknown> = Promise.resolve();
  /** Slots being made in the background; never rejects. */
  #growing: Promise<void> = Promise.resolve();

  private constructor(options: SegmentStoreOptions, catalog: Catalog, state: CatalogState) {
    this.volume = options.volume;
    this.kernel = options.kernel;
    this.now = options.now;
    this.reader = new SegmentReader(options.volume, options.kernel);
    this.id = state.id ?? options.newId?.();
    this.#catalog = catalog;
    this.#epoch = state.epoch;
    this.#usedSlots = state.usedSlots;
  }

  /**
   * Opens the volume, formats it when it is new, recovers every log. Crash inside: the next open does the same again.
   * Errors: CORRUPT_CATALOG, UNSUPPORTED_FORMAT, QUOTA_EXCEEDED (not even the first slots), STORAGE_FAILED.
   */
  static async open(options: SegmentStoreOptions): Promise<SegmentStore> {
    const { volume, kernel, id } = options;
    const missing = CATALOG_SLOTS + 1 - volume.slotCount;
    // What holds no catalog is not made to, where one is expected.
    if (id !== undefined && volume.slotCount < CATALOG_SLOTS) throw cleared();
    if (missing > 0) await volume.addSlots(missing);
    const { catalog, state, copies } = await Catalog.read(volume, kernel);
    if (!state) await refuseLostCatalog(volume, kernel);
    if (id !== undefined && state?.id !== id) throw cleared();
    const known = state ?? { epoch: 0, usedSlots: CATALOG_SLOTS, logs: [] };
    const store = new SegmentStore(options, catalog, known);
    const used = Math.max(known.usedSlots, ...known.logs.flatMap((log) => log.segments.map((segment) => segment.slot + 1)));
    if (used > volume.slotCount) await volume.addSlots(used - volume.slotCount);
    await store.#recover(known);
    store.recovery = {
      formatted: !state,
      catalogCopies: copies,
      generation: catalog.generation,
      epoch: store.#epoch,
      logs: [...store.#logs.values()].map((log) => log.recovery),
    };
    store.#growAhead();
    return store;
  }

  get epoch(): number {
    return this.#epoch;
  }
  /** The largest batch that a slot of this volume takes. */
  get batchBytesMax(): number {
    return slotBatchBytesMax(this.volume.slotBytes);
  }
  names(): readonly string[] {
    return [...this.#logs.keys()];
  }

  /** The log of this name, if there is one. */
  find(name: string): SegmentedLog | undefined {
    return this.#logs.get(name);
  }

  /**
   * The log of this name; creates it, with these settings. INVALID_ARGUMENT: a name is 1 to 255 of A-Z a-z 0-9 . _ - (Kafka's
   * rule).
   */
  async log(name: string, settings?: StoredSettings): Promise<SegmentedLog> {
    const known = this.#logs.get(name);
    if (known) return known;
    if (!LOG_NAME.test(name)) throw new TidemarkError("INVALID_ARGUMENT", "a log's name is 1 to 255 of A-Z a-z 0-9 . _ -", { name });
    this.check();
    await this.change(async (change) => {
      if (this.#logs.has(name)) return;
      const slot = await change.takeSlot();
      const segment = new Segment({ slot, baseOffset: 0, epoch: change.epochFor(slot, this.#epoch), createdAt: this.now() });
      const mark = await this.beginSegment(name, segment);
      await this.volume.flush([slot]);
      const entry = { name, born: this.#epoch, settings, logStartOffset: 0, segments: [segment.entry()], quarantined: [] };
      await change.commit(name, entry);
      const recovery = { ...recoveryOf(name, [segment], 0), cut: undefined, rebuilt: [], cleanShutdown: true };
      this.#logs.set(name, new SegmentedLog(this, entry, { segments: [segment], mark, recovery }));
    });
    return this.#logs.get(name)!;
  }

  /**
   * Loads the indexes of sealed segments, the newest first, as many as stay in memory; beside other work, after opening, so
   * that no seek is the first to meet a closed slot. What fails here fails again, and is reported, when it is needed.
   */
  async warm(): Promise<void> {
    const newestFirst = [...this.#logs.values()].flatMap((log) => log.all).filter(({ sealed }) => sealed).sort((a, b) => b.createdAt - a.createdAt);
    for (const segment of newestFirst.slice(0, this.reader.loadedMax)) {
      if (this.#closed || this.#poison) return;
      // A compacted segment's body is checked when it is loaded: that is too much to do ahead of need.
      if (!segment.retired && !segment.sealed?.compacted) await this.reader.prepare(segment).catch(() => undefined);
    }
  }

  /** Flushes every log and writes its clean mark, unless the store is poisoned; releases the volume in any case. */
  async close(): Promise<void> {
    if (this.#closed) return;
    await this.#changes.catch(() => undefined);
    await this.#growing;
    try {
      if (!this.#poison) for (const log of this.#logs.values()) await log.close();
    } finally {
      this.#closed = true;
      await this.volume.close();
    }
  }

  // --- recovery ----------------------------------------------------------------------------------------------------

  async #recover(state: CatalogState): Promise<void> {
    const found: { entry: LogEntry; segments: Segment[]; mark: Mark; recovery: LogRecovery }[] = [];
    for (const entry of state.logs) found.push(await this.#recoverLog(entry, state.epoch));
    const actives = found.map(({ segments }) => segments[segments.length - 1]!.slot);
    this.#epoch = state.epoch + 1;
    for (const { entry, segments, mark, recovery } of found) {
      this.#logs.set(entry.name, new SegmentedLog(this, entry, { segments, mark, recovery }));
    }
    const taken = new Set(found.flatMap(({ segments }) => segments.map((segment) => segment.slot)));
    for (let slot = CATALOG_SLOTS; slot < this.volume.slotCount; slot++) if (!taken.has(slot)) this.#free.push(slot);
    try {
      await this.#beginTerm(actives);
    } catch (thrown) {
      // A disk so full that it refuses even this: what is there can be read all the same.
      const error = this.poison(thrown);
      if (error.code !== "QUOTA_EXCEEDED") throw error;
    }
  }

  async #beginTerm(actives: readonly number[]): Promise<void> {
    // What a killed process had handed over lies in the system's cache: durable before any mark says so.
    if (actives.length > 0) await this.volume.flush(actives);
    // The new epoch before any mark or batch carries it.
    await this.#commit();
    // Both marks, so that losing one to rot never brings an earlier term's epoch back; one flush each, so that a power cut
    // never tears both.
    for (let copy = 0; copy < 2 && actives.length > 0; copy++) {
      for (const log of this.#logs.values()) await log.writeMark();
      await this.volume.flush(actives);
    }
  }

  async #recoverLog(entry: LogEntry, epoch: number) {
    const { volume, kernel } = this;
    const segments = entry.segments.map((segment) => new Segment(segment));
    for (const segment of segments) {
      segment.damage = entry.quarantined.filter((range) => range.slot === segment.slot && range.from >= segment.baseOffset && range.to <= segment.nextOffset);
    }
    const active = segments.pop()!;
    const mark = await readMark(kernel, volume, active);
    const lost = !mark && (await readRole(kernel, volume, active.slot)) === undefined;
    // With checksums even behind a clean mark: the log makes its producers' state of these headers.
    const walked = await this.#walkActive(active, mark, epoch);
    const { cut } = walked;
    // A lost slot may have held the log start: what comes next must not land below it, where nobody could read it.
    const behind = walked.segment.nextOffset < entry.logStartOffset;
    const segment = behind ? new Segment({ ...active.entry(), baseOffset: entry.logStartOffset }) : walked.segment;
    segments.push(segment);
    const recovery: LogRecovery = {
      ...recoveryOf(entry.name, segments, entry.logStartOffset),
      cut: lost ? { offset: segment.baseOffset, bytes: 0, reason: "SLOT_LOST" } : cut,
      rebuilt: ["offset-index", "time-index"],
      cleanShutdown: mark?.clean ?? false,
    };
    return { entry, segments, mark: markOrStart(mark, segment), recovery };
  }

  async #walkActive(active: Segment, mark: Mark | undefined, epoch: number): Promise<{ segment: Segment; cut: TailCut | undefined }> {
    const segment = new Segment(active.entry());
    const walk: Walk = { volume: this.volume, kernel: this.kernel, segment, allowGaps: false, minEpoch: segment.epoch, maxEpoch: epoch };
    if (!mark) return { segment, cut: await walkUnmarked(walk) };
    await walkDurable(walk, mark.position, mark.nextOffset);
    // Behind the mark only batches of the mark's own epoch are ours; others are what the slot held before.
    const tail = (minEpoch: number, maxEpoch = minEpoch): Walk => ({ ...walk, minEpoch, maxEpoch });
    let cut = mark.clean ? undefined : await walkTail(tail(mark.epoch));
    // A header page that came back from an earlier term knows nothing of what later ones have appended.
    for (let term = mark.epoch; (term = await epochBehind(tail(term + 1, epoch))) > 0; ) cut = await walkTail(tail(term));
    return { segment, cut };
  }

  // --- structural changes ------------------------------------------------------------------------------------------

  /** Runs one structural change at a time. A failure poisons the store, except a refused slot, which changed nothing. */
  change(work: (change: Change) => Promise<void>): Promise<void> {
    const taken: number[] = [];
    const change: Change = {
      takeSlot: async () => {
        const slot = await this.#takeSlot();
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
      commit: (log, entry) => this.#commit(log, entry),
      remove: async (log) => {
        this.#epoch++;
        await this.#commit(log, null);
        this.#logs.delete(log);
      },
    };
    const run = this.#changes.then(() => {
      this.check();
      return this.poisonOnFailure(() => work(change), () => this.#free.push(...taken));
    });
    this.#changes = run.catch(() => undefined);
    return run;
  }

  /** With this log's entry in place of what it would be; without it where `entry` is null. */
  async #commit(name?: string, entry?: LogEntry | null): Promise<void> {
    const others = [...this.#logs.values()].filter((log) => entry !== null || log.name !== name);
    const logs = others.map((log) => (log.name === name && entry ? entry : log.entry()));
    if (entry && !this.#logs.has(entry.name)) logs.push(entry);
    await this.#catalog.commit({ id: this.id, epoch: this.#epoch, usedSlots: this.#usedSlots, logs });
  }

  /** Writes a segment's header page, both marks at its start. Not flushed. */
  async beginSegment(name: string, segment: Segment): Promise<Mark> {
    const { baseOffset, epoch } = segment;
    const mark: Mark = { count: 0, baseOffset, position: 0, nextOffset: baseOffset, epoch, clean: false };
    await this.volume.write(segment.slot, 0, encodeHeaderPage(this.kernel, name, mark));
    return { ...mark, count: 1 };
  }

  /** A slot whose segment left its log; the change that freed it is committed. */
  release(segment: Segment): void {
    this.reader.forget(segment);
    // Compaction's outputs take slots without a new epoch.
    this.#usedSlots = Math.max(this.#usedSlots, segment.slot + 1);
    this.#free.push(segment.slot);
  }

  /** Makes sure that `count` slots are free. QUOTA_EXCEEDED: as many as could be made are there, nothing else changed. */
  async reserveSlots(count: number): Promise<void> {
    await this.#addSlots(() => count - this.#free.length);
  }

  async #takeSlot(): Promise<number> {
    await this.reserveSlots(1);
    // Used slots first: their blocks are allocated, so writing into them is several times faster.
    this.#free.sort((a, b) => a - b);
    const slot = this.#free.shift()!;
    this.#growAhead();
    return slot;
  }

  /** Grows the pool beside the work at hand; a refusal is met again, and reported, when a slot is really needed. */
  #growAhead(): void {
    if (!this.#closed && !this.#poison) void this.#addSlots(() => SPARE_SLOTS - this.#free.length).catch(() => undefined);
  }

  /** One growth at a time, so that each sees the slots that the one before made. */
  #addSlots(missing: () => number): Promise<void> {
    const run = this.#growing.then(async () => {
      const count = missing();
      if (count <= 0) return;
      const before = this.volume.slotCount;
      try {
        await this.volume.addSlots(count);
      } catch (thrown) {
        throw TidemarkError.from(thrown, "STORAGE_FAILED").with({ slotRefused: true });
      } finally {
        for (let slot = before; slot < this.volume.slotCount; slot++) this.#free.push(slot);
      }
    });
    this.#growing = run.catch(() => undefined);
    return run;
  }

  // --- failure -----------------------------------------------------------------------------------------------------

  /** Refuses work on a closed or poisoned store, with what poisoned it; `earlier`: this work did nothing. */
  check(): void {
    if (this.#closed) throw new TidemarkError("CLOSED", "the store is closed");
    if (this.#poison) throw this.#poison.with({ poisoned: true, earlier: true });
  }

  get poisoned(): boolean {
    return this.#poison !== undefined;
  }

  /**
   * Runs work that writes. Whatever goes wrong inside leaves the disk unknown, so the store is poisoned; except that a
   * slot could not be made or the call was wrong: nothing that counts was written by then, so the slots taken go back
   * and the store goes on.
   */
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

  /** From here on the store only reads. Returns the error to throw. */
  poison(thrown: unknown): TidemarkError {
    const error = TidemarkError.from(thrown, "STORAGE_FAILED");
    this.#poison ??= error;
    return error.with({ poisoned: true });
  }
}

const cleared = (): TidemarkError =>
  new TidemarkError("CLOSED", "the data is gone: site data was cleared, or the tide was deleted. Open it anew", { reason: "cleared" });

function recoveryOf(log: string, segments: readonly Segment[], logStartOffset: number) {
  const { bytes: scannedBytes, batches: scannedBatches, nextOffset: logEndOffset } = segments.at(-1)!;
  return { log, segments: segments.length, scannedBytes, scannedBatches, quarantined: segments.flatMap((each) => each.damage), logStartOffset, logEndOffset };
}

/** A blank catalog over slots that hold segments is a lost catalog, and never a reason to format. */
async function refuseLostCatalog(volume: Volume, kernel: Kernel): Promise<void> {
  for (let slot = CATALOG_SLOTS; slot < volume.slotCount; slot++) {
    const log = await readRole(kernel, volume, slot);
    if (log !== undefined) throw new TidemarkError("CORRUPT_CATALOG", "slots hold segments but the catalog is gone", { slot, log });
  }
}
