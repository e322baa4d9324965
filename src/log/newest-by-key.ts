/**
 * The newest offset of each key, for a pass of compaction. Keys and offsets are in typed arrays: a million strings in a
 * Map would keep the collector busy, and the Map's own growth would hold up appends for 100 ms.
 *
 *   key ─ hash ─┬─ low 8 bits: one of 256 parts, each of which grows by itself
 *               └─ the rest: where the search in the part's table begins
 *
 *   table   ┌───┬───┬───┬───┬ ─      entry   0     1        2
 *           │ 3 │   │ 1 │ 2 │        bytes   │key │key     │key ─ ─     ends, hashes and offsets, one for each entry
 *           └───┴───┴───┴───┴ ─
 *
 * The table holds entry numbers from 1 on, and is at most half full. Each array doubles when it is full. So a key costs
 * its bytes and 24 more, and twice that right after a growth.
 */
import { grown } from "../record/bytes.ts";

const PART_BITS = 8;
const PARTS = 1 << PART_BITS;
const FIRST_ENTRIES = 16;

/** 32 bits that look random, from the bytes and a seed (FNV-1a, with its bits mixed once more at the end). */
export function hashOf(key: Uint8Array, seed: number): number {
  let hash = seed ^ 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key[i]!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

export class NewestByKey {
  readonly #parts: Part[] = [];
  readonly #seed: number;
  readonly #hashOf: typeof hashOf;

  /** `seed`: another one in each pass, so that nobody can choose keys that all meet. */
  constructor(seed: number, hash = hashOf) {
    this.#seed = seed | 0;
    this.#hashOf = hash;
  }

  get(key: Uint8Array): number | undefined {
    const hash = this.#hashOf(key, this.#seed);
    const part = this.#parts[hash & (PARTS - 1)];
    const entry = part?.find(key, hash) ?? -1;
    return entry < 0 ? undefined : part!.offsets[entry];
  }

  set(key: Uint8Array, offset: number): void {
    const hash = this.#hashOf(key, this.#seed);
    const part = (this.#parts[hash & (PARTS - 1)] ??= new Part());
    const entry = part.find(key, hash);
    if (entry >= 0) part.offsets[entry] = offset;
    else part.add(key, hash, offset);
  }
}

class Part {
  offsets = new Float64Array(FIRST_ENTRIES);
  #hashes = new Int32Array(FIRST_ENTRIES);
  /** Where each entry's key ends in the bytes. */
  #ends = new Int32Array(FIRST_ENTRIES);
  #bytes = new Uint8Array(FIRST_ENTRIES * 16);
  #table = new Int32Array(FIRST_ENTRIES * 2);
  #count = 0;

  /** The entry of a key; -1 if it has none. */
  find(key: Uint8Array, hash: number): number {
    const table = this.#table;
    for (let at = this.#first(hash); table[at] !== 0; at = (at + 1) & (table.length - 1)) {
      const entry = table[at]! - 1;
      if (this.#hashes[entry] === hash && this.#isKey(entry, key)) return entry;
    }
    return -1;
  }

  /** Adds a key that has no entry. */
  add(key: Uint8Array, hash: number, offset: number): void {
    const entry = this.#count;
    if (entry === this.offsets.length) this.#grow();
    const start = this.#startOf(entry);
    const end = start + key.length;
    if (end > this.#bytes.length) this.#bytes = grown(this.#bytes, end);
    this.#bytes.set(key, start);
    this.#ends[entry] = end;
    this.#hashes[entry] = hash;
    this.offsets[entry] = offset;
    this.#count++;
    this.#enter(entry);
  }

  #first(hash: number): number {
    return (hash >>> PART_BITS) & (this.#table.length - 1);
  }

  #startOf(entry: number): number {
    return entry === 0 ? 0 : this.#ends[entry - 1]!;
  }

  #isKey(entry: number, key: Uint8Array): boolean {
    const start = this.#startOf(entry);
    if (this.#ends[entry]! - start !== key.length) return false;
    for (let i = 0; i < key.length; i++) if (this.#bytes[start + i] !== key[i]) return false;
    return true;
  }

  #enter(entry: number): void {
    const table = this.#table;
    let at = this.#first(this.#hashes[entry]!);
    while (table[at] !== 0) at = (at + 1) & (table.length - 1);
    table[at] = entry + 1;
  }

  #grow(): void {
    this.offsets = grown(this.offsets);
    this.#hashes = grown(this.#hashes);
    this.#ends = grown(this.#ends);
    this.#table = new Int32Array(this.offsets.length * 2);
    for (let entry = 0; entry < this.#count; entry++) this.#enter(entry);
  }
}
