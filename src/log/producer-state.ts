/**
 * What the log remembers of idempotent producers (KIP-98): enough to answer a retry with the first offsets, and to
 * refuse a gap. The state is made from the log's own batch headers, so it can always be rebuilt; a snapshot only saves
 * that walk.
 *
 * A segment that is sealed gets a snapshot (src/store/take-snapshot.ts).
 *
 * When there are too many producers, the one that has been silent longest is forgotten; no clock is involved. Of all
 * forgotten producers only one number stays: the highest offset that any of them had written at. A producer that is not
 * known is new to the log and may begin at any sequence (Kafka since KIP-360). The exception is a batch that is sent
 * again, and whose first try was made when the log ended at or below that number: the log may contain it, and nobody
 * can tell any more, so it is refused. docs/decisions/0012 has the proof.
 *
 * Entries are immutable, so undoing a refused append means putting the earlier entry back.
 */
import { TidemarkError } from "../errors.ts";
import type { BatchHeader } from "../record/format.ts";
import { RecentMap } from "../store/recent-map.ts";
import type { SeenProducers } from "../store/take-snapshot.ts";
import type { LogAppendOptions } from "./types.ts";

/** A producer may have this many batches in flight (Kafka's max.in.flight with idempotence). */
const PRODUCER_BATCHES = 5;
const SEQUENCE_MAX = 0x7fffffff;

export interface ProducerBatch {
  readonly baseSequence: number;
  readonly lastSequence: number;
  readonly baseOffset: number;
  /** The CRC of the batch as it was produced. It tells a retry from other bytes under the same sequence. */
  readonly crc: number;
}

export interface ProducerEntry {
  readonly epoch: number;
  /** The newest is last. */
  readonly batches: readonly ProducerBatch[];
}

/** What the producer says about a batch outside the batch's header. */
export type Sending = Pick<LogAppendOptions, "fromZero" | "resentSince">;

const newestOf = (batches: readonly ProducerBatch[]): number => batches[batches.length - 1]!.baseOffset;

/** Sequences wrap from 2^31 - 1 to 0, as in Kafka. */
const advanceSequence = (sequence: number, by: number): number => (sequence + by) % (SEQUENCE_MAX + 1);

export class ProducerState implements SeenProducers {
  readonly #entries = new RecentMap<number, ProducerEntry>();
  #forgotten = -1;

  constructor(readonly producersMax: number) {}

  /** Highest offset at which a producer that was forgotten had written; -1 if there is none. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** Records that unknown producers may have written up to `offset`. */
  forget(offset: number): void {
    this.#forgotten = Math.max(this.#forgotten, offset);
  }

  get size(): number {
    return this.#entries.size;
  }

  get(producerId: number): ProducerEntry | undefined {
    return this.#entries.get(producerId);
  }

  /** The batch that this one repeats; undefined if it is new and in sequence. Anything else is a typed error. */
  admit(header: BatchHeader, sending: Sending = {}): ProducerBatch | undefined {
    const { producerId, producerEpoch, baseSequence: received, recordCount } = header;
    const known = this.#entries.get(producerId);
    if (!known) return this.#admitUnknown(received, sending);
    if (producerEpoch < known.epoch) {
      throw new TidemarkError("FENCED_PRODUCER", "a newer epoch of this producer has written", {
        currentEpoch: known.epoch,
        producerEpoch,
      });
    }
    if (producerEpoch > known.epoch) {
      if (received === 0) return undefined;
      throw new TidemarkError(
        "OUT_OF_ORDER_SEQUENCE",
        `sequence ${received} begins a new epoch, which must begin at 0`,
        { expected: 0, received, unknownProducer: false },
      );
    }
    const last = advanceSequence(received, recordCount - 1);
    for (const batch of known.batches) {
      if (batch.baseSequence === received && batch.lastSequence === last) {
        if (batch.crc === header.crc) return batch;
        throw new TidemarkError("SEQUENCE_CONFLICT", "another batch has this sequence already", {
          sequence: received,
          offset: batch.baseOffset,
        });
      }
    }
    const expected = advanceSequence(known.batches[known.batches.length - 1]!.lastSequence, 1);
    if (received === expected) return undefined;
    throw new TidemarkError("OUT_OF_ORDER_SEQUENCE", `sequence ${received}, expected ${expected}`, {
      expected,
      received,
    });
  }

  #admitUnknown(received: number, { fromZero = false, resentSince = Infinity }: Sending): undefined {
    if (this.#forgotten >= resentSince) {
      const details = { expected: 0, received, unknownProducer: true, forgotten: this.#forgotten, resentSince };
      throw new TidemarkError(
        "OUT_OF_ORDER_SEQUENCE",
        "this producer was forgotten, and the log may hold this batch: read from resentSince on",
        details,
      );
    }
    if (fromZero && received !== 0) {
      throw new TidemarkError("OUT_OF_ORDER_SEQUENCE", `sequence ${received} of an unknown producer`, {
        expected: 0,
        received,
        unknownProducer: true,
      });
    }
    return undefined;
  }

  /** Counts a batch that was admitted, or that is in the log already. Returns the earlier entry, for `restore`. */
  record(header: BatchHeader, baseOffset: number): ProducerEntry | undefined {
    const { producerId, producerEpoch: epoch, baseSequence, recordCount, crc } = header;
    const before = this.#entries.get(producerId);
    const batch = { baseSequence, lastSequence: advanceSequence(baseSequence, recordCount - 1), baseOffset, crc };
    const earlier = before?.epoch === epoch ? before.batches.slice(1 - PRODUCER_BATCHES) : [];
    this.put(producerId, { epoch, batches: [...earlier, batch] });
    return before;
  }

  /** Takes over all that another state knows. */
  adopt(other: ProducerState): void {
    for (const [id, entry] of other.#entries) this.#entries.set(id, entry);
    this.forget(other.#forgotten);
  }

  restore(producerId: number, before: ProducerEntry | undefined): void {
    if (before) this.#entries.put(producerId, before);
    else this.#entries.delete(producerId);
  }

  put(producerId: number, entry: ProducerEntry): void {
    this.#entries.put(producerId, entry);
    this.#entries.dropAbove(this.producersMax, ({ batches }) => this.forget(newestOf(batches)));
  }

  /** In order of last use, the newest last. */
  entries(): Iterable<readonly [number, ProducerEntry]> {
    return this.#entries;
  }
}
