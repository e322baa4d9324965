/**
 * What a person is asked and answers, in two tabs of one profile in real Chromium, with an edge in real workerd:
 * blocked records set aside, a pause over a reload, the end of a topic's sync. Each tab sees what the other did. And a
 * view of the synced topic goes on from its snapshot.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { Fleet } from "./fleet.ts";

/** In a log of JSON. */
const NO_JSON = "{marked";

let fleet: Fleet;
beforeAll(async () => void (fleet = await Fleet.start()), 120_000);
afterAll(() => fleet?.end());

it("an answer of one tab holds for all, also after a reload", async () => {
  const device = await fleet.add("ann");
  let first = await device.open({ odd: true });
  const second = await device.open({ odd: true });
  await first.call("write", "ann", 0, 2);
  await first.call("level");

  // This header is the edge's own, so nothing that has it gets into a synced topic, in any tab (H31).
  for (const tab of [first, second])
    await expect(tab.call("writeMarked", "marked", "ds.seq")).rejects.toThrow("the record header ds.seq is the edge's");
  await first.call("pause");
  const refused = await first.call("writeOdd", NO_JSON);
  await second.call("write", "ann", 2, 2);
  await second.call("resume");
  for (const tab of [first, second]) await tab.call("becomes", "blocked");
  const blocked = { code: "BAD_REQUEST", firstOffset: refused, records: 1, keys: [NO_JSON] };
  // What is in the batch is known a moment later.
  await expect.poll(async () => (await second.call("status"))!.topics["orders"]!.blocked).toMatchObject(blocked);
  await second.call("unblock", "setAside");
  for (const tab of [first, second]) await tab.call("holds", 4);
  expect((await first.call("read")).map(([, value]) => value)).toEqual(["ann-0", "ann-1", "ann-2", "ann-3"]);
  expect(await first.call("asideOf", "orders.aside")).toEqual([[NO_JSON, NO_JSON, "BAD_REQUEST"]]);
  expect(await first.call("fateOf", refused)).toBe("RETRACTED");

  expect(await first.call("counted")).toEqual([4, 4]);

  await second.call("pause");
  await first.call("becomes", "paused");
  first = await device.reload(first);
  await device.openTide(first, { odd: true });
  device.tabs.push(first);
  expect(await first.call("status")).toMatchObject({ state: "paused", reason: "user", connected: false });
  await first.call("write", "ann", 4, 1);
  // The snapshot holds what is committed, and what has no place yet is applied on top of it.
  expect(await first.call("counted")).toEqual([5, 1]);
  expect(await second.call("detach", false)).toBe("SYNC_PAUSED");
  await first.call("resume");
  await second.call("holds", 5);

  await expect(second.call("deletes")).rejects.toThrow("INVALID_ARGUMENT: orders is synced: detach() it first");
  expect(await second.call("detach", false)).toBe("");
  for (const tab of [first, second]) {
    expect((await tab.call("topics")).toSorted()).toEqual(["orders.aside", "orders.kept"]);
    expect((await tab.call("asideOf", "orders.kept")).map(([, value]) => value)).toEqual(
      Array.from({ length: 5 }, (_, i) => `ann-${i}`),
    );
    await expect(tab.call("write", "ann", 5, 1)).rejects.toThrow(
      "UNKNOWN_TOPIC: the topic orders was detached: orders.kept has its records; topic() gives a new one",
    );
  }
  expect(device.errors).toEqual([]);
});
