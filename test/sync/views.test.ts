/**
 * Views of two devices over real workerd, with a network that can be cut: the worked examples of docs/sync.md. What a
 * device shows while it is offline, what both show once both tides have risen, and that it goes on in another tab.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { Fleet } from "./fleet.ts";

let fleet: Fleet;
beforeAll(async () => void (fleet = await Fleet.start()), 120_000);
afterAll(() => fleet?.end());

it("last writer, counter and set: each device shows its own at once, and both the same in the end", async () => {
  const [ann, ben] = await Promise.all([fleet.add("ann"), fleet.add("ben")]);
  const [anns, bens] = await Promise.all([ann.open(), ben.open()]);
  const nothing = { title: undefined, left: 0, tags: [] };
  for (const tab of [anns, bens]) await tab.call("startExamples");
  for (const tab of [anns, bens]) await tab.call("shows", nothing);
  await anns.call("example", "count", "tea", 10);
  await anns.call("example", "tag", "red");
  const begun = { title: undefined, left: 10, tags: ["red"] };
  for (const tab of [anns, bens]) await tab.call("shows", begun);

  for (const device of [ann, ben]) fleet.networkOf(device).refuse();
  const named = (await anns.call("example", "rename", "o-1", "tea", 1_764_000_000_000)) as string;
  await anns.call("example", "count", "tea", -2);
  await anns.call("example", "untag", "red");
  await bens.call("example", "rename", "o-1", "milk", 1_764_003_600_000);
  await bens.call("example", "count", "tea", -3);
  await bens.call("example", "tag", "red");
  await anns.call("shows", { title: "tea", left: 8, tags: [] });
  await bens.call("shows", { title: "milk", left: 7, tags: ["red"] });
  expect(await anns.call("statusOf", named)).toMatchObject({ state: "provisional" });

  // Ben's comes first: Ann's own record, which is older, changes nothing behind it.
  fleet.networkOf(ben).heal();
  await bens.call("settled");
  fleet.networkOf(ann).heal();
  const both = { title: "milk", left: 5, tags: ["red"] };
  for (const tab of [anns, bens]) await tab.call("shows", both);
  const [anEnd, benEnd] = [await anns.call("settled"), await bens.call("settled")];
  expect(anEnd).toEqual(benEnd);
  expect(await anns.call("told")).toEqual([
    ["append", named],
    ["append", expect.any(String)],
    ["settle", named],
  ]);
  expect(await anns.call("statusOf", named)).toEqual({ state: "committed", offset: 1 });

  // Another tab folds for itself, and goes on where the leader's crashes.
  const second = await ann.open();
  await second.call("startExamples");
  await second.call("shows", both);
  await ann.crashTab(anns);
  await bens.call("example", "count", "tea", 100);
  await second.call("shows", { ...both, left: 105 });
  await second.call("example", "rename", "o-1", "cream", 1_764_007_200_000);
  const last = { title: "cream", left: 105, tags: ["red"] };
  for (const tab of [second, bens]) await tab.call("shows", last);
  const fresh = await (await fleet.add("fresh")).open();
  await fresh.call("startExamples");
  await fresh.call("shows", last);
  expect(await fresh.call("settled")).toEqual(await second.call("settled"));
  expect(fleet.devices.flatMap(({ errors }) => errors)).toEqual([]);
});
