/**
 * Real tabs of a real Chromium on one log: the leader's tab is closed, crashed or left. The checker judges what every
 * tab saw.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { check, printFinding } from "../checker/checker.ts";
import type { Engine } from "../crash/events.ts";
import { Ledger } from "../crash/ledger.ts";
import { setStage, type Stage } from "../crash/stage.ts";
import { type Tab, TabsBrowser } from "./browser.ts";

let ledger: Ledger;
let stage: Stage;
let browser: TabsBrowser;

beforeAll(async () => {
  ledger = new Ledger();
  stage = await setStage(ledger, undefined, "test/tabs/page");
  browser = await TabsBrowser.start(stage.url);
});
afterAll(async () => {
  await browser?.end();
  await stage?.close();
});

// The tabs and the history of a failed test must not reach the next one.
beforeEach(async () => {
  await browser.closeAll();
  ledger.clear();
  ledger.problems.length = browser.problems.length = 0;
});

let names = 0;
const fresh = (engine: Engine, options: { noSharedWorker?: boolean; pauseMs?: number } = {}) => ({
  name: `tabs-${names++}`,
  engine,
  noSharedWorker: false,
  pauseMs: 2,
  ...options,
});

/** Waits until one of these tabs leads. */
async function leaderOf(tabs: readonly Tab[]): Promise<Tab> {
  for (;;) {
    for (const tab of tabs) if (!tab.struck && (await tab.call("brief")).role === "leader") return tab;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
const live = (tabs: readonly Tab[]): Tab[] => tabs.filter(({ struck }) => !struck);

/** Waits until every tab rests and has read everything, then checks the history. */
async function settle(tabs: readonly Tab[]): Promise<void> {
  const left = live(tabs);
  await Promise.all(left.map((tab) => tab.call("rest")));
  await Promise.all(left.map((tab) => tab.call("caughtUp")));
  expect(await left[0]!.call("readAll")).toBeGreaterThan(0);
  const { findings } = check(ledger.history);
  expect(findings.map(printFinding).join("\n")).toBe("");
  expect(ledger.problems).toEqual([]);
  expect(browser.problems).toEqual([]);
  for (const tab of left) expect((await tab.call("brief")).failures).toEqual([]);
  for (const tab of left) await tab.close();
}

/**
 * Milliseconds from the strike to the first ack of whoever leads these tabs then. A hidden tab may hand over to a
 * visible one at any moment, also just before the strike: the term of the leader may be older.
 */
async function failOver(tabs: readonly Tab[], struckAt: number): Promise<number> {
  for (;;) {
    const acks = await Promise.all(live(tabs).map((tab) => tab.call("ackAsLeader", struckAt)));
    const first = Math.min(...acks.filter((at) => at !== undefined));
    if (first < Infinity) return first - struckAt;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
const now = (): number => performance.timeOrigin + performance.now() - Date.UTC(2026, 0);

describe("tabs of one browser", () => {
  it.each(["opfs", "indexeddb"] as const)(
    "over %s: the leader is closed, crashed and left, and nobody else notices",
    async (engine) => {
      const config = fresh(engine);
      const tabs: Tab[] = [];
      for (let i = 0; i < 5; i++) tabs.push(await browser.open(config));
      for (const tab of tabs) await tab.call("work");
      // The first tab leads, or the last one, which is visible.
      await expect
        .poll(async () => (await Promise.all(tabs.map((tab) => tab.call("brief")))).map(({ role }) => role).sort())
        .toEqual(["follower", "follower", "follower", "follower", "leader"]);
      const times: Record<string, number> = {};
      for (const strike of ["close", "crash", "navigateAway"] as const) {
        const leader = await leaderOf(tabs);
        const struckAt = now();
        await leader[strike]();
        times[strike] = Math.round(await failOver(tabs, struckAt));
      }
      console.log(
        `fail-over over ${engine}, ms from the strike to the next leader's first ack:`,
        JSON.stringify(times),
      );
      expect(Math.max(...Object.values(times))).toBeLessThan(5_000);
      await settle(tabs);
    },
  );

  it("without SharedWorker everything goes over BroadcastChannel", async () => {
    const config = fresh("opfs", { noSharedWorker: true });
    const tabs: Tab[] = [];
    for (let i = 0; i < 3; i++) tabs.push(await browser.open(config));
    for (const tab of tabs) await tab.call("work");
    // The lead may go to the last tab, which is visible.
    await expect
      .poll(async () => {
        const states = await Promise.all(tabs.map((tab) => tab.state()));
        return states.map(({ role, via }) => (role === "leader" ? role : via)).sort();
      })
      .toEqual(["broadcast", "broadcast", "leader"]);
    const leader = await leaderOf(tabs);
    const struckAt = now();
    await leader.crash();
    await failOver(tabs, struckAt);
    await settle(tabs);
  });

  it("with it, over a port", async () => {
    const config = fresh("opfs");
    const tabs = [await browser.open(config), await browser.open(config)];
    expect((await tabs[1]!.state()).via).toBe("port");
    for (const tab of tabs) await tab.call("work");
    await settle(tabs);
  });

  it("a worker that dies costs its tab the lead, and nobody a record", async () => {
    const config = fresh("opfs");
    const tabs = [await browser.open(config), await browser.open(config)];
    for (const tab of tabs) await tab.call("work");
    const struckAt = now();
    await tabs[0]!.killWorkers();
    await failOver(tabs.slice(1), struckAt);
    await expect
      .poll(async () => (await Promise.all(tabs.map((tab) => tab.call("brief")))).map(({ role }) => role))
      .toEqual(["follower", "leader"]);
    await settle(tabs);
  });

  it("a leader that is hidden hands over to a tab that is seen, with a clean end", async () => {
    const config = fresh("opfs");
    const tabs = [await browser.open(config), await browser.open(config)];
    for (const tab of tabs) await tab.call("work");
    await tabs[1]!.show();
    await expect.poll(async () => (await tabs[1]!.call("brief")).role).toBe("leader");
    await tabs[0]!.show();
    await expect.poll(async () => (await tabs[0]!.call("brief")).role).toBe("leader");
    await settle(tabs);
  });

  it("a leader that is frozen lets go before it sleeps, and follows when it wakes", async () => {
    const config = fresh("opfs");
    const tabs = [await browser.open(config), await browser.open(config)];
    for (const tab of tabs) await tab.call("work");
    await tabs[0]!.show();
    await expect.poll(async () => (await tabs[0]!.call("brief")).role).toBe("leader");
    await tabs[1]!.show();
    const struckAt = now();
    await tabs[0]!.freeze();
    await failOver(tabs.slice(1), struckAt);
    await tabs[0]!.thaw();
    await expect.poll(async () => (await tabs[0]!.call("brief")).role).toBe("follower");
    await settle(tabs);
  });
});
