/**
 * A simulated browser whose workers a test drives directly, each with its own volume. There are no pages and there is
 * no election.
 */
import { expect } from "vitest";
import { Random } from "../prng.ts";
import { loadTabs } from "./entry.ts";
import { Platform } from "./platform.ts";
import { type Context, World } from "./world.ts";

const unchanged = await loadTabs();
export const SLOT_BYTES = 64 * 1024;
const READ_BYTES = 100;
type Readable = { read(slot: number, position: number, target: Uint8Array): Promise<number> };

export function simulatedBrowser(isChromium = true, { product } = unchanged) {
  const world = new World(new Random(7), false);
  const platform = new Platform(world, product, new Random(8), {
    engine: "opfs",
    hasSharedWorker: true,
    isChromium,
    lateLocks: 0,
  });
  /** Runs the world until `work` is answered. */
  const sure = async <T>(work: Promise<T>): Promise<T> => {
    let settled = false;
    const end = (): void => void (settled = true);
    work.then(end, end);
    expect(await world.run(() => settled, world.now + 60_000)).toBe(true);
    return work;
  };
  const read = async (volume: Readable, slot: number, position = 0, length = READ_BYTES): Promise<Uint8Array> => {
    const target = new Uint8Array(length);
    await sure(volume.read(slot, position, target));
    return target;
  };
  const end = async (context: Context): Promise<void> => {
    context.end();
    await world.run(() => false, world.now + 1000);
  };
  return { world, platform, sure, read, end };
}
