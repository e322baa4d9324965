/**
 * A replica: this device's copy of the edge's log. It is a log of the store with the edge's offsets and bytes. Only the
 * epoch is this volume's, and holes are covered by fillers.
 *
 *   delivered ─▶ pieces: tiling, checksums, fillers for holes ─▶ append ─▶ flush ─▶ watermark, readers wake
 */
import { TidemarkError } from "../errors.ts";
import { type Kernel, Status, statusName } from "../kernel/types.ts";
import { LogReads } from "../log/log-reads.ts";
import type { LogSettings } from "../log/types.ts";
import { type BatchHeader, nextOffsetOf, readHeader } from "../record/format.ts";
import { splitBatches } from "../record/record-batch.ts";
import type { SegmentedLog } from "../store/segmented-log.ts";
import { fillers, isFiller, RangeDigest } from "./fillers.ts";
import { asReplicaNote, type GapRun, type ReplicaNote } from "./notes.ts";
import { type Sample, SAMPLES_MAX } from "./sync-frames.ts";
import type { Range, ReceivedFrame } from "./topic-store.ts";

/** A batch that continues the replica: one of the edge's, or a filler. */
export interface Piece {
  readonly bytes: Uint8Array;
  readonly header: BatchHeader;
}

/** A frame that waits for its turn. */
export interface Waiting {
  readonly delivered: ReceivedFrame;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export interface ReplicaOptions {
  readonly log: SegmentedLog;
  readonly kernel: Kernel;
  readonly settings: () => LogSettings;
  readonly breathe: () => Promise<void>;
}

export class Replica {
  readonly log: SegmentedLog;
  readonly reads: LogReads;
  readonly #kernel: Kernel;

  constructor({ log, kernel, settings, breathe }: ReplicaOptions) {
    this.log = log;
    this.#kernel = kernel;
    const { waitersMax } = settings();
    this.reads = new LogReads({ store: log, kernel, waitersMax, settings, check: () => log.check(), breathe });
  }

  get note(): ReplicaNote {
    return asReplicaNote(this.log.note);
  }
  get watermark(): number {
    return this.reads.highWatermark;
  }
  get end(): number {
    return this.log.logEndOffset;
  }

  /**
   * Gaps below this offset. A gap is noted before the copy passes it, so behind a crash the note may name one that the
   * copy has not reached: that one does not count. The next join says what is missing there then.
   */
  gapsTo(end = this.end): readonly GapRun[] {
    const { gaps } = this.note;
    if (!gaps.some(([, to]) => to > end)) return gaps;
    return gaps.filter(([from]) => from < end).map(([from, to, why]) => [from, Math.min(to, end), why]);
  }

  /**
   * Splits what was delivered into pieces that continue the replica at its end. What is here already is left out.
   * `from` is where the follow was before: only offsets that are missing after it are a hole. Throws before anything is
   * stored.
   */
  pieces(bytes: Uint8Array, from: number, nextOffset: number): Piece[] {
    if (from > this.end)
      throw new TidemarkError("OFFSET_OUT_OF_RANGE", `the replica ends at ${this.end}, before what was delivered`, {
        offset: from,
        logEndOffset: this.end,
      });
    const pieces: Piece[] = [];
    let at = this.end;
    const cover = (to: number): void => {
      for (const filler of fillers(this.#kernel, at, to)) pieces.push({ bytes: filler, header: readHeader(filler) });
      at = Math.max(at, to);
    };
    for (const batch of splitBatches(bytes)) {
      const header = readHeader(batch);
      const next = nextOffsetOf(header);
      const status = this.#kernel.validateBatch(batch);
      if (status !== Status.OK || !(header.baseOffset >= 0 && next <= nextOffset))
        throw new TidemarkError("INVALID_BATCH", `the edge sent a bad batch at offset ${header.baseOffset}`, {
          offset: header.baseOffset,
          reason: status === Status.OK ? "OFFSET" : statusName(status),
        });
      if (next <= this.end) continue;
      if (header.baseOffset < this.end)
        throw new TidemarkError(
          "DIVERGED",
          `a batch of the edge begins at ${header.baseOffset}, and the replica ends inside it`,
          { offset: header.baseOffset, logEndOffset: this.end },
        );
      if (header.baseOffset < at)
        throw new TidemarkError("INVALID_BATCH", `offsets fall at ${header.baseOffset}`, {
          offset: header.baseOffset,
          reason: "OFFSET",
        });
      cover(header.baseOffset);
      pieces.push({ bytes: batch, header });
      at = next;
    }
    cover(nextOffset);
    return pieces;
  }

  /** Appends without a flush. */
  async append(pieces: readonly Piece[]): Promise<void> {
    if (pieces.length > 0) await this.log.append(pieces.map(({ bytes }) => bytes));
  }

  /** Makes all that was appended durable and visible to readers. */
  async flush(): Promise<void> {
    await this.log.flush();
    this.reads.raiseHighWatermark(this.log.flushedOffset);
  }

  /**
   * Samples for a join: from the end backwards, at distances that double. Batches that this device compacted are left
   * out.
   */
  async samples(): Promise<Sample[]> {
    const samples: Sample[] = [];
    const { logStartOffset } = this.log;
    let span = Math.max(1, Math.floor((this.watermark - logStartOffset) / 2 ** (SAMPLES_MAX - 1)));
    for (let wanted = this.watermark - 1; wanted >= logStartOffset && samples.length < SAMPLES_MAX; span *= 2) {
      const header = await this.#headerAt(wanted);
      if (header) {
        const { baseOffset, crc } = header;
        if (!this.#isCompacted(baseOffset)) samples.push([baseOffset, isFiller(header) ? null : crc]);
      }
      wanted = Math.min(wanted, header?.baseOffset ?? wanted) - span;
    }
    return samples;
  }

  async #headerAt(offset: number): Promise<BatchHeader | undefined> {
    try {
      const { bytes } = await this.log.read(offset, 1, this.watermark);
      return bytes.length > 0 ? readHeader(bytes) : undefined;
    } catch (thrown) {
      // Damage here says nothing about the edge: there is no sample then.
      if (TidemarkError.from(thrown).code === "CORRUPT_RANGE") return undefined;
      throw thrown;
    }
  }

  #isCompacted(offset: number): boolean {
    return this.log.segmentFor(offset)?.sealed?.compacted ?? false;
  }

  /** Offsets of [from, watermark) that no batch of the edge covers here: fillers, and what is damaged or compacted. */
  async uncovered(from: number): Promise<Range[]> {
    const found: [number, number][] = [];
    const add = (start: number, end: number): void => {
      const last = found.at(-1);
      if (start >= end) return;
      if (last?.[1] === start) last[1] = end;
      else found.push([start, end]);
    };
    let at = Math.max(from, this.log.logStartOffset);
    add(from, at);
    // The log may begin inside a batch.
    for await (const header of this.log.headers(from)) {
      if (nextOffsetOf(header) <= at) continue;
      add(at, header.baseOffset);
      at = nextOffsetOf(header);
      if (isFiller(header)) add(header.baseOffset, at);
    }
    add(at, this.watermark);
    return found;
  }

  /** What the note says if the edge has removed tombstones below this offset: records here may have been deleted. */
  staleness(tombstonesTo: number): Pick<ReplicaNote, "stale"> {
    const isMissed = this.log.logStartOffset < this.watermark && this.watermark < tombstonesTo;
    return isMissed ? { stale: this.watermark } : {};
  }

  /** See RangeDigest. */
  async digest(from: number, to: number): Promise<number> {
    const digest = new RangeDigest(this.#kernel);
    for await (const header of this.log.headers(from)) {
      if (header.baseOffset >= to) break;
      digest.add(header);
    }
    return digest.crc;
  }
}
