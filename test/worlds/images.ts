/**
 * All states in which a power cut may leave the disk at one moment: each write that was not flushed is kept, dropped,
 * torn or garbled.
 *
 *   kept     all its bytes arrived          head   torn: the first half arrived, the second is as before
 *   dropped  none did                       tail   torn: the second half arrived, the first is as before
 *   garbled  its range holds anything       cut@n  torn at the n-th 512-byte sector, either side
 *
 * With up to PRODUCT_MAX writes every combination is tried. With more: each single write in every state while all
 * others are kept and while all are dropped, all dropped, and all kept. In both cases a write over several sectors is
 * also torn at each sector border, while all others are kept and while all are dropped. Damage stays inside the written
 * range (the assumption that SQLite calls "powersafe overwrite").
 */
import { Random } from "../simulation/prng.ts";
import type { Image, Moment, PendingWrite } from "./recording-volume.ts";

const PRODUCT_MAX = 4;
const SECTOR = 512;
const FATES = ["kept", "dropped", "head", "tail", "garbled"] as const;
export type Fate = (typeof FATES)[number] | `cut@${number}-` | `cut@${number}+`;

export interface CrashImage {
  readonly image: Image;
  readonly fates: readonly Fate[];
  /** True when every written byte is there, as after a kill of the process alone. */
  readonly isKill: boolean;
}

/** Every assignment of a fate to each write, as described above. */
function* fatesOf(pending: readonly PendingWrite[]): Generator<readonly Fate[]> {
  const count = pending.length;
  const all = (fate: Fate): Fate[] => Array.from({ length: count }, () => fate);
  const single = (at: number, fate: Fate, others: Fate): Fate[] =>
    all(others).map((other, i) => (i === at ? fate : other));
  if (count <= PRODUCT_MAX) {
    const total = FATES.length ** count;
    for (let n = 0; n < total; n++)
      yield all("kept").map((_, i) => FATES[Math.floor(n / FATES.length ** i) % FATES.length]!);
  } else {
    yield all("kept");
    yield all("dropped");
    for (let at = 0; at < count; at++) {
      for (const fate of FATES) {
        if (fate !== "kept") yield single(at, fate, "kept");
        if (fate !== "dropped") yield single(at, fate, "dropped");
      }
    }
  }
  for (let at = 0; at < count; at++) {
    for (const cut of sectorCuts(pending[at]!)) {
      for (const side of ["-", "+"] as const) {
        yield single(at, `cut@${cut}${side}`, "kept");
        if (count > 1) yield single(at, `cut@${cut}${side}`, "dropped");
      }
    }
  }
}

/** For each sector border inside the write, how many of its bytes lie before the border. */
function sectorCuts({ position, bytes }: PendingWrite): number[] {
  const cuts: number[] = [];
  for (let at = SECTOR - (position % SECTOR); at < bytes.length; at += SECTOR) cuts.push(at);
  return cuts;
}

export function* imagesOf({ durable, pending }: Moment): Generator<CrashImage> {
  for (const fates of fatesOf(pending)) {
    const image = [...durable];
    for (const [i, fate] of fates.entries()) apply(image, durable, pending[i]!, fate);
    yield { image, fates, isKill: fates.every((fate) => fate === "kept") };
  }
}

function apply(image: Uint8Array[], durable: Image, write: PendingWrite, fate: Fate): void {
  if (fate === "dropped") return;
  const { slot, position, bytes } = write;
  const [from, to] = arrived(bytes.length, fate);
  if (image[slot] === durable[slot]) image[slot] = image[slot]!.slice();
  const target = image[slot]!;
  if (fate === "garbled")
    new Random(slot, position, bytes.length).fill(target.subarray(position, position + bytes.length));
  else target.set(bytes.subarray(from, to), position + from);
}

function arrived(length: number, fate: Fate): readonly [number, number] {
  const half = length >> 1;
  if (fate === "head") return [0, half];
  if (fate === "tail") return [half, length];
  if (!fate.startsWith("cut@")) return [0, length];
  const cut = Number(fate.slice(4, -1));
  return fate.endsWith("-") ? [0, cut] : [cut, length];
}
