/**
 * The connection of an IndexedDB volume. Engines lose connections: Safari kills its storage process behind background
 * tabs, Chromium closes them when site data is cleared. A lost connection never recovers, so it is dropped, opened
 * again, and the transaction is run again. Running it twice is harmless, because it only puts whole pages.
 *
 *   database tidemark:<name>, version 1 for ever (no tab can ever block another's upgrade)
 *     pages  slot * 65536 + page → ArrayBuffer
 *     meta   "volume" → { id, slotBytes, slotCount }
 *            "term" → n, the newest one
 *            n → 0: term n is over
 *
 * `id` is drawn when the database is made. A database with another id, or none, is another one: the data are gone, and
 * that must be an error, never a volume that looks empty.
 *
 * No file lock stops a leader that hung and was deposed: it may wake up with a transaction that it had begun rightly.
 * So each connection begins a term before it reads anything: it adds the key of the term before. Each transaction that
 * writes adds the key of its own term and deletes it again. If the key is there already, a later term has begun, and
 * the engine undoes the whole transaction.
 *
 * A process that stops inside a transaction keeps all others of the database waiting. Chromium 156 ends it after 60 s,
 * whether it reads or writes (measured). So all requests of a transaction and its commit are made in one turn, and no
 * transaction waits for an answer.
 *
 * WebKit (bugs 324094 and 315804; 2.50 has both) sends no request until its storage process has begun the transaction.
 * If a worker ends before that, with the commit requested, or with a second transaction behind one that commits, it
 * never tells that process, which then keeps the database locked until the page's process ends. So in WebKit commits
 * are left to the engine, and transactions of a connection run one after the other. However the worker ends, its
 * transaction is then complete or undone, and the lock is free.
 */
import { type IDBPDatabase, type IDBPTransaction, openDB, unwrap } from "idb";
import { TidemarkError } from "../../errors.ts";
import { isNamed, storageError } from "../platform/errors.ts";
import { databaseName } from "../platform/names.ts";
import { sleep } from "../platform/timing.ts";

export interface VolumeRecord {
  readonly id: string;
  readonly slotBytes: number;
  readonly slotCount: number;
}
export type Mode = "readonly" | "strict" | "relaxed";
export type Transaction = IDBPTransaction<unknown, string[], IDBTransactionMode>;

const STORES = ["pages", "meta"];
/**
 * Keys of this many terms are kept. A leader that slept through more terms, and through its own deposing, would not be
 * fenced.
 */
const TERMS_KEPT = 1000;
/**
 * Pauses before each try to open; after the last one it is an error. An engine whose storage process was killed needs a
 * moment.
 */
const OPEN_WAITS_MS = [0, 100, 500];
/** An open that takes longer is blocked by a deletion that waits for another tab. */
const OPEN_TIMEOUT_MS = 10_000;
const TERM_TRIES = 5;
/** How often one transaction is run again whose connection is lost each time. */
const RUNS_AGAIN_MAX = 3;
const ignore = (): undefined => undefined;
/**
 * WebKit's errors have this property, and no others do. The check works even if an app has replaced the browser's name.
 */
const isWebKit = "sourceURL" in new Error();

export class IdbConnection {
  /** Called when a lost connection was replaced: what was committed relaxed may not have reached the disk. */
  onReplaced: () => void = ignore;
  readonly #name: string;
  #record: VolumeRecord;
  #db: Promise<IDBPDatabase> | undefined;
  #ended: TidemarkError | undefined;
  #term = 0;
  #begun = false;
  /** The previous transaction, where they run one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(name: string, record: VolumeRecord) {
    this.#name = name;
    this.#record = record;
  }

  /** `isThere`: the volume was open before and must not be made again (STORAGE_FAILED, details gone). */
  static async open(name: string, slotBytes: number, isThere = false): Promise<IdbConnection> {
    const connection = new IdbConnection(name, { id: crypto.randomUUID(), slotBytes, slotCount: 0 });
    await (connection.#db = connection.#connect(true, !isThere));
    await connection.#begin();
    return connection;
  }

  get record(): VolumeRecord {
    return this.#record;
  }

  /**
   * Begins a term: writes that an older term had begun are stored by now, or never will be. So only now the number of
   * slots is known for good.
   */
  async #begin(): Promise<void> {
    const get = <T>(mode: Mode, key: string): Promise<T | undefined> =>
      this.run(mode, (tx) => tx.objectStore("meta").get(key) as Promise<T | undefined>);
    for (let tries = 1; ; tries++) {
      this.#term = (await get<number>("readonly", "term")) ?? 0;
      try {
        this.#record = (await get<VolumeRecord>("relaxed", "volume")) ?? this.#record;
        return;
      } catch (thrown) {
        const { code } = thrown as TidemarkError;
        // On a full disk the volume opens nevertheless; its first write begins the term.
        if (code === "QUOTA_EXCEEDED") return;
        // Another connection began a term in between.
        if (code !== "FENCED_LEADER" || tries === TERM_TRIES) throw thrown;
      }
    }
  }

  /**
   * Runs `work` in one transaction over both stores. It must make all its requests at once: the commit is requested
   * right after them. FENCED_LEADER: another worker leads now. Resolves when the transaction is complete. A transaction
   * that fails has changed nothing.
   */
  run<T>(mode: Mode, work: (tx: Transaction) => T | Promise<T>): Promise<T> {
    const run = isWebKit ? this.#last.then(() => this.#run(mode, work)) : this.#run(mode, work);
    this.#last = run.catch(ignore);
    return run;
  }

  async #run<T>(mode: Mode, work: (tx: Transaction) => T | Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      if (this.#ended) throw this.#ended;
      const db = (this.#db ??= this.#connect(false));
      try {
        return await this.#transact(await db, mode, work);
      } catch (thrown) {
        const lost = isLost(thrown);
        if (lost) this.#drop(db);
        if (!lost || tries === RUNS_AGAIN_MAX) throw storageError(thrown);
      }
    }
  }

  async #transact<T>(db: IDBPDatabase, mode: Mode, work: (tx: Transaction) => T | Promise<T>): Promise<T> {
    const tx = mode === "readonly" ? db.transaction(STORES) : db.transaction(STORES, "readwrite", { durability: mode });
    const done = tx.done;
    let fenced = false;
    try {
      // If the transaction reports first that it was undone, it does not say why; this request does.
      if (mode !== "readonly")
        this.#fence(tx).onerror = ({ target }) => (fenced = isNamed((target as IDBRequest).error, "ConstraintError"));
      const result = work(tx);
      commit(tx);
      const [value] = await unlessLost(db, Promise.all([result, done]));
      if (mode !== "readonly" && !this.#begun) {
        this.#begun = true;
        this.#term++;
      }
      return value;
    } catch (thrown) {
      done.catch(ignore);
      try {
        tx.abort();
      } catch {
        // The transaction has ended already.
      }
      throw fenced ? new TidemarkError("FENCED_LEADER", "another worker has taken this volume over") : thrown;
    }
  }

  #fence(tx: Transaction): IDBRequest {
    const meta = native(tx, "meta");
    // The second of two connections does not begin: the key is there.
    const mine = meta.add(0, this.#term);
    if (this.#begun) meta.delete(this.#term);
    else {
      meta.put(this.#term + 1, "term");
      meta.delete(IDBKeyRange.upperBound(this.#term - TERMS_KEPT));
    }
    return mine;
  }

  async saveSlotCount(slotCount: number): Promise<void> {
    const record = { ...this.#record, slotCount };
    await this.run("strict", (tx) => putAll(tx, "meta", [["volume", record]]));
    this.#record = record;
  }

  close(): void {
    if (this.#db) this.#drop(this.#db);
    this.#ended ??= new TidemarkError("CLOSED", "the volume is closed");
  }

  #drop(db: Promise<IDBPDatabase>): void {
    if (this.#db === db) this.#db = undefined;
    db.then((opened) => opened.close()).catch(ignore);
  }

  /** `first`: any volume that is found is accepted. */
  async #connect(first: boolean, create = first): Promise<IDBPDatabase> {
    for (let tries = 0; ; tries++) {
      await sleep(OPEN_WAITS_MS[tries]!);
      try {
        const db = await this.#openOnce(first, create);
        if (!first) this.onReplaced();
        return db;
      } catch (thrown) {
        if (!this.#ended && tries + 1 < OPEN_WAITS_MS.length) continue;
        this.#db = undefined;
        throw this.#ended ?? storageError(thrown);
      }
    }
  }

  async #openOnce(first: boolean, create: boolean): Promise<IDBPDatabase> {
    const drop = (): void => {
      if (this.#db) this.#drop(this.#db);
    };
    let found: VolumeRecord | undefined;
    let isNew = false;
    const opening = openDB(databaseName(this.#name), 1, {
      upgrade: (db, _from, _to, tx) => {
        tx.done.catch(ignore);
        if ((isNew = !create)) return tx.abort();
        db.createObjectStore("pages");
        void db.createObjectStore("meta").put(this.#record, "volume").catch(ignore);
      },
      // Another tab deletes the database, and must not wait for this connection.
      blocking: drop,
      terminated: drop,
    }).then(async (db) => {
      const tx = db.transaction("meta");
      const record = tx.store.get("volume") as Promise<VolumeRecord | undefined>;
      commit(tx);
      [found] = await unlessLost(db, Promise.all([record, tx.done])).catch((thrown: unknown) => {
        db.close();
        throw thrown;
      });
      return db;
    });
    try {
      const db = await inTime(opening);
      if (found && (first || found.id === this.#record.id)) {
        this.#record = found;
        return db;
      }
      db.close();
    } catch (thrown) {
      // This is not the upgrade that was aborted because the database should not have been new.
      if (!isNew) throw thrown;
    }
    throw (this.#ended = new TidemarkError("STORAGE_FAILED", "the data is gone: site data was cleared", {
      gone: true,
    }));
  }
}

async function inTime(opening: Promise<IDBPDatabase>): Promise<IDBPDatabase> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      opening.then((db) => db.close()).catch(ignore);
      reject(new TidemarkError("TIMEOUT", "the database does not open", { ms: OPEN_TIMEOUT_MS }));
    }, OPEN_TIMEOUT_MS);
  });
  return Promise.race([opening, late]).finally(() => clearTimeout(timer));
}

/**
 * When the engine loses a connection, Chromium 156 never answers a transaction that it had not begun, and never ends
 * it; only the connection gets an event. So this rejects on that event, with the error that a call to the closed
 * connection would throw.
 */
function unlessLost<T>(db: IDBPDatabase, work: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const lost = (): void => reject(new DOMException("the connection was closed", "InvalidStateError"));
    db.addEventListener("close", lost);
    work.then(resolve, reject).finally(() => db.removeEventListener("close", lost));
  });
}

/** Commits explicitly, which saves the engine a turn. If the transaction has failed by then, it reports that itself. */
function commit(tx: { commit(): void }): void {
  if (isWebKit) return;
  try {
    tx.commit();
  } catch {
    // As above.
  }
}

/** idb would make a promise for each put, and each could reject. `tx.done` reports everything. */
const native = (tx: Transaction, store: "pages" | "meta"): IDBObjectStore =>
  unwrap(tx.objectStore(store)) as IDBObjectStore;

export function putAll(
  tx: Transaction,
  store: "pages" | "meta",
  entries: Iterable<readonly [IDBValidKey, unknown]>,
): void {
  const requests = native(tx, store);
  for (const [key, value] of entries) requests.put(value, key);
}

const isLost = (thrown: unknown): boolean =>
  ["InvalidStateError", "UnknownError", "AbortError"].some((name) => isNamed(thrown, name));
