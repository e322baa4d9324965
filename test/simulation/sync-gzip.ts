/**
 * The platform's compression streams answer from a thread of their own, at any time. They are replaced here by streams
 * that answer at once, so that runs repeat. These have as much of the interface as src/record/codec.ts uses.
 */
import { gunzipSync, gzipSync } from "node:zlib";

class SyncTransform {
  readonly #input: Uint8Array[] = [];
  readonly #output: Promise<Uint8Array>;
  readonly #work: (bytes: Uint8Array) => Uint8Array;
  #finish!: (bytes: Uint8Array) => void;
  #fail!: (error: unknown) => void;
  #taken = false;

  constructor(work: (bytes: Uint8Array) => Uint8Array) {
    this.#work = work;
    this.#output = new Promise((resolve, reject) => {
      this.#finish = resolve;
      this.#fail = reject;
    });
    this.#output.catch(() => undefined);
  }

  readonly writable = {
    getWriter: () => ({
      write: async (bytes: Uint8Array): Promise<void> => void this.#input.push(bytes.slice()),
      close: async (): Promise<void> => {
        try {
          this.#finish(this.#work(Buffer.concat(this.#input)));
        } catch (error) {
          this.#fail(error);
          throw error;
        }
      },
      abort: async (reason: unknown): Promise<void> => this.#fail(reason),
    }),
  };

  readonly readable = {
    getReader: () => ({
      read: async (): Promise<{ done: boolean; value: Uint8Array | undefined }> => {
        if (this.#taken) return { done: true, value: undefined };
        const value = await this.#output;
        this.#taken = true;
        return { done: false, value };
      },
      cancel: async (): Promise<void> => undefined,
    }),
  };
}

export function installSyncGzip(): void {
  const decompression = class extends SyncTransform {
    constructor() {
      super((bytes) => new Uint8Array(gunzipSync(bytes)));
    }
  };
  const compression = class extends SyncTransform {
    constructor() {
      super((bytes) => new Uint8Array(gzipSync(bytes)));
    }
  };
  globalThis.DecompressionStream = decompression as unknown as typeof DecompressionStream;
  globalThis.CompressionStream = compression as unknown as typeof CompressionStream;
}
