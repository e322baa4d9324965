/**
 * Connections that end, over real sockets to real workerd. H1 of docs/sync.md: a session's connection ends at byte k,
 * of what the device sends or of what the edge sends. Each k has a device, a log and a network of its own. Whatever was
 * cut, the records are at the edge once and in order, and here as well. H39: a deployment ends all sockets at once.
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

/** What a deployment ends, and over how long they come back (docs/sync.md, "Link"). */
const DEPLOYED = 60;
const SPREAD_MS = 2_000;

async function newLog(): Promise<{ readonly path: string; readonly address: string }> {
  const path = `cuts/${++logs}`;
  const address = `${worker.url}/v1/stream/${path}`;
  await fetch(address, { method: "PUT", headers: { "content-type": "application/json" } });
  return { path, address };
}
const newNetwork = (): Promise<FaultProxy> => new FaultProxy(Number(new URL(worker.url).port)).start();

/** A session from its first byte on. With `cut` its connection ends there. Returns how many bytes went each way. */
async function session(cut?: readonly [way: Way, bytes: number]): Promise<Record<Way, number>> {
  const { path, address } = await newLog();
  const network = await newNetwork();
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

it("H39: devices whose sockets a deployment ends come back over two seconds, and not all at once", async () => {
  const { path, address } = await newLog();
  const network = await newNetwork();
  const devices = await Promise.all(Array.from({ length: DEPLOYED }, () => SyncDevice.open()));
  const every = (work: (device: SyncDevice, n: number) => Promise<unknown>): Promise<unknown> =>
    Promise.all(devices.map(work));
  try {
    await every(async (device, n) => {
      await device.start({ url: network.url, topics: { orders: { path } } });
      await device.write(`before ${n}`);
      await device.level();
    });
    const waits: number[] = [];
    const ended = every(async (device) => {
      await device.until(() => device.status.state === "offline");
      // Seen later than it was drawn, if at all.
      waits.push(device.status.nextTryAt! - Date.now());
    });
    network.deployed();
    await ended;
    expect(Math.max(...waits)).toBeLessThanOrEqual(SPREAD_MS);
    const quarters = [0, 1, 2, 3].map(
      (quarter) => waits.filter((ms) => Math.floor((ms * 4) / SPREAD_MS) === quarter).length,
    );
    // By chance a quarter of them has fewer than 3 once in 30,000 runs.
    expect(Math.min(...quarters), quarters.join(", ")).toBeGreaterThanOrEqual(3);
    await every(async (device, n) => {
      await device.until(() => device.status.state === "live");
      await device.write(`after ${n}`);
      await device.level();
    });
    const values = (await (await fetch(`${address}?offset=-1`)).json()) as string[];
    const wanted = devices.flatMap((_, n) => [`before ${n}`, `after ${n}`]);
    expect(values.toSorted()).toEqual(wanted.toSorted());
  } finally {
    await every((device) => device.close());
    await network.stop();
  }
});
