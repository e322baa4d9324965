/**
 * Connections that end, over real sockets to real workerd. H1 of docs/sync.md: at some bytes of a session
 * (byte-cuts.ts). H39: a deployment ends all sockets at once.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { type LocalWorker, startWorker } from "../local-worker.ts";
import { cutEachByte, newLog, newNetwork } from "./byte-cuts.ts";
import { SyncDevice } from "./sync-device.ts";

/** Every sixteenth byte. `npm run sync -- --bytes` cuts at each. */
const STEP = 16;

let worker: LocalWorker;
beforeAll(async () => void (worker = await startWorker()));
afterAll(() => worker.stop());

/** What a deployment ends, and over how long they come back (docs/sync.md, "Link"). */
const DEPLOYED = 60;
const SPREAD_MS = 2_000;

it.each(["up", "down"] as const)("once, drained and level, wherever the way %s is cut", async (way) => {
  const { cuts, bytes } = await cutEachByte(worker.url, way, STEP);
  expect(cuts).toBeGreaterThan(30);
  console.log(`${cuts} cuts of the way ${way}, ${bytes} bytes`);
});

it("H39: devices whose sockets a deployment ends come back over two seconds, and not all at once", async () => {
  const { path, address } = await newLog(worker.url);
  const network = await newNetwork(worker.url);
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
      // The status is told a moment later. One that drew little may be on its way again by then.
      await device.until(() => device.status.state !== "live");
      waits.push(Math.max(0, (device.status.nextTryAt ?? 0) - Date.now()));
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
