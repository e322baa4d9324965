/**
 * A volume in the origin private file system, for dedicated workers (only they have sync access handles).
 *
 *   tidemark/<name>/slot-0000   catalog A; its exclusive handle is kept as long as the volume is open: that is the lock
 *                  /slot-0001   catalog B
 *                  /slot-0002 … segments, or free; every file is slotBytes long
 *
 * All slots except slot 0 are opened in a mode that lets others open them too, if the engine has it: a standby worker
 * does so (preopened-files.ts). A worker that does not have slot 0 writes to no file of the volume.
 *
 * slotBytes is a property of an existing volume: the size of its files. A crash inside addSlots leaves a file that is
 * too short. It was never written, and is grown when it is next opened. If power loss removed a name in the middle, it
 * comes back as a slot of zeros; the store's recovery notices what is missing.
 *
 * Measured in Chromium: opening a handle costs 0.7 ms, a small write 5 µs, a flush 0.15 ms. So handles are kept open.
 * Sizes are read only when a handle is opened, because in other engines each call goes to another thread.
 */
import { TidemarkError } from "../../errors.ts";
import { gone } from "../../store/gone.ts";
import { RecentMap } from "../../store/recent-map.ts";
import type { Volume, VolumeInfo } from "../../store/volume.ts";
import type { VolumeOptions } from "./engine.ts";
import {
  DirectoryFiles,
  findDirectory,
  findVolume,
  isSlotSize,
  type OpfsFiles,
  passTornNames,
  SHARED,
  slotName,
  type SyncHandle,
} from "./opfs-files.ts";
import { isNamed, storageError } from "../platform/errors.ts";

export interface OpfsVolumeOptions extends VolumeOptions {
  /** Most handles that are open at a time, at least 2. Default 200: Safari refuses the 253rd of a process. */
  readonly handlesMax?: number;
}

/**
 * Bytes at the start of slot 0 that tell it from another volume's: they contain the catalog's generation and checksum.
 */
const HEAD_BYTES = 28;

interface OpenSlot {
  readonly handle: SyncHandle;
  /** True if it was written to since the last flush. */
  dirty: boolean;
}

export class OpfsVolume implements Volume {
  readonly info: VolumeInfo;
  readonly #name: string;
  readonly #files: OpfsFiles;
  readonly #handlesMax: number;
  slotBytes: number;
  slotCount: number;
  /** Open handles, those unused for longest first. */
  readonly #open = new RecentMap<number, OpenSlot>();
  /**
   * Handles are opened one after the other, so that their number never exceeds handlesMax and no slot is opened twice.
   */
  #opening: Promise<unknown> = Promise.resolve();
  #failed: TidemarkError | undefined;
  #closed = false;
  /** Not undefined where names may be torn: in Chromium, in a volume that was there before, until a name was made. */
  #tornIn: string | undefined;

  private constructor(options: OpfsVolumeOptions, files: OpfsFiles, slotCount: number) {
    this.info = { engine: "opfs", durability: options.durability ?? "device" };
    this.#name = options.name;
    this.#files = files;
    this.slotBytes = options.slotBytes;
    this.#handlesMax = options.handlesMax ?? 200;
    this.slotCount = slotCount;
  }

  /** ALREADY_OPEN if another worker holds this volume. STORAGE_FAILED if the engine refuses. */
  static async open(options: OpfsVolumeOptions): Promise<Volume> {
    let { takeover } = options;
    const files = options.files ?? new DirectoryFiles(await findVolume(options));
    let slotCount = 0;
    for await (const name of files.list()) {
      const [, number] = /^slot-(\d{4,})$/.exec(name) ?? [];
      if (number !== undefined) slotCount = Math.max(slotCount, Number(number) + 1);
      else takeover ??= name === "taken" || undefined;
    }
    if (options.isThere && slotCount === 0) throw gone();
    if (takeover) return (await import("./copying-volume.ts")).openTaken(options, OpfsVolume.open);
    const volume = new OpfsVolume(options, files, slotCount);
    try {
      await volume.#adopt();
    } catch (thrown) {
      await volume.close();
      throw thrown;
    }
    return volume;
  }

  /**
   * Takes the size of slots from the existing files. Drops slots at the end that a crash left short and that can't
   * grow.
   */
  async #adopt(): Promise<void> {
    for (let slot = 0; slot < this.slotCount; slot++) {
      const handle = await this.#files.open(slotName(slot));
      const size = handle.getSize();
      // Slot 0 has the right size unless the very first addSlots was interrupted, so this loop ends at once.
      if (slot === 0) {
        this.#open.set(0, { handle, dirty: false });
        this.#tornIn = handle.mode;
      } else handle.close();
      if (isSlotSize(size)) {
        this.slotBytes = size;
        break;
      }
    }
    const first = this.#open.get(0);
    if (first) grow(first.handle, this.slotBytes);
    for (; this.slotCount > 1; this.slotCount--) {
      try {
        await this.#use(this.slotCount - 1, () => undefined);
        break;
      } catch (thrown) {
        if ((thrown as TidemarkError).code !== "QUOTA_EXCEEDED") throw thrown;
      }
    }
  }

  async addSlots(count: number): Promise<void> {
    this.#check();
    if (this.#tornIn) {
      this.#tornIn = undefined;
      await passTornNames();
    }
    for (let made = 0; made < count; made++) {
      const slot = this.slotCount;
      try {
        await this.#enqueue(() => this.#openSlot(slot));
      } catch (thrown) {
        const error = storageError(thrown);
        // Only a file that holds nothing yet is removed: one that an earlier crash left here is as good as new. A
        // locked file belongs to another worker.
        if (error.code !== "ALREADY_OPEN") await this.#files.remove(slotName(slot)).catch(() => undefined);
        throw error.with({ slots: this.slotCount, made });
      }
      this.slotCount = slot + 1;
    }
  }

  async prepare(slot: number): Promise<void> {
    this.#checkRange(slot, 0, 0);
    await this.#use(slot, () => undefined);
  }

  async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    this.#checkRange(slot, position, bytes.length);
    await this.#use(slot, (open) => {
      this.#refuseIfFailed();
      open.dirty = true;
      const count = open.handle.write(bytes, { at: position });
      // The rest is not written: after a short write nobody knows what the disk holds.
      if (count !== bytes.length)
        throw new TidemarkError("STORAGE_FAILED", "short write", { slot, position, length: bytes.length, count });
    });
  }

  async read(slot: number, position: number, target: Uint8Array): Promise<number> {
    this.#checkRange(slot, position, 0);
    const wanted = Math.min(target.length, this.slotBytes - position);
    return this.#use(slot, ({ handle }) => handle.read(target.subarray(0, wanted), { at: position }));
  }

  /** Nothing to do: a write is a system call already. */
  async handOver(): Promise<void> {
    this.#check();
  }

  async flush(slots: readonly number[]): Promise<void> {
    this.#check();
    this.#refuseIfFailed();
    for (const slot of slots) {
      const open = this.#open.get(slot);
      if (open) this.#flush(open);
    }
  }

  /** Writes to handles still seem to succeed when their files have no name any more. */
  async checkAttached(): Promise<boolean> {
    if (this.slotCount === 0) return true;
    try {
      // Looked up from the root: a directory handle may outlive its directory. Another tide may have the name by now.
      for (;;) {
        const before = await this.#head();
        const directory = await findDirectory(["tidemark", this.#name], false);
        const file = await (await directory.getFileHandle(slotName(0))).getFile();
        const found = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer()).join();
        const after = await this.#head();
        if (found === before || found === after) return true;
        // A commit may have come in between.
        if (before === after) return false;
      }
    } catch (thrown) {
      if (isNamed(thrown, "NotFoundError")) return false;
      throw storageError(thrown);
    }
  }

  /** The first bytes of this volume's catalog, with its generation and checksum. */
  async #head(): Promise<string> {
    const head = new Uint8Array(HEAD_BYTES);
    await this.read(0, 0, head);
    return head.join();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#opening;
    // Handles that were used last are closed first, because a worker that waits for the volume needs those files
    // first.
    for (const { handle } of [...this.#open.values()].reverse()) handle.close();
    this.#open.clear();
    await this.#files.end();
  }

  /** Calls `work` with the slot's handle, at once if it is open. */
  async #use<T>(slot: number, work: (open: OpenSlot) => T): Promise<T> {
    this.#check();
    try {
      const open = this.#open.get(slot);
      if (!open) return await this.#enqueue(async () => work(await this.#openSlot(slot)));
      this.#open.put(slot, open);
      return work(open);
    } catch (thrown) {
      throw storageError(thrown);
    }
  }

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#opening.then(work);
    this.#opening = run.catch(() => undefined);
    return run;
  }

  /** Must run in the queue of opens. */
  async #openSlot(slot: number): Promise<OpenSlot> {
    this.#check();
    const known = this.#open.get(slot);
    if (known) return known;
    if (this.#open.size >= this.#handlesMax) this.#evict();
    const handle = await this.#files.open(slotName(slot), slot ? SHARED : undefined);
    try {
      grow(handle, this.slotBytes);
    } catch (thrown) {
      handle.close();
      throw thrown;
    }
    const open = { handle, dirty: false };
    this.#open.set(slot, open);
    return open;
  }

  /**
   * Closes the handle that was unused for longest. A handle with un-flushed writes is closed only if all have some, and
   * is flushed first.
   */
  #evict(): void {
    const idle = [...this.#open].filter(([slot]) => slot !== 0);
    const [slot, open] = idle.find(([, { dirty }]) => !dirty) ?? idle[0]!;
    this.#flush(open);
    open.handle.close();
    this.#open.delete(slot);
  }

  #flush(open: OpenSlot): void {
    if (!open.dirty) return;
    try {
      open.handle.flush();
    } catch (thrown) {
      // Systems report a failed sync only once: a second flush that "succeeds" would prove nothing.
      throw (this.#failed = storageError(thrown));
    }
    open.dirty = false;
  }

  #refuseIfFailed(): void {
    if (this.#failed) throw this.#failed;
  }

  #check(): void {
    if (this.#closed) throw new TidemarkError("CLOSED", "the volume is closed");
  }

  #checkRange(slot: number, position: number, length: number): void {
    if (!(slot >= 0 && slot < this.slotCount && position >= 0 && position + length <= this.slotBytes)) {
      throw new TidemarkError("INTERNAL", "outside the volume", { slot, position, length });
    }
  }
}

/**
 * Makes a file exactly slotBytes long: Chromium doubles the quota that it reserves for a file, so one byte more than 8
 * MiB would count as 16.
 */
function grow(handle: SyncHandle, slotBytes: number): void {
  if (handle.getSize() < slotBytes) handle.truncate(slotBytes);
}
