/**
 * The dedicated worker in which volumes are tested: sync access handles exist nowhere else. It runs contract cases by
 * name, and offers the few steps that need the page (quota, cleared site data) between them.
 */
import { expose } from "comlink";
import { FilesAhead } from "../../src/browser/volume/preopened-files.ts";
import { IdbVolume } from "../../src/browser/volume/idb-volume.ts";
import { OpfsVolume } from "../../src/browser/volume/opfs-volume.ts";
import { workerEnd } from "../../src/browser/platform/locks.ts";
import { TidemarkError, type WireError } from "../../src/errors.ts";
import { loadKernel } from "../../src/kernel/load.ts";
import { readExactly, type Volume } from "../../src/store/volume.ts";
import { exchangeCases } from "../contract/exchange-contract.ts";
import { storeCases } from "../contract/store-contract.ts";
import { syncedCases } from "../contract/synced-contract.ts";
import { syncedHealingCases } from "../contract/synced-healing-contract.ts";
import { syncedReadingCases } from "../contract/synced-reading-contract.ts";
import { volumeCases, type VolumeHost } from "../contract/volume-contract.ts";
import { standStill } from "../tabs/stand-still.ts";
import kernelUrl from "../../.cache/kernel/release.wasm?url";

/** "ahead": OPFS, by a worker that stood by and has opened files ahead. */
export type BrowserEngine = "opfs" | "ahead" | "indexeddb";

async function openAhead(name: string, slotBytes: number, files: FilesAhead): Promise<Volume> {
  return OpfsVolume.open({ name, slotBytes, files });
}

const openers = {
  opfs: (name: string, slotBytes: number): Promise<Volume> => OpfsVolume.open({ name, slotBytes }),
  async ahead(name: string, slotBytes: number): Promise<Volume> {
    const files = await FilesAhead.find(name).catch(() => undefined);
    // Nobody stands by for a volume that is not there.
    if (!files) return openers.opfs(name, slotBytes);
    void files.openAhead(Promise.resolve());
    return openAhead(name, slotBytes, files);
  },
  indexeddb: (name: string, slotBytes: number): Promise<Volume> => IdbVolume.open({ name, slotBytes }),
};

/** Volumes with names of their own, on one engine; `clean` removes them. */
function hostOf(engine: BrowserEngine): VolumeHost & { clean(): Promise<void> } {
  const names = new Map<Volume, string>();
  const open = async (name: string, slotBytes: number): Promise<Volume> => {
    const volume = await openers[engine](name, slotBytes);
    names.set(volume, name);
    return volume;
  };
  return {
    keepsUnflushed: engine !== "indexeddb",
    newVolume: (slotBytes) => open(`test-${crypto.randomUUID()}`, slotBytes),
    reopen: (volume, slotBytes = volume.slotBytes) => open(names.get(volume)!, slotBytes),
    async clean() {
      for (const [volume] of names) await volume.close();
      for (const name of new Set(names.values())) await removeVolume(engine, name);
    },
  };
}

async function removeVolume(engine: BrowserEngine, name: string): Promise<void> {
  if (engine !== "indexeddb") {
    const root = await navigator.storage.getDirectory();
    await (await root.getDirectoryHandle("tidemark")).removeEntry(name, { recursive: true });
  } else {
    await new Promise<void>((resolve, reject) => {
      const request = indexedDB.deleteDatabase(`tidemark:${name}`);
      request.onsuccess = () => resolve();
      request.onerror = () => reject(request.error);
    });
  }
}

/** A TidemarkError loses its code on the way to the page, so it travels as a value. */
export type Outcome<T> =
  { readonly value: T; readonly error?: undefined } | { readonly error: WireError; readonly value?: undefined };

async function outcomeOf<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await work() };
  } catch (thrown) {
    if (thrown instanceof TidemarkError) return { error: thrown.toWire() };
    throw thrown;
  }
}

/** The volume that the steps below work on. */
let volume: OpfsVolume | IdbVolume;
let ahead: FilesAhead;
/** Every database connection of this worker, and how many sync handles it has open. */
const databases: IDBDatabase[] = [];
const handles = { open: 0, most: 0 };

function watchDatabases(): void {
  const original = IDBFactory.prototype.open;
  IDBFactory.prototype.open = function (this: IDBFactory, ...args) {
    const request = original.apply(this, args);
    request.addEventListener("success", () => databases.push(request.result));
    return request;
  };
}

function watchHandles(): void {
  type Handle = { close(): void };
  const prototype = FileSystemFileHandle.prototype as FileSystemFileHandle & {
    createSyncAccessHandle(options?: object): Promise<Handle>;
  };
  const original = prototype.createSyncAccessHandle;
  prototype.createSyncAccessHandle = async function (...args) {
    const handle = await original.apply(this, args);
    handles.most = Math.max(handles.most, ++handles.open);
    const close = handle.close.bind(handle);
    handle.close = () => {
      handles.open--;
      close();
    };
    return handle;
  };
}
watchDatabases();
watchHandles();

const api = {
  open: (engine: BrowserEngine, name: string, slotBytes: number, handlesMax?: number): Promise<Outcome<void>> =>
    outcomeOf(async () => {
      const limit = handlesMax === undefined ? {} : { handlesMax };
      databases.length = 0;
      if (engine === "ahead") volume = (await openAhead(name, slotBytes, ahead)) as OpfsVolume;
      else
        volume =
          engine === "opfs"
            ? ((await OpfsVolume.open({ name, slotBytes, ...limit })) as OpfsVolume)
            : await IdbVolume.open({ name, slotBytes });
    }),
  async standBy(name: string): Promise<void> {
    ahead = await FilesAhead.find(name);
  },
  /** Opens files beside a living leader, if they can be opened. */
  async beside(): Promise<void> {
    await ahead.prepare(() => true);
  },
  async release(): Promise<void> {
    await ahead.release();
  },
  /** A standby worker opens files; if they are locked, it does so once the holder of this lock is gone. */
  async prepare(last: string): Promise<void> {
    void ahead.openAhead(workerEnd(last)).catch(() => undefined);
  },
  /** One method of the open volume. */
  call<M extends "addSlots" | "write" | "handOver" | "flush" | "close" | "checkAttached">(
    method: M,
    ...args: Parameters<IdbVolume[M] & OpfsVolume[M]>
  ): Promise<Outcome<unknown>> {
    return outcomeOf(() => (volume[method] as (...args: unknown[]) => Promise<unknown>).apply(volume, args));
  },
  /** The worker hangs first: what happens meanwhile it has not heard of when it flushes. */
  flushAfterHanging(ms: number): Promise<Outcome<unknown>> {
    standStill(ms);
    return outcomeOf(() => (volume as IdbVolume).flush());
  },
  read: (slot: number, position: number, length: number): Promise<Outcome<Uint8Array>> =>
    outcomeOf(() => readExactly(volume, slot, position, length)),
  slotCount: async (): Promise<number> => volume.slotCount,
  handles: async () => handles,
  /** As an engine that loses them: the next transaction fails, and with "close" the event comes as well. */
  async loseConnections(how: "silently" | "close event"): Promise<number> {
    const lost = databases.splice(0);
    for (const database of lost) {
      database.close();
      if (how === "close event") database.dispatchEvent(new Event("close"));
    }
    return lost.length;
  },
  /** Removes every page of a volume behind its back. */
  async deletePages(name: string): Promise<void> {
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(`tidemark:${name}`, 1);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    await new Promise((resolve, reject) => {
      const tx = database.transaction("pages", "readwrite");
      tx.objectStore("pages").clear();
      tx.oncomplete = resolve;
      tx.onabort = reject;
    });
    database.close();
  },
  async runVolumeCase(engine: BrowserEngine, name: string): Promise<void> {
    const host = hostOf(engine);
    try {
      await volumeCases.find((one) => one.name === name)!.run(host);
    } finally {
      await host.clean();
    }
  },
  async runStoreCase(engine: BrowserEngine, name: string): Promise<void> {
    const host = hostOf(engine);
    try {
      await [...storeCases, ...exchangeCases]
        .find((one) => one.name === name)!
        .run({ ...host, kernel: await loadKernel(kernelUrl), few: true });
    } finally {
      await host.clean();
    }
  },
  async runSyncedCase(engine: BrowserEngine, name: string): Promise<void> {
    const host = hostOf(engine);
    try {
      await [...syncedCases, ...syncedReadingCases, ...syncedHealingCases]
        .find((one) => one.name === name)!
        .run({ ...host, kernel: await loadKernel(kernelUrl) });
    } finally {
      await host.clean();
    }
  },
};
export type VolumeWorker = typeof api;
expose(api);
