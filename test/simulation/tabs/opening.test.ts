/**
 * A tab that opens by itself, and hears of a second one before its worker leads: tabs.js comes while it is "alone"
 * (src/browser/tabs/life.ts).
 */
import { expect, test } from "vitest";
import { Random } from "../prng.ts";
import { range } from "../seeds.ts";
import { loadTabs } from "./entry.ts";
import { type Page, Platform } from "./platform.ts";
import { World } from "./world.ts";

const { product, kernel } = await loadTabs();
const SEEDS = 20;
const SETTLED_MS = 1_000;

interface Tide {
  readonly role: string;
}

/**
 * Two pages open at once. The first one, which gets the lead, knows of the second one before its worker leads;
 * undefined where a message was so late that its worker leads already.
 */
async function openedTogether(seed: number) {
  const world = new World(new Random(seed, 1), false);
  const platform = new Platform(world, product, new Random(seed, 2), {
    engine: "opfs",
    hasSharedWorker: true,
    isChromium: true,
    lateLocks: 0,
  });
  const until = async (done: () => boolean, what: string): Promise<void> =>
    expect(await world.run(done, world.now + 10_000), `${what}, seed ${seed}`).toBe(true);
  const isKnown = (page: Page): boolean => platform.broker?.pages.has(page.context) === true;
  const tides = new Map<Page, Tide>();
  const pages = ["first", "second"].map((name) => platform.page(name));
  for (const page of pages) {
    void (
      page.product.openTide("t", { kernel, segmentBytes: 64 * 1024, worker: page.makeWorker }) as Promise<Tide>
    ).then((tide) => tides.set(page, tide));
    if (page === pages[0])
      await until(() => platform.locks.heldBy("tidemark:t") === page.context, "the first one has the lock");
  }
  await until(() => isKnown(pages[0]!), "the first one has tabs.js");
  if (tides.size > 0) return undefined;
  const tideOf = (page: Page): Tide | undefined => tides.get(page);
  const pass = (ms: number): Promise<boolean> => world.run(() => false, world.now + ms);
  return { until, pass, tideOf, first: pages[0]!, second: pages[1]! };
}

type Opening = NonNullable<Awaited<ReturnType<typeof openedTogether>>>;

async function each(run: (seed: number, opening: Opening) => Promise<void>): Promise<void> {
  let runs = 0;
  for (const seed of range(1, SEEDS)) {
    const opening = await openedTogether(seed);
    if (!opening) continue;
    await run(seed, opening);
    runs++;
  }
  expect(runs).toBeGreaterThan(SEEDS / 2);
}

test("a tab that learns of another one while it opens hands over once it is hidden, as any leader", async () => {
  await each(async (_, { until, pass, tideOf, first, second }) => {
    await until(() => tideOf(first)?.role === "leader" && tideOf(second)?.role === "follower", "both are open");
    // Every word of the openings has been heard. The second one was seen all the time: it says so only when asked.
    await pass(SETTLED_MS);
    first.show(false);
    await until(() => tideOf(second)?.role === "leader" && tideOf(first)?.role === "follower", "the lead goes over");
  });
});

test("a tab that is frozen while it opens lets go of the lead, and follows when it wakes", async () => {
  await each(async (seed, { until, tideOf, first, second }) => {
    first.tell("freeze");
    await until(() => tideOf(second)?.role === "leader", "the other one leads");
    expect(tideOf(first)?.role, `the first one, seed ${seed}`).not.toBe("leader");
    first.tell("resume");
    await until(() => tideOf(first)?.role === "follower", "the first one follows");
    expect(tideOf(second)!.role).toBe("leader");
  });
});
