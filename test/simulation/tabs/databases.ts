/**
 * IndexedDB as one browser process keeps it for all contexts. A context's requests travel there and the answers back,
 * each way in order. A transaction that writes runs alone. Requests to a transaction that has not begun wait with it.
 *
 *   context                                        browser
 *    │ ── begin, requests, commit or abort ─────────▶│  queue of transactions per database
 *    │ ◀─ an answer per request, then complete ──────│
 *
 * A transaction without a request under way commits by itself. A transaction whose commit has arrived finishes even if
 * its process dies; any other is undone. Only processes and connections fail here, not the power: commits are kept.
 */
import type { Context, World } from "./world.ts";

type Key = number | string;
type Store = Map<Key, unknown>;
interface Range {
  readonly lower: number;
  readonly upper: number;
}
interface Lanes {
  readonly there: { last: number };
  readonly back: { last: number };
}

/** After a process ends, its connections are closed within this time. */
const GONE_MS_MAX = 40;
const error = (name: string): DOMException => new DOMException(name, name);

class Emitter {
  readonly #listeners = new Map<string, Set<(event: object) => void>>();
  onsuccess: (() => void) | undefined;
  onerror: ((event: object) => void) | undefined;
  onblocked: (() => void) | undefined;

  addEventListener(type: string, run: (event: object) => void): void {
    this.#listeners.set(type, (this.#listeners.get(type) ?? new Set()).add(run));
  }
  removeEventListener(type: string, run: (event: object) => void): void {
    this.#listeners.get(type)?.delete(run);
  }
  emit(type: string): void {
    const event = { type, target: this, oldVersion: 0, newVersion: 1 };
    if (type === "success") this.onsuccess?.();
    if (type === "error") this.onerror?.(event);
    for (const run of [...(this.#listeners.get(type) ?? [])]) run(event);
  }
}

class Request extends Emitter {
  result: unknown;
  error: DOMException | undefined;
  transaction: Transaction | undefined;

  succeed(result: unknown): void {
    this.result = result;
    this.emit("success");
  }
  fail(reason: DOMException): void {
    this.error = reason;
    this.emit("error");
  }
}

/** A database as the browser keeps it. */
class Kept {
  /** 0 until its first upgrade has committed. */
  version = 0;
  readonly stores = new Map<string, Store>();
  readonly connections = new Set<Connection>();
  readonly transactions: Transaction[] = [];
  /** Openings and deletions that wait: they run one after the other. */
  readonly asked: (() => void)[] = [];
  busy = false;

  constructor(readonly name: string) {}
}

interface Work {
  readonly run: () => unknown;
  readonly request: Request;
}

class Transaction extends Emitter {
  readonly db: Connection;
  readonly objectStoreNames: readonly string[];
  readonly mode: string;
  error: DOMException | null = null;
  /** Requests that have arrived in the browser. */
  readonly work: Work[] = [];
  readonly undo: (() => void)[] = [];
  state: "queued" | "running" | "over" = "queued";
  commitAsked = false;
  onOver: ((committed: boolean) => void) | undefined;
  /** Requests under way, as its context knows them. */
  #under = new Set<Request>();
  #finished = false;

  constructor(db: Connection, stores: readonly string[], mode: string) {
    super();
    this.db = db;
    this.objectStoreNames = stores;
    this.mode = mode;
  }

  objectStore(name: string): ObjectStore {
    return new ObjectStore(this, name);
  }

  ask(run: () => unknown): Request {
    if (this.#finished) throw error("TransactionInactiveError");
    const request = new Request();
    request.transaction = this;
    this.#under.add(request);
    this.db.send("request", () => this.db.databases.add(this, { run, request }));
    return request;
  }

  answered(request: Request, result: unknown): void {
    if (!this.#under.delete(request)) return;
    request.succeed(result);
    this.rest();
  }

  /** A request failed: the request hears of it before the transaction does. */
  refused(request: Request, reason: DOMException): void {
    if (!this.#under.delete(request)) return;
    request.fail(reason);
    this.emit("error");
  }

  /** Called after all requests of this turn: commits when no request is under way. */
  rest(): void {
    const { context } = this.db;
    context.world.send(
      0,
      "rest",
      { from: context, to: context },
      () => !this.#finished && this.#under.size === 0 && this.commit(),
    );
  }

  commit(): void {
    if (this.#finished) throw error("InvalidStateError");
    this.#finished = true;
    this.db.send("commit", () => this.db.databases.commit(this));
  }

  abort(): void {
    if (this.#finished) throw error("InvalidStateError");
    this.#finished = true;
    this.db.send("abort", () => this.db.databases.abort(this));
  }

  /** Tells its context that the transaction has ended. */
  over(reason: DOMException | undefined): void {
    this.#finished = true;
    if (reason) for (const request of this.#under) request.fail(error("AbortError"));
    this.#under.clear();
    this.error = reason ?? null;
    this.emit(reason ? "abort" : "complete");
  }
}

class ObjectStore {
  readonly #tx: Transaction;
  readonly #name: string;

  constructor(tx: Transaction, name: string) {
    this.#tx = tx;
    this.#name = name;
  }
  #in<T>(work: (store: Store) => T): Request {
    return this.#tx.ask(() => work(this.#tx.db.kept.stores.get(this.#name)!));
  }
  #before(store: Store, key: Key): void {
    const [had, before] = [store.has(key), store.get(key)];
    this.#tx.undo.push(() => void (had ? store.set(key, before) : store.delete(key)));
  }
  put(value: unknown, key: Key): Request {
    const kept = structuredClone(value);
    return this.#in((store) => {
      this.#before(store, key);
      store.set(key, kept);
      return key;
    });
  }
  add(value: unknown, key: Key): Request {
    return this.#in((store) => {
      if (store.has(key)) throw error("ConstraintError");
      this.#before(store, key);
      store.set(key, structuredClone(value));
      return key;
    });
  }
  delete(range: Key | Range): Request {
    return this.#in((store) => {
      for (const key of typeof range === "object" ? keysIn(store, range) : [range]) {
        this.#before(store, key);
        store.delete(key);
      }
    });
  }
  get(key: Key): Request {
    return this.#in((store) => structuredClone(store.get(key)));
  }
  getAllKeys(range: Range): Request {
    return this.#in((store) => keysIn(store, range));
  }
  getAll(range: Range): Request {
    return this.#in((store) => keysIn(store, range).map((key) => structuredClone(store.get(key))));
  }
}

/** Keys in the range; they are numbers. */
const keysIn = (store: Store, { lower, upper }: Range): Key[] =>
  [...store.keys()].filter((key) => Number(key) >= lower && Number(key) <= upper).sort((a, b) => Number(a) - Number(b));

class Connection extends Emitter {
  closed = false;
  upgrade: Transaction | undefined;

  constructor(
    readonly databases: Databases,
    readonly context: Context,
    readonly kept: Kept,
    readonly lanes: Lanes,
  ) {
    super();
  }

  send(word: string, run: () => void): void {
    this.databases.there(this.context, word, run);
  }

  transaction(stores: string | readonly string[], mode = "readonly"): Transaction {
    if (this.closed) throw error("InvalidStateError");
    const tx = new Transaction(this, typeof stores === "string" ? [stores] : stores, mode);
    // A process may be stopped here: after it read the clock and before it writes.
    if (mode !== "readonly") this.context.tick("write");
    this.send("begin", () => this.databases.begin(tx));
    tx.rest();
    return tx;
  }

  createObjectStore(name: string): ObjectStore {
    const tx = this.upgrade!;
    tx.ask(() => this.kept.stores.set(name, new Map()) && undefined);
    return new ObjectStore(tx, name);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.send("close", () => this.databases.leave(this));
  }
}

class Nothing {
  advance(): void {}
  continue(): void {}
  continuePrimaryKey(): void {}
}

/** The product's library recognises objects of IndexedDB by these classes. */
export const IDB_CLASSES = {
  IDBRequest: Request,
  IDBTransaction: Transaction,
  IDBDatabase: Connection,
  IDBObjectStore: ObjectStore,
  IDBIndex: class extends Nothing {},
  IDBCursor: Nothing,
  IDBKeyRange: {
    bound: (lower: number, upper: number): Range => ({ lower, upper }),
    upperBound: (upper: number): Range => ({ lower: -Infinity, upper }),
  },
};

export class Databases {
  readonly #world: World;
  readonly #kept = new Map<string, Kept>();
  readonly #lanes = new Map<Context, Lanes>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Closes all connections of the origin, as engines do now and then. */
  loseConnections(): void {
    for (const { connections } of this.#kept.values()) {
      for (const connection of [...connections]) {
        this.#world.note("connection.lost");
        this.leave(connection);
        this.#back(connection.context, "lost", () => {
          if (connection.closed) return;
          connection.closed = true;
          connection.emit("close");
        });
      }
    }
  }

  /** The indexedDB of one context. */
  of(context: Context) {
    return {
      databases: () =>
        new Promise((resolve) => {
          context.tick("query");
          this.there(context, "databases", () => {
            const names = [...this.#kept.values()].filter(({ version }) => version > 0).map(({ name }) => ({ name }));
            this.#back(context, "databases", () => resolve(names));
          });
        }),
      open: (name: string) =>
        this.#ask(context, name, (kept, request, done) => this.#open(context, kept, request, done)),
      deleteDatabase: (name: string) =>
        this.#ask(context, name, (kept, request, done) => this.#delete(context, kept, request, done)),
    };
  }

  #lanesOf(context: Context): Lanes {
    let lanes = this.#lanes.get(context);
    if (!lanes) {
      this.#lanes.set(context, (lanes = { there: { last: 0 }, back: { last: 0 } }));
      const { there } = lanes;
      context.onDeath.push(() => {
        // After its sent messages. Messages that it would have sent after its stop never come.
        const lane = context.ahead > this.#world.now ? { last: 0 } : there;
        this.#world.send(this.#world.random.int(GONE_MS_MAX), "databases go", { lane }, () => this.#forget(context));
      });
    }
    return lanes;
  }

  there(context: Context, word: string, run: () => void): void {
    this.#world.send(this.#world.delay() / 2, word, { from: context, lane: this.#lanesOf(context).there }, run);
  }

  #back(context: Context, word: string, run: () => void): void {
    this.#world.send(this.#world.delay() / 2, word, { to: context, lane: this.#lanesOf(context).back }, run);
  }

  #forget(context: Context): void {
    for (const { connections } of this.#kept.values())
      for (const connection of [...connections]) if (connection.context === context) this.leave(connection);
  }

  /** Undoes the connection's transactions, except those whose commit has arrived. */
  leave(connection: Connection): void {
    const { kept } = connection;
    kept.connections.delete(connection);
    for (const tx of kept.transactions.filter(({ db, commitAsked }) => db === connection && !commitAsked))
      this.abort(tx);
    this.#next(kept);
  }

  // --- openings and deletions --------------------------------------------------------------------------------------

  #ask(context: Context, name: string, work: (kept: Kept, request: Request, done: () => void) => void): Request {
    context.tick("file");
    const request = new Request();
    this.there(context, "database", () => {
      const kept = this.#kept.get(name) ?? new Kept(name);
      this.#kept.set(name, kept);
      const done = (): void => {
        kept.busy = false;
        this.#next(kept);
      };
      kept.asked.push(() => work(kept, request, done));
      this.#next(kept);
    });
    return request;
  }

  #next(kept: Kept): void {
    if (kept.busy) return;
    const work = kept.asked.shift();
    kept.busy = work !== undefined;
    work?.();
  }

  #open(context: Context, kept: Kept, request: Request, done: () => void): void {
    const connection = new Connection(this, context, kept, this.#lanesOf(context));
    if (context.dead) return done();
    kept.connections.add(connection);
    const opened = (): void => {
      this.#back(context, "opened", () => request.succeed(connection));
      done();
    };
    if (kept.version > 0) return opened();
    const tx = new Transaction(connection, [], "versionchange");
    tx.onOver = (committed) => {
      if (committed) kept.version = 1;
      else {
        kept.stores.clear();
        kept.connections.delete(connection);
      }
      if (committed) return opened();
      this.#back(context, "not opened", () => request.fail(error("AbortError")));
      done();
    };
    this.begin(tx);
    this.#back(context, "upgrade", () => {
      request.result = connection;
      request.transaction = connection.upgrade = tx;
      request.emit("upgradeneeded");
      tx.rest();
    });
  }

  /** Deletes the database once all connections have closed. */
  #delete(context: Context, kept: Kept, request: Request, done: () => void): void {
    for (const connection of kept.connections)
      this.#back(connection.context, "versionchange", () => !connection.closed && connection.emit("versionchange"));
    const look = (): void => {
      if (kept.connections.size > 0) return this.#world.send(1, "delete waits", {}, look);
      kept.version = 0;
      kept.stores.clear();
      this.#back(context, "deleted", () => request.succeed(undefined));
      done();
    };
    look();
  }

  // --- transactions ------------------------------------------------------------------------------------------------

  begin(tx: Transaction): void {
    // The connection is lost. As in Chromium 156, such a transaction is never answered and never ends.
    if (!tx.db.kept.connections.has(tx.db)) return this.#world.note("transaction.unanswered");
    tx.db.kept.transactions.push(tx);
    this.#run(tx.db.kept);
  }

  add(tx: Transaction, work: Work): void {
    if (tx.state === "over") return;
    tx.work.push(work);
    this.#run(tx.db.kept);
  }

  commit(tx: Transaction): void {
    tx.commitAsked = true;
    this.#run(tx.db.kept);
  }

  abort(tx: Transaction, reason = error("AbortError")): void {
    if (tx.state === "over") return;
    for (const undo of tx.undo.reverse()) undo();
    this.#end(tx, reason);
    this.#run(tx.db.kept);
  }

  #end(tx: Transaction, reason?: DOMException): void {
    const { transactions } = tx.db.kept;
    tx.state = "over";
    const at = transactions.indexOf(tx);
    if (at >= 0) transactions.splice(at, 1);
    if (tx.mode === "readwrite")
      this.#world.counters.add(
        `transaction.${reason ? (reason.name === "ConstraintError" ? "fenced" : "undone") : "committed"}`,
      );
    this.#back(tx.db.context, "over", () => tx.over(reason));
    tx.onOver?.(!reason);
  }

  /**
   * Runs the requests of each transaction that may run: a writing one when it is the first, a reading one when no
   * writing one is before it.
   */
  #run(kept: Kept): void {
    for (let at = 0; at < kept.transactions.length;) {
      const tx = kept.transactions[at]!;
      const writes = tx.mode !== "readonly";
      if (writes && at > 0) return;
      tx.state = "running";
      for (const { run, request } of tx.work.splice(0)) {
        try {
          const result = run();
          this.#back(tx.db.context, "answer", () => tx.answered(request, result));
        } catch (thrown) {
          this.#back(tx.db.context, "refusal", () => tx.refused(request, thrown as DOMException));
          return this.abort(tx, thrown as DOMException);
        }
      }
      if (tx.commitAsked) this.#end(tx);
      else if (writes) return;
      else at++;
    }
  }
}
