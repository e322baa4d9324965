/**
 * Sees to damaged copies: when a topic is live and its replica has damage, the damaged segments are made anew from the
 * edge (src/sync/healing.ts). The same damage is tried once on a connection.
 *
 *   a read met damage, or an opening has found some ─▶ look() ─▶ heal ─▶ "healed" to all tabs
 */
import type { Kernel } from "../../kernel/types.ts";
import type { EdgeLog } from "../../sync/edge-socket.ts";
import type { Session } from "../../sync/session.ts";
import type { TopicStorage } from "../../sync/topic-storage.ts";
import type { Range } from "../../sync/topic-store.ts";

export interface Healable {
  readonly session: Session;
  readonly store: TopicStorage;
}

export class Healer {
  readonly #kernel: Kernel;
  readonly #healed: (topic: string, segment: Range) => void;
  /** The damage that was tried to heal through a connection. */
  readonly #tried = new WeakMap<EdgeLog, string>();

  constructor(kernel: Kernel, healed: (topic: string, segment: Range) => void) {
    this.#kernel = kernel;
    this.#healed = healed;
  }

  look(topic: string, { session, store }: Healable): void {
    const { edge } = session;
    const { replica } = store;
    if (!edge || !replica) return;
    const damage = replica.log.quarantined.map(({ from, to }) => `${from}-${to}`).join();
    if (damage === "" || this.#tried.get(edge) === damage) return;
    this.#tried.set(edge, damage);
    const source = {
      fetch: (from: number, maxBytes: number) => edge.fetch(from, maxBytes),
      logStartOffset: session.edgeStart,
    };
    void import("../../sync/healing.ts")
      .then(({ heal }) => heal({ kernel: this.#kernel, replica, source, alone: (work) => store.alone(work) }))
      .then((segments) => segments.forEach((segment) => this.#healed(topic, segment)))
      // The connection ended, or the edge has damage itself. Reads go on as before; the next connection tries again.
      .catch(() => undefined);
  }
}
