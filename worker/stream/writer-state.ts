/**
 * What the Durable Streams dialect remembers of its writers: each producer's newest request (Producer-Id, -Epoch and
 * -Seq), and the last Stream-Seq. Each append is checked against it: taken, a repeat, or refused. The memory needs no
 * write of its own: it is in two headers of an append's first record, so it is as durable as the data, and is read back
 * from the log's tail when the object wakes. A snapshot at each seal bounds that walk.
 *
 *   record header  ds.producer = epoch:seq:id        ds.seq = Stream-Seq
 *
 * A request counts as soon as it is queued, so that one sent again meanwhile is recognised. A snapshot holds what is
 * written only: after a crash nothing else is there, and a request that was queued then is new.
 *
 * Applying a record twice changes nothing (the newer one counts), so what is read back may begin before the snapshot.
 */
import type { ErrorDetails } from "../../src/errors.ts";
import type { RecordBatch } from "../../src/record/record-batch.ts";
import { RecentMap } from "../../src/store/recent-map.ts";
import type { Sending } from "../../src/log/producer-state.ts";
import type { Header } from "../../src/record/batch-builder.ts";
import { PRODUCER_HEADER, SEQ_HEADER } from "../../src/record/reserved-headers.ts";
import { textEncoder } from "../../src/record/bytes.ts";
import { EdgeError } from "../errors.ts";

/** A producer, and its newest request. */
export interface WriterProducer {
  readonly id: string;
  readonly epoch: number;
  readonly seq: number;
}

/** A request: who made it, and the offset of its first record. */
interface Taken {
  readonly producer?: WriterProducer | undefined;
  readonly seq?: string | undefined;
  readonly offset: number;
}

/** The header of a record whose request was part of a trace. */
export const TRACE = "traceparent";
/**
 * Most producers that are kept, and most characters of their names. The one silent for longest is dropped first. All of
 * them are one snapshot row of at most 1 MiB.
 */
const PRODUCERS_MAX = 4096;
const PRODUCER_CHARS_MAX = 400_000;
const decoder = new TextDecoder();

interface Snapshot {
  readonly producers: readonly (readonly [string, number, number])[];
  readonly seq: string | null;
  /** As in producer-state.ts. Absent in older snapshots. */
  readonly forgotten?: number;
}

/** The newest request of each producer, and the last Stream-Seq, up to one place of the log. */
class Requests {
  readonly producers = new RecentMap<string, { readonly epoch: number; readonly seq: number }>();
  #idChars = 0;
  seq: string | undefined;
  /** The highest offset that a forgotten producer may have written; -1 if none was forgotten. */
  forgotten = -1;

  load({ producers, seq, forgotten }: Snapshot, offset: number): void {
    // Older snapshots don't say, but one that is full has forgotten somebody.
    this.forgotten = forgotten ?? (producers.length < PRODUCERS_MAX ? -1 : offset - 1);
    for (const [id, epoch, last] of producers) {
      this.producers.set(id, { epoch, seq: last });
      this.#idChars += id.length;
    }
    this.seq = seq ?? undefined;
  }

  record({ producer, seq, offset }: Taken): void {
    if (seq !== undefined && (this.seq === undefined || seq > this.seq)) this.seq = seq;
    if (!producer) return;
    const known = this.producers.get(producer.id);
    if (known && (known.epoch > producer.epoch || (known.epoch === producer.epoch && known.seq >= producer.seq)))
      return;
    this.producers.put(producer.id, { epoch: producer.epoch, seq: producer.seq });
    if (!known) this.#idChars += producer.id.length;
    this.producers.dropWhile(
      () => this.producers.size > PRODUCERS_MAX || this.#idChars > PRODUCER_CHARS_MAX,
      (_, oldest) => {
        this.#idChars -= oldest.length;
        this.forgotten = Math.max(this.forgotten, offset - 1);
      },
    );
  }
}

export class StreamState {
  readonly #taken = new Requests();
  readonly #written = new Requests();
  /** Requests that were taken and are not in the log yet, oldest first. The queue of appends bounds it. */
  #queued: Taken[] = [];

  /** `offset` is the one that the snapshot is stored under. */
  static from(text: string | undefined, offset: number): StreamState {
    const state = new StreamState();
    const snapshot = text === undefined ? { producers: [], seq: null } : (JSON.parse(text) as Snapshot);
    for (const each of [state.#taken, state.#written]) each.load(snapshot, offset);
    return state;
  }

  /** The requests that are written, as text. */
  snapshot(): string {
    const { producers: known, seq, forgotten } = this.#written;
    const producers = [...known].map(([id, { epoch, seq }]) => [id, epoch, seq] as const);
    return JSON.stringify({ producers, seq: seq ?? null, forgotten } satisfies Snapshot);
  }

  /**
   * The highest request that was taken from the producer, if this one repeats it or an earlier one. Undefined if it is
   * new and in sequence.
   */
  admit({ id, epoch, seq }: WriterProducer, { resentSince = Infinity }: Sending = {}): number | undefined {
    const { producers, forgotten } = this.#taken;
    const known = producers.get(id);
    if (!known && forgotten >= resentSince) {
      const details = { unknownProducer: true, forgotten, resentSince };
      throw new EdgeError(
        "OUT_OF_ORDER_SEQUENCE",
        "this producer was forgotten, and what is sent again may be in the stream: read from that " +
          "offset on, then decide",
        details,
      );
    }
    if (known && epoch < known.epoch) {
      throw new EdgeError("FENCED_PRODUCER", "a newer epoch of this producer has written", {
        currentEpoch: known.epoch,
        producerEpoch: epoch,
      });
    }
    if (!known || epoch > known.epoch) {
      if (seq === 0) return undefined;
      if (known) throw gap(0, seq, { unknownProducer: false });
      throw gap(0, seq);
    }
    if (seq <= known.seq) return known.seq;
    if (seq > known.seq + 1) throw gap(known.seq + 1, seq);
    return undefined;
  }

  checkSeq(seq: string | undefined): void {
    if (seq !== undefined && this.#taken.seq !== undefined && seq <= this.#taken.seq)
      throw new EdgeError(
        "OUT_OF_ORDER_SEQUENCE",
        "the sequence of an append must be higher than that of the one before",
      );
  }

  /** Remembers a request that is queued. `offset` is that of its first record. */
  take(producer: WriterProducer | undefined, seq: string | undefined, offset: number): void {
    if (!producer && seq === undefined) return;
    const taken = { producer, seq, offset };
    this.#taken.record(taken);
    this.#queued.push(taken);
  }

  /** The log has everything below this offset, in this transaction at the latest. */
  reached(offset: number): void {
    let count = 0;
    for (const taken of this.#queued) {
      if (taken.offset >= offset) break;
      this.#written.record(taken);
      count++;
    }
    if (count > 0) this.#queued.splice(0, count);
  }

  /** Takes over what a stored batch's first record says. */
  replay(batch: RecordBatch): void {
    if (batch.count === 0 || batch.header.producerId >= 0) return;
    for (const [name, value] of batch.headersAt(0)) {
      if (value === null) continue;
      if (name === SEQ_HEADER) this.#replay({ seq: decoder.decode(value), offset: batch.header.baseOffset });
      if (name !== PRODUCER_HEADER) continue;
      const [, epoch, seq, id] = /^(\d+):(\d+):(.*)$/s.exec(decoder.decode(value)) ?? [];
      if (id === undefined) continue;
      this.#replay({ producer: { id, epoch: Number(epoch), seq: Number(seq) }, offset: batch.header.baseOffset });
    }
  }

  #replay(taken: Taken): void {
    for (const each of [this.#taken, this.#written]) each.record(taken);
  }
}

const gap = (expected: number, received: number, more: ErrorDetails = {}): EdgeError =>
  new EdgeError("OUT_OF_ORDER_SEQUENCE", `sequence ${received}, expected ${expected}`, { expected, received, ...more });

/** The headers of an append's first record. */
export function stateHeaders(producer: WriterProducer | undefined, seq: string | undefined, trace?: string): Header[] {
  const headers: Header[] = trace === undefined ? [] : [[TRACE, textEncoder.encode(trace)]];
  if (producer) headers.push([PRODUCER_HEADER, textEncoder.encode(`${producer.epoch}:${producer.seq}:${producer.id}`)]);
  if (seq !== undefined) headers.push([SEQ_HEADER, textEncoder.encode(seq)]);
  return headers;
}
