/**
 * What connections cost: how soon one that was cut is there again, and how many bytes one needs on which nothing
 * happens, seen or hidden.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { quantile } from "../../support/figures.mjs";
import type { FaultProxy } from "../../sync/proxy.ts";
import type { SyncBench } from "./sync-bench.ts";

const HOUR_MS = 3_600_000;
/** After ten seconds of life the back-off begins anew. */
const SETTLED_MS = 10_200;
/** Between two cuts of different tides. */
const TURN_MS = 1_000;

/** Connections of tides of one browser are cut in turn, each when it has lived for long enough. */
export async function reconnect(bench: SyncBench): Promise<void> {
  const { tides: count, cuts, idleMs } = bench.size;
  const device = await bench.added(bench.newLog());
  const tides: Awaited<ReturnType<SyncBench["beside"]>>[] = [];
  while (tides.length < count) tides.push(await bench.beside(device, bench.newLog()));
  for (const { tab } of tides) await tab.call("level");
  const hidden = (await Promise.all(tides.map(({ tab }) => tab.call("visibility")))).filter((is) => is !== "visible");
  if (hidden.length > 0) throw new Error(`${hidden.length} of ${count} windows are hidden`);
  const times: number[] = [];
  const cut = async ({ tab, network }: (typeof tides)[number]): Promise<void> => {
    const down = tab.call("down");
    const at = performance.timeOrigin + performance.now();
    network.cut();
    await down;
    times.push(await tab.call("live", at));
  };
  await sleep(Math.min(idleMs, SETTLED_MS));
  for (let round = 0; round < cuts; round++)
    for (const tide of tides) {
      await cut(tide);
      // Within a round of all tides each one lives for long enough.
      await sleep(Math.min(idleMs, TURN_MS));
    }
  bench.keep("sync.reconnect.p50Ms", times, quantile(times, 0.5));
  bench.keep("sync.reconnect.p99Ms", [], quantile(times, 0.99));
  bench.keep("sync.reconnect.maxMs", [], Math.max(...times));
  await bench.clear();
}

const bytesOf = ({ bytes }: FaultProxy): number => bytes.up + bytes.down;

/** Two devices on which nothing happens: the page of one is seen, that of the other one is hidden behind another. */
export async function idle(bench: SyncBench): Promise<void> {
  const { idleMs } = bench.size;
  const [seen, hidden] = [await bench.added(bench.newLog()), await bench.added(bench.newLog())];
  for (const device of [seen, hidden]) {
    await device.openTide();
    await device.tab.call("level");
  }
  await hidden.hide();
  const [one, other] = [await seen.tab.call("visibility"), await hidden.tab.call("visibility")];
  if (one !== "visible" || other !== "hidden") throw new Error(`the pages are ${one} and ${other}`);
  // A minute without a page that is seen. The tiny sizes do not wait for it, and then their figure is another one.
  if (idleMs >= SETTLED_MS) await hidden.tab.call("becomes", "paused");
  await sleep(Math.min(idleMs, 1_000));
  const before = [seen, hidden].map(({ network }) => bytesOf(network));
  await sleep(idleMs);
  const [bytes, quiet] = [seen, hidden].map(({ network }, i) => bytesOf(network) - before[i]!) as [number, number];
  bench.keep("sync.idle.bytesPerHour", [bytes], (bytes * HOUR_MS) / idleMs);
  bench.keep("sync.idle.hidden.bytesPerHour", [quiet], (quiet * HOUR_MS) / idleMs);
  await bench.clear();
}
