/**
 * The tab that is next in line for the lead: the worker that it keeps ready (src/browser/tabs/standby-workers.ts), and
 * the delay for others if it hangs.
 */
import { expect, test } from "vitest";
import { Random } from "../prng.ts";
import { range } from "../seeds.ts";
import { loadTabs } from "./entry.ts";
import { type Page, Platform } from "./platform.ts";
import { type Context, World } from "./world.ts";

const { product, kernel } = await loadTabs();
const TABS = 6;
const SEEDS = 30;
/** In this many runs the next tab may have no worker ready: a message can be 300 ms late, and its tab queues last. */
const COLD_MAX = 4;
const SETTLED_MS = 3_000;
/** The default of leaderTimeoutMs (src/browser/page/browser-tide.ts). */
const LEADER_TIMEOUT_MS = 2_500;
/** SUCCESSOR_WAIT_MS of src/browser/platform/terms.ts. */
const SUCCESSOR_WAIT_MS = 600;
/** Less than the six questions of a tab that waits, each of which takes 1.9 s. */
const OPENING_MS = 8_000;
/** In this many runs a tab may have asked just before the next one had the lead: it hears no answer. */
const EARLY_MAX = 1;
/** Time to open the volume beside the files of a hanging leader. */
const DEPOSED_MS = 700;
/** From the hand-over to the new leader's end: followers have not checked again by then who is first. */
const SOON_MS = 150;

/** Opens tabs of which one is visible and leads, and notes each tab that begins to lead. */
async function settledTabs(seed: number) {
  const world = new World(new Random(seed, 1), false);
  const platform = new Platform(world, product, new Random(seed, 2), {
    engine: "opfs",
    hasSharedWorker: true,
    isChromium: true,
    lateLocks: 0,
  });
  const led: Context[] = [];
  world.onPost = (by, data) => {
    const { hello, opened } = Object(data) as { hello?: number; opened?: { engine: string } };
    if (hello !== undefined && opened && opened.engine !== "memory" && !led.includes(by)) led.push(by);
  };
  const until = async (done: () => boolean): Promise<void> =>
    expect(await world.run(done, world.now + 60_000)).toBe(true);
  const pass = (ms: number): Promise<boolean> => world.run(() => false, world.now + ms);
  const pages: Page[] = [];
  const show = (shown: Page): void => {
    for (const page of pages) if (page.hidden !== (page !== shown)) page.show(page === shown);
  };
  for (let at = 0; at < TABS; at++) {
    const page = platform.page(`tab${at}`);
    pages.push(page);
    let isOpen = false;
    void (
      page.product.openTide("t", { kernel, segmentBytes: 64 * 1024, worker: page.makeWorker }) as Promise<unknown>
    ).then(() => (isOpen = true));
    await until(() => isOpen);
    show(page);
  }
  const leader = (): Page | undefined => pages.find((page) => platform.workers.get(page.context)?.has(led.at(-1)!));
  await until(() => leader()?.hidden === false);
  await pass(SETTLED_MS);
  /** Hands the lead over and waits until all tabs follow the new leader. */
  const handOver = async (): Promise<void> => {
    const other = pages.find((page) => page !== leader())!;
    show(other);
    await until(() => leader() === other);
    await pass(SOON_MS);
  };
  return { world, platform, pages, led, leader, until, handOver };
}

test("behind a hand-over whoever is next in line still has a worker that stands by", async () => {
  const cold: number[] = [];
  for (const seed of range(1, SEEDS)) {
    const { platform, led, leader, until, handOver } = await settledTabs(seed);
    await handOver();
    const before = led.length;
    const standing = new Set([...platform.workers.values()].flatMap((workers) => [...workers]));
    leader()!.context.end();
    await until(() => led.length > before);
    if (!standing.has(led.at(-1)!)) cold.push(seed);
  }
  expect(cold.length, `the next leader had to start its worker with seeds ${cold.join(", ")}`).toBeLessThanOrEqual(
    COLD_MAX,
  );
});

test("a tab that hangs when it is given the lead costs the named time once, also right after a fail-over", async () => {
  for (const seed of range(1, 20)) {
    const { world, platform, pages, led, leader, until, handOver } = await settledTabs(seed);
    await handOver();
    const ended = leader()!;
    ended.context.end();
    // The tab that is asked to lead now hears nothing of it.
    const isNext = (page: Page): boolean => page !== ended && page.context === platform.locks.heldBy("tidemark:t");
    await until(() => pages.some(isNext));
    const next = pages.find(isNext)!;
    for (const context of [next.context, ...(platform.workers.get(next.context) ?? [])])
      context.ahead = world.now + 60_000;
    const [before, since] = [led.length, world.now];
    await until(() => led.length > before);
    expect(world.now - since, `ms until another leads, seed ${seed}`).toBeLessThan(LEADER_TIMEOUT_MS + DEPOSED_MS);
  }
});

test("a tab whose worker takes long to open is waited for as long, however many tabs ask", async () => {
  const deposed: number[] = [];
  for (const seed of range(1, 10)) {
    const { world, platform, pages, led, leader, until } = await settledTabs(seed);
    const ended = leader()!;
    ended.context.end();
    const isNext = (page: Page): boolean => page !== ended && page.context === platform.locks.heldBy("tidemark:t");
    await until(() => pages.some(isNext));
    const next = pages.find(isNext)!;
    // As after a kill with very many logs: the worker opens for seconds and answers nobody, while its page does.
    for (const context of platform.workers.get(next.context) ?? []) context.ahead = world.now + OPENING_MS;
    const before = led.length;
    await until(() => led.length > before);
    if (world.counters.counts["lock.stolen"] !== undefined) deposed.push(seed);
  }
  expect(deposed.length, `the next leader was deposed with seeds ${deposed.join(", ")}`).toBeLessThanOrEqual(EARLY_MAX);
});

test("nobody is deposed where leaders end one soon after the other, however long ago the last one ended", async () => {
  for (const seed of range(1, 10)) {
    const { world, led, leader, until } = await settledTabs(seed);
    for (const lateMs of [20, 60]) {
      const [before, since] = [led.length, world.now];
      leader()!.context.end();
      await until(() => led.length > before);
      // Tabs that began to doubt the leader then are about to check again.
      await until(() => world.now >= since + LEADER_TIMEOUT_MS - SUCCESSOR_WAIT_MS - lateMs);
    }
    const before = led.length;
    leader()!.context.end();
    await until(() => led.length > before);
    expect(world.counters.counts["lock.stolen"], `seed ${seed}`).toBeUndefined();
  }
});
