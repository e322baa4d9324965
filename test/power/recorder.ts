/**
 * Records, in a worker, every call that the volumes make on their storage: the methods of the browser's classes are
 * wrapped before the product's code runs, and each call is recorded when it has happened.
 *
 * `freeze` simulates a kill at this moment: from then on no call reaches the storage. A real kill would end the worker
 * with its trace.
 */
import type { Bytes, Put, TraceEvent } from "./trace.ts";

const copyOf = (source: BufferSource): Bytes =>
  source instanceof ArrayBuffer
    ? new Uint8Array(source.slice(0))
    : new Uint8Array(source.buffer as ArrayBuffer, source.byteOffset, source.byteLength).slice();

interface SyncHandle {
  write(bytes: BufferSource, options: { at: number }): number;
  truncate(size: number): void;
  flush(): void;
}
type FileHandle = FileSystemFileHandle & { createSyncAccessHandle(): Promise<SyncHandle> };

interface Transaction {
  readonly puts: Put[];
  id: number | undefined;
}

export class Recorder {
  readonly events: TraceEvent[] = [];
  #frozen = false;
  #transactions = 0;
  /** Commits that were requested and have not ended. */
  #underWay = 0;
  #idle: (() => void) | undefined;

  /** Called with each event before the call that caused it returns. */
  onEvent: ((event: TraceEvent, at: number) => void) | undefined;

  add(event: TraceEvent): void {
    const at = this.events.push(event) - 1;
    this.onEvent?.(event, at);
  }

  /** From now on no call reaches the storage. Resolves when the commits under way have ended. */
  async freeze(): Promise<void> {
    this.#frozen = true;
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
  }

  install(): void {
    this.#watchFiles();
    this.#watchHandles();
    this.#watchDatabases();
  }

  /** Replaces a method by `wrapped(original)`. Once the worker is frozen, every call throws. */
  #wrap<T extends object, M extends keyof T>(prototype: T, method: M, wrapped: (original: T[M]) => T[M]): void {
    const replacement = wrapped(prototype[method]) as (...args: unknown[]) => unknown;
    const recorder = this;
    prototype[method] = function (this: T, ...args: unknown[]) {
      if (recorder.#frozen) throw new DOMException("this worker is frozen, as if it had been killed", "UnknownError");
      return replacement.apply(this, args);
    } as T[M];
  }

  // --- files -------------------------------------------------------------------------------------------------------

  readonly #paths = new WeakMap<object, string>();

  #watchFiles(): void {
    const paths = this.#paths;
    const at = (directory: object, name: string): string =>
      paths.get(directory) ? `${paths.get(directory)}/${name}` : name;
    const recorder = this;
    this.#wrap(
      FileSystemDirectoryHandle.prototype,
      "getDirectoryHandle",
      (original) =>
        async function (this: FileSystemDirectoryHandle, name, options) {
          const handle = await original.call(this, name, options);
          paths.set(handle, at(this, name));
          return handle;
        },
    );
    this.#wrap(
      FileSystemDirectoryHandle.prototype,
      "getFileHandle",
      (original) =>
        async function (this: FileSystemDirectoryHandle, name, options) {
          const handle = await original.call(this, name, options);
          paths.set(handle, at(this, name));
          if (options?.create) recorder.add({ kind: "create", file: at(this, name) });
          return handle;
        },
    );
    this.#wrap(
      FileSystemDirectoryHandle.prototype,
      "removeEntry",
      (original) =>
        async function (this: FileSystemDirectoryHandle, name, options) {
          await original.call(this, name, options);
          recorder.add({ kind: "remove", file: at(this, name) });
        },
    );
    this.#wrap(
      FileSystemFileHandle.prototype as FileHandle,
      "createSyncAccessHandle",
      (original) =>
        async function (this: FileHandle) {
          const handle = await original.call(this);
          paths.set(handle, paths.get(this)!);
          return handle;
        },
    );
  }

  #watchHandles(): void {
    const { prototype } = (globalThis as typeof globalThis & { FileSystemSyncAccessHandle: { prototype: SyncHandle } })
      .FileSystemSyncAccessHandle;
    const paths = this.#paths;
    const recorder = this;
    this.#wrap(
      prototype,
      "write",
      (original) =>
        function (this: SyncHandle, bytes, options) {
          const count = original.call(this, bytes, options);
          recorder.add({
            kind: "write",
            file: paths.get(this)!,
            at: options.at,
            data: copyOf(bytes).subarray(0, count),
          });
          return count;
        },
    );
    this.#wrap(
      prototype,
      "truncate",
      (original) =>
        function (this: SyncHandle, size) {
          original.call(this, size);
          recorder.add({ kind: "truncate", file: paths.get(this)!, size });
        },
    );
    this.#wrap(
      prototype,
      "flush",
      (original) =>
        function (this: SyncHandle) {
          original.call(this);
          recorder.add({ kind: "flush", file: paths.get(this)! });
        },
    );
  }

  // --- databases ---------------------------------------------------------------------------------------------------

  readonly #open = new WeakMap<IDBTransaction, Transaction>();

  #watchDatabases(): void {
    const recorder = this;
    this.#wrap(
      IDBFactory.prototype,
      "open",
      (original) =>
        function (this: IDBFactory, name, version) {
          const request = original.call(this, name, version);
          request.addEventListener("upgradeneeded", () => recorder.#watch(request.transaction!));
          return request;
        },
    );
    this.#wrap(
      IDBDatabase.prototype,
      "transaction",
      (original) =>
        function (this: IDBDatabase, stores, mode, options) {
          const transaction = original.call(this, stores, mode, options);
          if (mode === "readwrite") recorder.#watch(transaction);
          return transaction;
        },
    );
    for (const method of ["put", "add"] as const) {
      this.#wrap(
        IDBObjectStore.prototype,
        method,
        (original) =>
          function (this: IDBObjectStore, value: unknown, key?: IDBValidKey) {
            const request = original.call(this, value, key);
            const kept: unknown = value instanceof ArrayBuffer ? copyOf(value) : structuredClone(value);
            recorder.#open.get(this.transaction)!.puts.push({ store: this.name, key: key!, value: kept });
            return request;
          },
      );
    }
    this.#wrap(
      IDBObjectStore.prototype,
      "delete",
      (original) =>
        function (this: IDBObjectStore, key) {
          // The store "meta" has the terms, which no image has.
          if (this.name !== "meta") throw new Error("a page that is deleted is not recorded");
          return original.call(this, key);
        },
    );
    this.#wrap(IDBObjectStore.prototype, "clear", () => () => {
      throw new Error("clear is not recorded");
    });
    this.#wrap(
      IDBTransaction.prototype,
      "commit",
      (original) =>
        function (this: IDBTransaction) {
          recorder.#asked(this);
          original.call(this);
        },
    );
  }

  #watch(transaction: IDBTransaction): void {
    this.#open.set(transaction, { puts: [], id: undefined });
    this.#underWay++;
    const ended = (ok: boolean) => () => {
      if (ok) this.#asked(transaction);
      const { id } = this.#open.get(transaction)!;
      if (id !== undefined) this.add({ kind: "tx-done", id, ok });
      if (--this.#underWay === 0) this.#idle?.();
    };
    // Added before any other listener, so that no ack is recorded before the commit that it relies on.
    transaction.addEventListener("complete", ended(true));
    transaction.addEventListener("abort", ended(false));
  }

  /** Records the request to commit: at commit(), or when the transaction ends by itself. */
  #asked(transaction: IDBTransaction): void {
    const known = this.#open.get(transaction);
    if (!known || known.id !== undefined) return;
    known.id = this.#transactions++;
    // An upgrade has the durability "default", which the standard does not define. It counts as relaxed.
    const durability = transaction.mode === "versionchange" ? "relaxed" : transaction.durability;
    this.add({ kind: "tx", id: known.id, database: transaction.db.name, durability, puts: known.puts });
  }
}
