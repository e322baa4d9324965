/** Time, timers and sockets of tests of a link. An edge at the other end answers pings, or refuses sockets. */
import type { Wire } from "../../src/sync/edge-socket.ts";
import type { SyncHost } from "../../src/sync/sync-host.ts";

const TIMER_MS_MAX = 2 ** 31 - 1;

export class World {
  now = 0;
  readonly sent: unknown[] = [];
  #timers: { readonly at: number; readonly work: () => void }[] = [];
  readonly #listeners = new Set<(event: { data: unknown }) => void>();
  #closes: ((event: { code: number; reason: string }) => void)[] = [];
  answers = true;
  connects = 0;
  /** What the edge says where it takes no socket. */
  refuses: { readonly status: number; readonly retryMs?: number } | undefined;

  readonly host = {
    now: () => this.now,
    monotonic: () => this.now,
    random: () => 0,
    after: (ms: number, work: () => void) => {
      // As hosts do: what is due later than they can count is due at once.
      const timer = { at: this.now + (ms > TIMER_MS_MAX ? 1 : ms), work };
      this.#timers.push(timer);
      return () => void (this.#timers = this.#timers.filter((each) => each !== timer));
    },
    connect: async (): Promise<Wire> => {
      this.connects++;
      if (this.refuses) throw new Error("refused");
      const hears: ((event: { data: unknown }) => void)[] = [];
      return {
        send: (data: unknown) => {
          this.sent.push(data);
          if (data !== "ping" || !this.answers) return;
          this.host.after(1, () => hears.forEach((hear) => hear({ data: "pong" })));
        },
        close: () => undefined,
        addEventListener: (type: string, listener: never): void => {
          if (type !== "message") return void this.#closes.push(listener);
          hears.push(listener);
          this.#listeners.add(listener);
        },
      } as Wire;
    },
    token: async () => undefined,
    http: async () => this.refuses ?? { status: 0 },
    proveTerm: async () => undefined,
  } satisfies SyncHost;

  /** Any message of the edge. */
  say(data: unknown): void {
    for (const hear of this.#listeners) hear({ data });
  }

  /** The edge ends all sockets. */
  end(code: number, reason = ""): void {
    for (const close of this.#closes.splice(0)) close({ code, reason });
  }

  get pings(): number {
    return this.sent.filter((data) => data === "ping").length;
  }

  async pass(ms: number): Promise<void> {
    const until = this.now + ms;
    for (;;) {
      for (let turn = 0; turn < 10; turn++) await Promise.resolve();
      const next = this.#timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers = this.#timers.filter((each) => each !== next);
      this.now = Math.max(this.now, next.at);
      next.work();
    }
    this.now = until;
  }
}
