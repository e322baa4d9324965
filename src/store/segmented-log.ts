/**
 * One log in a volume: sealed segments and an active one. segment-store.ts owns what logs share.
 *
 *   append → mark of the last flush, then the batches, into the active slot
 *   flush  → one flush of that slot; the mark of the next append records it
 *   roll   → sections behind the old batches, a header page in the next slot, flush both, commit the catalog
 */
import { TidemarkError } from "../errors.ts";
import { SEGMENT_OFFSETS_MAX } from "../kernel/types.ts";
import { type BatchHeader, nextOffsetOf, readHeader, stampLeaderEpoch } from "../record/format.ts";
import { concat } from "./bytes.ts";
import type { LogEntry, StoredSettings } from "./catalog.ts";
import type {
  CompactedTo,
  FetchedBatches,
  LogRecovery,
  LogStore,
  OnSeal,
  QuarantinedRange,
  ReplacementSegment,
  SegmentInfo,
} from "./log-store.ts";
import type { RecoveredLog } from "./recover-log.ts";
import { producersReserve, sectionsBytesMax } from "./sections-room.ts";
import type { Segment } from "./segment.ts";
import type { RollingLog } from "./segment-list.ts";
import { BODY_AT } from "./slot-layout.ts";
import { encodeMark, type Mark, markPosition } from "./slot.ts";
import type { StoreContext } from "./store-context.ts";

/** Small batches are joined into writes of up to this size. Larger ones are written as they are, without a copy. */
const JOIN_BYTES = 64 * 1024;
/**
 * A mark makes a second dirty page for the flush. So it is rewritten only once 1/128 of a slot (64 KiB of 8 MiB) was
 * flushed since, or by an idle flush, which brings it up to the end. Until then recovery checks that much more, and
 * damage in it counts as a torn tail.
 */
const MARK_SHARE = 7;

export class SegmentedLog implements LogStore, RollingLog {
  name: string;
  readonly recovery: LogRecovery;
  readonly batchBytesMax: number;
  leaderEpoch: number;
  onSeal: OnSeal | undefined;

  readonly store: StoreContext;
  /** Tells this log from an earlier one of the same name; see LogEntry. */
  readonly born: number | undefined;
  settings: StoredSettings | undefined;
  note: StoredSettings | undefined;
  compacted: CompactedTo | undefined;
  deleted = false;
  all: readonly Segment[];
  logStartOffset: number;
  flushed: { readonly offset: number; readonly position: number };
  mark: Mark;
  /** True if the catalog says that batches may be behind the end that it knows. Nothing is appended before. */
  appending: boolean;
  /** Bytes kept free in every slot for the producers' snapshot. */
  readonly #producersReserve: number;
  /** The active segment that roll.ts was loaded for. */
  #ahead: Segment | undefined;
  /** Flushed bytes that may be behind the mark. */
  readonly #markBytes: number;

  constructor(
    store: StoreContext,
    {
      name,
      born,
      settings,
      note,
      compacted,
      logStartOffset,
      appending,
    }: Pick<LogEntry, "name" | "born" | "settings" | "note" | "compacted" | "logStartOffset" | "appending">,
    state: Pick<RecoveredLog, "segments" | "mark" | "recovery">,
  ) {
    this.store = store;
    this.name = name;
    this.born = born;
    this.settings = settings;
    this.note = note;
    this.compacted = compacted;
    this.recovery = state.recovery;
    this.leaderEpoch = store.epoch;
    this.all = state.segments;
    this.logStartOffset = logStartOffset;
    this.appending = appending !== 0;
    this.mark = state.mark;
    this.flushed = { offset: this.#active.nextOffset, position: this.#active.bytes };
    this.#producersReserve = producersReserve(store.volume.slotBytes);
    this.#markBytes = store.volume.slotBytes >> MARK_SHARE;
    this.batchBytesMax = store.batchBytesMax;
  }

  get #active(): Segment {
    return this.all[this.all.length - 1]!;
  }
  get logEndOffset(): number {
    return this.#active.nextOffset;
  }
  get flushedOffset(): number {
    return this.flushed.offset;
  }
  get quarantined(): readonly QuarantinedRange[] {
    return this.all.flatMap((segment) => segment.damage).filter((range) => range.to > this.logStartOffset);
  }
  segments(): readonly SegmentInfo[] {
    return this.all
      .filter((segment) => !segment.sealed || segment.nextOffset > this.logStartOffset)
      .map((segment) => segment.info());
  }

  entry(segments: readonly Segment[] = this.all, logStartOffset = this.logStartOffset): LogEntry {
    const { name, born, settings, note, compacted, flushed } = this;
    const appending = this.appending ? this.leaderEpoch : 0;
    const last = segments.at(-1)!;
    const end =
      last === this.#active
        ? { nextOffset: flushed.offset, position: flushed.position }
        : { nextOffset: last.baseOffset, position: 0 };
    const packed = segments.map((segment) => segment.entry());
    return {
      name,
      born,
      settings,
      note,
      madeAs: last.log === name ? undefined : last.log,
      compacted,
      logStartOffset,
      segments: packed,
      quarantined: segments.flatMap(({ damage }) => damage),
      end,
      appending,
    };
  }

  check(): void {
    if (this.deleted)
      throw new TidemarkError("UNKNOWN_TOPIC", "the log was deleted", { log: this.name, deleted: true });
    this.store.check();
  }

  // --- writing -----------------------------------------------------------------------------------------------------

  async append(batches: readonly Uint8Array[]): Promise<void> {
    const store = this.store;
    this.check();
    if (!this.appending) await store.beginAppending(this);
    await this.#reserve(batches);
    const from = this.logEndOffset;
    let run: Uint8Array[] = [];
    let runBytes = 0;
    for (const batch of batches) {
      if (!this.#fits(runBytes + batch.length, batch)) {
        await this.#write(run);
        // Another log may have taken the reserved slot. If the roll is refused in the middle of an append, that append
        // is neither done nor undone, so the store is poisoned.
        await this.roll().catch((thrown: unknown) => {
          throw this.logEndOffset === from ? thrown : store.poison(thrown);
        });
        run = [];
        runBytes = 0;
      }
      run.push(batch);
      runBytes += batch.length;
    }
    await this.#write(run);
  }

  /**
   * Whether the batches fit the active segment by bytes and by offsets: a compressed batch of some hundred bytes may
   * hold 65,536.
   */
  #fits(bytes: number, last: Uint8Array): boolean {
    const body = this.#active.bytes + bytes;
    if (nextOffsetOf(readHeader(last)) - this.#active.baseOffset > SEGMENT_OFFSETS_MAX) return false;
    return BODY_AT + body + sectionsBytesMax(body, this.#producersReserve) <= this.store.volume.slotBytes;
  }

  /**
   * Reserves all slots that these batches will need before the first byte is written, so that a full disk refuses all
   * of them or none.
   */
  async #reserve(batches: readonly Uint8Array[]): Promise<void> {
    let slots = 0;
    let pending = 0;
    for (const batch of batches) {
      if (batch.length > this.batchBytesMax) {
        throw new TidemarkError("BATCH_TOO_LARGE", `a batch of ${batch.length} bytes; at most ${this.batchBytesMax}`, {
          bytes: batch.length,
          batchBytesMax: this.batchBytesMax,
        });
      }
      const fits =
        slots === 0 ? this.#fits(pending + batch.length, batch) : pending + batch.length <= this.batchBytesMax;
      if (!fits) {
        slots++;
        pending = 0;
      }
      pending += batch.length;
    }
    if (slots === 0) return;
    await import("./roll.ts");
    await this.store.reserveSlots(slots);
  }

  async #write(batches: readonly Uint8Array[]): Promise<void> {
    if (batches.length === 0) return;
    const { volume, kernel } = this.store;
    for (const batch of batches) stampLeaderEpoch(batch, this.leaderEpoch);
    await this.store.poisonOnFailure(async () => {
      const active = this.#active;
      // The mark must also have the epoch of these batches, because behind the mark no other epoch counts.
      if (
        this.mark.clean ||
        this.mark.epoch !== this.leaderEpoch ||
        this.flushed.position - this.mark.position >= this.#markBytes
      )
        await this.writeMark();
      for (const part of joinSmall(batches)) {
        await volume.write(active.slot, BODY_AT + active.bytes, part);
        active.add(kernel, part);
      }
    });
  }

  /**
   * Rewrites one of the two marks. What it records was flushed before; the mark itself is not flushed here. It has this
   * term's epoch once the catalog says that the log is appended to, because no slot may name an epoch that no catalog
   * knows.
   */
  async writeMark(clean = false): Promise<void> {
    const { volume, kernel } = this.store;
    const { slot, baseOffset } = this.#active;
    const { offset: nextOffset, position } = this.flushed;
    const epoch = this.appending ? this.leaderEpoch : this.mark.epoch;
    const mark = { count: this.mark.count + 1, baseOffset, position, nextOffset, epoch, clean };
    await volume.write(slot, markPosition(mark), encodeMark(kernel, mark));
    this.mark = mark;
  }

  async handOver(): Promise<void> {
    this.check();
    await this.store.poisonOnFailure(() => this.store.volume.handOver([this.#active.slot]));
  }

  async flush(): Promise<void> {
    this.check();
    const active = this.#active;
    const flushed = { offset: active.nextOffset, position: active.bytes };
    await this.store.poisonOnFailure(async () => {
      // Nothing new: the mark moves up to the last flush, so that damage in its batches can't be taken for a torn tail.
      if (flushed.position === this.flushed.position && this.mark.position !== flushed.position) await this.writeMark();
      await this.store.volume.flush([active.slot]);
    });
    this.flushed = flushed;
    this.#lookAhead(active);
  }

  /** Half full: what its roll needs is loaded while there is time. What fails here fails again, and is told, then. */
  #lookAhead(active: Segment): void {
    if (this.#ahead === active || active.bytes < this.store.volume.slotBytes >> 1) return;
    this.#ahead = active;
    import("./roll.ts").catch(() => undefined);
  }

  async roll(): Promise<void> {
    const { roll } = await import("./roll.ts");
    await roll(this);
  }

  rolled(next: Segment, epoch: number, mark: Mark): void {
    this.all = [...this.all, next];
    this.leaderEpoch = epoch;
    this.mark = mark;
    this.flushed = { offset: next.baseOffset, position: 0 };
  }

  /** The settings are durable when this resolves. Crash: the settings before or these. */
  async saveSettings(settings: StoredSettings): Promise<void> {
    this.check();
    await this.store.change(async (change) => {
      await change.commit([{ ...this.entry(), settings }]);
      this.settings = settings;
    });
  }

  async saveCompacted(compacted: CompactedTo): Promise<void> {
    this.check();
    await this.store.change(async (change) => {
      await change.commit([{ ...this.entry(), compacted }]);
      this.compacted = compacted;
    });
  }

  async trim(offset: number): Promise<void> {
    const { trimSegments } = await import("./trim-and-replace.ts");
    await trimSegments(this, offset);
  }

  adopt(next: readonly Segment[]): void {
    for (const segment of this.all) {
      if (next.includes(segment)) continue;
      segment.retired = true;
      this.store.release(segment);
    }
    this.all = next;
  }

  async replace(from: number, to: number, outputs: readonly ReplacementSegment[]): Promise<void> {
    const { replaceSegments } = await import("./trim-and-replace.ts");
    await replaceSegments(this, from, to, outputs);
  }

  /** The catalog's next commit records that the log ends here. A log that was not appended to has nothing to record. */
  async close(): Promise<void> {
    if (!this.appending) return;
    await this.flush();
    await this.writeMark(true);
    await this.flush();
    this.appending = false;
  }

  // --- reading -----------------------------------------------------------------------------------------------------

  async read(
    from: number,
    maxBytes: number,
    limitOffset: number,
    verify = false,
    memory?: Uint8Array,
  ): Promise<FetchedBatches> {
    this.#checkRange(from);
    let wanted = from;
    for (;;) {
      const limit = Math.min(limitOffset, this.logEndOffset);
      const segment = wanted < limit ? this.segmentFor(wanted) : undefined;
      if (!segment) return { bytes: new Uint8Array(0), nextOffset: wanted };
      if (verify) await this.examine(segment);
      await this.store.reader.prepare(segment);
      const sought = { from: Math.max(wanted, segment.baseOffset), maxBytes, limit, memory };
      const found = await this.store.reader.read(segment, sought);
      // The segment was trimmed or compacted during the read and its slot may hold other bytes now, so it looks again.
      if (segment.retired) this.#checkRange(from);
      else if (found) return found;
      // Compaction left a hole at the segment's end, so the read continues in the next one. The loop ends at the log's
      // end.
      else if (segment.sealed) wanted = segment.nextOffset;
      else return { bytes: new Uint8Array(0), nextOffset: wanted };
    }
  }

  #checkRange(offset: number): void {
    if (this.deleted) this.check();
    const { logStartOffset, logEndOffset } = this;
    if (!(offset >= logStartOffset && offset <= logEndOffset)) {
      throw new TidemarkError("OFFSET_OUT_OF_RANGE", `offset ${offset} is not in the log`, {
        offset,
        logStartOffset,
        logEndOffset,
      });
    }
  }

  async examine(segment: Segment): Promise<void> {
    const { offset: nextOffset, position: bytes } = this.flushed;
    await this.store.reader.examine(segment, segment.sealed ? undefined : { bytes, nextOffset });
  }

  /** The segment that contains `offset`, or the first behind it. Binary search over base offsets. */
  segmentFor(offset: number): Segment | undefined {
    let low = 0;
    let high = this.all.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.all[middle]!.nextOffset > offset) high = middle;
      else low = middle + 1;
    }
    return this.all[low];
  }

  async offsetForTimestamp(timestamp: number): Promise<number | undefined> {
    const { offsetForTimestamp } = await import("./time-lookup.ts");
    return offsetForTimestamp(this, timestamp);
  }

  async *headers(from: number): AsyncGenerator<BatchHeader> {
    const { headersFrom } = await import("./hops.ts");
    yield* headersFrom(this, from);
  }

  async producerSnapshot(): Promise<{ readonly offset: number; readonly bytes: Uint8Array } | undefined> {
    const { newestSnapshot } = await import("./hops.ts");
    return newestSnapshot(this);
  }
}

/** Joins small neighbours into one buffer each. Large batches come alone and are not copied. */
function* joinSmall(batches: readonly Uint8Array[]): Generator<Uint8Array> {
  let run: Uint8Array[] = [];
  let bytes = 0;
  for (const batch of batches) {
    if (bytes > 0 && bytes + batch.length > JOIN_BYTES) {
      yield concat(run);
      run = [];
      bytes = 0;
    }
    run.push(batch);
    bytes += batch.length;
  }
  yield concat(run);
}
