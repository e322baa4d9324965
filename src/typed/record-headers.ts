/** A record's headers while middleware has them: a list of names and bytes, in which a name may be repeated. */
import type { Header } from "../record/batch-builder.ts";
import { bytesOrNull } from "../topic/bytes.ts";
import { wellFormed } from "../topic/check.ts";

type HeaderBytes = Uint8Array | null;
const decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

export class RecordHeaders implements Iterable<Header> {
  #pairs: Header[];
  /** True once something was changed. */
  isChanged = false;

  constructor(pairs: Iterable<Header> = []) {
    this.#pairs = [...pairs];
  }

  /** The header as text; the last one, if the name is repeated. Undefined if there is none. */
  get(name: string): string | null | undefined {
    const bytes = this.getBytes(name);
    return bytes ? decoder.decode(bytes) : bytes;
  }

  getBytes(name: string): HeaderBytes | undefined {
    return this.#pairs.findLast(([each]) => each === name)?.[1];
  }

  /** In the place of all headers of this name. INVALID_ARGUMENT for what is neither text, bytes nor null. */
  set(name: string, value: string | HeaderBytes): void {
    const pair = pairOf(name, value);
    this.delete(name);
    this.#change([...this.#pairs, pair]);
  }

  /** Beside other headers of this name. */
  add(name: string, value: string | HeaderBytes): void {
    this.#change([...this.#pairs, pairOf(name, value)]);
  }

  delete(name: string): void {
    if (this.getBytes(name) !== undefined) this.#change(this.#pairs.filter(([each]) => each !== name));
  }

  #change(pairs: Header[]): void {
    this.#pairs = pairs;
    this.isChanged = true;
  }

  [Symbol.iterator](): IterableIterator<Header> {
    return this.#pairs[Symbol.iterator]();
  }
}

function pairOf(name: unknown, value: unknown): Header {
  wellFormed("a header's name", name);
  const bytes = bytesOrNull(`headers.${name as string}`, value);
  // A copy: middleware may write the next record's header into the same bytes.
  return [name as string, bytes && new Uint8Array(bytes)];
}
