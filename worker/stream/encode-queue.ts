/**
 * Large bodies of one stream, which are encoded in slices, one body at a time. Appends that arrive meanwhile, large or
 * small, wait behind it, so that appends keep the order in which they came.
 */
export class EncodeQueue {
  #last: Promise<unknown> = Promise.resolve();
  #length = 0;
  /** Bytes of the bodies that wait here. */
  bytes = 0;

  get isIdle(): boolean {
    return this.#length === 0;
  }

  /** `take` runs in the turn in which `encode` ends, before anything that came later. */
  async run<E, T>(bytes: number, encode: () => Promise<E>, take: (encoded: E) => Promise<T>): Promise<T> {
    const encoded = this.#last.then(encode);
    this.#last = encoded.catch(() => undefined);
    this.#length++;
    this.bytes += bytes;
    const done = (): void => {
      this.#length--;
      this.bytes -= bytes;
    };
    let taken: E;
    try {
      taken = await encoded;
    } finally {
      done();
    }
    return take(taken);
  }
}
