/**
 * The slot files of tides, wherever they lie: in a folder of tidemark/node under their names, in a Chromium profile
 * ("File System") under names that only the browser knows. There each is known by what it says itself: a catalog has
 * "TIDECAT1" and the tide's id, a segment "TIDESLOT", its log, where it begins and the catalog that was to name it.
 */
import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import path from "node:path";
import { TidemarkError } from "../src/errors.ts";
import type { Kernel } from "../src/kernel/types.ts";
import { Catalog, type CatalogState, type SegmentEntry } from "../src/store/catalog.ts";
import { FOOTER_BYTES } from "../src/store/footer.ts";
import { BODY_AT } from "../src/store/slot-layout.ts";
import { readMark, readRole } from "../src/store/slot-read.ts";
import type { Role } from "../src/store/slot.ts";
import type { Volume, VolumeInfo } from "../src/store/volume.ts";

const HEAD_BYTES = 4096;
const SLOT_NAME = /^slot-(\d{4,6})$/;

/** Files as slots. Writes stay in memory, so that a store can be opened over damage without changing it. */
export class OverlayVolume implements Volume {
  readonly info: VolumeInfo = { engine: "files", durability: "none" };
  readonly #written = new Map<number, Uint8Array>();
  slotCount: number;

  constructor(
    readonly slotBytes: number,
    /** By slot; undefined where there is no file. */
    readonly files: readonly (string | undefined)[],
  ) {
    this.slotCount = files.length;
  }

  #bytesOf(slot: number): Uint8Array {
    const known = this.#written.get(slot);
    if (known) return known;
    const bytes = new Uint8Array(this.slotBytes);
    const file = this.files[slot];
    if (file !== undefined) readInto(file, 0, bytes);
    this.#written.set(slot, bytes);
    return bytes;
  }

  async addSlots(count: number): Promise<void> {
    this.slotCount += count;
  }
  async prepare(): Promise<void> {}
  async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    this.#bytesOf(slot).set(bytes, position);
  }
  async read(slot: number, position: number, target: Uint8Array): Promise<number> {
    const wanted = Math.max(0, Math.min(target.length, this.slotBytes - position));
    const part = target.subarray(0, wanted);
    const known = this.#written.get(slot);
    part.fill(0);
    if (known) part.set(known.subarray(position, position + wanted));
    else if (this.files[slot] !== undefined) readInto(this.files[slot], position, part);
    return wanted;
  }
  async handOver(): Promise<void> {}
  async flush(): Promise<void> {}
  async checkAttached(): Promise<boolean> {
    return true;
  }
  async close(): Promise<void> {}
}

export async function bytesAt(volume: Volume, slot: number, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await volume.read(slot, position, bytes);
  return bytes;
}
export const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

function readInto(file: string, position: number, target: Uint8Array): void {
  const fd = openSync(file, "r");
  try {
    readSync(fd, target, 0, target.length, position);
  } finally {
    closeSync(fd);
  }
}

const headOf = (file: string): Uint8Array => {
  const head = new Uint8Array(HEAD_BYTES);
  readInto(file, 0, head);
  return head;
};
const magicOf = (head: Uint8Array): string => Buffer.from(head.subarray(0, 8)).toString("latin1");

export interface FoundTide {
  /** The folder, or the origin's folder in the profile and the tide's id. Given as PATH, that folder has no copies. */
  readonly where: string;
  /** Undefined in a folder whose catalog says none, or can't be read. */
  readonly id: string | undefined;
  readonly volume: OverlayVolume;
}

const hasSlots = (folder: string): boolean => readdirSync(folder).some((name) => SLOT_NAME.test(name));

interface FoundFile {
  readonly file: string;
  readonly size: number;
  /** The part of the profile that belongs to one origin: a tide's files lie together, and its copies elsewhere. */
  readonly origin: string;
}
type FoundSlot = FoundFile & { readonly role: Role };

interface FoundFiles {
  readonly catalogs: FoundFile[];
  readonly slots: FoundSlot[];
  /** Neither a catalog nor a slot whose role can be read. */
  readonly others: FoundFile[];
}

const FILE_SYSTEM = "File System";

/** What the files below a browser's "File System" say that they are. */
async function filesBelow(folder: string, kernel: Kernel): Promise<FoundFiles> {
  const found: FoundFiles = { catalogs: [], slots: [], others: [] };
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const parts = path.resolve(entry.parentPath).split(path.sep);
    const at = parts.lastIndexOf(FILE_SYSTEM);
    if (!entry.isFile() || at < 0) continue;
    const file = path.join(entry.parentPath, entry.name);
    const { size } = statSync(file);
    if (size < HEAD_BYTES) continue;
    const each = { file, size, origin: parts.slice(0, at + 2).join(path.sep) };
    const role = await readRole(kernel, new OverlayVolume(size, [file]), 0);
    if (role) found.slots.push({ ...each, role });
    else (magicOf(headOf(file)) === "TIDECAT1" ? found.catalogs : found.others).push(each);
  }
  return found;
}

interface Known {
  /** What the newest copy of the catalog says. */
  readonly state: CatalogState;
  /** The newest first. */
  readonly copies: readonly (FoundFile & { readonly generation: number })[];
}

/** By origin and id. A copy of the catalog that can't be read says no id, so it counts as no file of its tide. */
async function catalogsOf({ catalogs }: FoundFiles, kernel: Kernel): Promise<ReadonlyMap<string, Known>> {
  const tides = new Map<string, Known>();
  for (const found of catalogs) {
    const alone = new OverlayVolume(found.size, [found.file, found.file]);
    const read = await Catalog.read(alone, kernel).catch(() => undefined);
    if (read?.state?.id === undefined) continue;
    const key = keyOf(found, read.state.id);
    const known = tides.get(key);
    const copy = { ...found, generation: read.catalog.generation };
    const copies = [...(known?.copies ?? []), copy].sort((a, b) => b.generation - a.generation);
    tides.set(key, { state: known && copies[0] !== copy ? known.state : read.state, copies });
  }
  return tides;
}
const keyOf = ({ origin }: FoundFile, id: string): string => `${origin}\n${id}`;

/** Whether a file whose role is damaged is this segment's, as its footer or its marks say. */
async function holds(
  kernel: Kernel,
  { file, size }: FoundFile,
  { sealed, ...segment }: SegmentEntry,
): Promise<boolean> {
  const alone = new OverlayVolume(size, [file]);
  if (!sealed) return (await readMark(kernel, alone, { ...segment, slot: 0 })) !== undefined;
  const { bytes, offsetIndexBytes, timeIndexBytes, producersBytes, footerCrc } = sealed;
  const at = BODY_AT + bytes + offsetIndexBytes + timeIndexBytes + producersBytes;
  return kernel.crc32c((await bytesAt(alone, 0, at, FOOTER_BYTES)).subarray(0, FOOTER_BYTES - 4)) === footerCrc;
}

/** A segment whose file no role names. */
interface Wanted {
  readonly segment: SegmentEntry;
  readonly origin: string;
  /** The files of its tide, by slot. */
  readonly files: (string | undefined)[];
}

/** The files of a tide, by slot, as their roles say. Segments without one are added to `wanted`. */
function slotsOf({ state, copies }: Known, found: FoundFiles, wanted: Wanted[]): (string | undefined)[] {
  const { origin } = copies[0]!;
  const here = found.slots.filter((each) => each.origin === origin && ["", state.id].includes(each.role.tide));
  const files: (string | undefined)[] = [copies[0]?.file, copies[1]?.file];
  for (const { name, madeAs = name, segments } of state.logs)
    for (const segment of segments) {
      const { slot, baseOffset, begun } = segment;
      const isIt = ({ role }: FoundSlot): boolean =>
        role.log === madeAs && role.baseOffset === baseOffset && role.begun === begun;
      files[slot] = here.find(isIt)?.file;
      if (files[slot] === undefined) wanted.push({ segment, origin, files });
    }
  return files;
}

/**
 * Files whose role is damaged. A footer is one segment's alone. A mark has a base offset and an epoch, which segments
 * of several logs may share: an active segment gets a file only where both fit nothing else.
 */
async function giveOthers(wanted: readonly Wanted[], { others }: FoundFiles, kernel: Kernel): Promise<void> {
  let left = [...others];
  const fitting = async (each: Wanted): Promise<FoundFile[]> => {
    const fits = await Promise.all(
      left.map(async (file) => file.origin === each.origin && (await holds(kernel, file, each.segment))),
    );
    return left.filter((_, n) => fits[n]);
  };
  for (const each of wanted.filter(({ segment }) => segment.sealed)) {
    const [file] = await fitting(each);
    each.files[each.segment.slot] = file?.file;
    left = left.filter((other) => other !== file);
  }
  const active = wanted.filter(({ segment }) => !segment.sealed);
  const fits = await Promise.all(active.map(fitting));
  for (const [n, each] of active.entries()) {
    const [file, ...more] = fits[n]!;
    if (!file || more.length > 0 || fits.some((other, i) => i !== n && other.includes(file))) continue;
    each.files[each.segment.slot] = file.file;
  }
}

/** The tides below a folder: one in a folder of slots, any number in a profile. */
export async function tidesBelow(folder: string, kernel: Kernel): Promise<FoundTide[]> {
  if (hasSlots(folder)) {
    const tide = inFolder(folder);
    const read = await Catalog.read(tide.volume, kernel).catch(() => undefined);
    return [{ ...tide, id: read?.state?.id }];
  }
  const files = await filesBelow(folder, kernel);
  const tides = await catalogsOf(files, kernel);
  const found: FoundTide[] = [];
  const add = (id: string, { origin, size }: FoundFile, slots: readonly (string | undefined)[]): void => {
    const where = path.join(folder, path.relative(folder, origin));
    found.push({ where: `${where}, tide ${id}`, id, volume: new OverlayVolume(size, slots) });
  };
  const wanted: Wanted[] = [];
  const slots = new Map([...tides.values()].map((known) => [known, slotsOf(known, files, wanted)]));
  await giveOthers(wanted, files, kernel);
  for (const [{ state, copies }, own] of slots) {
    const size = Math.max(...copies.map((copy) => copy.size));
    add(state.id!, { ...copies[0]!, size }, Array.from(own));
  }
  // Both copies of the catalog may be lost: what the slots say themselves is left.
  const lost = new Map<string, FoundSlot[]>();
  for (const each of files.slots) {
    const key = keyOf(each, each.role.tide);
    if (each.role.tide !== "" && !tides.has(key)) lost.set(key, [...(lost.get(key) ?? []), each]);
  }
  for (const own of lost.values())
    add(own[0]!.role.tide, own[0]!, [undefined, undefined, ...own.map(({ file }) => file)]);
  return found;
}

function inFolder(folder: string): FoundTide {
  const slots: string[] = [];
  for (const name of readdirSync(folder)) {
    const [, slot] = SLOT_NAME.exec(name) ?? [];
    if (slot !== undefined) slots[Number(slot)] = path.join(folder, name);
  }
  const sizes = slots.filter((file) => file !== undefined).map((file) => statSync(file).size);
  const size = sizes.find((bytes) => bytes >= HEAD_BYTES && Number.isInteger(Math.log2(bytes)));
  if (size === undefined) throw new TidemarkError("CORRUPT_CATALOG", `no file in ${folder} has the size of a slot`);
  return { where: folder, id: undefined, volume: new OverlayVolume(size, Array.from(slots)) };
}
