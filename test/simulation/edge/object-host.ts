/**
 * One durable object of the platform. What it writes in one turn is one transaction. Its alarm may come late.
 *
 *   evicted   memory goes; tables, alarm and sockets stay
 *   reset     what is under way, and sockets, are lost as well
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { End } from "./socket-ends.ts";
import type { Time, Waiting } from "./virtual-time.ts";

type Row = Record<string, unknown>;
/** The error of all that a lost object had under way. */
export const LOST = "the object was reset";

/** The platform's parts that an object needs. */
export interface ObjectWorld {
  readonly time: Time;
  /** The bindings of one life of an object: nothing is asked through them once it is over. */
  envOf(check: () => void): unknown;
  readonly faults: string[];
  readonly holdsAlarms: boolean;
  alarmDelay(): number;
  count(what: string): void;
}

export interface Instance {
  fetch(request: Request): Promise<Response>;
  alarm(): Promise<void>;
  webSocketMessage?(socket: unknown, message: unknown): Promise<void>;
  webSocketClose?(socket: unknown, code: number, reason: string, clean: boolean): Promise<void>;
}
export type ObjectClass = new (ctx: unknown, env: unknown) => Instance;

/** More alarms in a second of an object are one that never ends. */
const ALARMS_MAX = 500;

/** One durable object: its tables, its alarm and its sockets, and the instance while it is awake. */
export class ObjectHost {
  readonly name: string;
  readonly #world: ObjectWorld;
  readonly #of: ObjectClass;
  readonly #database = new DatabaseSync(":memory:");
  readonly #statements = new Map<string, StatementSync>();
  #instance: Instance | undefined;
  #life = 0;
  #sockets: End[] = [];
  #alarm: { at: number; waiting: Waiting } | undefined;
  /** Alarms that fired since this time. */
  #countedFrom = 0;
  #counted = 0;
  readonly #under = new Set<Promise<unknown>>();
  #isOpen = false;
  #lost: ((thrown: Error) => void)[] = [];
  /** Writes that still succeed before the power is cut. */
  writesLeft: number | undefined;
  /** Transactions that still do. */
  commitsLeft: number | undefined;
  /** Counts each alarm at its beginning and at its end. */
  alarms = 0;
  cuts = 0;

  constructor(world: ObjectWorld, of: ObjectClass, name: string) {
    this.#world = world;
    this.#of = of;
    this.name = name;
  }

  get isInAlarm(): boolean {
    return this.alarms % 2 === 1;
  }
  /** True if nobody waits for it. */
  get isIdle(): boolean {
    return this.#under.size === 0;
  }

  get instance(): Instance {
    if (this.#instance) return this.#instance;
    const life = ++this.#life;
    const check = (): void => {
      if (life !== this.#life) throw new Error(LOST);
    };
    return (this.#instance = new this.#of(this.#context(life, check), this.#world.envOf(check)));
  }

  /** Rows of its tables, whether it is awake or not. */
  rows(query: string): Row[] {
    return this.#database.prepare(query).all() as Row[];
  }

  #context(life: number, check: () => void): unknown {
    const exec = (query: string, ...values: (string | number | null | Uint8Array)[]): Row[] & { toArray(): Row[] } => {
      check();
      this.#writes(query);
      let statement = this.#statements.get(query);
      if (!statement) this.#statements.set(query, (statement = this.#database.prepare(query)));
      const rows = statement.all(
        ...values.map((value) => (value instanceof ArrayBuffer ? new Uint8Array(value) : value)),
      );
      return Object.assign(rows as Row[], { toArray: () => rows as Row[] });
    };
    // An object that is lost hears nothing more.
    const whileAlive = <T>(work: () => T): Promise<T> =>
      life === this.#life ? Promise.resolve(work()) : new Promise<T>(() => undefined);
    return {
      storage: {
        sql: { exec, databaseSize: 4096 },
        transactionSync: <T>(work: () => T): T => {
          check();
          return this.#transaction(work);
        },
        getAlarm: () => whileAlive(() => this.#alarm?.at ?? null),
        setAlarm: (at: number) => whileAlive(() => this.#setAlarm(at)),
        deleteAlarm: () => whileAlive(() => this.#setAlarm(undefined)),
      },
      waitUntil: (work: Promise<unknown>) => void this.#track(work).catch(() => undefined),
      abort: (reason: string) => {
        this.#world.count(`abort: ${reason.slice(0, 60)}`);
        if (life === this.#life) this.reset();
      },
      acceptWebSocket: (socket: End, tags: string[] = []) => {
        socket.hibernates = this;
        socket.tags = tags;
        this.#sockets.push(socket);
        socket.accept();
      },
      getWebSockets: (tag?: string) => this.#sockets.filter(({ tags }) => tag === undefined || tags.includes(tag)),
      getTags: ({ tags }: End) => tags,
    };
  }

  #transaction<T>(work: () => T): T {
    this.#begin();
    this.#database.exec("SAVEPOINT inner");
    try {
      const result = work();
      if (this.#isOpen) this.#database.exec("RELEASE inner");
      return result;
    } catch (thrown) {
      if (this.#isOpen) this.#database.exec("ROLLBACK TO inner; RELEASE inner");
      throw thrown;
    }
  }

  /** All writes of one turn are one transaction, as on the platform. */
  #begin(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#database.exec("BEGIN");
    queueMicrotask(() => this.#end("COMMIT"));
  }
  #end(how: "COMMIT" | "ROLLBACK"): void {
    if (this.#isOpen) this.#database.exec(how);
    this.#isOpen = false;
  }

  #writes(query: string): void {
    if (/^\s*SELECT/i.test(query)) return;
    const isLast = this.writesLeft !== undefined && this.writesLeft-- <= 0;
    const isLastCommit = !this.#isOpen && this.commitsLeft !== undefined && this.commitsLeft-- <= 0;
    if (!isLast && !isLastCommit) return this.#begin();
    this.spare();
    this.cuts++;
    this.#end("ROLLBACK");
    // What is under way ends in a turn of its own, as the platform would end it.
    const life = ++this.#life;
    queueMicrotask(() => life === this.#life && this.reset());
    throw new Error(LOST);
  }

  /** Work that is due again as soon as it was looked at. */
  #isStorm(now: number): boolean {
    if (now > this.#countedFrom + 1_000) [this.#countedFrom, this.#counted] = [now, 0];
    return ++this.#counted > ALARMS_MAX;
  }

  #setAlarm(at: number | undefined): void {
    const { time } = this.#world;
    time.cancel(this.#alarm?.waiting);
    this.#alarm = undefined;
    if (at === undefined) return;
    const waiting = time.at(at + this.#world.alarmDelay(), () => {
      if (this.#world.holdsAlarms) return this.#setAlarm(Math.max(at, time.now + 20));
      this.#alarm = undefined;
      if (this.#isStorm(time.now)) return void this.#world.faults.push(`alarms of ${this.name} follow without end`);
      this.alarms++;
      void this.call((instance) => instance.alarm())
        .catch((thrown: unknown) => {
          if (!String(thrown).includes(LOST))
            this.#world.faults.push(`alarm of ${this.name}: ${(thrown as Error).stack}`);
          // The platform repeats an alarm that failed.
          if (!this.#alarm) this.#setAlarm(time.now + 2_000);
        })
        .finally(() => this.alarms++);
    });
    this.#alarm = { at, waiting };
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#under.add(work);
    const end = (): void => void this.#under.delete(work);
    work.then(end, end);
    return work;
  }

  /** Does something with the object, which is lost with it. */
  call<T>(work: (instance: Instance) => Promise<T>): Promise<T> {
    return this.#track(
      new Promise<T>((resolve, reject) => {
        this.#lost.push(reject);
        const { instance } = this;
        const life = this.#life;
        work(instance).then(
          (value) => (life === this.#life ? resolve(value) : reject(new Error(LOST))),
          (thrown: Error) => reject(life === this.#life ? thrown : new Error(LOST)),
        );
      }),
    );
  }

  /** Another number after each reset and each sleep. */
  get life(): number {
    return this.#life;
  }

  socketEvent(
    socket: End,
    type: string,
    { data, code = 1006, reason = "" }: { data?: unknown; code?: number; reason?: string },
  ): void {
    const done = this.call(async (instance) => {
      if (type === "message") return instance.webSocketMessage?.(socket, data);
      this.left(socket);
      return instance.webSocketClose?.(socket, code, reason, true);
    });
    done.catch((thrown: unknown) => {
      if (!String(thrown).includes(LOST)) this.#world.faults.push(`socket of ${this.name}: ${(thrown as Error).stack}`);
    });
  }
  left(socket: End): void {
    this.#sockets = this.#sockets.filter((each) => each !== socket);
  }

  /** Its memory goes; sockets, tables and alarm stay. Only where nothing is under way. */
  evict(): void {
    if (!this.isIdle || !this.#instance) return;
    this.#instance = undefined;
    this.#life++;
    this.#world.count("evicted");
  }

  /** The power is not cut at a write. */
  spare(): void {
    this.writesLeft = this.commitsLeft = undefined;
  }

  /** The power is cut. */
  cut(): void {
    this.cuts++;
    this.reset();
  }

  /** All that is under way is lost. */
  reset(): void {
    this.#instance = undefined;
    this.#life++;
    this.spare();
    this.#end("ROLLBACK");
    for (const lost of this.#lost.splice(0)) lost(new Error(LOST));
    this.#under.clear();
    for (const socket of this.#sockets.splice(0)) {
      socket.hibernates = undefined;
      socket.close(1006, "reset");
    }
    this.#world.count("reset");
  }
}
