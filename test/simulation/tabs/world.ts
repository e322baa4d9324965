/**
 * One simulated origin of one browser: its time, and the order in which contexts run. Everything that the platform does
 * later is an event here: messages, timers, grants of locks, answers of the file system, effects on files. The seed
 * decides the delays, and so every interleaving. The product runs in the microtasks of an event and sees this clock
 * only.
 *
 *   context   a page, a worker or a shared worker: its own copy of the product over its own globals (Context)
 *   ahead     the time until which the context is busy or its process is stopped: messages to it wait, and its own
 *             calls take effect only then. So it can be stopped between any two calls of the platform, as between
 *             reading the clock and a write.
 */
import { Counters } from "../counters.ts";
import { Heap } from "../heap.ts";
import type { Random } from "../prng.ts";
import { Trace } from "../trace.ts";

export class Context {
  /** True once the context is ending: nothing is delivered to it. */
  ending = false;
  dead = false;
  diedAt = Infinity;
  /** Until this time messages to it wait, and its calls take no effect. */
  ahead = 0;
  frozen = false;
  /** True while it is kept, frozen, for the way back. */
  away = false;
  readonly parked: (() => void)[] = [];
  readonly onDeath: (() => void)[] = [];
  /** Stops the context inside its `calls`-th call of this kind from now on. */
  trap:
    { readonly kind: string; calls: number; readonly ms: number; readonly sprung: (until: number) => void } | undefined;

  constructor(
    readonly world: World,
    readonly name: string,
    readonly id: string,
  ) {}

  now(): number {
    return Math.max(this.world.now, this.ahead);
  }

  /** Called before each call of the platform: springs the trap. */
  tick(kind: string): void {
    const { trap } = this;
    if (!trap || trap.kind !== kind || --trap.calls > 0) return;
    this.trap = undefined;
    this.ahead = this.now() + trap.ms;
    this.world.note(`stopped.${kind}`);
    trap.sprung(this.ahead);
  }

  /** Ends the context in `after` milliseconds; nothing reaches it from now on. A stopped process dies in its call. */
  end(after = 0): void {
    if (this.ending) return;
    this.ending = true;
    this.world.at(this.world.now + after, "end", () => this.die());
  }

  thaw(): void {
    this.frozen = this.away = false;
    for (const goOn of this.parked.splice(0)) goOn();
  }

  die(): void {
    if (this.dead) return;
    this.ending = this.dead = true;
    this.diedAt = this.world.now;
    this.world.trace.add(`died ${this.name}`, this.world.now);
    for (const gone of this.onDeath.splice(0)) gone();
  }
}

interface Event {
  time: number;
  /** The event's time before its context made it wait. Of events that waited together, the earliest comes first. */
  readonly due: number;
  readonly order: number;
  readonly word: string;
  /** The receiving context; read when the event is due, since a port may have moved. */
  readonly to: (() => Context | undefined) | undefined;
  /** The sender. If it died before `sentAt`, the event was never sent. */
  readonly from: Context | undefined;
  readonly sentAt: number;
  readonly run: () => void;
}

export interface Send {
  readonly from?: Context | undefined;
  readonly to?: Context | (() => Context | undefined);
  /** Events of one lane keep their order. */
  readonly lane?: { last: number };
}

const before = (a: Event, b: Event): boolean =>
  a.time < b.time || (a.time === b.time && (a.due < b.due || (a.due === b.due && a.order < b.order)));
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class World {
  now = 0;
  readonly counters = new Counters();
  readonly trace: Trace;
  /** Called with every message when it is sent. */
  onPost: ((context: Context, data: unknown) => void) | undefined;
  readonly #heap = new Heap(before);
  #order = 0;
  #contexts = 0;

  constructor(
    readonly random: Random,
    keepLines: boolean,
  ) {
    this.trace = new Trace(keepLines);
  }

  note(name: string): void {
    this.counters.add(name);
    this.trace.add(name, this.now);
  }

  context(name: string): Context {
    return new Context(this, name, `c${this.#contexts++}`);
  }

  /** Milliseconds that a message, a grant or an answer takes: mostly a fraction of one, now and then many. */
  delay(): number {
    const kind = this.random.int(64);
    if (kind === 0) return this.random.between(50, 300);
    return kind < 6 ? this.random.between(1, 20) : this.random.int(1000) / 1000;
  }

  at(time: number, word: string, run: () => void): void {
    this.#heap.push({ time, due: time, order: this.#order++, word, to: undefined, from: undefined, sentAt: 0, run });
  }

  /** Schedules an event `ms` after the sender's present time. */
  send(ms: number, word: string, { from, to, lane }: Send, run: () => void): void {
    const sentAt = from ? from.now() : this.now;
    let time = sentAt + ms;
    if (lane) time = lane.last = Math.max(time, lane.last);
    this.#heap.push({
      time,
      due: time,
      order: this.#order++,
      word,
      to: typeof to === "function" ? to : to && (() => to),
      from,
      sentAt,
      run,
    });
  }

  /** Runs until `done`, until the time `until`, or until no event is left. False when not done. */
  async run(done: () => boolean, until = Infinity): Promise<boolean> {
    await turn();
    for (;;) {
      if (done()) return true;
      const event = this.#heap.top;
      if (!event || event.time > until) return false;
      this.#heap.pop();
      this.now = Math.max(this.now, event.time);
      const to = event.to?.();
      if (event.to && (!to || to.ending)) continue;
      // The sender died while it was stopped, before it would have sent this.
      if (event.from && event.sentAt > event.from.diedAt) continue;
      if (to?.frozen) {
        to.parked.push(() => {
          event.time = this.now;
          this.#heap.push(event);
        });
        continue;
      }
      if (to && to.ahead > this.now) {
        event.time = to.ahead;
        this.#heap.push(event);
        continue;
      }
      this.trace.add(event.word, event.time * 1000);
      event.run();
      await turn();
    }
  }
}
