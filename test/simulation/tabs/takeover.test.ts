/**
 * The volume over files that a hanging leader keeps locked, and late writes of that leader. The simulation meets these
 * cases only by chance.
 */
import { expect, test } from "vitest";
import type { Volume } from "../../../src/store/volume.ts";
import { SLOT_BYTES, simulatedBrowser } from "./workers.ts";

const bytes = (fill: number, length = 100) => new Uint8Array(length).fill(fill);

function browser() {
  const simulated = simulatedBrowser();
  const leader = (name: string) => {
    const { context, product } = simulated.platform.inWorker(name);
    const open = (takeover?: boolean): Promise<Volume> =>
      simulated.sure(product.OpfsVolume.open({ name: "t", slotBytes: SLOT_BYTES, takeover }));
    return { context, open };
  };
  return { ...simulated, leader };
}

/** Makes a stopped leader with four slots and its successor over the same files. */
async function deposed() {
  const b = browser();
  const old = b.leader("old");
  const first = await old.open();
  await b.sure(first.addSlots(4));
  for (const slot of [0, 1, 2, 3]) await b.sure(first.write(slot, 0, bytes(slot + 1)));
  const next = b.leader("next");
  return { ...b, old, first, next, second: await next.open(true) };
}

test("locked files are read in place; writes to them go to a copy that the old leader does not see", async () => {
  const { first, second, read, sure } = await deposed();
  for (const slot of [0, 1, 2, 3]) expect(await read(second, slot)).toEqual(bytes(slot + 1));
  await sure(second.write(2, 50, bytes(9, 10)));
  expect((await read(second, 2))[55]).toBe(9);
  expect((await read(second, 2))[45]).toBe(3);
  expect(await read(first, 2)).toEqual(bytes(3));
});

test("a write that lands after the takeover is in no copy, is never read, and ends with the copies", async () => {
  const { old, first, next, second, leader, read, sure, end, platform } = await deposed();
  await sure(second.write(2, 0, bytes(7)));
  // The old leader was stopped after it checked its lease. When it wakes, it finishes this one write.
  await sure(first.write(2, 0, bytes(66)));
  expect(await read(second, 2)).toEqual(bytes(7));
  await sure(second.flush([2]));
  await end(next.context);
  // The first leader still hangs: the third leader reads the second one's copy and makes its own.
  const third = leader("third");
  const over = await third.open(true);
  expect(await read(over, 2)).toEqual(bytes(7));
  await sure(over.write(2, 0, bytes(8, 10)));
  await sure(first.write(2, 0, bytes(67)));
  expect((await read(over, 2)).subarray(0, 12)).toEqual(Uint8Array.from([...bytes(8, 10), 7, 7]));
  await end(third.context);
  await end(old.context);
  const last = await leader("last").open();
  expect((await read(last, 2)).subarray(0, 12)).toEqual(Uint8Array.from([...bytes(8, 10), 7, 7]));
  expect(await read(last, 3)).toEqual(bytes(4));
  expect(platform.files.has(["tidemark", "t", "taken"])).toBe(false);
});

test("an unfinished copy does not count, and is not continued while its maker may wake", async () => {
  const { first, next, second, leader, read, sure, world } = await deposed();
  // The second leader is stopped in the middle of the copy. It holds the file and finishes later.
  next.context.trap = { kind: "write", calls: 1, ms: 20_000, sprung: () => undefined };
  const late = second.write(2, 0, bytes(55));
  await world.run(() => next.context.ahead > world.now);
  const over = await leader("third").open(true);
  expect(await read(over, 2)).toEqual(bytes(3));
  await sure(over.write(2, 0, bytes(8)));
  await sure(late);
  expect(await read(over, 2)).toEqual(bytes(8));
  await sure(over.close());
  const again = await leader("fourth").open(true);
  expect(await read(again, 2)).toEqual(bytes(8));
  expect(await read(first, 2)).toEqual(bytes(3));
});

test("new slots, slots used again and sealed ones: nothing is copied that is not written to", async () => {
  const { second, sure, platform, read } = await deposed();
  await read(second, 1);
  expect(platform.files.names(["tidemark", "t", "taken"])).toEqual([]);
  await sure(second.addSlots(1));
  await sure(second.write(4, 0, bytes(5)));
  expect(platform.files.names(["tidemark", "t", "taken"])).toEqual([]);
  await sure(second.write(3, 0, bytes(5)));
  expect(platform.files.names(["tidemark", "t", "taken"])).toEqual(["slot-0003.1"]);
});
