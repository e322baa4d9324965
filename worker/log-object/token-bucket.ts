/**
 * A token bucket in the log's object bounds its requests if no rate limiter of the platform is bound
 * (front/request-limits.ts).
 */
import { type Env, numberOf } from "../env.ts";
import { tooManyRequests } from "../errors.ts";

/** Bounds requests to a rate. As many as the rate allows in one second may come at once. */
export class TokenBucket {
  #tokens: number;
  #at: number;

  constructor(
    readonly perSecond: number,
    nowMs: number,
  ) {
    this.#tokens = perSecond;
    this.#at = nowMs;
  }

  static of(env: Env, nowMs: number): TokenBucket | undefined {
    const perSecond = env.RATE_LIMIT ? 0 : numberOf(env.TIDEMARK_RATE_PER_SECOND, 0);
    return perSecond > 0 ? new TokenBucket(perSecond, nowMs) : undefined;
  }

  take(nowMs: number): void {
    this.#tokens = Math.min(this.perSecond, this.#tokens + ((nowMs - this.#at) / 1000) * this.perSecond);
    this.#at = nowMs;
    if (this.#tokens < 1) throw tooManyRequests((1 - this.#tokens) / this.perSecond);
    this.#tokens--;
  }
}
