/**
 * importSegments() in tabs of which one is killed in the middle: the one that leads and writes, or the one that asked.
 * Nothing of it is visible before the end, a call whose leader went is made again, and a second import works.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Ledger } from "../crash/ledger.ts";
import { setStage, type Stage } from "../crash/stage.ts";
import { TabsBrowser } from "./browser.ts";
import type { EngineTab } from "./engine.ts";
import { FirefoxBrowser, findFirefox } from "./firefox.ts";

const firefox = findFirefox();
if (!firefox) console.log("Firefox is not installed (apt-get install firefox-esr): imports are not struck in it");
/** Number of segments, of 64 KiB each. */
const SEGMENTS = 40;
/** Segments that are written before the strike. */
const WRITTEN = 8;

let stage: Stage;
let names = 0;
beforeAll(async () => {
  stage = await setStage(new Ledger(), undefined, "test/tabs/page");
});
afterAll(() => stage?.close());

type StruckTab = Pick<EngineTab, "call" | "close" | "crash">;
type Opens = (config: Parameters<TabsBrowser["open"]>[0]) => Promise<StruckTab>;

/** A tab that leads, with the files, and one that follows. */
async function twoTabs(open: Opens): Promise<readonly [StruckTab, StruckTab]> {
  const config = { name: `imports-${names++}`, engine: "opfs", noSharedWorker: false, pauseMs: 0 } as const;
  const tabs = [await open(config), await open(config)] as const;
  const roles = async () => Promise.all(tabs.map(async (tab) => (await tab.call("brief")).role));
  await expect.poll(async () => (await roles()).sort()).toEqual(["follower", "leader"]);
  return (await roles())[0] === "leader" ? tabs : [tabs[1], tabs[0]];
}

/** Begins an import in `caller`; resolves in the middle of it, as `watcher` sees the files. */
async function inTheMiddle(caller: StruckTab, watcher: StruckTab): Promise<void> {
  const before = await watcher.call("slots");
  await caller.call("beginImport");
  while ((await watcher.call("slots")) < before + WRITTEN);
  expect((await watcher.call("imported")).offsets).toEqual([]);
}

/** What is there afterwards is all of it, once. */
async function isWhole(tab: StruckTab, records: number): Promise<void> {
  const { offsets, topics } = await tab.call("imported");
  expect(records).toBeGreaterThan(1_000);
  expect([offsets.length, offsets.at(-1), [...topics].sort()]).toEqual([records, records - 1, ["copy", "source"]]);
}

/** An import from here works, or finds all done: the call of the tab that was killed may have reached this leader. */
async function importsOnce(tab: StruckTab): Promise<void> {
  await tab.call("beginImport");
  const again = await tab.call("importEnded");
  const { offsets } = await tab.call("imported");
  expect(String(again)).toMatch(new RegExp(`^${offsets.length}$|INVALID_ARGUMENT: only an empty topic`));
  await isWhole(tab, offsets.length);
  await tab.close();
}

async function leaderKilled(open: Opens): Promise<void> {
  const [leader, other] = await twoTabs(open);
  await leader.call("makeSegments", SEGMENTS);
  await other.call("makeSegments", SEGMENTS);
  await inTheMiddle(leader, other);
  await leader.crash();
  await expect.poll(async () => (await other.call("brief")).role).toBe("leader");
  await importsOnce(other);
}

async function leaderOfCallerKilled(open: Opens): Promise<void> {
  const [leader, caller] = await twoTabs(open);
  await caller.call("makeSegments", SEGMENTS);
  await inTheMiddle(caller, caller);
  await leader.crash();
  // The leader may have been done just before, and nobody can tell that from another's import.
  expect(String(await caller.call("importEnded"))).toMatch(/^\d+$|OUTCOME_UNKNOWN/);
  await isWhole(caller, (await caller.call("imported")).offsets.length);
  await caller.close();
}

async function callerKilled(open: Opens): Promise<void> {
  const [leader, caller] = await twoTabs(open);
  await leader.call("makeSegments", SEGMENTS);
  await caller.call("makeSegments", SEGMENTS);
  await inTheMiddle(caller, leader);
  await caller.crash();
  await importsOnce(leader);
}

const STRIKES = [
  ["a tab that leads and imports is killed: its import is undone or whole, and the next leader's works", leaderKilled],
  [
    "the leader is killed under another tab's import: that call is made again, and all is there once",
    leaderOfCallerKilled,
  ],
  ["a tab is killed whose import the leader writes: an import in the leader works or finds all done", callerKilled],
] as const;

describe("Chromium", () => {
  let browser: TabsBrowser;
  beforeAll(async () => {
    browser = await TabsBrowser.start(stage.url);
  });
  afterAll(() => browser?.end());
  const open: Opens = async (config) => {
    const tab = await browser.open(config);
    return {
      call: (method, ...args) => tab.call(method, ...(args as never)) as never,
      crash: () => tab.crash(),
      close: () => tab.close(),
    };
  };
  it.each(STRIKES)(
    "%s",
    async (_, strike) => {
      await strike(open);
      expect(browser.problems).toEqual([]);
    },
    60_000,
  );
});

describe.skipIf(!firefox)("Firefox", () => {
  let browser: FirefoxBrowser;
  beforeAll(async () => {
    browser = await FirefoxBrowser.start(stage.url, firefox!);
  });
  afterAll(() => browser?.end());
  // The others differ in what survives, which is the library's part and not the engine's.
  it(STRIKES[0][0], () => leaderKilled((config) => browser.open(config)));
});
