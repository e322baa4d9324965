/**
 * Site data is cleared under three tabs that write: all of it, or one engine's alone. Every tide is closed and stays
 * closed. Opening it again, in the same page or after a reload, gives a new tide that works.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { check, printFinding } from "../checker/checker.ts";
import { Ledger } from "../crash/ledger.ts";
import { setStage, type Stage } from "../crash/stage.ts";
import { type Tab, TabsBrowser } from "./browser.ts";

let ledger: Ledger;
let stage: Stage;
let browser: TabsBrowser;
let names = 0;

beforeAll(async () => {
  ledger = new Ledger();
  stage = await setStage(ledger, undefined, "test/tabs/page");
  browser = await TabsBrowser.start(stage.url);
});
afterAll(async () => {
  await browser?.end();
  await stage?.close();
});
beforeEach(async () => {
  await browser.closeAll();
  ledger.clear();
  ledger.problems.length = browser.problems.length = 0;
});

type Config = Parameters<TabsBrowser["open"]>[0];
const acked = async (tabs: readonly Tab[]): Promise<number[]> =>
  Promise.all(tabs.map(async (tab) => (await tab.state()).acked));

/** All tabs write, and all read one log that begins with these writes. */
async function works(tabs: readonly Tab[]): Promise<void> {
  ledger.clear();
  const before = await acked(tabs);
  for (const tab of tabs) await tab.call("work");
  await expect.poll(async () => (await acked(tabs)).every((count, i) => count > before[i]! + 10)).toBe(true);
  await Promise.all(tabs.map((tab) => tab.call("rest")));
  await Promise.all(tabs.map((tab) => tab.call("caughtUp")));
  expect(await tabs[0]!.call("readAll")).toBeGreaterThan(0);
  const { findings } = check(ledger.history);
  expect(findings.map(printFinding).join("\n")).toBe("");
}

const ANEW = "in pages loaded anew";
/** Clearing everything also clears the documents' locks in Chromium: such a page must be reloaded. */
describe.each([
  ["opfs", "all", [ANEW]],
  ["opfs", "file_systems", [ANEW, "in the same pages"]],
  ["indexeddb", "all", [ANEW]],
  ["indexeddb", "indexeddb", [ANEW, "in the same pages"]],
] as const)("a tide in %s, site data cleared: %s", (engine, storageTypes, places) => {
  it.each(places)("every tab is closed, stays so, and a new tide works %s", async (where) => {
    const config: Config = { name: `cleared-${names++}`, engine, noSharedWorker: false, pauseMs: 10 };
    const tabs: Tab[] = [];
    for (let i = 0; i < 3; i++) tabs.push(await browser.open(config));
    await works(tabs);
    for (const tab of tabs) await tab.call("work");
    await tabs[0]!.session.send("Storage.clearDataForOrigin", { origin: new URL(stage.url).origin, storageTypes });
    await expect
      .poll(async () => (await Promise.all(tabs.map((tab) => tab.state()))).map(({ closed }) => closed ?? "open"), {
        timeout: 40_000,
      })
      .toEqual(Array(3).fill(expect.stringMatching(/cleared|gone/)))
      .catch(async (thrown: unknown) => {
        for (const tab of tabs) console.error(JSON.stringify(await tab.state()));
        throw thrown;
      });
    const before = await acked(tabs);
    // Every tab tries to write once more: a closed tide must ack nothing.
    await Promise.all(tabs.map((tab) => tab.call("rest")));
    for (const tab of tabs) await tab.call("write");
    await Promise.all(tabs.map((tab) => tab.call("rest")));
    expect(await acked(tabs)).toEqual(before);
    const again: Tab[] = [];
    for (const tab of tabs) {
      if (where === "in the same pages") again.push(await browser.openIn(tab.page, config));
      else {
        await tab.close();
        again.push(await browser.open(config));
      }
    }
    await works(again);
    // The new log is still there after all tabs have gone.
    for (const tab of again) await tab.close();
    const last = await browser.open(config);
    expect(await last.call("readAll")).toBeGreaterThan(30);
    expect(browser.problems).toEqual([]);
  });
});

it.each([
  ["opfs", "indexeddb"],
  ["indexeddb", "file_systems"],
] as const)("a tide in %s goes on when %s is cleared", async (engine, storageTypes) => {
  const config: Config = { name: `cleared-${names++}`, engine, noSharedWorker: false, pauseMs: 10 };
  const tabs: Tab[] = [];
  for (let i = 0; i < 3; i++) tabs.push(await browser.open(config));
  for (const tab of tabs) await tab.call("work");
  await expect.poll(async () => Math.min(...(await acked(tabs)))).toBeGreaterThan(10);
  await tabs[0]!.session.send("Storage.clearDataForOrigin", { origin: new URL(stage.url).origin, storageTypes });
  const before = await acked(tabs);
  await expect.poll(async () => (await acked(tabs)).every((count, i) => count > before[i]! + 100)).toBe(true);
  expect((await Promise.all(tabs.map((tab) => tab.state()))).map(({ closed }) => closed)).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  await Promise.all(tabs.map((tab) => tab.call("rest")));
  await Promise.all(tabs.map((tab) => tab.call("caughtUp")));
  const { findings } = check(ledger.history);
  expect(findings.map(printFinding).join("\n")).toBe("");
});
