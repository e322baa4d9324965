/**
 * The disk, which outlives a process. Each slot has its durable bytes and, in the system's cache, the writes since its
 * last flush.
 *
 *   write ──► cache (what read returns) ──flush──► durable
 *               │                          power cut: each piece of each un-flushed write is kept, dropped or garbled
 *               └ kept by a process kill (an engine that buffers in the process loses what was not handed over)
 *
 * A piece is a write's part inside one 512-byte sector. Garbage stays inside the written range: disks are assumed not
 * to damage the neighbours of a byte that they write (as SQLite assumes by "powersafe overwrite"), because a batch's
 * last sector also holds the first bytes of the next one.
 *
 * Further faults are switched on by name: flushes that fail and forget (the next flush succeeds and writes nothing, as
 * on Linux), file names that a power cut loses, and at rest bit flips, zeroed sectors and stale pages.
 */
import type { Counters } from "./counters.ts";
import type { Random } from "./prng.ts";

export const SECTOR = 512;
const PAGE = 4096;

export interface InflightWrite {
  readonly slot: number;
  readonly position: number;
  readonly bytes: Uint8Array;
}

interface PendingWrite {
  readonly position: number;
  readonly bytes: Uint8Array;
  handedOver: boolean;
}

interface Slot {
  durable: Uint8Array;
  cache: Uint8Array;
  pending: PendingWrite[];
  /** Durable bytes of some earlier flush, for stale pages. */
  older: Uint8Array | undefined;
  /** True when the slot's name is certainly on the disk: an earlier life found it when it opened the volume. */
  aged: boolean;
}

export interface DiskOptions {
  readonly slotBytes: number;
  /** The disk has room for this many slots and refuses more. */
  readonly slotsMax: number;
  /** Writes wait in the process until they are handed over or flushed (as IndexedDB does). */
  readonly buffered: boolean;
  /** With this switch a power cut may lose slots that were made in the same life. */
  readonly losesNames: boolean;
  readonly keepsOlder: boolean;
  /** With this switch stale pages may date from before the last crash: they may hold good batches of a cut tail. */
  readonly staleAcrossLives: boolean;
}

/** Where rot struck. The model looks up the records that lay there. */
export interface Rot {
  readonly kind: "flip" | "zero-sector" | "stale-page";
  readonly slot: number;
  readonly position: number;
  readonly length: number;
}

export class Disk {
  readonly options: DiskOptions;
  readonly #counters: Counters;
  readonly #slots: Slot[] = [];

  constructor(options: DiskOptions, counters: Counters) {
    this.options = options;
    this.#counters = counters;
  }

  get slotCount(): number {
    return this.#slots.length;
  }

  addSlot(): boolean {
    if (this.#slots.length >= this.options.slotsMax) return false;
    const { slotBytes } = this.options;
    this.#slots.push({
      durable: new Uint8Array(slotBytes),
      cache: new Uint8Array(slotBytes),
      pending: [],
      older: undefined,
      aged: false,
    });
    return true;
  }

  /** Another disk in the same state. The bytes of waiting writes are shared, since they never change. */
  copy(counters: Counters): Disk {
    const disk = new Disk(this.options, counters);
    for (const slot of this.#slots)
      disk.#slots.push({
        ...slot,
        durable: slot.durable.slice(),
        cache: slot.cache.slice(),
        pending: slot.pending.map((write) => ({ ...write })),
      });
    return disk;
  }

  read(slot: number, position: number, target: Uint8Array): number {
    const { cache } = this.#slots[slot]!;
    const count = Math.min(target.length, cache.length - position);
    target.set(cache.subarray(position, position + count));
    return count;
  }

  write(slot: number, position: number, bytes: Uint8Array): void {
    const { cache, pending } = this.#slots[slot]!;
    cache.set(bytes, position);
    pending.push({ position, bytes: bytes.slice(), handedOver: false });
  }

  /** True if these bytes stand somewhere as durable ones. */
  holds(bytes: Uint8Array): boolean {
    const wanted = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    return this.#slots.findLast(({ durable }) => Buffer.from(durable.buffer).includes(wanted)) !== undefined;
  }

  handOver(slot: number): void {
    for (const write of this.#slots[slot]!.pending) write.handedOver = true;
  }

  flush(slot: number, keepOlder: boolean): void {
    const each = this.#slots[slot]!;
    if (keepOlder && this.options.keepsOlder) each.older = each.durable.slice();
    for (const { position, bytes } of each.pending) each.durable.set(bytes, position);
    each.pending = [];
  }

  hasPending(slot: number): boolean {
    return this.#slots[slot]!.pending.length > 0;
  }

  /** Writes that a power cut may lose. */
  get pendingWrites(): number {
    return this.#slots.reduce((sum, { pending }) => sum + pending.length, 0);
  }

  get pendingSectors(): number {
    return this.#slots.reduce(
      (sum, { pending }) => sum + pending.reduce((sectors, { bytes }) => sectors + Math.ceil(bytes.length / SECTOR), 0),
      0,
    );
  }

  /** A flush fails: each write becomes durable, stays pending, or is forgotten although reads still show it. */
  failFlush(slot: number, random: Random, mayForget: boolean): void {
    const each = this.#slots[slot]!;
    each.pending = each.pending.filter(({ position, bytes }) => {
      const fate = random.int(mayForget ? 3 : 2);
      if (fate === 0) each.durable.set(bytes, position);
      if (fate === 2 && differs(each.durable, position, bytes)) this.#counters.add("fault.flush-forgot");
      return fate === 1;
    });
  }

  /** Notes that the first `count` slots, of earlier lives, have their names on the disk. */
  age(count: number): void {
    for (const slot of this.#slots.slice(0, count)) slot.aged = true;
  }

  // --- ends of a life ----------------------------------------------------------------------------------------------

  kill(random: Random, inflight: readonly InflightWrite[]): void {
    if (!this.options.buffered) this.#applyInflight(random, inflight, "kill.inflight");
    this.#forgetOlder();
    for (const slot of this.#slots) {
      if (slot.pending.length === 0) continue;
      const kept = this.options.buffered ? slot.pending.filter((write) => write.handedOver) : slot.pending;
      const lost = slot.pending.length - kept.length;
      if (lost > 0) {
        this.#counters.add("kill.buffer-lost", lost);
        slot.cache.set(slot.durable);
        for (const { position, bytes } of kept) slot.cache.set(bytes, position);
      }
      if (kept.length > 0) this.#counters.add("kill.kept", kept.length);
      slot.pending = kept;
    }
  }

  /** `chosen` decides each un-flushed write's fate by its number, slot by slot. Without it, fates are drawn. */
  powerCut(random: Random, inflight: readonly InflightWrite[], chosen?: (write: number) => Fate): void {
    this.#applyInflight(random, inflight, "cut.inflight");
    this.#forgetOlder();
    const fates = chosen ? WHOLE_WRITES : drawFates(random);
    let write = 0;
    for (const slot of this.#slots) {
      let droppedBefore = false;
      const deadSectors = new Set<number>();
      for (const { position, bytes } of slot.pending) {
        const whole = chosen ? chosen(write++) : drawFate(random, fates);
        let changed = 0;
        let dropped = 0;
        for (const piece of pieces(position, bytes)) {
          if (!differs(slot.durable, piece.position, piece.bytes)) continue;
          const sector = Math.floor(piece.position / SECTOR);
          const fate =
            fates.ordered && deadSectors.has(sector) ? "drop" : fates.perPiece ? drawFate(random, fates) : whole;
          if (fate === "drop") {
            deadSectors.add(sector);
            dropped++;
            continue;
          }
          changed++;
          slot.durable.set(piece.bytes, piece.position);
          if (fate === "garble") {
            random.fill(slot.durable.subarray(piece.position, piece.position + piece.bytes.length));
            this.#counters.add("cut.garbled");
          }
        }
        if (changed > 0 && dropped > 0) this.#counters.add("cut.torn");
        else if (changed > 0) this.#counters.add("cut.kept");
        else if (dropped > 0) this.#counters.add("cut.dropped");
        if (changed > 0 && droppedBefore) this.#counters.add("cut.reordered");
        droppedBefore ||= dropped > 0;
      }
      slot.pending = [];
      slot.cache.set(slot.durable);
    }
    if (this.options.losesNames) this.#loseNames(random);
  }

  /** Applies some of the writes that were requested and not answered; the last of them perhaps in part. */
  #applyInflight(random: Random, inflight: readonly InflightWrite[], counter: string): void {
    const ended = new Set<number>();
    for (const { slot, position, bytes } of inflight) {
      if (ended.has(slot) || position + bytes.length > this.options.slotBytes) continue;
      // A process hands memory to the system page by page, so even half a write ends at the end of a sector.
      const sectors = Math.ceil((position + bytes.length) / SECTOR) - Math.floor(position / SECTOR);
      const until = (Math.floor(position / SECTOR) + random.int(sectors + 1)) * SECTOR;
      const count = random.chance(0.5) ? bytes.length : Math.max(0, Math.min(bytes.length, until - position));
      if (count < bytes.length) ended.add(slot);
      if (count === 0) continue;
      this.#counters.add(counter);
      this.write(slot, position, bytes.subarray(0, count));
    }
  }

  #forgetOlder(): void {
    if (!this.options.staleAcrossLives) for (const slot of this.#slots) slot.older = undefined;
  }

  #loseNames(random: Random): void {
    for (let at = this.#slots.length - 1; at >= 0; at--) {
      const slot = this.#slots[at]!;
      if (slot.aged || !random.chance(0.5)) continue;
      if (slot.durable.some((byte) => byte !== 0)) this.#counters.add("names.lost");
      if (at === this.#slots.length - 1) this.#slots.pop();
      else {
        slot.durable.fill(0);
        slot.cache.fill(0);
      }
    }
  }

  // --- rot at rest -------------------------------------------------------------------------------------------------

  /** Damages one place that holds bytes. Undefined when no such place was found. */
  rot(random: Random): Rot | undefined {
    for (let attempt = 0; attempt < 8; attempt++) {
      const slot = random.int(this.#slots.length);
      // A crash inside a commit leaves one good copy of the catalog. Rot in that copy would be a second fault.
      if (slot < 2 && differs(this.#slots[0]!.durable, 0, this.#slots[1]!.durable)) continue;
      const kind = random.pick(["flip", "flip", "zero-sector", "stale-page"] as const);
      const { durable } = this.#slots[slot]!;
      let position = random.int(durable.length);
      // Most of a slot may be empty: try several positions to hit bytes.
      for (let tries = 0; tries < 16 && durable[position] === 0; tries++) position = random.int(durable.length);
      const rot = this.rotAt(kind, slot, position, random.int(8));
      if (rot) return rot;
    }
    return undefined;
  }

  rotAt(kind: Rot["kind"], slot: number, position: number, bit: number): Rot | undefined {
    const { durable, cache, older } = this.#slots[slot]!;
    // The header page is written sector by sector: a whole stale page there would be two faults at once.
    const unit = kind === "flip" ? 1 : kind === "zero-sector" || position < PAGE ? SECTOR : PAGE;
    const start = position - (position % unit);
    const length = Math.min(unit, durable.length - start);
    const bad = durable.slice(start, start + length);
    if (kind === "flip") bad[0]! ^= 1 << bit;
    else if (kind === "zero-sector") bad.fill(0);
    else if (older) bad.set(older.subarray(start, start + length));
    if (!differs(durable, start, bad) && !differs(cache, start, bad)) return undefined;
    durable.set(bad, start);
    cache.set(bad, start);
    this.#counters.add(`rot.${kind}`);
    return { kind, slot, position: start, length };
  }

  /** Puts an earlier version of one page into `target`, which was just read. False when that changes nothing. */
  makeStale(slot: number, position: number, target: Uint8Array, random: Random): boolean {
    const { older } = this.#slots[slot]!;
    if (!older || target.length === 0) return false;
    const page = Math.floor((position + random.int(target.length)) / PAGE) * PAGE;
    const from = Math.max(page, position);
    const to = Math.min(page + PAGE, position + target.length);
    if (!differs(target, from - position, older.subarray(from, to))) return false;
    target.set(older.subarray(from, to), from - position);
    return true;
  }

  /** Copies of what a new life would read. */
  images(): Uint8Array[] {
    return this.#slots.map((slot) => slot.cache.slice());
  }
}

export type Fate = "keep" | "drop" | "garble";

interface Fates {
  readonly keep: number;
  readonly garble: number;
  readonly perPiece: boolean;
  /** True: a sector keeps its writes in order, up to one of them, as a page cache does. False: any subset of them. */
  readonly ordered: boolean;
}

const WHOLE_WRITES: Fates = { keep: 1, garble: 0, perPiece: false, ordered: false };

function drawFates(random: Random): Fates {
  const style = random.int(6);
  const ordered = random.chance(0.6);
  if (style === 0) return { keep: 0, garble: 0, perPiece: false, ordered };
  if (style === 1) return { keep: 1, garble: 0, perPiece: false, ordered };
  const garble = random.chance(0.4) ? 0.2 : 0;
  return { keep: random.pick([0.2, 0.5, 0.8]), garble, perPiece: style >= 4, ordered };
}

function drawFate(random: Random, { keep, garble }: Fates): Fate {
  if (garble > 0 && random.chance(garble)) return "garble";
  return random.chance(keep) ? "keep" : "drop";
}

function* pieces(position: number, bytes: Uint8Array): Generator<{ position: number; bytes: Uint8Array }> {
  for (let at = 0; at < bytes.length;) {
    const length = Math.min(SECTOR - ((position + at) % SECTOR), bytes.length - at);
    yield { position: position + at, bytes: bytes.subarray(at, at + length) };
    at += length;
  }
}

function differs(bytes: Uint8Array, position: number, other: Uint8Array): boolean {
  for (let i = 0; i < other.length; i++) if (bytes[position + i] !== other[i]) return true;
  return false;
}
