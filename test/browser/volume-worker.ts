/**
 * The dedicated worker in which volumes are tested: sync access handles exist nowhere else. It runs contract cases by
 * name, and offers the few steps that need the page (quota, cleared site data) between them.
 */
import { expose } from "comlink";
import { IdbVolume } from "../../src/browser/idb-volume.ts";
import { OpfsVolume } from "../../src/browser/opfs-volume.ts";
import { loadKernel } from "../../src/kernel/load.ts";
import type { Volume } from "../../src/store/volume.ts";
import { storeCases } from "../contract/store-contract.ts";
import { volumeCases, type VolumeHost } from "../contract/volume-contract.ts";
import kernelUrl from "../../.cache/kernel/release.wasm?url";

export type BrowserEngine = "opfs" | "indexeddb";

const openers = {
  opfs: (name: string, slotBytes: number): Promise<Volume> => OpfsVolume.open({ name, slotBytes }),
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
    keepsUnflushed: engine === "opfs",
    newVolume: (slotBytes) => open(`test-${crypto.randomUUID()}`, slotBytes),
    reopen: (volume, slotBytes = volume.slotBytes) => open(names.get(volume)!, slotBytes),
    async clean() {
      for (const [volume] of names) await volume.close();
      for (const name of new Set(names.values())) await removeVolume(engine, name);
    },
  };
}

export async function removeVolume(engine: BrowserEngine, name: string): Promise<void> {
  if (engine === "opfs") {
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

const api = {
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
      await storeCases.find((one) => one.name === name)!.run({ ...host, kernel: await loadKernel(kernelUrl) });
    } finally {
      await host.clean();
    }
  },
};
export type VolumeWorker = typeof api;
expose(api);
