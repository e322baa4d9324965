/**
 * The files that a standby worker opens beside the leader: cases that take too long in a real browser.
 */
import { expect, test } from "vitest";
import type { FilesAhead } from "../../../src/browser/volume/preopened-files.ts";
import type { Volume } from "../../../src/store/volume.ts";
import { loadTabs } from "./entry.ts";
import { SHARED_LOCK } from "./mutants.ts";
import { SLOT_BYTES, simulatedBrowser } from "./workers.ts";

const TIDE = ["tidemark", "t"];
const bytes = (fill: number) => new Uint8Array(100).fill(fill);

/** A leader whose first two slots are equal, as they are between commits, and a standby worker. */
async function leaderAndNext(isChromium = true, loaded?: Awaited<ReturnType<typeof loadTabs>>) {
  const { world, platform, sure, read, end } = simulatedBrowser(isChromium, loaded);
  const worker = (name: string) => {
    const { context, product } = platform.inWorker(name);
    const open = (files?: FilesAhead): Promise<Volume> =>
      sure(product.OpfsVolume.open({ name: "t", slotBytes: SLOT_BYTES, ...(files && { files }) }));
    return { context, open, find: () => sure(product.FilesAhead.find("t")) };
  };
  const fill = async (volume: Volume, by: number): Promise<void> => {
    await sure(volume.addSlots(4));
    for (const slot of [0, 1, 2, 3]) await sure(volume.write(slot, 0, bytes(by + Math.max(slot, 1))));
  };
  /** Number of open handles, after closing ones have closed. */
  const handles = async (): Promise<number> => {
    await world.run(() => false, world.now + 100);
    return platform.files.handlesOf(TIDE);
  };
  const [leader, next] = [worker("leader"), worker("next")];
  await fill(await leader.open(), 10);
  return { platform, handles, sure, worker, fill, read, end, leader, next, files: await next.find() };
}

const isAlive = () => true;
const never = new Promise<void>(() => undefined);

test("files that were deleted with the site's data are not taken for those of a new tide of the name", async () => {
  const { platform, sure, worker, fill, read, end, leader, next, files } = await leaderAndNext();
  await sure(files.prepare(isAlive));
  platform.files.clear(TIDE);
  await end(leader.context);
  const heir = worker("heir");
  await fill(await heir.open(), 20);
  await end(heir.context);
  void files.openAhead(never);
  const volume = await next.open(files);
  for (const slot of [0, 1, 2, 3]) expect(await read(volume, slot)).toEqual(bytes(20 + Math.max(slot, 1)));
});

test("what was opened when the leader was gone already does not count", async () => {
  const { handles, sure, files } = await leaderAndNext();
  await sure(files.prepare(() => false));
  expect(await handles(), "the leader's").toBe(4);
});

test("they are closed before a hanging leader's files are inspected; orphans stay: closing one may block", async () => {
  const { platform, handles, sure, worker, fill, files, end, leader } = await leaderAndNext();
  await sure(files.prepare(isAlive));
  expect(await handles()).toBe(6);
  await sure(files.release());
  expect(await handles()).toBe(4);
  await sure(files.prepare(isAlive));
  platform.files.clear(TIDE);
  await end(leader.context);
  await fill(await worker("heir").open(), 20);
  await sure(files.release());
  expect(await handles(), "of those that are there nobody else has one").toBe(4);
});

test("an engine that can't share opens none beside the leader: it would lock them", async () => {
  const { handles, sure, files } = await leaderAndNext(false);
  await sure(files.prepare(isAlive));
  expect(await handles()).toBe(4);
});

test("slot 0 keeps a second worker away; planted bug is caught: it is shared like the others", async () => {
  const opened = async (loaded?: Awaited<ReturnType<typeof loadTabs>>): Promise<string> => {
    const { worker, end, leader, next } = await leaderAndNext(true, loaded);
    await end(leader.context);
    await worker("heir").open();
    return next.open().then(
      () => "both have it open",
      ({ code }: { code: string }) => code,
    );
  };
  expect(await opened()).toBe("ALREADY_OPEN");
  expect(await opened(await loadTabs(SHARED_LOCK))).toBe("both have it open");
});
