/**
 * Tells a tenant's subscriptions how far one stream has come, one call at a time; moves during a call go with the next.
 * If the stream's object ends before a call is done, the alarm repeats it. After a failure the next call waits, longer
 * each time.
 */
import { subscriptionsOf } from "../rpc/subscription-peer.ts";
import type { Env } from "../env.ts";
import type { Retry } from "../store/retries.ts";
import type { Stream } from "../stream/stream.ts";
import type { EventFields } from "../telemetry/events.ts";

interface NotifierHost {
  readonly env: Env;
  readonly retry: Retry;
  stream(): Promise<Stream | undefined>;
  planAt(at: number): void;
  event(name: string, fields: EventFields): void;
  waitUntil(work: Promise<unknown>): void;
}

export class SubscriptionNotifier {
  readonly #host: NotifierHost;
  /** The end that subscriptions were told last. Undefined while nobody subscribes. */
  #told: number | undefined;
  /** The run of calls for one stream. Another stream begins its own. */
  #run: object | undefined;

  constructor(host: NotifierHost) {
    this.#host = host;
  }

  start(end: number): void {
    this.#told = end;
  }

  /** They know this end once they have noted it. What they were still to be told is told all the same. */
  watched(end: number): void {
    this.#told ??= end;
  }

  stop(): void {
    this.#told = undefined;
    this.#run = undefined;
  }

  moved(end: number): void {
    if (this.#told === undefined || end <= this.#told || this.#run) return;
    this.#host.planAt(this.#host.retry.next);
    if (this.#isWaiting) return;
    const run = (this.#run = {});
    const done = (): void => {
      if (this.#run === run) this.#run = undefined;
    };
    this.#host.waitUntil(this.all().finally(done));
  }

  get #isWaiting(): boolean {
    return Date.now() < this.#host.retry.at;
  }

  /** Tells everything that was not told yet, unless a pause lasts. Never throws: a failure sets the alarm. */
  async all(): Promise<void> {
    const { retry } = this.#host;
    if (this.#told === undefined) return;
    if (this.#isWaiting) return this.#host.planAt(retry.at);
    const stream = await this.#host.stream();
    if (!stream) return;
    try {
      await this.#tell(stream);
      if (!stream.store.isEnded) retry.succeeded();
    } catch (thrown) {
      // The stream was deleted meanwhile, so nothing more of it is told.
      if (stream.store.isEnded) return;
      const retryMs = retry.failed();
      this.#host.event("tell_failed", { message: String(thrown), failures: retry.failures, retryMs });
      this.#host.planAt(retry.at);
    }
  }

  async #tell(stream: Stream): Promise<void> {
    while (this.#told !== undefined && stream.log.logEndOffset > this.#told) {
      const { tenant, path, id } = stream.config;
      const tail = stream.log.logEndOffset;
      await subscriptionsOf(this.#host.env, tenant).moved(tenant, { path, id, tail });
      // The stream was deleted meanwhile, so this end must not be taken for another stream's.
      if (stream.store.isEnded) return;
      this.#told = tail;
    }
  }
}
