/**
 * Tells a tenant's subscriptions how far one stream has come; one call at a time, and what moved meanwhile goes with the next. The
 * alarm repeats it, should the stream's object be gone before a call is through.
 */
import type { Env } from "./env.ts";
import type { Stream } from "./stream.ts";
import { subscriptionsOf } from "./subscription-peer.ts";

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
  #isTelling = false;

  constructor(host: TellingHost) {
    this.#host = host;
  }

  start(end: number): void {
    this.#told = end;
  }

  stop(): void {
    this.#told = undefined;
  }

  moved(end: number): void {
    if (this.#told === undefined || end <= this.#told || this.#isTelling) return;
    this.#isTelling = true;
    this.#host.retryAt(Date.now() + RETRY_MS);
    this.#host.waitUntil(this.all().catch(() => undefined).finally(() => (this.#isTelling = false)));
  }

  async all(): Promise<void> {
    if (this.#told === undefined) return;
    const stream = await this.#host.stream();
    for (let end = stream?.log.logEndOffset; stream && end !== undefined && end > (this.#told ?? 0); end = stream.log.logEndOffset) {
      await subscriptionsOf(this.#host.env, stream.config.tenant).moved(stream.config.tenant, stream.config.path, end);
      this.#told = end;
    }
  }
}
