/**
 * An ack as a page gives it: with the record's name and a promise of its place at the edge. A provisional offset, 2^52
 * and above, is a position of the outbox; any other is final.
 *
 * A page may make a million acks a second, so their fields are set one by one, and a name and a final offset's promise
 * are made when they are asked for.
 */
import type { ProducerAck, ProducerBatchAck } from "../../delivery/producer.ts";
import { PROVISIONAL_FROM } from "../../log/provisional-layout.ts";
import { recordId, type RecordOwner } from "../../record/record-id.ts";
import type { Ack } from "../api.ts";
import type { PageSync } from "../sync/page-sync.ts";

interface TideOfAck {
  withSync(work: (sync: PageSync) => Ack["committed"]): Ack["committed"];
}

class PlacedAck {
  readonly offset: number;
  readonly timestamp: number;
  readonly acks: ProducerAck["acks"];
  readonly duplicate: boolean;
  readonly #committed: Ack["committed"] | undefined;
  readonly #owner: RecordOwner;
  readonly #at: number;

  constructor(
    { offset, timestamp, acks, duplicate }: ProducerAck,
    tide: TideOfAck,
    topic: string,
    owner: RecordOwner,
    at: number,
  ) {
    this.#owner = owner;
    this.#at = at;
    this.offset = offset;
    this.timestamp = timestamp;
    this.acks = acks;
    this.duplicate = duplicate;
    if (offset < PROVISIONAL_FROM) return;
    // Asked for at once, because the worker tells the place only once.
    this.#committed = tide.withSync((sync) => sync.committed(topic, { offset, owner, at, duplicate }));
    // If nobody reads `committed`, its rejection must not count as unhandled.
    this.#committed.catch(() => undefined);
  }

  get id(): string {
    return recordId(this.#owner, this.#at);
  }
  get committed(): Ack["committed"] {
    return this.#committed ?? Promise.resolve({ offset: this.offset });
  }
}

class PlacedBatchAck extends PlacedAck {
  readonly baseOffset: number;

  constructor(ack: ProducerBatchAck, ...rest: [TideOfAck, string, RecordOwner, number]) {
    super(ack, ...rest);
    this.baseOffset = ack.baseOffset;
  }
}

export const placedAck = <T extends ProducerAck>(
  ack: T,
  tide: TideOfAck,
  topic: string,
  owner: RecordOwner,
  at: number,
): T & Pick<Ack, "committed" | "id"> =>
  ("baseOffset" in ack
    ? new PlacedBatchAck(ack as T & ProducerBatchAck, tide, topic, owner, at)
    : new PlacedAck(ack, tide, topic, owner, at)) as T & PlacedAck;
