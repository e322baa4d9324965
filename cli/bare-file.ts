/**
 * The file that `tidemark bench` compares a folder's appends with. It gets the same bytes, and each write is synced. It
 * has its size before the first write, as a slot of a tide has. A file that grows would make the system sync its new
 * length as well, and Tidemark would look faster than it is.
 */
import { closeSync, fdatasyncSync, fsyncSync, openSync, writeSync } from "node:fs";

export class BareFile {
  readonly #fd: number;
  readonly #size: number;
  #position = 0;

  /** A new file of `size` zeros, synced. */
  constructor(file: string, size: number) {
    this.#size = size;
    this.#fd = openSync(file, "wx");
    try {
      this.#put(new Uint8Array(size), 0);
      fsyncSync(this.#fd);
    } catch (thrown) {
      closeSync(this.#fd);
      throw thrown;
    }
  }

  /** Writes behind what was written last, or at the beginning again, and syncs. At most the file's size of bytes. */
  write(bytes: Uint8Array): void {
    if (this.#position + bytes.length > this.#size) this.#position = 0;
    this.#put(bytes, this.#position);
    this.#position += bytes.length;
    fdatasyncSync(this.#fd);
  }

  #put(bytes: Uint8Array, position: number): void {
    for (let done = 0; done < bytes.length;)
      done += writeSync(this.#fd, bytes, done, bytes.length - done, position + done);
  }

  close(): void {
    closeSync(this.#fd);
  }
}
