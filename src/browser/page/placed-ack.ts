/**
 * An ack as a page gives it: with a promise of the record's place at the edge. A provisional offset, 2^52 and above, is
 * a position of the outbox; any other is final.
 */
import { isProvisional } from "../../sync/places.ts";
import type { Ack } from "../api.ts";
import type { PageSync } from "../sync/page-sync.ts";

interface TideOfAck {
  withSync(work: (sync: PageSync) => Ack["committed"]): Ack["committed"];
}

class PlacedAck {
  readonly #offset: number;
  readonly #committed: Ack["committed"] | undefined;

  constructor(offset: number, tide: TideOfAck, topic: string) {
    this.#offset = offset;
    if (!isProvisional(offset)) return;
    // At once, because what it waits for is told once.
    this.#committed = tide.withSync((sync) => sync.committed(topic, offset));
    // Who does not ask for it is not told of it.
    this.#committed.catch(() => undefined);
  }

  get committed(): Ack["committed"] {
    return this.#committed ?? Promise.resolve({ offset: this.#offset });
  }
}

export const placedAck = <T extends { readonly offset: number }>(
  ack: T,
  tide: TideOfAck,
  topic: string,
): T & Pick<Ack, "committed"> => Object.assign(new PlacedAck(ack.offset, tide, topic), ack);
