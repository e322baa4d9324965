/**
 * The link while nobody looks: with all tabs hidden and nothing to send it closes after a minute. While it is closed,
 * it is opened for what is appended, at most every quarter of an hour.
 *
 *   a tab is hidden ──60 s──▶ nothing to send, or no connection? ──▶ is any tab seen? ──no──▶ paused(hidden)
 *   a tab is seen   ──▶ the link is tried or checked at once                   appended ──15 min──▶ connects ──▶ 60 s …
 */
import type { LinkEvent, LinkState } from "../../sync/link-state.ts";

export interface BackgroundHost {
  after(ms: number, work: () => void): () => void;
  monotonic(): number;
  readonly link: { readonly state: LinkState; step(event: LinkEvent): void; hint(on?: "returned"): void };
  /** True if a page says that it is seen. */
  isSeen(): Promise<boolean>;
  /** True if something waits to be sent. */
  hasWork(): boolean;
  /** By the option `background`. */
  keeps(): boolean;
}

const HIDDEN_MS = 60_000;
const TRY_MS = 15 * 60_000;

export class Background {
  readonly #host: BackgroundHost;
  #look: (() => void) | undefined;
  #try: (() => void) | undefined;
  /** On the host's monotonic clock: when the link may be opened again for what is appended. */
  #tryAt = 0;

  constructor(host: BackgroundHost) {
    this.#host = host;
  }

  get #isPaused(): boolean {
    const { state } = this.#host.link;
    return state.at === "paused" && state.why === "hidden";
  }

  hidden(): void {
    this.#look ??= this.#host.after(HIDDEN_MS, () => {
      this.#look = undefined;
      void this.#judge();
    });
  }

  seen(): void {
    this.close();
    this.#host.link.hint("returned");
  }

  /** A network is there again. That alone does not wake a link that rests. */
  online(): void {
    if (this.#isPaused) return this.#later();
    this.#host.link.hint("returned");
  }

  /** Something was appended, which does not wake it either. */
  appended(): void {
    if (this.#isPaused) return this.#later();
    this.#host.link.hint();
  }

  async #judge(): Promise<void> {
    const { state } = this.#host.link;
    if (state.at === "paused" || state.at === "idle" || this.#host.keeps()) return;
    if (state.at === "live" && this.#host.hasWork()) return this.hidden();
    if (await this.#host.isSeen()) return;
    // Something may have been appended meanwhile.
    if (this.#host.link.state !== state || (state.at === "live" && this.#host.hasWork())) return this.hidden();
    this.#host.link.step({ on: "pause", why: "hidden" });
    this.#tryAt = this.#host.monotonic() + TRY_MS;
    if (this.#host.hasWork()) this.#later();
  }

  #later(): void {
    if (!this.#host.hasWork()) return;
    this.#try ??= this.#host.after(Math.max(0, this.#tryAt - this.#host.monotonic()), () => {
      this.#try = undefined;
      if (!this.#isPaused || !this.#host.hasWork()) return;
      this.#host.link.step({ on: "timer" });
      this.hidden();
    });
  }

  /** Ends what it waits for. */
  close(): void {
    this.#look?.();
    this.#try?.();
    this.#look = this.#try = undefined;
  }
}
