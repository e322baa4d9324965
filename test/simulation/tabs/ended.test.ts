/**
 * A tab that is ended at every event of its opening, or of an append: its signal is aborted, it is closed, or the tab
 * that leads closes in that moment. The call settles, nothing of the tab goes on, and it opens again.
 */
import { expect, test } from "vitest";
import type { Tide } from "../../../src/browser/api.ts";
import { KeptSignal, type Outcome, outcomeOf } from "../../support/every-turn.ts";
import { Random } from "../prng.ts";
import { loadTabs } from "./entry.ts";
import { type Page, Platform } from "./platform.ts";
import { World } from "./world.ts";

const { product, kernel } = await loadTabs();
const NAME = "t";
const SEED = 1;
/** Far more than any call takes. */
const CALL_MS = 30_000;
/** By then all words of a tab that has ended are heard. */
const GONE_MS = 5_000;
/** More than there are in an opening. */
const EVENTS_MAX = 300;

class Browser {
  readonly world = new World(new Random(SEED, 1), false);
  readonly platform = new Platform(this.world, product, new Random(SEED, 2), {
    engine: "opfs",
    hasSharedWorker: true,
    isChromium: true,
    lateLocks: 0,
  });

  open(page: Page, signal?: AbortSignal): Promise<Tide> {
    const options = { kernel, segmentBytes: 64 * 1024, worker: page.makeWorker, signal };
    return page.product.openTide(NAME, options) as Promise<Tide>;
  }

  /** How the call ends; "pending" if it does not. */
  async outcome(call: Promise<unknown>): Promise<Outcome> {
    let outcome: Outcome | undefined;
    call.then(
      () => (outcome = "done"),
      (thrown: unknown) => (outcome = outcomeOf(thrown)),
    );
    await this.world.run(() => outcome !== undefined, this.world.now + CALL_MS);
    return outcome ?? "pending";
  }

  async events(count: number): Promise<void> {
    let passed = 0;
    await this.world.run(() => passed++ >= count, this.world.now + CALL_MS);
  }

  /** The tide takes a record, and gives all that it has. */
  async values(tide: Tide): Promise<unknown[]> {
    const values: unknown[] = [];
    const read = async (): Promise<void> => {
      await tide.topic(NAME).append({ value: "again" });
      for await (const { value } of tide.topic(NAME).read()) values.push(value);
    };
    expect(await this.outcome(read())).toBe("done");
    return values;
  }

  /** Opens the tide in this page, as if nothing had been. */
  async opened(page: Page): Promise<Tide> {
    const opening = this.open(page);
    expect(await this.outcome(opening)).toBe("done");
    return opening;
  }

  /** Nothing of a tab that has ended goes on. */
  async gone(page: Page): Promise<void> {
    await this.world.run(() => false, this.world.now + GONE_MS);
    expect(this.platform.workers.get(page.context)?.size ?? 0, "workers").toBe(0);
    expect(this.platform.locks.heldBy(`tidemark:${NAME}`), "who has the lead").not.toBe(page.context);
  }
}

/** Runs `trial` with one event more each time, until what it ends was over before. It says so by true. */
async function atEachEvent(trial: (events: number) => Promise<boolean>): Promise<number> {
  for (let events = 0; events < EVENTS_MAX; events++) if (await trial(events)) return events;
  throw new Error("it never ended by itself");
}

test.each([
  ["alone", false, false],
  ["beside a leader", true, false],
  ["while the leader closes", true, true],
])("an opening %s that is aborted at any event leaves nothing, and the next one succeeds", async (_, has, closes) => {
  const turns = await atEachEvent(async (events) => {
    const browser = new Browser();
    const [first, page] = [browser.platform.page("first"), browser.platform.page("page")];
    const leader = has ? await browser.opened(first) : undefined;
    const kept = new KeptSignal();
    const opening = browser.open(page, kept.signal);
    await browser.events(events);
    kept.abort(new Error("enough"));
    const closed = closes ? leader!.close() : undefined;
    const outcome = await browser.outcome(opening);
    expect(["enough", "done"], `event ${events}`).toContain(outcome);
    if (closed) expect(await browser.outcome(closed)).toBe("done");
    if (outcome === "done") expect(await browser.outcome((await opening).close())).toBe("done");
    expect(kept.listeners).toBe(0);
    await browser.gone(page);
    await browser.values(await browser.opened(page));
    if (leader && !closes) await browser.values(leader);
    return outcome === "done";
  });
  expect(turns).toBeGreaterThan(10);
});

test.each([
  ["leads", false],
  ["follows", true],
])("a tab that %s and is closed at any event of an append tells the truth about it", async (_, isFollower) => {
  const turns = await atEachEvent(async (events) => {
    const browser = new Browser();
    const [first, page] = [browser.platform.page("first"), browser.platform.page("page")];
    if (isFollower) await browser.opened(first);
    const tide = await browser.opened(page);
    let isOver = false;
    const append = tide.topic(NAME).append({ value: "mine" });
    append.then(
      () => (isOver = true),
      () => undefined,
    );
    await browser.events(events);
    const wasOver = isOver;
    const closed = tide.close();
    const outcome = await browser.outcome(append);
    expect(["done", "CLOSED"], `event ${events}`).toContain(outcome);
    expect(await browser.outcome(closed)).toBe("done");
    await browser.gone(page);
    const values = await browser.values(await browser.opened(page));
    expect(values.filter((value) => value === "mine")).toHaveLength(outcome === "done" ? 1 : 0);
    return wasOver;
  });
  expect(turns).toBeGreaterThan(5);
});
