/**
 * The connection of an IndexedDB volume. Engines lose connections (Safari kills its storage process behind background
 * tabs; Chromium closes them when site data is cleared), and a lost one never heals: it is dropped, opened again, and
 * the transaction is run once more. Running it twice is harmless, since it only puts whole pages.
 *
 *   database tidemark:<name>, version 1 for ever (no tab can ever block another's upgrade)
 *     pages  slot * 65536 + page → ArrayBuffer
 *     meta   "volume" → { id, slotBytes, slotCount }
 *            "owner" → who began to write to it last
 *
 * `id` is drawn when the database is made. A database that comes back without it is another one: the data is gone, and
 * that must end in an error, never in a volume that looks empty.
 *
 * No lock on files keeps a leader away that hung and was deposed: it may wake with a transaction at hand that it had good reason
 * for. So the first transaction that writes makes its connection the owner, and every later one looks whether it still is, and
 * changes nothing if not.
 */
import { type IDBPDatabase, type IDBPTransaction, openDB, unwrap } from "idb";
import { TidemarkError } from "../errors.ts";
import { databaseName, isNamed, sleep } from "./platform.ts";

export interface VolumeRecord {
  readonly id: string;
  readonly slotBytes: number;
  readonly slotCount: number;
}
export type Mode = "readonly" | "strict" | "relaxed";
export type Transaction = IDBPTransaction<unknown, string[], IDBTransactionMode>;

const STORES = ["pages", "meta"];
/** Waits before each try to open; then it is an error. An engine whose storage process was killed needs a moment. */
const OPEN_WAITS_MS = [0, 100, 500];
/** An open that takes longer is blocked by a deletion that waits for some other tab. */
const OPEN_TIMEOUT_MS = 10_000;
const ignore = (): undefined => undefined;

export class IdbConnection {
  /** Called when a lost connection was replaced: what was committed relaxed may not have reached the disk. */
  onReplaced: () => void = ignore;
  readonly #name: string;
  #record: VolumeRecord;
  #db: Promise<IDBPDatabase> | undefined;
  #ended: TidemarkError | undefined;
  readonly #owner = crypto.randomUUID();
  #owns = false;

  private constructor(name: string, record: VolumeRecord) {
    this.#name = name;
    this.#record = record;
  }

  static async open(name: string, slotBytes: number): Promise<IdbConnection> {
    const connection = new IdbConnection(name, { id: crypto.randomUUID(), slotBytes, slotCount: 0 });
    await (connection.#db = connection.#connect(true));
    return connection;
  }

  get record(): VolumeRecord {
    return this.#record;
  }

  /**
   * Runs `work` in one transaction over both stores. A writing one makes all its requests at once: the commit is asked
   * for behind them. FENCED_LEADER: somebody else has written since. Resolves when the transaction is complete; one that fails has changed nothing.
   */
  async run<T>(mode: Mode, work: (tx: Transaction) => T | Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      if (this.#ended) throw this.#ended;
      const db = (this.#db ??= this.#connect(false));
      try {
        const result = await transact(await db, mode, work, this.#owner, this.#owns);
        this.#owns ||= mode !== "readonly";
        return result;
      } catch (thrown) {
        const lost = isLost(thrown);
        if (lost) this.#drop(db);
        if (!lost || tries > 0) throw idbError(thrown);
      }
    }
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

  async #connect(create: boolean): Promise<IDBPDatabase> {
    for (let tries = 0; ; tries++) {
      await sleep(OPEN_WAITS_MS[tries]!);
      try {
        const db = await this.#openOnce(create);
        if (!create) this.onReplaced();
        return db;
      } catch (thrown) {
        if (!this.#ended && tries + 1 < OPEN_WAITS_MS.length) continue;
        this.#db = undefined;
        throw this.#ended ?? idbError(thrown);
      }
    }
  }

  async #openOnce(create: boolean): Promise<IDBPDatabase> {
    const drop = (): void => {
      if (this.#db) this.#drop(this.#db);
    };
    let found: VolumeRecord | undefined;
    const opening = openDB(databaseName(this.#name), 1, {
      upgrade: (db, _from, _to, tx) => {
        tx.done.catch(ignore);
        if (!create) return tx.abort();
        db.createObjectStore("pages");
        void db.createObjectStore("meta").put(this.#record, "volume").catch(ignore);
      },
      // Another tab deletes the database: it must not wait for us.
      blocking: drop,
      terminated: drop,
    }).then(async (db) => {
      found = (await db.get("meta", "volume")) as VolumeRecord | undefined;
      return db;
    });
    try {
      const db = await inTime(opening);
      if (found && (create || found.id === this.#record.id)) {
        this.#record = found;
        return db;
      }
      db.close();
    } catch (thrown) {
      // The aborted upgrade of a database that should not have been new.
      if (create || !isNamed(thrown, "AbortError")) throw thrown;
    }
    throw (this.#ended = new TidemarkError("STORAGE_FAILED", "the data is gone: site data was cleared", { gone: true }));
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

async function transact<T>(db: IDBPDatabase, mode: Mode, work: (tx: Transaction) => T | Promise<T>, owner: string, owns: boolean): Promise<T> {
  const tx = mode === "readonly" ? db.transaction(STORES) : db.transaction(STORES, "readwrite", { durability: mode });
  const done = tx.done;
  try {
    if (mode !== "readonly") {
      // Before anything is put: engines commit by themselves as soon as nobody waits for an answer, so an abort could be late.
      if (!owns) putAll(tx, "meta", [["owner", owner]]);
      else if ((await tx.objectStore("meta").get("owner")) !== owner) throw new TidemarkError("FENCED_LEADER", "another worker has taken this volume over");
    }
    const result = work(tx);
    if (mode !== "readonly") commit(tx);
    return (await Promise.all([result, done]))[0];
  } catch (thrown) {
    done.catch(ignore);
    try {
      tx.abort();
    } catch {
      // Over already.
    }
    throw thrown;
  }
}

/** Saves the engine a turn. A transaction that has failed by then says so by itself. */
function commit(tx: Transaction): void {
  try {
    tx.commit();
  } catch {
    // As above.
  }
}

/** Native requests: a promise for each put would only be one more rejection to catch. `tx.done` tells all. */
export function putAll(tx: Transaction, store: "pages" | "meta", entries: Iterable<readonly [IDBValidKey, unknown]>): void {
  const native = unwrap(tx.objectStore(store)) as unknown as IDBObjectStore;
  for (const [key, value] of entries) native.put(value, key);
}

const isLost = (thrown: unknown): boolean => ["InvalidStateError", "UnknownError", "AbortError"].some((name) => isNamed(thrown, name));

function idbError(thrown: unknown): TidemarkError {
  return TidemarkError.from(thrown, isNamed(thrown, "QuotaExceededError") ? "QUOTA_EXCEEDED" : "STORAGE_FAILED");
}
