/**
 * What the log remembers of idempotent producers (KIP-98): enough to answer a retry with the first offset, and to refuse
 * a gap. State is made of the log's own batch headers, so it can always be made again; a snapshot only saves the walk.
 *
 *   snapshot  0 "PRD1" · 4 u32 producers · then per producer: i64 id, i16 epoch, i64 last seen (ms), u16 batches (1 … 5),
 *             then per batch: i32 base sequence, i32 last sequence, i64 base offset, u32 CRC; at the end u32 CRC-32C
 *
 * Entries are immutable: undoing an append that was refused is putting the entry of before back.
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { viewOf } from "../record/bytes.ts";
import type { BatchHeader } from "../record/format.ts";

/** As many as a producer may have in flight (Kafka's max.in.flight with idempotence). */
export const PRODUCER_BATCHES = 5;
const MAGIC = 0x50524431; // "PRD1"
const HEAD_BYTES = 8;
const PRODUCER_BYTES = 20;
const BATCH_BYTES = 20;
const SEQUENCE_MAX = 0x7fffffff;

export interface ProducerBatch {
  readonly baseSequence: number;
  readonly lastSequence: number;
  readonly baseOffset: number;
  /** Of the batch as produced: tells a retry from other bytes under the same sequence. */
  readonly crc: number;
}

export interface ProducerEntry {
  readonly epoch: number;
  readonly lastSeenMs: number;
  /** Newest last. */
  readonly batches: readonly ProducerBatch[];
}

/** Sequences wrap from 2^31 - 1 to 0, as in Kafka. */
export const advanceSequence = (sequence: number, by: number): number => (sequence + by) % (SEQUENCE_MAX + 1);

export class ProducerState {
  /** In order of last use, the longest silent first. */
  readonly #entries = new Map<number, ProducerEntry>();

  constructor(
    readonly producersMax: number,
    readonly maxAgeMs: number,
  ) {}

  get size(): number {
    return this.#entries.size;
  }

  get(producerId: number): ProducerEntry | undefined {
    return this.#entries.get(producerId);
  }

  /** The batch this one repeats, or undefined when it is new and in turn; anything else is a typed error. */
  admit(header: BatchHeader, nowMs: number): ProducerBatch | undefined {
    const { producerId, producerEpoch, baseSequence: received, recordCount } = header;
    const entry = this.#entries.get(producerId);
    const known = entry && nowMs - entry.lastSeenMs <= this.maxAgeMs ? entry : undefined;
    if (known && producerEpoch < known.epoch) {
      throw new TidemarkError("FENCED_PRODUCER", "a newer epoch of this producer has written", { currentEpoch: known.epoch, producerEpoch });
    }
    if (!known || producerEpoch > known.epoch) {
      if (received === 0) return undefined;
      const details = { expected: 0, received, unknownProducer: !known };
      throw new TidemarkError("OUT_OF_ORDER_SEQUENCE", `sequence ${received} of ${known ? "a new epoch" : "an unknown producer"}`, details);
    }
    const last = advanceSequence(received, recordCount - 1);
    for (const batch of known.batches) {
      if (batch.baseSequence === received && batch.lastSequence === last) {
        if (batch.crc === header.crc) return batch;
        throw new TidemarkError("SEQUENCE_CONFLICT", "other bytes under a sequence that is taken", { sequence: received, offset: batch.baseOffset });
      }
    }
    const expected = advanceSequence(known.batches[known.batches.length - 1]!.lastSequence, 1);
    if (received === expected) return undefined;
    throw new TidemarkError("OUT_OF_ORDER_SEQUENCE", `sequence ${received}, expected ${expected}`, { expected, received });
  }

  /** Counts a batch that was admitted, or stands in the log already. Returns the entry of before, for `restore`. */
  record(header: BatchHeader, baseOffset: number, nowMs: number): ProducerEntry | undefined {
    const { producerId, producerEpoch: epoch, baseSequence, recordCount, crc } = header;
    const before = this.#entries.get(producerId);
    const batch = { baseSequence, lastSequence: advanceSequence(baseSequence, recordCount - 1), baseOffset, crc };
    const earlier = before?.epoch === epoch ? before.batches.slice(1 - PRODUCER_BATCHES) : [];
    this.#put(producerId, { epoch, lastSeenMs: nowMs, batches: [...earlier, batch] });
    return before;
  }

  /** Begins with what another knows. */
  adopt(other: ProducerState): void {
    for (const [id, entry] of other.#entries) this.#entries.set(id, entry);
  }

  restore(producerId: number, before: ProducerEntry | undefined): void {
    this.#entries.delete(producerId);
    if (before) this.#entries.set(producerId, before);
  }

  #put(producerId: number, entry: ProducerEntry): void {
    this.#entries.delete(producerId);
    this.#entries.set(producerId, entry);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.producersMax) break;
      this.#entries.delete(oldest);
    }
  }

  /** The whole state, in at most `maxBytes`: the longest silent producers are left out first. */
  snapshot(kernel: Kernel, maxBytes: number): Uint8Array {
    const kept: [number, ProducerEntry][] = [];
    let length = HEAD_BYTES + 4;
    for (const [id, entry] of [...this.#entries].reverse()) {
      const size = PRODUCER_BYTES + entry.batches.length * BATCH_BYTES;
      if (length + size > maxBytes) break;
      length += size;
      kept.push([id, entry]);
    }
    const bytes = new Uint8Array(length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, MAGIC);
    view.setUint32(4, kept.length);
    let at = HEAD_BYTES;
    for (const [id, { epoch, lastSeenMs, batches }] of kept.reverse()) {
      view.setBigInt64(at, BigInt(id));
      view.setInt16(at + 8, epoch);
      view.setBigInt64(at + 10, BigInt(Math.trunc(lastSeenMs)));
      view.setUint16(at + 18, batches.length);
      at += PRODUCER_BYTES;
      for (const batch of batches) {
        view.setInt32(at, batch.baseSequence);
        view.setInt32(at + 4, batch.lastSequence);
        view.setBigInt64(at + 8, BigInt(batch.baseOffset));
        view.setUint32(at + 16, batch.crc);
        at += BATCH_BYTES;
      }
    }
    view.setUint32(at, kernel.crc32c(bytes.subarray(0, at)));
    return bytes;
  }

  /** Takes a snapshot's entries over. False, and nothing taken, when it is damaged. */
  load(kernel: Kernel, bytes: Uint8Array): boolean {
    const end = bytes.length - 4;
    const view = viewOf(bytes);
    if (end < HEAD_BYTES || view.getUint32(0) !== MAGIC || view.getUint32(end) !== kernel.crc32c(bytes.subarray(0, end))) return false;
    const found: [number, ProducerEntry][] = [];
    let at = HEAD_BYTES;
    // Counts that the bytes don't bear out are damage like any other.
    for (let left = view.getUint32(4); left > 0; left--) {
      const count = at + PRODUCER_BYTES <= end ? view.getUint16(at + 18) : 0;
      if (count === 0 || at + PRODUCER_BYTES + count * BATCH_BYTES > end) return false;
      const id = Number(view.getBigInt64(at));
      const epoch = view.getInt16(at + 8);
      const lastSeenMs = Number(view.getBigInt64(at + 10));
      at += PRODUCER_BYTES;
      const batches: ProducerBatch[] = [];
      for (let i = 0; i < count; i++, at += BATCH_BYTES) {
        batches.push({
          baseSequence: view.getInt32(at),
          lastSequence: view.getInt32(at + 4),
          baseOffset: Number(view.getBigInt64(at + 8)),
          crc: view.getUint32(at + 16),
        });
      }
      found.push([id, { epoch, lastSeenMs, batches }]);
    }
    for (const [id, entry] of found) this.#put(id, entry);
    return true;
  }
}
