/**
 * Sees to copies that are not as the edge's log, when a topic is live: damaged segments are made anew from the edge
 * (src/sync/healing.ts), and so is all that may hold deleted records (src/sync/renewing.ts). The same is tried once on
 * a connection, and again after pauses that grow while it fails.
 *
 *   a read met damage, or an opening has found some ─▶ look() ─▶ heal ─▶ "healed" to all tabs
 *   a join has found tombstones gone ───────────────▶        ─▶ renew ─▶ readers of changes begin again
 *                                                              └─▶ fails: "stale" to all tabs, once for each reason
 */
import { TidemarkError } from "../../errors.ts";
import type { Kernel } from "../../kernel/types.ts";
import type { EdgeLog } from "../../sync/edge-socket.ts";
import type { Session } from "../../sync/session.ts";
import type { Failure } from "../../sync/session-options.ts";
import type { SegmentStore } from "../../store/segment-store.ts";
import type { Replica } from "../../sync/replica.ts";
import type { TopicStorage } from "../../sync/topic-storage.ts";
import type { Range } from "../../sync/topic-store.ts";
import type { SyncedTopic } from "./open-synced.ts";

export interface Healable extends SyncedTopic {
  readonly session: Session;
}

/** After what did not end: the first pause, which doubles, and the longest one. */
const PAUSE_MS = 30_000;
const PAUSE_MAX_MS = 60 * 60_000;

export interface HealerHost {
  readonly kernel: Kernel;
  readonly volume: { readonly store: SegmentStore };
  readonly healed: (topic: string, segment: Range) => void;
  /** A copy that may hold deleted records can't be made anew: for this reason, which is a new one. */
  readonly stale: (topic: string, failure: Failure) => void;
  /** Called when a try has ended. */
  readonly changed: () => void;
  /** Wall clock. */
  readonly now: () => number;
  /** Runs `work` once after `ms` milliseconds. The function that it returns cancels that. */
  readonly after: (ms: number, work: () => void) => () => void;
}

/** What was tried for one topic. */
interface Tries {
  readonly storage: TopicStorage;
  /** The connection that it went through. */
  edge?: EdgeLog;
  /** What was wrong then. */
  wrong: string;
  isUnderWay: boolean;
  pauseMs: number;
  /** Why the newest try to make the copy anew has failed; undefined while it waits for own records. */
  failure?: Failure | undefined;
  /** Codes of failures that all tabs were told of, while the copy needs to be made anew. */
  readonly told: Set<string>;
  /** Calls off the next try. */
  wake?: (() => void) | undefined;
}

/** Names what is wrong with a copy, and what that waits for; empty if nothing is. */
function wrongOf({ outboxNote: { settledIn } }: TopicStorage, { log, note: { stale } }: Replica): string {
  const damage = log.quarantined.map(({ from, to }) => `${from}-${to}`).join();
  if (stale === undefined) return damage;
  // Segments wait for own records below their end to settle.
  const newest = log.segments().findLast(({ baseOffset }) => baseOffset < stale);
  return `${damage}/${stale}/${Math.min(settledIn, newest?.nextOffset ?? 0)}`;
}

export class Healer {
  readonly #host: HealerHost;
  readonly #tries = new Map<string, Tries>();

  constructor(host: HealerHost) {
    this.#host = host;
  }

  /** Begins what was not tried yet. A topic has one work at a time, and is looked at again when that ends. */
  look(topic: string, open: Healable): void {
    const { session, store: storage } = open;
    const { edge } = session;
    const { replica } = storage;
    if (!edge || !replica) return;
    const wrong = wrongOf(storage, replica);
    const tries = this.#of(topic, storage);
    if (tries.isUnderWay) return;
    if (tries.edge !== edge) Object.assign(tries, { edge, wrong: "", pauseMs: PAUSE_MS });
    if (wrong === tries.wrong) return;
    tries.wake?.();
    tries.wake = undefined;
    tries.wrong = wrong;
    if (wrong === "") return;
    tries.isUnderWay = true;
    void this.#see(topic, open, edge, tries).then((isDone) => {
      tries.isUnderWay = false;
      if (isDone) tries.pauseMs = PAUSE_MS;
      this.#host.changed();
      if (!isDone && session.edge === edge) this.#later(tries, wrongOf(storage, replica), () => this.look(topic, open));
      this.look(topic, open);
    });
  }

  /** Why this topic's copy is not made anew yet, if a try has failed. */
  failureOf(topic: string): Failure | undefined {
    return this.#tries.get(topic)?.failure;
  }

  #of(topic: string, storage: TopicStorage): Tries {
    const tries = this.#tries.get(topic);
    if (tries?.storage === storage) return tries;
    tries?.wake?.();
    const made = { storage, wrong: "", isUnderWay: false, pauseMs: PAUSE_MS, told: new Set<string>() };
    this.#tries.set(topic, made);
    return made;
  }

  /** The same is tried again after a pause, and what is wrong otherwise at once. */
  #later(tries: Tries, wrong: string, look: () => void): void {
    tries.wrong = wrong;
    tries.wake = this.#host.after(tries.pauseMs, () => {
      tries.wake = undefined;
      tries.wrong = "";
      look();
    });
    tries.pauseMs = Math.min(2 * tries.pauseMs, PAUSE_MAX_MS);
  }

  /** False if it is to be tried again: the connection ended, the edge has damage itself, or it must wait. */
  async #see(topic: string, { session, store: storage, log }: Healable, edge: EdgeLog, tries: Tries): Promise<boolean> {
    const { kernel, volume, healed } = this.#host;
    const { store } = volume;
    const replica = storage.replica!;
    const source = {
      fetch: (from: number, maxBytes: number) => edge.fetch(from, maxBytes),
      get logStartOffset() {
        return session.atEdge.start;
      },
    };
    const heals = async (): Promise<boolean> => {
      if (replica.log.quarantined.length === 0) return true;
      const { heal } = await import("../../sync/healing.ts");
      const segments = await heal({ kernel, replica, source, alone: (work) => storage.alone(work) });
      for (const segment of segments) healed(topic, segment);
      return true;
    };
    const renews = async (): Promise<boolean> => {
      if (replica.note.stale === undefined) {
        tries.failure = undefined;
        tries.told.clear();
        return true;
      }
      const { renew } = await import("../../sync/renewing.ts");
      const isDone = await renew({ kernel, store, storage, source });
      tries.failure = undefined;
      if (!isDone) return false;
      tries.told.clear();
      log.renewed();
      return true;
    };
    const failed = (thrown: unknown): false => {
      // What ends with its connection is tried again on the next one.
      if (session.edge === edge) this.#failed(topic, tries, TidemarkError.from(thrown));
      return false;
    };
    // Reads go on as before. One does not keep the other from its try.
    const isHealed = await heals().catch(() => false);
    return (await renews().catch(failed)) && isHealed;
  }

  #failed(topic: string, tries: Tries, error: TidemarkError): void {
    const { code, message } = error.toWire();
    tries.failure = { code, message, at: this.#host.now() };
    if (tries.told.has(code)) return;
    tries.told.add(code);
    this.#host.stale(topic, tries.failure);
  }

  /** Nothing more is tried for this topic; without one, for any. */
  end(topic?: string): void {
    for (const [name, { wake }] of this.#tries) {
      if (topic !== undefined && topic !== name) continue;
      wake?.();
      this.#tries.delete(name);
    }
  }
}
