/** navigator.locks as the browser's process keeps them: requests and releases travel there, grants travel back. */
import type { Context, World } from "./world.ts";

type Mode = "exclusive" | "shared";
interface Options {
  readonly mode?: Mode;
  readonly ifAvailable?: boolean;
  readonly steal?: boolean;
  readonly signal?: AbortSignal;
}
type Callback = (lock: { readonly name: string; readonly mode: Mode } | null) => unknown;

interface Request {
  readonly context: Context;
  readonly name: string;
  readonly mode: Mode;
  readonly callback: Callback;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
  /** Messages to the holder keep their order: the grant comes before the theft. */
  readonly lane: { last: number };
  state: "queued" | "granted" | "running" | "over";
}

/** After its holder ends, a lock is free within this time. */
const GONE_MS_MAX = 30;
const stolen = (name: string): DOMException => new DOMException(`${name} was stolen`, "AbortError");

export class LockManager {
  readonly #world: World;
  /** Chance that the message of a grant takes seconds. */
  readonly #late: number;
  readonly #held = new Map<string, Request[]>();
  readonly #queues = new Map<string, Request[]>();
  readonly #known = new Map<Context, { last: number }>();

  constructor(world: World, late: number) {
    this.#world = world;
    this.#late = late;
  }

  heldBy(name: string): Context | undefined {
    return this.#held.get(name)?.[0]?.context;
  }

  names(): readonly string[] {
    return [...this.#held.keys()];
  }

  /** The navigator.locks of one context. */
  of(context: Context) {
    return {
      request: (name: string, ...rest: [Callback] | [Options, Callback]): Promise<unknown> => {
        const [options, callback] = rest.length === 2 ? rest : [{}, rest[0]];
        return this.#request(context, name, options, callback);
      },
      query: (): Promise<unknown> => {
        context.tick("query");
        return new Promise((resolve) => {
          this.#toManager(context, () => {
            const held = this.#list(this.#held);
            const pending = this.#list(this.#queues);
            this.#world.send(this.#world.delay(), "query", { to: context }, () => resolve({ held, pending }));
          });
        });
      },
    };
  }

  #list(requests: Map<string, Request[]>) {
    return [...requests.values()].flat().map(({ name, mode, context }) => ({ name, mode, clientId: context.id }));
  }

  #toManager(context: Context, run: () => void): void {
    let lane = this.#known.get(context);
    if (!lane) {
      this.#known.set(context, (lane = { last: 0 }));
      context.onDeath.push(() =>
        this.#world.send(this.#world.random.int(GONE_MS_MAX), "locks go", {}, () => this.#forget(context)),
      );
    }
    this.#world.send(
      this.#world.random.int(300) / 1000,
      "to locks",
      { from: context, lane },
      () => !context.dead && run(),
    );
  }

  #request(
    context: Context,
    name: string,
    { mode = "exclusive", ifAvailable = false, steal = false, signal }: Options,
    callback: Callback,
  ): Promise<unknown> {
    context.tick("lock");
    return new Promise((resolve, reject) => {
      const request: Request = { context, name, mode, callback, resolve, reject, lane: { last: 0 }, state: "queued" };
      if (signal?.aborted) return reject(signal.reason);
      signal?.addEventListener("abort", () => this.#abort(request, signal.reason), { once: true });
      this.#toManager(context, () => {
        if (request.state === "over") return;
        if (steal) this.#steal(request);
        else if (ifAvailable && !this.#isFree(request))
          this.#world.send(this.#world.delay(), "no lock", { to: context }, () =>
            Promise.resolve(callback(null)).then(resolve, reject),
          );
        else {
          this.#listOf(this.#queues, name).push(request);
          this.#grantNext(name);
        }
      });
    });
  }

  #abort(request: Request, reason: unknown): void {
    if (request.state === "running" || request.state === "over") return;
    request.state = "over";
    request.reject(reason);
    // The manager may have granted the lock meanwhile, or be about to. An aborted request releases it without a call.
    this.#toManager(request.context, () => {
      this.#remove(request, this.#queues);
      this.#remove(request, this.#held);
    });
  }

  #steal(request: Request): void {
    const { name } = request;
    for (const holder of this.#held.get(name) ?? []) {
      this.#world.note("lock.stolen");
      this.#world.send(this.#told(), "stolen", { to: holder.context, lane: holder.lane }, () => {
        if (holder.state === "over") return;
        holder.state = "over";
        holder.reject(stolen(name));
      });
    }
    this.#held.delete(name);
    this.#grant(request);
  }

  /** Milliseconds until a holder hears of its grant. */
  #told(): number {
    const late = this.#late > 0 && this.#world.random.chance(this.#late);
    if (late) this.#world.note("lock.late");
    return late ? this.#world.random.between(200, 3000) : this.#world.delay();
  }

  #isFree({ name, mode }: Request): boolean {
    const held = this.#held.get(name) ?? [];
    return (
      (this.#queues.get(name)?.length ?? 0) === 0 &&
      (held.length === 0 || (mode === "shared" && held.every((each) => each.mode === "shared")))
    );
  }

  #grantNext(name: string): void {
    const queue = this.#queues.get(name);
    while (queue?.length) {
      const next = queue.shift()!;
      this.#queues.delete(name);
      const free = this.#isFree(next);
      this.#queues.set(name, queue);
      if (!free) return void queue.unshift(next);
      this.#grant(next);
    }
    this.#queues.delete(name);
  }

  /** Grants the lock: it is held from now on, although its context hears of it later. */
  #grant(request: Request): void {
    const { context, name, mode } = request;
    this.#listOf(this.#held, name).push(request);
    if (request.state === "queued") request.state = "granted";
    this.#world.send(this.#told(), "lock", { to: context, lane: request.lane }, () => {
      if (request.state === "over") return;
      request.state = "running";
      const release = () => this.#toManager(context, () => this.#remove(request, this.#held));
      new Promise((resolve) => resolve(request.callback({ name, mode }))).then(
        (value) => {
          request.state = "over";
          release();
          request.resolve(value);
        },
        (thrown: unknown) => {
          request.state = "over";
          release();
          request.reject(thrown);
        },
      );
    });
  }

  #remove(request: Request, from: Map<string, Request[]>): void {
    const list = from.get(request.name) ?? [];
    const at = list.indexOf(request);
    if (at < 0) return;
    list.splice(at, 1);
    if (list.length === 0) from.delete(request.name);
    this.#grantNext(request.name);
  }

  #forget(context: Context): void {
    for (const lists of [this.#queues, this.#held])
      for (const list of [...lists.values()])
        for (const request of [...list]) if (request.context === context) this.#remove(request, lists);
  }

  #listOf(lists: Map<string, Request[]>, name: string): Request[] {
    let list = lists.get(name);
    if (!list) lists.set(name, (list = []));
    return list;
  }
}
