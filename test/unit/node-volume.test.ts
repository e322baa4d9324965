/** The contracts of volumes and stores over files of a folder, and what the folder's lock and its damage do. */
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { fileError, FileVolume } from "../../src/node/file-volume.ts";
import type { Volume } from "../../src/store/volume.ts";
import { fails } from "../contract/check.ts";
import { exchangeCases } from "../contract/exchange-contract.ts";
import { storeCases, type StoreHost } from "../contract/store-contract.ts";
import { pattern, volumeCases, type VolumeHost } from "../contract/volume-contract.ts";
import { releaseKernel } from "../support/kernels.ts";

const SLOT = 64 * 1024;
/** In memory where the system has such a place: these cases are about what files hold, not about disks. */
const place = existsSync("/dev/shm") ? "/dev/shm" : os.tmpdir();
const home = mkdtempSync(path.join(place, "tidemark-volume-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

let folders = 0;
const newFolder = (): string => path.join(home, String(folders++), "tide");
const folderOf = new WeakMap<Volume, string>();

async function opened(folder: string, slotBytes: number, filesMax?: number): Promise<FileVolume> {
  const volume = await FileVolume.open({ folder, slotBytes, filesMax });
  folderOf.set(volume, folder);
  return volume;
}

/** `filesMax`: 3 closes and opens files all the time. */
const hostWith = (filesMax?: number): VolumeHost => ({
  newVolume: (slotBytes) => opened(newFolder(), slotBytes, filesMax),
  reopen: (volume, slotBytes = SLOT) => opened(folderOf.get(volume)!, slotBytes, filesMax),
  keepsUnflushed: true,
});

for (const filesMax of [undefined, 3])
  describe(`volume of files, ${filesMax ?? "many"} of them open at a time`, () => {
    for (const { name, run } of volumeCases) it(name, () => run(hostWith(filesMax)));
  });

const stores: StoreHost = { ...hostWith(), kernel: await releaseKernel(), few: true };
describe("segmented store over files", () => {
  for (const { name, run } of [...storeCases, ...exchangeCases]) it(name, () => run(stores));
});

describe("a folder", () => {
  it("is open once at a time, in one process too, and free again after close()", async () => {
    const folder = newFolder();
    const first = await opened(folder, SLOT);
    const error = await fails("ALREADY_OPEN", () => opened(folder, SLOT));
    expect(error.details).toMatchObject({ folder, pid: process.pid });
    await first.close();
    await (await opened(folder, SLOT)).close();
  });

  it("holds whole slots only: what a crash left of a new one is no slot, and is made again", async () => {
    const folder = newFolder();
    const volume = await opened(folder, SLOT);
    await volume.addSlots(2);
    await volume.close();
    writeFileSync(path.join(folder, "slot-0002.new"), new Uint8Array(100).fill(7));
    const again = await opened(folder, 4096);
    expect([again.slotCount, again.slotBytes]).toEqual([2, SLOT]);
    await again.addSlots(1);
    const target = new Uint8Array(SLOT);
    await again.read(2, 0, target);
    expect(target.every((byte) => byte === 0)).toBe(true);
    await again.close();
    expect(readdirSync(folder).sort()).toEqual(["lock", "slot-0000", "slot-0001", "slot-0002"]);
    expect(statSync(path.join(folder, "slot-0002")).size).toBe(SLOT);
  });

  it("reads as zeros where a file was cut or removed, and keeps what is beside it", async () => {
    const folder = newFolder();
    let volume = await opened(folder, SLOT);
    await volume.addSlots(3);
    for (let slot = 0; slot < 3; slot++) await volume.write(slot, 0, pattern(SLOT, slot));
    await volume.flush([0, 1, 2]);
    await volume.close();
    truncateSync(path.join(folder, "slot-0002"), 1000);
    rmSync(path.join(folder, "slot-0001"));
    volume = await opened(folder, SLOT);
    const target = new Uint8Array(SLOT);
    await volume.read(2, 0, target);
    expect(target.subarray(0, 1000)).toEqual(pattern(SLOT, 2).subarray(0, 1000));
    expect(target.subarray(1000).every((byte) => byte === 0)).toBe(true);
    await volume.read(1, 0, target);
    expect(target.every((byte) => byte === 0)).toBe(true);
    await volume.read(0, 0, target);
    expect(target).toEqual(pattern(SLOT, 0));
    await volume.close();
  });

  it("that is removed under an open volume is noticed", async () => {
    const folder = newFolder();
    const volume = await opened(folder, SLOT);
    await volume.addSlots(1);
    expect(await volume.checkAttached()).toBe(true);
    rmSync(folder, { recursive: true });
    expect(await volume.checkAttached()).toBe(false);
    const another = await opened(folder, SLOT);
    await another.addSlots(1);
    expect(await volume.checkAttached()).toBe(false);
    await volume.close();
    await another.close();
    expect(readFileSync(path.join(folder, "lock"), "utf8")).toBe(`${process.pid}\n`);
  });

  it("must be there if it is asked for so, and nothing is made then", async () => {
    const folder = newFolder();
    await fails("NO_STORAGE", () => FileVolume.open({ folder, slotBytes: SLOT, mustExist: true }));
    expect(() => statSync(folder)).toThrow("ENOENT");
  });

  it("that can't be made is an error with the system's words", async () => {
    const file = path.join(home, "a-file");
    writeFileSync(file, "");
    const error = await fails("STORAGE_FAILED", () => opened(path.join(file, "tide"), SLOT));
    expect(error.message).toContain("ENOTDIR");
  });
});

it.skipIf(!existsSync("/dev/full"))("a full disk is QUOTA_EXCEEDED, which says what to do", () => {
  let thrown: unknown;
  try {
    writeFileSync("/dev/full", "x");
  } catch (error) {
    thrown = error;
  }
  expect(fileError(thrown)).toMatchObject({
    code: "QUOTA_EXCEEDED",
    message: expect.stringMatching(/ENOSPC.*: free disk space, or trim topics$/),
  });
});
