/**
 * Tells a tenant's subscriptions how far one stream has come; one call at a time, and what moved meanwhile goes with
 * the next. The alarm repeats it, should the stream's object be gone before a call is through.
 */
import type { Env } from "../env.ts";
import type { Stream } from "../stream/stream.ts";
import { subscriptionsOf } from "../rpc/subscription-peer.ts";

const RETRY_MS = 5_000;

interface TellingHost {
  readonly env: Env;
  stream(): Promise<Stream | undefined>;
  retryAt(at: number): void;
  waitUntil(work: Promise<unknown>): void;
}

export class Telling {
  readonly #host: TellingHost;
  /** The end that subscriptions know; undefined while nobody subscribes. */
  #told: number | undefined;
  /** Of one stream; the next one begins its own. */
  #run: object | undefined;

  constructor(host: TellingHost) {
    this.#host = host;
  }

  start(end: number): void {
    this.#told = end;
  }

  stop(): void {
    this.#told = undefined;
    this.#run = undefined;
  }

  moved(end: number): void {
    if (this.#told === undefined || end <= this.#told || this.#run) return;
    const run = (this.#run = {});
    this.#host.retryAt(Date.now() + RETRY_MS);
    const done = (): void => {
      if (this.#run === run) this.#run = undefined;
    };
    this.#host.waitUntil(
      this.all()
        .catch(() => undefined)
        .finally(done),
    );
  }

  async all(): Promise<void> {
    const stream = await this.#host.stream();
    while (stream && this.#told !== undefined && stream.log.logEndOffset > this.#told) {
      const { tenant, path, id } = stream.config;
      const tail = stream.log.logEndOffset;
      await subscriptionsOf(this.#host.env, tenant).moved(tenant, { path, id, tail });
      // Deleted meanwhile: what was told is no other stream's end.
      if (stream.store.isEnded) return;
      this.#told = tail;
    }
  }
}
