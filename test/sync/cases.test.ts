/**
 * Hard cases of docs/sync.md in real Chromium, with the edge in real workerd and a network between them. Each has a log
 * and devices of its own. In the end each record that was acknowledged is at the edge once, and every tab holds what
 * the edge holds.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { Device, SyncTab } from "./device.ts";
import { endOf, readEdge } from "./edge.ts";
import { Fleet } from "./fleet.ts";

let fleet: Fleet;
let path: string;
let cases = 0;
beforeAll(async () => void (fleet = await Fleet.start()), 120_000);
afterAll(() => fleet?.end());
afterEach(async () => {
  const errors = fleet.devices.flatMap((device) => device.errors);
  for (const device of [...fleet.devices]) await fleet.remove(device);
  expect([...errors, ...fleet.ledger.problems.splice(0)]).toEqual([]);
});

async function deviceWith(tabs: number, name = "ann"): Promise<Device> {
  path = `shared/case-${++cases}`;
  const device = await fleet.add(name, { config: { path, leaderTimeoutMs: 1_500 } });
  while (device.tabs.length < tabs) await device.open();
  return device;
}

const endNow = (): Promise<number> => endOf(fleet.edge.url, path);
const valuesAtEdge = async (): Promise<string[]> => (await readEdge(fleet.edge.url, path)).map(([, value]) => value);
const others = (device: Device, tab: SyncTab): SyncTab[] => device.tabs.filter((each) => each !== tab);

/** A hidden leader hands over to the visible tab, which was opened last. */
async function leaderOf(device: Device): Promise<SyncTab> {
  let leader: SyncTab | undefined;
  await expect
    .poll(async () => (leader = await device.leader()) !== undefined && leader === device.tabs.at(-1), {
      timeout: 10_000,
    })
    .toBe(true);
  return leader!;
}

/** All is at the edge, and every tab of the device holds it. */
async function settled(device: Device, values: readonly string[]): Promise<void> {
  await Promise.all(device.tabs.map((tab) => tab.call("holds", values.length)));
  expect(await valuesAtEdge()).toEqual(values);
  for (const tab of device.tabs) expect((await tab.call("read")).map(([, value]) => value)).toEqual(values);
  // Also in a tab that hung while it was told where its records are.
  const unplaced = async (): Promise<number[]> =>
    (await Promise.all(device.tabs.map((tab) => tab.call("brief")))).map((brief) => brief.unplaced);
  await expect.poll(unplaced).toEqual(device.tabs.map(() => 0));
}

it("H3: the leader is killed between push and ok, three times in a row", async () => {
  const device = await deviceWith(2);
  const network = fleet.networkOf(device);
  // The first append draws an id, which the edge must answer before anything is pushed under it.
  await device.tabs[0]!.call("write", "first", 0, 1);
  const values = ["first-0"];
  for (let round = 0; round < 3; round++) {
    const leader = await leaderOf(device);
    await leader.call("level");
    const before = await endNow();
    network.swallow("down");
    const [writer] = others(device, leader);
    await writer!.call("write", `h3-${round}`, 0, 5);
    values.push(...Array.from({ length: 5 }, (_, i) => `h3-${round}-${i}`));
    // The edge has taken the push, and its answer is lost.
    await expect.poll(endNow).toBe(before + 5);
    await device.crashTab(leader);
    network.heal();
    await device.open();
  }
  await settled(device, values);
  for (const tab of device.tabs) expect((await tab.call("events")).filter(({ type }) => type !== "token")).toEqual([]);
});

it.each([
  ["H4: a hung leader's push arrives behind its successor's join", 6_000],
  ["H5: a hung leader's push arrives before its successor joins", 300],
])("%s; the leader wakes", async (_, latencyMs) => {
  const device = await deviceWith(2);
  const network = fleet.networkOf(device);
  const leader = await leaderOf(device);
  await leader.call("level");
  const [follower] = others(device, leader);
  // What is under way keeps its delay, what comes later has none.
  network.weather.latencyMs = latencyMs;
  network.effect = 0;
  const wroteAt = performance.now();
  await leader.call("write", "late", 0, 3);
  await expect.poll(() => network.effect, { timeout: 5_000 }).toBeGreaterThan(100);
  network.weather.latencyMs = 0;
  const pid = await leader.process(device.pid);
  process.kill(pid, "SIGSTOP");
  try {
    await follower!.call("write", "next", 0, 3);
    await expect.poll(endNow).toBe(6);
    expect((await follower!.call("brief")).role).toBe("leader");
    // The late frame is there by now, too.
    await sleep(Math.max(0, wroteAt + latencyMs + 500 - performance.now()));
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await settled(device, ["late-0", "late-1", "late-2", "next-0", "next-1", "next-2"]);
  await leader.call("write", "woken", 0, 1);
  await settled(device, ["late-0", "late-1", "late-2", "next-0", "next-1", "next-2", "woken-0"]);
});

it("H25: the leader has no token function, and is given the token of another tab", async () => {
  const device = await deviceWith(0);
  const leader = await device.open({ tokens: undefined });
  await leader.call("write", "h25", 0, 2);
  await expect.poll(async () => (await leader.call("status"))?.reason).toBe("signed-out");
  await device.open();
  await leader.page.bringToFront();
  await settled(device, ["h25-0", "h25-1"]);
  // A new socket needs a token, too.
  fleet.networkOf(device).cut();
  await leader.call("write", "h25", 2, 1);
  await settled(device, ["h25-0", "h25-1", "h25-2"]);
});

it("H26: a page that was hidden and frozen is shown, and leaves a dead socket that says open", async () => {
  const device = await deviceWith(1);
  const [tab] = device.tabs;
  await tab!.call("write", "before", 0, 1);
  await tab!.call("level");
  expect((await tab!.call("status"))?.connected).toBe(true);
  // Another page in front hides it.
  await device.page();
  await tab!.freeze();
  const network = fleet.networkOf(device);
  network.swallow("up", "down");
  const other = await fleet.add("ben", { config: { path, leaderTimeoutMs: 1_500 } });
  await (await other.open()).call("write", "meanwhile", 0, 1);
  await expect.poll(endNow).toBe(2);
  // If all of this took long, it was left by now: for a minute's silence, or because nobody saw the page.
  await tab!.thaw();
  await tab!.show();
  // By its silence alone it would be left after a minute.
  await expect.poll(async () => (await tab!.call("status"))?.connected).toBe(false);
  network.heal();
  await settled(device, ["before-0", "meanwhile-0"]);
});

it("H26: a page that leads comes back from the cache of pages, and what waited goes out", async () => {
  const device = await deviceWith(1);
  const tab = device.tabs[0]!;
  await tab.call("write", "before", 0, 1);
  await tab.call("level");
  const network = fleet.networkOf(device);
  network.refuse();
  await tab.call("write", "pending", 0, 2);
  await tab.page.goto("about:blank");
  const other = await fleet.add("ben", { config: { path, leaderTimeoutMs: 1_500 } });
  await (await other.open()).call("write", "meanwhile", 0, 1);
  network.heal();
  await expect.poll(endNow).toBe(2);
  // No event tells when Chromium has put the page into its cache. Going back sooner would reload it.
  await sleep(500);
  await tab.page.goBack({ waitUntil: "commit" });
  expect((await tab.call("brief")).restored).toBe(1);
  await tab.call("write", "after", 0, 1);
  await settled(device, ["before-0", "meanwhile-0", "pending-0", "pending-1", "after-0"]);
  expect(await tab.call("status")).toMatchObject({ state: "live", connected: true });
  expect((await tab.call("brief")).role).toBe("leader");
});

it("H37: site data is cleared under an open leader; a new outbox, and nothing twice", async () => {
  const device = await deviceWith(2);
  const leader = await leaderOf(device);
  await leader.call("write", "before", 0, 3);
  await leader.call("level");
  fleet.networkOf(device).refuse();
  await leader.call("write", "cleared", 0, 2);
  const origin = new URL(fleet.stage.url).origin;
  await leader.session.send("Storage.clearDataForOrigin", { origin, storageTypes: "all" });
  const closed = async (): Promise<(string | undefined)[]> =>
    (await Promise.all(device.tabs.map((tab) => tab.call("brief")))).map((brief) => brief.closed);
  await expect.poll(closed).toEqual(Array(2).fill(expect.stringMatching(/cleared|gone/)));
  fleet.networkOf(device).heal();
  for (const tab of [...device.tabs]) {
    const again = await device.reload(tab);
    await device.openTide(again);
    device.tabs.push(again);
  }
  await device.tabs[0]!.call("write", "after", 0, 2);
  // What was cleared before it was sent is gone, and said to be at risk (docs/sync.md, "What is promised").
  await settled(device, ["before-0", "before-1", "before-2", "after-0", "after-1"]);
  fleet.ledger.problems.splice(0);
});
