/**
 * An ack as a page gives it: with a promise of the record's place at the edge. A provisional offset, 2^52 and above, is
 * a position of the outbox; any other is final.
 *
 * A page may make a million acks a second, so their fields are set one by one, and a final offset's promise is made
 * when it is asked for.
 */
import type { ProducerAck, ProducerBatchAck } from "../../delivery/producer.ts";
import { isProvisional } from "../../sync/places.ts";
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

  constructor({ offset, timestamp, acks, duplicate }: ProducerAck, tide: TideOfAck, topic: string) {
    this.offset = offset;
    this.timestamp = timestamp;
    this.acks = acks;
    this.duplicate = duplicate;
    if (!isProvisional(offset)) return;
    // At once, because what it waits for is told once.
    this.#committed = tide.withSync((sync) => sync.committed(topic, offset));
    // Who does not ask for it is not told of it.
    this.#committed.catch(() => undefined);
  }

  get committed(): Ack["committed"] {
    return this.#committed ?? Promise.resolve({ offset: this.offset });
  }
}

class PlacedBatchAck extends PlacedAck {
  readonly baseOffset: number;

  constructor(ack: ProducerBatchAck, tide: TideOfAck, topic: string) {
    super(ack, tide, topic);
    this.baseOffset = ack.baseOffset;
  }
}

export const placedAck = <T extends ProducerAck>(ack: T, tide: TideOfAck, topic: string): T & Pick<Ack, "committed"> =>
  ("baseOffset" in ack
    ? new PlacedBatchAck(ack as T & ProducerBatchAck, tide, topic)
    : new PlacedAck(ack, tide, topic)) as T & PlacedAck;
