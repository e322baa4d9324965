/**
 * Sees to copies that are not as the edge's log, when a topic is live: damaged segments are made anew from the edge
 * (src/sync/healing.ts), and so is all that may hold deleted records (src/sync/renewing.ts). The same is tried once on
 * a connection.
 *
 *   a read met damage, or an opening has found some ─▶ look() ─▶ heal ─▶ "healed" to all tabs
 *   a join has found tombstones gone ───────────────▶        ─▶ renew ─▶ readers of changes begin again
 */
import type { Kernel } from "../../kernel/types.ts";
import type { EdgeLog } from "../../sync/edge-socket.ts";
import type { Session } from "../../sync/session.ts";
import type { SegmentStore } from "../../store/segment-store.ts";
import type { Range } from "../../sync/topic-store.ts";
import type { SyncedTopic } from "./open-synced.ts";

export interface Healable extends SyncedTopic {
  readonly session: Session;
}

export class Healer {
  readonly #kernel: Kernel;
  readonly #volume: { readonly store: SegmentStore };
  readonly #healed: (topic: string, segment: Range) => void;
  /** What was tried to heal through a connection. */
  readonly #tried = new WeakMap<EdgeLog, string>();

  constructor(
    kernel: Kernel,
    volume: { readonly store: SegmentStore },
    healed: (topic: string, segment: Range) => void,
  ) {
    this.#kernel = kernel;
    this.#volume = volume;
    this.#healed = healed;
  }

  look(topic: string, { session, store: storage, log }: Healable): void {
    const { edge } = session;
    const { replica } = storage;
    if (!edge || !replica) return;
    const { stale } = replica.note;
    const damage = replica.log.quarantined.map(({ from, to }) => `${from}-${to}`).join();
    // Own records that settle may be what a stale copy waits for.
    const wrong = stale === undefined ? damage : `${damage}/${stale < storage.outboxNote.settledIn}`;
    if (wrong === "" || this.#tried.get(edge) === wrong) return;
    this.#tried.set(edge, wrong);
    const kernel = this.#kernel;
    const { store } = this.#volume;
    const source = {
      fetch: (from: number, maxBytes: number) => edge.fetch(from, maxBytes),
      logStartOffset: session.edgeStart,
    };
    const see = async (): Promise<void> => {
      if (damage !== "") {
        const { heal } = await import("../../sync/healing.ts");
        const segments = await heal({ kernel, replica, source, alone: (work) => storage.alone(work) });
        for (const segment of segments) this.#healed(topic, segment);
      }
      if (stale === undefined) return;
      const { renew } = await import("../../sync/renewing.ts");
      if (await renew({ kernel, store, storage, source })) log.renewed();
    };
    // The connection ended, or the edge has damage itself. Reads go on as before; the next connection tries again.
    void see().catch(() => undefined);
  }
}
