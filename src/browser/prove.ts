/** The proof that an engine is to give before it holds a new tide. Loaded for new tides only. */
import { TidemarkError } from "../errors.ts";
import { type Engine, readExactly, type Volume } from "../store/volume.ts";
import { findDirectory } from "./opfs.ts";
import { databaseName } from "./platform.ts";
import type { VolumeOptions } from "./probe.ts";

const SLOT_BYTES = 64 * 1024;

async function remove(engine: Engine, name: string): Promise<void> {
  if (engine === "opfs") return (await findDirectory(["tidemark"], false)).removeEntry(name, { recursive: true });
  await new Promise<void>((resolve) => {
    const request = indexedDB.deleteDatabase(databaseName(name));
    request.onsuccess = request.onerror = request.onblocked = () => resolve();
  });
}

/** Writes, flushes, closes, opens again and compares, in a volume of its own that is gone afterwards. */
export async function prove(engine: Engine, open: (options: VolumeOptions) => Promise<Volume>): Promise<void> {
  const name = `.probe-${crypto.randomUUID()}`;
  const options = { name, slotBytes: SLOT_BYTES };
  const written = crypto.getRandomValues(new Uint8Array(1000));
  let volume: Volume | undefined;
  try {
    volume = await open(options);
    await volume.addSlots(1);
    await volume.write(0, 4000, written);
    await volume.flush([0]);
    await volume.close();
    volume = await open(options);
    const read = await readExactly(volume, 0, 4000, written.length);
    if (!read.every((byte, at) => byte === written[at])) throw new TidemarkError("STORAGE_FAILED", "other bytes came back");
  } finally {
    await volume?.close().catch(() => undefined);
    await remove(engine, name).catch(() => undefined);
  }
}
