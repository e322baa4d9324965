/**
 * The slot files of tides, wherever they lie: in a folder of tidemark/node under their names, in a Chromium profile
 * ("File System") under names that only the browser knows. There each is known by what it says itself: a catalog has
 * "TIDECAT1" and the tide's id, a segment "TIDESLOT", its log, where it begins and the catalog that was to name it.
 */
import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import path from "node:path";
import { TidemarkError } from "../src/errors.ts";
import type { Kernel } from "../src/kernel/types.ts";
import { Catalog, type CatalogState } from "../src/store/catalog.ts";
import { readRole } from "../src/store/slot-read.ts";
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
  readonly volume: OverlayVolume;
}

const hasSlots = (folder: string): boolean => readdirSync(folder).some((name) => SLOT_NAME.test(name));

/** The tides below a folder: one in a folder of slots, any number in a profile. */
export async function tidesBelow(folder: string, kernel: Kernel): Promise<FoundTide[]> {
  if (hasSlots(folder)) return [inFolder(folder)];
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.parentPath.includes("File System"))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => statSync(file).size >= HEAD_BYTES);
  const kinds = files.map((file) => ({ file, magic: magicOf(headOf(file)), size: statSync(file).size }));
  const segments = kinds.filter(({ magic }) => magic === "TIDESLOT");
  const catalogs = kinds.filter(({ magic }) => magic === "TIDECAT1");
  const tides = new Map<string, { state: CatalogState; copies: string[]; size: number }>();
  for (const { file, size } of catalogs) {
    const alone = new OverlayVolume(size, [file, file]);
    const { state } = await Catalog.read(alone, kernel).catch(() => ({ state: undefined }));
    if (state?.id === undefined) continue;
    const known = tides.get(state.id);
    if (known) known.copies.push(file);
    else tides.set(state.id, { state, copies: [file], size });
  }
  const found: FoundTide[] = [];
  for (const [id, { state, copies, size }] of tides) {
    const slots: (string | undefined)[] = [copies[0], copies[1] ?? copies[0]];
    for (const { name, madeAs, segments: named } of state.logs)
      for (const { slot, baseOffset, begun } of named) {
        const isIt = async (file: string): Promise<boolean> => {
          const role = await readRole(kernel, new OverlayVolume(size, [file]), 0);
          return role?.log === (madeAs ?? name) && role.baseOffset === baseOffset && role.begun === begun;
        };
        for (const { file } of segments) if (!slots.includes(file) && (await isIt(file))) slots[slot] = file;
      }
    found.push({ where: `${folder}, tide ${id}`, volume: new OverlayVolume(size, Array.from(slots)) });
  }
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
  return { where: folder, volume: new OverlayVolume(size, Array.from(slots)) };
}
