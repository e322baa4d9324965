/** Who keeps a worker that stands by while tabs that are hidden step back behind one that is seen (src/browser/spare.ts). */
import { expect, test } from "vitest";
import { Random } from "../prng.ts";
import { range } from "../seeds.ts";
import { loadTabs } from "./entry.ts";
import { type Page, Platform } from "./platform.ts";
import { type Context, World } from "./world.ts";

const { product, kernel } = await loadTabs();
const TABS = 6;
const SEEDS = 30;
/** A word takes up to 300 ms now and then, and who hears it so late lines up behind all others. */
const COLD_MAX = 2;
const SETTLED_MS = 3_000;
/** From the hand-over to the new leader's end: before those that follow look again who is first. */
const SOON_MS = 150;

/** Tabs of which one is seen, and leads; each that began to lead is noted. */
async function settledTabs(seed: number) {
  const world = new World(new Random(seed, 1), false);
  const platform = new Platform(world, product, new Random(seed, 2), { engine: "opfs", hasSharedWorker: true, isChromium: true, lateLocks: 0 });
  const led: Context[] = [];
  world.onPost = (by, data) => {
    const { hello, opened } = Object(data) as { hello?: number; opened?: { engine: string } };
    if (hello !== undefined && opened && opened.engine !== "memory" && !led.includes(by)) led.push(by);
  };
  const until = async (done: () => boolean): Promise<void> => expect(await world.run(done, world.now + 60_000)).toBe(true);
  const pass = (ms: number): Promise<boolean> => world.run(() => false, world.now + ms);
  const pages: Page[] = [];
  const show = (shown: Page): void => {
    for (const page of pages) if (page.hidden !== (page !== shown)) page.show(page === shown);
  };
  for (let at = 0; at < TABS; at++) {
    const page = platform.page(`tab${at}`);
    pages.push(page);
    let isOpen = false;
    void (page.product.openTide("t", { kernel, segmentBytes: 64 * 1024, worker: page.makeWorker }) as Promise<unknown>).then(() => (isOpen = true));
    await until(() => isOpen);
    show(page);
  }
  const leader = (): Page | undefined => pages.find((page) => platform.workers.get(page.context)?.has(led.at(-1)!));
  await until(() => leader()?.hidden === false);
  await pass(SETTLED_MS);
  return { platform, pages, show, led, leader, until, pass };
}

test("behind a hand-over whoever is next in line still has a worker that stands by", async () => {
  const cold: number[] = [];
  for (const seed of range(1, SEEDS)) {
    const { platform, pages, show, led, leader, until, pass } = await settledTabs(seed);
    show(pages.find((page) => page !== leader())!);
    const handedOver = led.length + 1;
    await until(() => led.length === handedOver);
    await pass(SOON_MS);
    const standing = new Set([...platform.workers.values()].flatMap((workers) => [...workers]));
    leader()!.context.end();
    await until(() => led.length > handedOver);
    if (!standing.has(led.at(-1)!)) cold.push(seed);
  }
  expect(cold.length, `the next leader had to start its worker with seeds ${cold.join(", ")}`).toBeLessThanOrEqual(COLD_MAX);
});
