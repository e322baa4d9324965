/**
 * Which streams a tenant's subscriptions are linked to, and how links follow the streams: made, moved, gone, made anew.
 *
 *   told     created, moved, removed ──▶ rows of the streams ──▶ links by pattern
 *   asked    a call names streams ──▶ each is met, and tells of its appends from then on ──▶ all links in one turn
 *
 * While a stream is asked, others may be made anew, and the subscription may be deleted. So nothing of a call is
 * written before all of its streams are met, and what has changed meanwhile is met again: a call's links are there
 * whole, or none is.
 */
import { EdgeError } from "../errors.ts";
import { checkLinks } from "./limits.ts";
import type { StreamTold } from "../rpc/subscription-peer.ts";
import type { SubscriptionConfig } from "./config.ts";
import { matches } from "../wire/patterns.ts";
import type { SubscriptionStore } from "./tables.ts";

export interface WatchedPeer {
  /** Undefined where there is no stream. From this call on it tells of its appends. */
  watched(): Promise<StreamTold | undefined>;
}

interface LinksHost {
  readonly store: SubscriptionStore;
  stream(path: string): WatchedPeer;
  /** The wake that is under way names offsets of a stream that is gone. */
  release(id: string): void;
  /** A stream matches the subscription's pattern, which has no room for it. */
  refused(id: string, path: string, why: unknown): void;
}

/** Streams that are asked at a time. */
const ASKED_MAX = 16;

export class SubscriptionLinks {
  readonly #host: LinksHost;

  constructor(host: LinksHost) {
    this.#host = host;
  }

  get #store(): SubscriptionStore {
    return this.#host.store;
  }

  // --- what streams tell -------------------------------------------------------------------------------------------

  /**
   * A stream that was just made. Before its first append counts: it is linked at its beginning, whatever was
   * acknowledged of another.
   */
  begin({ path, id, tail }: StreamTold): void {
    const stale = this.#store.wokenFor(path);
    this.#store.removeStream(path);
    this.#store.setTail(path, tail);
    this.#store.setIdentity(path, id);
    for (const { id: subscription, pattern, wakeStream } of this.#store.patterns()) {
      // An earlier version took patterns that match the wake stream.
      if (path !== wakeStream && matches(pattern, path)) this.#linkNew(subscription, path);
    }
    // Offsets of the wake that is under way are those of the stream that is gone: another wake takes its place.
    for (const subscription of stale) this.#host.release(subscription);
  }

  /** Who makes a stream has nothing to do with who subscribes to it, and is not refused. */
  #linkNew(id: string, path: string): void {
    try {
      this.checkRoom(id, [path]);
      this.#store.link(id, path, "glob", 0);
    } catch (thrown) {
      this.#store.countRefused(id);
      this.#host.refused(id, path, thrown);
    }
  }

  async moved({ path, id, tail }: StreamTold): Promise<void> {
    if (this.#store.identity(path) === id) return this.#store.setTail(path, tail);
    // Calls may overtake each other: only the stream itself knows which one is there now.
    const present = await this.#host.stream(path).watched();
    if (present?.id !== id) return;
    const isUnknown = this.#store.identity(path) === undefined && this.#store.tail(path) === undefined;
    if (isUnknown) this.begin(present);
    else this.#meet(present);
  }

  removed(path: string, id: string): void {
    if ((this.#store.identity(path) ?? id) === id) this.#store.removeStream(path);
  }

  /** A stream that is there, and may be another than the one that was known. */
  #meet(stream: StreamTold): void {
    if ((this.#store.identity(stream.path) ?? stream.id) !== stream.id) return this.begin(stream);
    this.#store.setTail(stream.path, stream.tail);
    this.#store.setIdentity(stream.path, stream.id);
  }

  // --- what calls ask for ------------------------------------------------------------------------------------------

  /** Streams that a configuration means, as far as they are known. */
  meant({ pattern, streams }: Pick<SubscriptionConfig, "pattern" | "streams">): string[] {
    const matched = pattern === null ? [] : this.#store.paths().filter((path) => matches(pattern, path));
    return [...new Set([...streams, ...matched])];
  }

  checkRoom(id: string, added: readonly string[]): void {
    checkLinks(new Set([...this.#store.linkedPaths(id), ...added]));
  }

  /** Resolves in a turn in which all streams that `wanted` gives are those that were met. */
  async meetAll(wanted: () => readonly string[]): Promise<void> {
    const met = new Map<string, string | undefined>();
    for (;;) {
      const next = wanted().filter((path) => !met.has(path) || met.get(path) !== this.#store.identity(path));
      if (next.length === 0) return;
      for (let i = 0; i < next.length; i += ASKED_MAX) {
        await Promise.all(next.slice(i, i + ASKED_MAX).map(async (path) => met.set(path, await this.#ask(path))));
      }
    }
  }

  async #ask(path: string): Promise<string | undefined> {
    const before = this.#store.identity(path);
    const stream = await this.#host
      .stream(path)
      .watched()
      .catch((thrown: unknown) => {
        throw new EdgeError(
          "CLOSED",
          `the object of the stream ${path} is away for a moment; ask again`,
          {},
          { cause: thrown },
        );
      });
    if (stream) this.#meet(stream);
    else if (this.#store.identity(path) === before) this.#store.removeStream(path);
    return stream?.id;
  }

  /** At each stream's tail. In the turn in which they are all met. */
  link(id: string, { pattern, streams }: Pick<SubscriptionConfig, "pattern" | "streams">): void {
    for (const path of streams) this.#store.link(id, path, "explicit", this.#store.tail(path) ?? 0);
    const matched = this.meant({ pattern, streams: [] });
    for (const path of matched) this.#store.link(id, path, "glob", this.#store.tail(path) ?? 0);
  }
}
