/**
 * H1 of docs/sync.md: a session's connection ends at byte k, of what the device sends or of what the edge sends, over
 * real sockets to real workerd. Each k has a device, a log and a network of its own. Whatever was cut, the records are
 * at the edge once and in order, and here as well.
 */
import assert from "node:assert/strict";
import { FaultProxy, type Way } from "../../sync/proxy.ts";
import { SyncDevice } from "./sync-device.ts";

const AT_ONCE = 64;
const VALUES = ["one", "two", "three"];
/** The least that a session sends either way. */
const BYTES_MIN = 500;
let logs = 0;

/** `edge` is an address. */
export async function newLog(edge: string): Promise<{ readonly path: string; readonly address: string }> {
  const path = `cuts/${++logs}`;
  const address = `${edge}/v1/stream/${path}`;
  await fetch(address, { method: "PUT", headers: { "content-type": "application/json" } });
  return { path, address };
}
export const newNetwork = (edge: string): Promise<FaultProxy> => new FaultProxy(Number(new URL(edge).port)).start();

/** A session from its first byte on. With `cut` its connection ends there. Returns how many bytes went each way. */
async function session(edge: string, cut?: readonly [way: Way, bytes: number]): Promise<Record<Way, number>> {
  const { path, address } = await newLog(edge);
  const network = await newNetwork(edge);
  if (cut) network.stopAfter(...cut);
  const device = await SyncDevice.open();
  try {
    await device.start({ url: network.url, topics: { orders: { path } } });
    for (const value of VALUES) await device.write(value);
    await device.level();
    const at = cut ? `cut at byte ${cut[1]} ${cut[0]}` : "not cut";
    assert.deepEqual(await (await fetch(`${address}?offset=-1`)).json(), VALUES, at);
    await device.until(() => device.of().watermark === VALUES.length);
    assert.deepEqual(
      await device.committed(),
      VALUES.map((value) => JSON.stringify(value)),
      at,
    );
    assert.equal(network.effect, cut ? 1 : 0, at);
    return { ...network.bytes };
  } finally {
    await device.close();
    await network.stop();
  }
}

/**
 * Cuts one way at every so-manieth byte: 1 is each. Rejects with what the first bad one did. `edge` is an address.
 */
export async function cutEachByte(
  edge: string,
  way: Way,
  step: number,
  onCut: () => void = () => undefined,
): Promise<{ readonly bytes: number; readonly cuts: number }> {
  const bytes = (await session(edge))[way];
  assert.ok(bytes > BYTES_MIN, `only ${bytes} bytes go ${way}`);
  const cuts = Array.from({ length: Math.floor(bytes / step) }, (_, i) => 1 + i * step);
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < cuts.length) {
      await session(edge, [way, cuts[next++]!]);
      onCut();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  return { bytes, cuts: cuts.length };
}
