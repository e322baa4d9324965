/** Two tabs that answer one block at once (src/browser/sync/answers.ts), over the real storage. */
import { describe, expect, it } from "vitest";
import { answerBlock, type BlockChoice } from "../../src/browser/sync/answers.ts";
import { Log } from "../../src/log/log.ts";
import { withDefaults } from "../../src/log/limits.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import type { Block } from "../../src/sync/pump.ts";
import { clock, Synced } from "../contract/synced-fixture.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const REFUSED = { code: "INVALID_ARGUMENT", details: { topic: "orders" } };

/** A topic whose second batch is blocked, and a session that does what it is told at once. */
async function blocked() {
  const synced = await Synced.make({
    kernel,
    newVolume: async (slotBytes) => new MemoryVolume({ slotBytes }),
    reopen: async (volume) => volume,
  });
  await synced.join();
  for (const name of ["a", "b", "c"]) await synced.append(name);
  const block: Block = { code: "BAD_REQUEST", message: "no", ranges: [[1, 2]] };
  const session = {
    block: block as Block | undefined,
    answers: 0,
    unblock() {
      this.block = undefined;
      this.answers++;
    },
  };
  const aside = await Log.open({
    store: await synced.store.log("aside", {}),
    kernel,
    clock,
    settings: withDefaults({}),
  });
  const host = { kernel, store: synced.store, local: () => Promise.resolve(aside) };
  const answered = { store: synced.storage, log: synced.log, session } as never;
  const answer = (choice: BlockChoice): Promise<void> => answerBlock(host, answered, block, choice);
  return { synced, session, aside, answer };
}

describe("two answers to one block", () => {
  it.each([
    ["setAside", "discard", 1, "aside"],
    ["discard", "setAside", 0, "discarded"],
  ] as const)("%s, then %s: the second is refused, and changes nothing", async (first, second, records, why) => {
    const { synced, session, aside, answer } = await blocked();
    const [one, other] = [answer(first), answer(second)];
    await expect(other).rejects.toMatchObject(REFUSED);
    await one;
    expect([session.answers, aside.highWatermark]).toEqual([1, records]);
    expect(synced.storage.outboxNote.retracted).toEqual([[1, 2, why]]);
    expect((await synced.shown()).provisional).toEqual(["a", "c"]);
  });

  it.each(["discard", "setAside"] as const)("retry, then %s: what is sent again stays", async (second) => {
    const { synced, session, answer } = await blocked();
    const [one, other] = [answer("retry"), answer(second)];
    await expect(other).rejects.toMatchObject(REFUSED);
    await one;
    expect([session.answers, synced.storage.outboxNote.retracted]).toEqual([1, []]);
  });

  it.each(["retry", "discard", "setAside"] as const)("the same twice: both are done (%s)", async (choice) => {
    const { session, aside, answer } = await blocked();
    await Promise.all([answer(choice), answer(choice)]);
    expect([session.answers, aside.highWatermark]).toEqual([1, choice === "setAside" ? 1 : 0]);
  });

  it("one that fails leaves the block, and the next one counts", async () => {
    const { synced, session, aside, answer } = await blocked();
    const { append } = aside;
    aside.append = () => Promise.reject(new Error("the device is full"));
    const [one, other] = [answer("setAside"), answer("discard")];
    await expect(one).rejects.toThrow("the device is full");
    await other;
    aside.append = append;
    expect([session.answers, synced.storage.outboxNote.retracted]).toEqual([1, [[1, 2, "discarded"]]]);
  });
});
