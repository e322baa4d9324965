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
  /** The folder, or the profile's folder and the tide's id. */
  readonly where: string;
  /** Undefined in a folder, which has one tide. */
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
  readonly state: CatalogState;
  readonly copies: FoundFile[];
}

/** By origin and id. A copy of the catalog that can't be read says no id, and so is none of its tide's files. */
async function catalogsOf({ catalogs }: FoundFiles, kernel: Kernel): Promise<ReadonlyMap<string, Known>> {
  const tides = new Map<string, Known>();
  for (const copy of catalogs) {
    const alone = new OverlayVolume(copy.size, [copy.file, copy.file]);
    const { state } = await Catalog.read(alone, kernel).catch(() => ({ state: undefined }));
    if (state?.id === undefined) continue;
    const key = keyOf(copy, state.id);
    tides.set(key, { state, copies: [...(tides.get(key)?.copies ?? []), copy] });
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

/** The files of a tide, by slot. */
async function slotsOf({ state, copies }: Known, found: FoundFiles, kernel: Kernel): Promise<(string | undefined)[]> {
  const [{ origin }] = copies as [FoundFile];
  const here = found.slots.filter((each) => each.origin === origin && ["", state.id].includes(each.role.tide));
  const others = found.others.filter((each) => each.origin === origin);
  const files: (string | undefined)[] = [copies[0]?.file, copies[1]?.file];
  for (const { name, madeAs = name, segments } of state.logs)
    for (const segment of segments) {
      const { slot, baseOffset, begun } = segment;
      const isIt = ({ role }: FoundSlot): boolean =>
        role.log === madeAs && role.baseOffset === baseOffset && role.begun === begun;
      files[slot] = here.find(isIt)?.file;
      for (const other of others)
        if (files[slot] === undefined && !files.includes(other.file) && (await holds(kernel, other, segment)))
          files[slot] = other.file;
    }
  return Array.from(files);
}

/** The tides below a folder: one in a folder of slots, any number in a profile. */
export async function tidesBelow(folder: string, kernel: Kernel): Promise<FoundTide[]> {
  if (hasSlots(folder)) return [inFolder(folder)];
  const files = await filesBelow(folder, kernel);
  const tides = await catalogsOf(files, kernel);
  const found: FoundTide[] = [];
  const add = (id: string, size: number, slots: readonly (string | undefined)[]): void =>
    void found.push({ where: `${folder}, tide ${id}`, id, volume: new OverlayVolume(size, slots) });
  for (const known of tides.values()) {
    const size = Math.max(...known.copies.map((copy) => copy.size));
    add(known.state.id!, size, await slotsOf(known, files, kernel));
  }
  // Both copies of the catalog may be lost: what the slots say themselves is left.
  const lost = new Map<string, FoundSlot[]>();
  for (const each of files.slots) {
    const key = keyOf(each, each.role.tide);
    if (each.role.tide !== "" && !tides.has(key)) lost.set(key, [...(lost.get(key) ?? []), each]);
  }
  for (const own of lost.values())
    add(own[0]!.role.tide, own[0]!.size, [undefined, undefined, ...own.map(({ file }) => file)]);
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
