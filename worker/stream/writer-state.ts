/**
 * What the Durable Streams dialect remembers of its writers: each producer's newest request (Producer-Id, -Epoch and
 * -Seq), and the last Stream-Seq. Each append is checked against it: taken, a repeat, or refused. The memory needs no
 * write of its own: it is in two headers of an append's first record, so it is as durable as the data, and is read back
 * from the log's tail when the object wakes. A snapshot at each seal bounds that walk.
 *
 *   record header  ds.producer = epoch:seq:id        ds.seq = Stream-Seq
 *
 * Applying a record twice changes nothing (the newer one counts), so a snapshot may be ahead of the offset in its key.
 */
import type { ErrorDetails } from "../../src/errors.ts";
import type { RecordBatch } from "../../src/record/record-batch.ts";
import { RecentMap } from "../../src/store/recent-map.ts";
import type { Sending } from "../../src/log/producer-state.ts";
import type { Header } from "../../src/record/batch-builder.ts";
import { EdgeError } from "../errors.ts";

/** A producer, and its newest request. */
export interface WriterProducer {
  readonly id: string;
  readonly epoch: number;
  readonly seq: number;
}

/** The header of a record whose request was part of a trace. */
export const TRACE = "traceparent";
const PRODUCER = "ds.producer";
const SEQ = "ds.seq";
/**
 * Most producers that are kept, and most characters of their names. The one silent for longest is dropped first. All of
 * them are one snapshot row of at most 1 MiB.
 */
const PRODUCERS_MAX = 4096;
const PRODUCER_CHARS_MAX = 400_000;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

interface Snapshot {
  readonly producers: readonly (readonly [string, number, number])[];
  readonly seq: string | null;
  /** As in producer-state.ts. Absent in older snapshots. */
  readonly forgotten?: number;
}

export class StreamState {
  readonly #producers = new RecentMap<string, { readonly epoch: number; readonly seq: number }>();
  #idChars = 0;
  #seq: string | undefined;
  /** The highest offset that a forgotten producer may have written; -1 if none was forgotten. */
  #forgotten = -1;

  /** `offset` is the one that the snapshot is stored under. */
  static from(text: string | undefined, offset: number): StreamState {
    const state = new StreamState();
    const { producers, seq, forgotten }: Snapshot =
      text === undefined ? { producers: [], seq: null } : (JSON.parse(text) as Snapshot);
    // Older snapshots don't say, but one that is full has forgotten somebody.
    state.#forgotten = forgotten ?? (producers.length < PRODUCERS_MAX ? -1 : offset - 1);
    for (const [id, epoch, last] of producers) {
      state.#producers.set(id, { epoch, seq: last });
      state.#idChars += id.length;
    }
    state.#seq = seq ?? undefined;
    return state;
  }

  snapshot(): string {
    const producers = [...this.#producers].map(([id, { epoch, seq }]) => [id, epoch, seq] as const);
    return JSON.stringify({ producers, seq: this.#seq ?? null, forgotten: this.#forgotten } satisfies Snapshot);
  }

  /**
   * The highest request that was taken from the producer, if this one repeats it or an earlier one. Undefined if it is
   * new and in sequence.
   */
  admit({ id, epoch, seq }: WriterProducer, { resentSince = Infinity }: Sending = {}): number | undefined {
    const known = this.#producers.get(id);
    if (!known && this.#forgotten >= resentSince) {
      const details = { unknownProducer: true, forgotten: this.#forgotten, resentSince };
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
    if (seq !== undefined && this.#seq !== undefined && seq <= this.#seq)
      throw new EdgeError(
        "OUT_OF_ORDER_SEQUENCE",
        "the sequence of an append must be higher than that of the one before",
      );
  }

  /** `offset` is that of the request's first record. */
  record(producer: WriterProducer | undefined, seq: string | undefined, offset: number): void {
    if (seq !== undefined && (this.#seq === undefined || seq > this.#seq)) this.#seq = seq;
    if (!producer) return;
    const known = this.#producers.get(producer.id);
    if (known && (known.epoch > producer.epoch || (known.epoch === producer.epoch && known.seq >= producer.seq)))
      return;
    this.#producers.put(producer.id, { epoch: producer.epoch, seq: producer.seq });
    if (!known) this.#idChars += producer.id.length;
    this.#producers.dropWhile(
      () => this.#producers.size > PRODUCERS_MAX || this.#idChars > PRODUCER_CHARS_MAX,
      (_, oldest) => {
        this.#idChars -= oldest.length;
        this.#forgotten = Math.max(this.#forgotten, offset - 1);
      },
    );
  }

  /** Takes over what a stored batch's first record says. */
  replay(batch: RecordBatch): void {
    if (batch.count === 0 || batch.header.producerId >= 0) return;
    for (const [name, value] of batch.headersAt(0)) {
      if (value === null) continue;
      if (name === SEQ) this.record(undefined, decoder.decode(value), batch.header.baseOffset);
      if (name !== PRODUCER) continue;
      const [, epoch, seq, id] = /^(\d+):(\d+):(.*)$/s.exec(decoder.decode(value)) ?? [];
      if (id !== undefined)
        this.record({ id, epoch: Number(epoch), seq: Number(seq) }, undefined, batch.header.baseOffset);
    }
  }
}

const gap = (expected: number, received: number, more: ErrorDetails = {}): EdgeError =>
  new EdgeError("OUT_OF_ORDER_SEQUENCE", `sequence ${received}, expected ${expected}`, { expected, received, ...more });

/** The headers of an append's first record. */
export function stateHeaders(producer: WriterProducer | undefined, seq: string | undefined, trace?: string): Header[] {
  const headers: Header[] = trace === undefined ? [] : [[TRACE, encoder.encode(trace)]];
  if (producer) headers.push([PRODUCER, encoder.encode(`${producer.epoch}:${producer.seq}:${producer.id}`)]);
  if (seq !== undefined) headers.push([SEQ, encoder.encode(seq)]);
  return headers;
}

/** True for header names that only this server may set. */
export const isReserved = (headerName: string): boolean => headerName === PRODUCER || headerName === SEQ;
