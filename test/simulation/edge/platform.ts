/**
 * The platform under the edge, in one process: time that passes when everybody waits, durable objects over Node's
 * SQLite with alarms, eviction, resets and hibernating sockets, and object storage. The whole Worker runs over it as it
 * is (bundle.ts).
 *
 *   request ─▶ Worker ─▶ stub ─▶ object (made when it is asked) ─▶ SQLite, which outlives it
 */
import { createHash } from "node:crypto";
import { LOST, type ObjectClass, ObjectHost } from "./object-host.ts";
import { Objects } from "./objects.ts";
import { End } from "./socket-ends.ts";
import { Time, turn, type Waiting } from "./virtual-time.ts";

/** Globals that the bundle takes. The world that runs gives them their meaning. */
let current: Platform | undefined;
const timeOf = (): Time => current!.time;

class WorldDate extends Date {
  constructor(...given: unknown[]) {
    super(...((given.length === 0 ? [timeOf().now] : given) as [number]));
  }
  static override now(): number {
    return timeOf().now;
  }
}
class WorldResponse extends Response {
  override readonly webSocket: WebSocket | null;
  constructor(body?: BodyInit | null, init: ResponseInit & { webSocket?: unknown } = {}) {
    const isUpgrade = init.status === 101;
    super(body, isUpgrade ? { headers: init.headers ?? {} } : init);
    this.webSocket = (init.webSocket ?? null) as WebSocket | null;
    if (isUpgrade) Object.defineProperty(this, "status", { value: 101 });
  }
}
class WorldRequest extends Request {
  constructor(input: RequestInfo | URL, init?: RequestInit) {
    super(input, init?.body ? ({ ...init, duplex: "half" } as RequestInit) : init);
  }
}
const sha512 = (of: Uint8Array): Buffer => createHash("sha512").update(of).digest();
const arrayBufferOf = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer;
const quiet = (...told: unknown[]): void => current?.told(told.join(" "));

Object.assign(globalThis, {
  tidemarkPlatform: {
    Date: WorldDate,
    setTimeout: (run: () => void, ms = 0) => timeOf().at(timeOf().now + Math.max(ms, 0), run),
    clearTimeout: (waiting: Waiting) => timeOf().cancel(waiting),
    Request: WorldRequest,
    Response: WorldResponse,
    WebSocketPair: class {
      readonly 0 = new End();
      readonly 1 = new End();
      constructor() {
        this[0].other = this[1];
        this[1].other = this[0];
      }
    },
    // Hashes take no time of their own here, so that a seed is its history.
    crypto: {
      randomUUID: () => crypto.randomUUID(),
      getRandomValues: (into: Uint8Array<ArrayBuffer>) => crypto.getRandomValues(into),
      subtle: {
        digest: async (_: string, of: Uint8Array) => arrayBufferOf(createHash("sha256").update(of).digest()),
        generateKey: async () => ({ privateKey: {}, publicKey: {} }),
        exportKey: async () => ({ kty: "OKP", crv: "Ed25519", x: "AA" }),
        importKey: async () => ({}),
        sign: async (_: string, _key: object, of: Uint8Array) => arrayBufferOf(sha512(of)),
        verify: async (_: string, _key: object, seal: Uint8Array, of: Uint8Array) => sha512(of).equals(seal),
      },
    },
    fetch: (_: string, { body, signal }: { body: string; signal: AbortSignal }) =>
      Promise.race([
        current!.receive(body),
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error))),
      ]),
    AbortSignal: {
      timeout: (ms: number) => {
        const control = new AbortController();
        timeOf().at(timeOf().now + ms, () => control.abort(new Error("timeout")));
        return control.signal;
      },
    },
    // Nobody does the work that a lost object had still to do.
    queueMicrotask: (run: () => void) =>
      queueMicrotask(() => {
        try {
          run();
        } catch (thrown) {
          if (!String(thrown).includes(LOST)) throw thrown;
        }
      }),
    console: { ...console, log: quiet, error: quiet, warn: quiet },
    caches: undefined,
  },
});

/** The same, for one who may end: then no call is made, and none gives an answer. */
function whileAlive<T extends object>(of: T, check: () => void): T {
  return new Proxy(of, {
    get: (_, name) => {
      const found: unknown = Reflect.get(of, name, of);
      if (typeof found !== "function") return found;
      return async (...given: unknown[]) => {
        check();
        try {
          return (await Reflect.apply(found, of, given)) as unknown;
        } finally {
          check();
        }
      };
    },
  });
}

interface Edge {
  readonly worker: { fetch(request: Request, env: never, context: never): Promise<Response> };
  readonly LogObject: unknown;
  readonly SubscriptionObject: unknown;
}

export class Platform {
  readonly time = new Time();
  readonly bucket = new Objects();
  readonly objects = new Map<string, ObjectHost>();
  readonly counts: Record<string, number> = {};
  readonly faults: string[] = [];
  alarmDelay: () => number = () => 0;
  /** Answers what is sent to a webhook. */
  receive: (body: string) => Promise<Response> = async () => new Response(null, { status: 404 });
  /** While it is set no alarm fires. */
  holdsAlarms = false;
  readonly env: Record<string, unknown>;
  readonly #edge: Edge;
  readonly #hasBucket: boolean;
  readonly #background = new Set<Promise<unknown>>();

  constructor(edge: Edge, hasBucket: boolean) {
    this.#edge = edge;
    current = this;
    this.#hasBucket = hasBucket;
    this.env = this.envOf(() => undefined);
  }

  envOf(check: () => void): Record<string, unknown> {
    const of = (kind: string, made: unknown) => ({
      idFromName: (name: string) => `${kind}:${name}`,
      get: (id: string) => this.#stub(this.object(id, made as ObjectClass), check),
    });
    return {
      LOGS: of("log", this.#edge.LogObject),
      SUBSCRIPTIONS: of("subs", this.#edge.SubscriptionObject),
      TIDEMARK_OPEN_ACCESS: "loopback",
      TIDEMARK_EVENTS: "all",
      ...(this.#hasBucket && { SEGMENTS: whileAlive(this.bucket, check) }),
    };
  }

  count(what: string, by = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + by;
  }

  /** A line that the edge has printed. */
  told(line: string): void {
    try {
      const { event, records, message } = JSON.parse(line) as { event: string; records?: number; message?: string };
      if (event === "error" && !message?.includes(LOST)) this.faults.push(`printed: ${message}`);
      if (event === "request") return;
      this.count(`event ${event}`);
      if (event === "compaction") this.count("compacted records", records);
    } catch {
      this.faults.push(`printed: ${line}`);
    }
  }

  object(id: string, of: ObjectClass): ObjectHost {
    const known = this.objects.get(id) ?? new ObjectHost(this, of, id);
    this.objects.set(id, known);
    return known;
  }
  /** The object of a stream, if it was ever asked. */
  logOf(path: string): ObjectHost | undefined {
    return this.objects.get(`log:dev/${path}`);
  }
  /** The object that a stream has, or would have. */
  hostOf(path: string): ObjectHost {
    return this.object(`log:dev/${path}`, this.#edge.LogObject as ObjectClass);
  }
  /** The object of the subscriptions, or that of the server's key. */
  get subscriptions(): ObjectHost {
    return this.object("subs:dev/", this.#edge.SubscriptionObject as ObjectClass);
  }
  get keys(): ObjectHost {
    return this.object("subs:keys", this.#edge.SubscriptionObject as ObjectClass);
  }

  #stub(host: ObjectHost, check: () => void): unknown {
    const call = (method: string, args: unknown[]): Promise<unknown> =>
      host.call((instance): Promise<unknown> => Reflect.apply(Reflect.get(instance, method), instance, args));
    return whileAlive(
      new Proxy(
        {},
        {
          get: (_, method: string) =>
            method === "then"
              ? undefined
              : async (...given: unknown[]) => {
                  const args = method === "fetch" ? given : structuredClone(given);
                  await turn();
                  const answer = await call(method, args);
                  return method === "fetch" ? answer : structuredClone(answer);
                },
        },
      ),
      check,
    );
  }

  /** Resolves once everything that can be done without time has been done. */
  async quiet(turns = 4): Promise<void> {
    for (let i = 0; i < turns; i++) await turn();
  }

  /** Lets time pass until this is settled. */
  async settled<T>(work: Promise<T>): Promise<T> {
    current = this;
    let isDone = false;
    const done = (): void => void (isDone = true);
    work.then(done, done);
    for (let idle = 0; !isDone;) {
      await this.quiet(2);
      if (isDone) break;
      const { next } = this.time;
      // Long waits are ended only where nothing else can happen.
      if (next && next.at - this.time.now > 50) await this.quiet(30);
      if (isDone) break;
      if (this.time.step()) idle = 0;
      else if (++idle > 5_000) throw new Error("it hangs");
    }
    return work;
  }

  /** Lets this much time pass, with all alarms in it. */
  async pass(ms: number): Promise<void> {
    current = this;
    const until = this.time.now + ms;
    for (;;) {
      await this.quiet();
      const { next } = this.time;
      if (!next || next.at > until) {
        await this.quiet(15);
        if (!this.time.next || this.time.next.at > until) break;
      }
      this.time.step(until);
    }
    this.time.now = until;
  }

  request(
    method: string,
    target: string,
    headers: Record<string, string>,
    body?: Uint8Array,
    signal?: AbortSignal,
  ): Promise<Response> {
    const own = body ? { "content-length": String(body.length), ...headers } : headers;
    const request = new WorldRequest(`http://localhost${target}`, {
      method,
      headers: own,
      ...(body && { body: body as BodyInit }),
      ...(signal && { signal }),
    });
    const waitUntil = (work: Promise<unknown>): void => {
      this.#background.add(work);
      work.finally(() => this.#background.delete(work)).catch(() => undefined);
    };
    return this.#edge.worker.fetch(request, this.env as never, { waitUntil } as never);
  }

  async ask(method: string, target: string, headers: Record<string, string> = {}, body?: Uint8Array): Promise<Answer> {
    const found = await this.settled(this.request(method, target, headers, body));
    const bytes = new Uint8Array(await this.settled(found.arrayBuffer()));
    return { status: found.status, headers: found.headers, bytes };
  }
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Uint8Array;
}
