/** Calls the worker of a peer with numbered messages, as our own port does. */
export class Peer {
  readonly #worker: Worker;
  readonly #calls = new Map<number, { resolve: (value: never) => void; reject: (reason: Error) => void }>();
  #nextId = 0;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.onmessage = ({ data: { id, ok, error } }: MessageEvent<{ id: number; ok: never; error?: string }>) => {
      const call = this.#calls.get(id)!;
      this.#calls.delete(id);
      if (error === undefined) call.resolve(ok);
      else call.reject(new Error(error));
    };
  }
  call<T = unknown>(method: string, args: unknown[] = [], transfer: ArrayBuffer[] = []): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const id = this.#nextId++;
      this.#calls.set(id, { resolve, reject });
      this.#worker.postMessage({ id, method, args }, transfer);
    });
  }
  end(): void {
    this.#worker.terminate();
  }
}

/** One line for each peer: bundlers only find a worker whose address is written in exactly this form. */
export const PEERS = {
  raw: () => new Peer(new Worker(new URL("../peers/raw-worker.js", import.meta.url), { type: "module" })),
  sqlite: () => new Peer(new Worker(new URL("../peers/sqlite-worker.js", import.meta.url), { type: "module" })),
  dexie: () => new Peer(new Worker(new URL("../peers/dexie-worker.js", import.meta.url), { type: "module" })),
  idb: () => new Peer(new Worker(new URL("../peers/idb-worker.js", import.meta.url), { type: "module" })),
} as const;
