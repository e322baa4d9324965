/**
 * The slot files of a tide's folder, for reading only: no lock is taken and no byte is written, so another process may
 * have the tide open meanwhile. A file is opened for each call, so that no deleted file is held.
 */
import { closeSync, fdatasync, openSync, readSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { TidemarkError } from "../src/errors.ts";
import { fileError, isThere, noTide, slotBytesIn, slotFile, slotsIn } from "../src/node/file-volume.ts";
import type { Volume, VolumeInfo } from "../src/store/volume.ts";

const dataSynced = promisify(fdatasync);
/** Errors of systems that can't sync a file which is open for reading alone (Windows; some file systems). */
const UNSYNCABLE = ["EPERM", "EACCES", "EBADF", "EINVAL", "EROFS", "ENOTSUP", "ENOSYS"];

const unwritable = (): TidemarkError => new TidemarkError("INTERNAL", "a folder that is only read is not written to");

export class ReadOnlyFiles implements Volume {
  readonly info: VolumeInfo = { engine: "files", durability: "device" };
  readonly slotBytes: number;
  readonly slotCount: number;

  /** NO_STORAGE: the folder holds no tide. */
  constructor(readonly folder: string) {
    if (!isThere(folder)) throw noTide(folder);
    const slots = slotsIn(folder);
    const bytes = slotBytesIn(folder, slots);
    if (bytes === undefined) throw new TidemarkError("CORRUPT_CATALOG", `no file in ${folder} has the size of a slot`);
    this.slotBytes = bytes;
    this.slotCount = slots.at(-1)! + 1;
  }

  async read(slot: number, position: number, target: Uint8Array): Promise<number> {
    const wanted = Math.max(0, Math.min(target.length, this.slotBytes - position));
    let fd: number;
    try {
      fd = openSync(path.join(this.folder, slotFile(slot)), "r");
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") throw fileError(thrown);
      // A missing file reads as zeros here, as it does for the process that has the tide open. No checksum takes zeros
      // for data.
      target.fill(0, 0, wanted);
      return wanted;
    }
    try {
      for (let done = 0; done < wanted;) {
        const count = readSync(fd, target, done, wanted - done, position + done);
        if (count === 0) target.fill(0, done, wanted);
        done = count === 0 ? wanted : done + count;
      }
      return wanted;
    } catch (thrown) {
      throw fileError(thrown);
    } finally {
      closeSync(fd);
    }
  }

  /**
   * Once it resolves with true, what was read of these slots before survives power loss, even if its writer died before
   * it could sync. A missing file reads as zeros, and is passed over. False: this system syncs no file that is open for
   * reading alone.
   */
  async sync(slots: readonly number[]): Promise<boolean> {
    for (const slot of slots) {
      let fd: number | undefined;
      try {
        fd = openSync(path.join(this.folder, slotFile(slot)), "r");
        await dataSynced(fd);
      } catch (thrown) {
        const { code = "" } = thrown as NodeJS.ErrnoException;
        // Nothing was read of it but zeros: it was lost, or its writer is just making it.
        if (code === "ENOENT") continue;
        if (UNSYNCABLE.includes(code)) return false;
        throw fileError(thrown);
      } finally {
        if (fd !== undefined) closeSync(fd);
      }
    }
    return true;
  }

  async flush(): Promise<void> {
    throw unwritable();
  }
  async write(): Promise<void> {
    throw unwritable();
  }
  async addSlots(): Promise<void> {
    throw unwritable();
  }
  async prepare(): Promise<void> {}
  async handOver(): Promise<void> {}
  async checkAttached(): Promise<boolean> {
    return true;
  }
  async close(): Promise<void> {}
}
