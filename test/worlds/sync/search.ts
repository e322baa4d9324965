/**
 * All states of a small world, breadth first: so the trace of what is found is a shortest one.
 *
 *   layer ─▶ each state ─▶ each move ─▶ new? ─▶ judged, healed ─▶ next layer
 *
 * A layer is bytes: states one behind the other. For the trace each state keeps the number of the one before it and the
 * move between them.
 */
import { decode, encode, STATE_BYTES_MAX } from "./codec.ts";
import { Healer, judge } from "./judge.ts";
import type { Rules } from "./rules.ts";
import { StateSet } from "./state-set.ts";
import { cloneState, newState } from "./state.ts";
import { type Move, moves, nameOf } from "./moves.ts";
import { begin, make } from "./steps.ts";
import { Bad, BAD_NAMES, BUDGETS, type Config, type World } from "./world.ts";

export interface Violation {
  readonly what: string;
  readonly trace: readonly string[];
}

export interface Searched {
  readonly states: number;
  readonly depth: number;
  /** False: cut off at `statesMax`, or at a violation. */
  readonly complete: boolean;
  readonly violation: Violation | undefined;
}

export interface SearchOptions {
  readonly config: Config;
  readonly rules: Rules;
  readonly statesMax?: number;
  /** Moves that are made first, by their names. */
  readonly after?: readonly string[] | undefined;
  /** Called with the states so far, now and then. */
  readonly onProgress?: (states: number, depth: number) => void;
}

/** States of one depth, and which number each has. */
class Layer {
  #bytes = new Uint8Array(1 << 16);
  #ends = new Uint32Array(1 << 10);
  #numbers = new Uint32Array(1 << 10);
  length = 0;

  push(state: Uint8Array, length: number, number: number): void {
    const begin = this.length === 0 ? 0 : this.#ends[this.length - 1]!;
    const end = begin + length;
    if (end > this.#bytes.length) this.#bytes = grown(this.#bytes, new Uint8Array(this.#bytes.length * 2));
    if (this.length === this.#ends.length) {
      this.#ends = grown(this.#ends, new Uint32Array(this.length * 2));
      this.#numbers = grown(this.#numbers, new Uint32Array(this.length * 2));
    }
    this.#bytes.set(state.subarray(0, length), begin);
    this.#ends[this.length] = end;
    this.#numbers[this.length] = number;
    this.length++;
  }

  bytesOf(at: number): Uint8Array {
    return this.#bytes.subarray(at === 0 ? 0 : this.#ends[at - 1]!, this.#ends[at]!);
  }
  numberOf(at: number): number {
    return this.#numbers[at]!;
  }
}

function grown<T extends Uint8Array | Uint32Array>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}

/** The way to each state: whence, and by which move. */
class Ways {
  #from = new Uint32Array(1 << 12);
  #by = new Uint32Array(1 << 12);
  #length = 1;

  add(from: number, by: Move): number {
    if (this.#length === this.#from.length) {
      this.#from = grown(this.#from, new Uint32Array(this.#length * 2));
      this.#by = grown(this.#by, new Uint32Array(this.#length * 2));
    }
    this.#from[this.#length] = from;
    this.#by[this.#length] = by;
    return this.#length++;
  }
  to(number: number): Move[] {
    const made: Move[] = [];
    for (let at = number; at !== 0; at = this.#from[at]!) made.unshift(this.#by[at]!);
    return made;
  }
}

/** Makes the move of this name. */
function makeNamed(w: World, name: string): void {
  const out: Move[] = [];
  moves(w, out);
  const found = out.find((each) => nameOf(each) === name);
  if (found === undefined) throw new Error(`no move is called «${name}» here; there are ${out.map(nameOf).join("; ")}`);
  make(w, found);
}

export function search(options: SearchOptions): Searched {
  const { config, rules, statesMax = Infinity, after = [], onProgress } = options;
  const healer = new Healer(rules, config);
  const words = new Int32Array(STATE_BYTES_MAX / 4);
  const bytes = new Uint8Array(words.buffer);
  const seen = new StateSet();
  const ways = new Ways();
  const w: World = { state: newState(config, BUDGETS.length), rules, config, bad: Bad.NONE };
  begin(w);
  for (const name of after) makeNamed(w, name);
  let layer = new Layer();
  const first = encode(w.state, bytes);
  seen.add(words, first);
  layer.push(bytes, first, 0);
  const out: Move[] = [];
  for (let depth = 0; ; depth++) {
    if (layer.length === 0) return { states: seen.size, depth, complete: true, violation: undefined };
    const next = new Layer();
    for (let at = 0; at < layer.length; at++) {
      if ((at & 0x3ff) === 0) onProgress?.(seen.size, depth);
      const from = decode(layer.bytesOf(at), config, BUDGETS.length);
      w.state = from;
      moves(w, out);
      for (let i = 0; i < out.length; i++) {
        w.state = cloneState(from);
        w.bad = Bad.NONE;
        make(w, out[i]!);
        if (w.bad === Bad.FULL) continue;
        judge(w);
        const length = encode(w.state, bytes);
        if (w.bad === Bad.NONE && !seen.add(words, length)) continue;
        const found = healer.find(w);
        if (found) {
          const made = [...ways.to(layer.numberOf(at)), out[i]!].map(nameOf);
          const who =
            found.healed === undefined ? "" : found.healed < 0 ? ", healed" : `, ${"ABC"[found.healed]} alone`;
          const violation = { what: `${BAD_NAMES[found.bad]}${who}`, trace: [...after, ...made] };
          return { states: seen.size, depth: depth + 1, complete: false, violation };
        }
        next.push(bytes, length, ways.add(layer.numberOf(at), out[i]!));
        if (seen.size >= statesMax)
          return { states: seen.size, depth: depth + 1, complete: false, violation: undefined };
      }
    }
    layer = next;
  }
}
