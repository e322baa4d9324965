/**
 * H1 of docs/sync.md: a session's connection ends at byte k, of what the device sends or of what the edge sends, over
 * real sockets to real workerd. Each k has a device, a log and a network of its own. Whatever was cut, the records are
 * at the edge once and in order, and here as well.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { FaultProxy, type Way } from "../../sync/proxy.ts";
import { type LocalWorker, startWorker } from "../local-worker.ts";
import { SyncDevice } from "./sync-device.ts";

/** Every sixteenth byte: with 1, every one, in some minutes. */
const STEP = 16;
const AT_ONCE = 64;
const VALUES = ["one", "two", "three"];

let worker: LocalWorker;
let logs = 0;
beforeAll(async () => void (worker = await startWorker()), 60_000);
afterAll(() => worker.stop());

/** A session from its first byte on. With `cut` its connection ends there. Returns how many bytes went each way. */
async function session(cut?: readonly [way: Way, bytes: number]): Promise<Record<Way, number>> {
  const path = `cuts/${++logs}`;
  const address = `${worker.url}/v1/stream/${path}`;
  await fetch(address, { method: "PUT", headers: { "content-type": "application/json" } });
  const network = await new FaultProxy(Number(new URL(worker.url).port)).start();
  if (cut) network.stopAfter(...cut);
  const device = await SyncDevice.open();
  try {
    await device.start({ url: network.url, topics: { orders: { path } } });
    for (const value of VALUES) await device.write(value);
    await device.level();
    const at = cut ? `cut at byte ${cut[1]} ${cut[0]}` : "not cut";
    expect(await (await fetch(`${address}?offset=-1`)).json(), at).toEqual(VALUES);
    await device.until(() => device.of().watermark === VALUES.length);
    expect(await device.committed(), at).toEqual(VALUES.map((value) => JSON.stringify(value)));
    expect(network.effect, at).toBe(cut ? 1 : 0);
    return { ...network.bytes };
  } finally {
    await device.close();
    await network.stop();
  }
}

it.each(["up", "down"] as const)("once, drained and level, wherever the way %s is cut", async (way) => {
  const whole = (await session())[way];
  expect(whole).toBeGreaterThan(500);
  const cuts = Array.from({ length: Math.floor(whole / STEP) }, (_, i) => 1 + i * STEP);
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < cuts.length) await session([way, cuts[next++]!]);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  console.log(`${cuts.length} cuts of the way ${way}, ${whole} bytes`);
});
