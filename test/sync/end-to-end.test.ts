/**
 * Two devices and a fresh one, in real Chromium over profiles of their own, and an edge in real workerd, with a network
 * between them that is cut: what was written offline is at the edge once, in order, and everybody sees the same.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { PROVISIONAL_FROM } from "../../src/log/provisional-layout.ts";
import { Fleet } from "./fleet.ts";

let fleet: Fleet;
beforeAll(async () => void (fleet = await Fleet.start()), 120_000);
afterAll(() => fleet?.end());

const named = (name: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${name}-${i}`);

it("two devices write offline, one is loaded anew, and both become equal; nothing is lost or doubled", async () => {
  const [ann, ben] = await Promise.all([fleet.add("ann"), fleet.add("ben")]);
  // What a topic had before it was synced is its outbox.
  let anns = await ann.open({ edge: undefined });
  expect(await anns.call("write", "ann", 0, 20)).toEqual(Array.from({ length: 20 }, (_, i) => i));
  await anns.call("close");
  anns = await ann.reload(anns);
  await ann.openTide(anns);
  await anns.call("level");
  let bens = await ben.open();
  await bens.call("level");
  expect((await bens.call("read")).map(([, value]) => value)).toEqual(named("ann", 20));

  for (const device of [ann, ben]) fleet.networkOf(device).refuse();
  const offsets = await anns.call("write", "ann", 20, 80);
  for (const offset of offsets) expect(offset).toBeGreaterThanOrEqual(PROVISIONAL_FROM);
  await bens.call("write", "ben", 0, 100);
  expect(await bens.call("seen")).toEqual([...named("ann", 20), ...named("ben", 100)]);
  // A page that is loaded anew offline shows what it had, and goes on.
  bens = await ben.reload(bens);
  await ben.openTide(bens);
  expect(await bens.call("seen")).toEqual([...named("ann", 20), ...named("ben", 100)]);
  await expect.poll(async () => (await bens.call("status"))!.topics["orders"]!.pending.records).toBe(100);
  await bens.call("write", "ben", 100, 10);

  for (const device of [ann, ben]) fleet.networkOf(device).heal();
  await Promise.all([anns.call("holds", 210), bens.call("holds", 210)]);
  const [annsRead, bensRead] = await Promise.all([anns.call("read"), bens.call("read")]);
  expect(annsRead).toEqual(bensRead);
  expect(annsRead.map(([offset]) => offset)).toEqual(Array.from({ length: 210 }, (_, i) => i));
  const values = annsRead.map(([, value]) => value);
  expect(values.filter((value) => value.startsWith("ann"))).toEqual(named("ann", 100));
  expect(values.filter((value) => value.startsWith("ben"))).toEqual(named("ben", 110));
  // Each promise of a place was kept, with the offset that a reader finds.
  const places = await anns.call("places");
  expect(places.slice(-80).map((offset) => values[offset!])).toEqual(named("ann", 100).slice(20));

  expect(await anns.call("writeThrough", "through")).toBe(210);
  const fresh = await fleet.add("fresh");
  const tab = await fresh.open();
  await tab.call("holds", 211);
  expect((await tab.call("read")).map(([, value]) => value)).toEqual([...values, "through"]);
  expect(await tab.call("topics")).toEqual(["orders"]);
  expect(fleet.devices.flatMap(({ errors }) => errors)).toEqual([]);
});
