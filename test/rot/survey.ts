/**
 * Runs the whole real path over a damaged image: opens the store and the log, reads with the reader that applications
 * use, seeks by offset and by time, and sends each producer's newest batch again. Then it gives a verdict:
 *
 *   same          nothing is missing, nothing was reported
 *   took over     nothing is missing: the other copy of the catalog, or the other mark, was used
 *   reported      some batches are CORRUPT_RANGE (or in the report), all others are exact
 *   cut           the newest batches are gone, and the report says that the tail was cut
 *   cut below the mark   the same, though a mark had said that they are durable
 *   refused       the volume does not open, by a typed error
 *
 * Anything else throws a Violation: a record that differs or that is missing without a report, a seek that skips good
 * records, an error that is no TidemarkError, a read that does not end.
 */
import { readBatches, type ReadSource } from "../../src/delivery/reader.ts";
import { TidemarkError } from "../../src/errors.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { Log } from "../../src/log/log.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import { readHeader } from "../../src/record/format.ts";
import { serializerOf } from "../../src/topic/serializer.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { Violation } from "../simulation/model.ts";
import { CLOCK, NAME, type RotLog, type TrueBatch } from "./history.ts";
import type { RotVolume } from "./rot-volume.ts";

export interface Range {
  readonly from: number;
  readonly to: number;
}

export interface Verdict {
  readonly outcome: "same" | "took over" | "reported" | "cut" | "cut below the mark" | "refused";
  /** The ranges that were reported as damaged. */
  readonly damage: readonly Range[];
  readonly note: string;
}

const RAW = serializerOf<Uint8Array>("bytes");
const FETCH_BYTES = 64 * 1024;
/** A read that needs more turns than this does not end: no read of these logs needs as many. */
const TURNS_MAX = 10_000;

/** The error, if it is a typed one. Any other error, and INTERNAL, is a bug and throws a Violation. */
export function typed(thrown: unknown): TidemarkError {
  if (thrown instanceof TidemarkError && thrown.code !== "INTERNAL") return thrown;
  throw new Violation("untyped", String(thrown), { cause: thrown });
}

class Survey {
  readonly damage: Range[] = [];
  readonly #seen = new Map<number, Uint8Array>();
  readonly #exact = new Set<number>();

  constructor(
    readonly kernel: Kernel,
    readonly log: Log,
    readonly truth: RotLog,
  ) {}

  /** The log as the reader's source. It keeps the bytes that it passed on, which are all that the reader can decode. */
  #source(): ReadSource {
    return {
      resolve: (position, isolation) => this.log.resolve(position, isolation),
      fetch: async (from, options) => {
        const fetched = await this.log.fetch(from, options);
        for (const bytes of safeSplit(fetched.bytes)) this.#seen.set(readHeader(bytes).baseOffset, bytes);
        return fetched;
      },
    };
  }

  /**
   * Checks an error that a read at `offset` threw: it must name a range that begins there or behind a gap. Returns
   * where reading continues.
   */
  report(error: TidemarkError, offset: number): number {
    const { from, to } = error.details;
    if (error.code !== "CORRUPT_RANGE") throw new Violation("no-range", `at ${offset}: ${error.message}`);
    if (
      typeof from !== "number" ||
      typeof to !== "number" ||
      !(to > offset) ||
      batchesIn(this.truth, offset, from).length > 0
    )
      throw new Violation("no-range", `at ${offset}: ${from} to ${to}`);
    if (!this.damage.some((range) => range.from === from && range.to === to)) this.damage.push({ from, to });
    return to;
  }

  async readAll(from: number, to: number): Promise<void> {
    let offset = from;
    for (let turn = 0; offset < to; turn++) {
      if (turn > TURNS_MAX) throw new Violation("endless", `still at ${offset}`);
      try {
        for await (const batch of readBatches(this.#source(), this.kernel, RAW, {
          from: offset,
          to,
          maxBytes: FETCH_BYTES,
        })) {
          this.#check(batch.baseOffset, batch.nextOffset, offset, to);
          offset = batch.nextOffset;
        }
        return;
      } catch (thrown) {
        if (thrown instanceof Violation) throw thrown;
        offset = this.report(typed(thrown), offset);
      }
    }
  }

  #check(base: number, next: number, asked: number, to: number): void {
    const batch = batchAt(this.truth, base);
    const bytes = batch && this.#seen.get(batch.baseOffset);
    if (!bytes) throw new Violation("wrong-record", `a batch at ${base} that was never written (read from ${asked})`);
    if (!isExact(bytes, batch.bytes))
      throw new Violation("wrong-record", `the batch at ${base} is not what was written`);
    if (next !== Math.min(to, batch.nextOffset))
      throw new Violation("wrong-record", `the batch at ${base} ends at ${next}, not ${batch.nextOffset}`);
    this.#exact.add(batch.baseOffset);
  }

  /** Every batch of the range must have been read exactly, or lie in reported damage or behind a reported cut. */
  checkComplete({ from, to }: Range, cutAt: number): void {
    for (const { baseOffset, nextOffset } of batchesIn(this.truth, from, to)) {
      if (this.#exact.has(baseOffset) || baseOffset >= cutAt) continue;
      if (!this.damage.some((range) => range.from < nextOffset && range.to > baseOffset))
        throw new Violation("lost", `the batch at ${baseOffset} is missing without a word`);
    }
  }

  async seekOffset(offset: number): Promise<void> {
    try {
      const { bytes } = await this.log.fetch(offset, { maxBytes: 1 });
      const found = bytes.length > 0 ? readHeader(bytes) : undefined;
      const wanted = this.truth.batches[firstBehind(this.truth, offset)];
      // A seek does not check the batch that it finds: the reader does. But the seek must not skip a good batch.
      if (found && wanted && found.baseOffset > wanted.baseOffset && !this.#isDamaged(wanted))
        throw new Violation("seek", `offset ${offset} leads to ${found.baseOffset}, not ${wanted.baseOffset}`);
    } catch (thrown) {
      if (thrown instanceof Violation) throw thrown;
      this.report(typed(thrown), offset);
    }
  }

  /** Seeks before anything is read, so before damage is known. The returned function judges the answer afterwards. */
  async seekTime({ timestamp, expected }: TimeSeek): Promise<() => string> {
    try {
      const found = await this.log.resolve({ timestamp });
      return () => {
        if (found === expected) return "";
        const readable = firstAt(this.truth, timestamp, (batch) => this.#isDamaged(batch));
        if (found !== Math.min(readable, this.log.logEndOffset))
          throw new Violation(
            "time",
            `time ${timestamp} leads to ${found}, not ${expected}, nor to ${readable} behind the damage`,
          );
        return "a seek by time passes over the damage";
      };
    } catch (thrown) {
      const { code, details } = typed(thrown);
      if (code !== "CORRUPT_RANGE" || !(Number(details["from"]) >= 0))
        throw new Violation("no-range", `time ${timestamp}: ${String(thrown)}`);
      return () => "";
    }
  }

  async retry(): Promise<void> {
    for (const { batch, baseOffset } of this.truth.retries) {
      if (baseOffset >= this.log.highWatermark || this.#isDamaged({ baseOffset, nextOffset: baseOffset + 1 })) continue;
      const end = this.log.logEndOffset;
      const answer = await this.log.append(batch.slice()).catch((thrown: unknown) => typed(thrown));
      if (answer instanceof TidemarkError) throw new Violation("retry", `of ${baseOffset}: ${answer.message}`);
      if (!answer.duplicate || answer.baseOffset !== baseOffset || this.log.logEndOffset !== end)
        throw new Violation("retry", `of ${baseOffset} is taken at ${answer.baseOffset}`);
    }
  }

  #isDamaged({ baseOffset, nextOffset }: Pick<TrueBatch, "baseOffset" | "nextOffset">): boolean {
    return (
      this.damage.some((range) => range.from < nextOffset && range.to > baseOffset) ||
      baseOffset >= this.log.logEndOffset
    );
  }
}

/** The index of the first batch that ends behind the offset. */
function firstBehind({ batches }: RotLog, offset: number): number {
  let low = 0;
  let high = batches.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (batches[middle]!.nextOffset > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}

export function batchAt(truth: RotLog, offset: number): TrueBatch | undefined {
  const batch = truth.batches[firstBehind(truth, offset)];
  return batch && batch.baseOffset <= offset ? batch : undefined;
}

export function batchesIn(truth: RotLog, from: number, to: number): readonly TrueBatch[] {
  const found: TrueBatch[] = [];
  for (let i = firstBehind(truth, from); i < truth.batches.length && truth.batches[i]!.baseOffset < to; i++)
    found.push(truth.batches[i]!);
  return found;
}

/** True when the bytes are equal but for the leader epoch: readers ignore it, and the checksum does not cover it. */
function isExact(bytes: Uint8Array, truth: Uint8Array): boolean {
  return (
    bytes.length === truth.length &&
    Buffer.compare(bytes.subarray(0, 12), truth.subarray(0, 12)) === 0 &&
    Buffer.compare(bytes.subarray(16), truth.subarray(16)) === 0
  );
}

function safeSplit(bytes: Uint8Array): Uint8Array[] {
  try {
    return splitBatches(bytes);
  } catch {
    return [];
  }
}

/**
 * A time to look for, and the offset that must be found: that of the first record that is not older.
 */
export interface TimeSeek {
  readonly timestamp: number;
  readonly expected: number;
}

/** The same by a plain search: the first record that is not older, without the batches that `leftOut` names. */
export function firstAt(log: RotLog, timestamp: number, leftOut: (batch: TrueBatch) => boolean = () => false): number {
  for (const batch of log.batches) {
    if (batch.maxTimestamp < timestamp || leftOut(batch)) continue;
    const found = batch.records.find((record) => record.offset >= log.start && record.timestamp >= timestamp);
    if (found) return found.offset;
  }
  return log.end;
}

export interface Scope extends Range {
  readonly offsets: readonly number[];
  readonly times: readonly TimeSeek[];
  /** Whether producers send their newest batches again. */
  readonly retries: boolean;
}

export async function survey(kernel: Kernel, volume: RotVolume, truth: RotLog, scope: Scope): Promise<Verdict> {
  let store: SegmentStore;
  let log: Log;
  try {
    store = await SegmentStore.open({ volume, kernel, now: CLOCK.now });
    if (!store.names().includes(NAME)) throw new Violation("lost", "the log is gone");
    log = await Log.open({ store: await store.log(NAME), kernel, clock: CLOCK });
  } catch (thrown) {
    if (thrown instanceof Violation) throw thrown;
    return { outcome: "refused", damage: [], note: typed(thrown).code };
  }
  const { cut, cleanShutdown, lost: gone } = log.recovery;
  // If the active slot seems to belong to another log, the log continues behind all offsets that the slot may have
  // held, and reports the gap.
  const skipped = gone?.to === log.logEndOffset && gone.from < truth.end;
  if (log.logStartOffset !== truth.start || (log.logEndOffset > truth.end && !skipped))
    throw new Violation("bounds", `${log.logStartOffset} to ${log.logEndOffset}`);
  const lost = truth.end - log.logEndOffset;
  // A slot without its header page is reported as damaged from its start.
  if (lost > 0 && (!cut || cut.offset > log.logEndOffset))
    throw new Violation(
      log.logEndOffset < truth.marked ? "lost" : "lost-tail",
      `the log ends ${lost} records early without a word`,
    );
  const found = new Survey(kernel, log, truth);
  for (const { from, to } of log.quarantined()) found.damage.push({ from, to });
  const times: (() => string)[] = [];
  for (const time of scope.times) if (time.expected < log.logEndOffset) times.push(await found.seekTime(time));
  const to = Math.min(scope.to, log.logEndOffset);
  await found.readAll(scope.from, to);
  found.checkComplete(scope, log.logEndOffset);
  for (const offset of scope.offsets) if (offset < log.logEndOffset) await found.seekOffset(offset);
  let note = "";
  for (const judge of times) note ||= judge();
  if (scope.retries) await found.retry();
  const { damage } = found;
  if (lost > 0)
    return {
      outcome: log.logEndOffset < truth.marked ? "cut below the mark" : "cut",
      damage: [...damage, { from: log.logEndOffset, to: truth.end }],
      note,
    };
  if (damage.length > 0) return { outcome: "reported", damage, note };
  const tookOver = store.recovery.catalogCopies < 2 || cleanShutdown !== (truth.ended === "closed");
  return { outcome: tookOver ? "took over" : "same", damage, note };
}
