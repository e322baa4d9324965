/**
 * Which streams a tenant's subscriptions are linked to, and how links change when streams are made, moved, deleted or
 * made again.
 *
 *   told     created, moved, removed ──▶ rows of the streams ──▶ links by pattern
 *   asked    a call names streams ──▶ each is asked and reports its appends from then on ──▶ all links in one turn
 *
 * While one stream is asked, others may be made again, and the subscription may be deleted. So nothing of a call is
 * written before all of its streams have answered, and streams that changed meanwhile are asked again. A call makes all
 * of its links, or none.
 */
import { EdgeError } from "../errors.ts";
import { checkLinks } from "./limits.ts";
import type { StreamPeer, StreamTold } from "../rpc/stream-peer.ts";
import type { SubscriptionConfig } from "./config.ts";
import { matches } from "../wire/patterns.ts";
import type { SubscriptionStore } from "./tables.ts";

interface LinksHost {
  readonly store: SubscriptionStore;
  stream(path: string): Pick<StreamPeer, "watched">;
  /** Ends a wake that names offsets of a stream that is gone. */
  release(id: string): void;
  /** A stream matches the subscription's pattern, but the subscription has no room for it. */
  refused(id: string, path: string, why: unknown): void;
}

/** Streams that are asked at the same time. */
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
   * A stream was just made, and has no append that counts yet. It is linked at its beginning, whatever was acknowledged
   * of an earlier stream at its path.
   */
  begin({ path, id, tail }: StreamTold): void {
    const stale = this.#store.wokenFor(path);
    this.#store.removeStream(path);
    this.#store.setTail(path, tail);
    this.#store.setIdentity(path, id);
    for (const { id: subscription, pattern, wakeStream } of this.#store.patterns()) {
      // An earlier version accepted patterns that match the wake stream.
      if (path !== wakeStream && matches(pattern, path)) this.#linkNew(subscription, path);
    }
    // The current wake names offsets of the stream that is gone, so another wake must replace it.
    for (const subscription of stale) this.#host.release(subscription);
  }

  /** Making a stream must not fail because of somebody's subscription, so a refusal is only reported. */
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
    // Calls may overtake each other. Only the stream itself knows which one exists now.
    const present = await this.#host.stream(path).watched();
    if (present?.id !== id) return;
    const isUnknown = this.#store.identity(path) === undefined && this.#store.tail(path) === undefined;
    if (isUnknown) this.begin(present);
    else this.#meet(present);
  }

  removed(path: string, id: string): void {
    if ((this.#store.identity(path) ?? id) === id) this.#store.removeStream(path);
  }

  /** A stream that exists. It may be another one than the one known before. */
  #meet(stream: StreamTold): void {
    if ((this.#store.identity(stream.path) ?? stream.id) !== stream.id) return this.begin(stream);
    this.#store.setTail(stream.path, stream.tail);
    this.#store.setIdentity(stream.path, stream.id);
  }

  // --- what calls ask for ------------------------------------------------------------------------------------------

  /** The known streams that a configuration means. */
  meant({ pattern, streams }: Pick<SubscriptionConfig, "pattern" | "streams">): string[] {
    const matched = pattern === null ? [] : this.#store.paths().filter((path) => matches(pattern, path));
    return [...new Set([...streams, ...matched])];
  }

  checkRoom(id: string, added: readonly string[]): void {
    checkLinks(new Set([...this.#store.linkedPaths(id), ...added]));
  }

  /**
   * Asks all streams that `wanted` returns. Resolves in a turn in which all of them have answered and none has changed.
   */
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
          `the object of the stream ${path} did not answer; try again`,
          {},
          { cause: thrown },
        );
      });
    if (stream) this.#meet(stream);
    else if (this.#store.identity(path) === before) this.#store.removeStream(path);
    return stream?.id;
  }

  /** Links at each stream's tail. Must run in the turn in which `meetAll` resolved. */
  link(id: string, { pattern, streams }: Pick<SubscriptionConfig, "pattern" | "streams">): void {
    for (const path of streams) this.#store.link(id, path, "explicit", this.#store.tail(path) ?? 0);
    const matched = this.meant({ pattern, streams: [] });
    for (const path of matched) this.#store.link(id, path, "glob", this.#store.tail(path) ?? 0);
  }
}
