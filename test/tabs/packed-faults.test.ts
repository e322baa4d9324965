/**
 * Files that can't be loaded, busy pages and listeners that throw, over the packed package: none of them costs a tab
 * its tide. Built by Vite, in real Chromium.
 */
import path from "node:path";
import type { Route } from "playwright";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { PackedApp, serveFolder, type Site } from "../support/packed.ts";
import { APP, AppBrowser, type AppTab } from "./packed-tabs.ts";

let app: PackedApp;
let site: Site;
let browser: AppBrowser;
/** Uncaught errors that the test expects. */
let expected: string[] = [];

beforeAll(async () => {
  app = await PackedApp.make(APP);
  app.viteBuild();
  site = await serveFolder(path.join(app.folder, "dist"));
  browser = await AppBrowser.start();
});
afterAll(async () => {
  await browser?.end();
  await site?.close();
  await app?.remove();
});
afterEach(async () => {
  site.instead = undefined;
  const told = await browser.clear();
  expect(told.filter((text) => !expected.some((each) => text.includes(each)))).toEqual([]);
  expected = [];
});

let names = 0;
const fresh = (): string => `fault-${names++}`;

async function opened(name: string, prepare?: (tab: AppTab) => Promise<unknown>): Promise<AppTab> {
  const tab = await browser.open(site.url);
  await prepare?.(tab);
  await tab.call("open", name);
  return tab;
}
const typesOf = async (tab: AppTab, name: string): Promise<string[]> =>
  (await tab.call("events", name)).map(({ type }) => type);
const missing = (route: Route): Promise<void> => route.fulfill({ status: 404, body: "gone" });

describe("a lone tab that leads, and hears of a second one too late", () => {
  it("its thread is busy: it follows once it can, and its calls come through", async () => {
    const name = fresh();
    const first = await opened(name);
    await first.call("append", name, "1");
    const busy = first.call("busy", 6_000);
    const second = await opened(name);
    expect(await second.call("append", name, "2")).toBe(1);
    await busy;
    expect(await first.call("append", name, "3")).toBe(2);
    expect(await first.call("role", name)).toBe("follower");
    expect(await typesOf(first, name)).not.toContain("closed");
    expect(await second.call("read", name)).toEqual(["1", "2", "3"]);
  });

  it("tabs.js can't be loaded: it says so, asks again under another address, and follows", async () => {
    const name = fresh();
    const first = await opened(name);
    await first.page.route(/\/tabs-[^/]*\.js/, missing);
    await first.call("append", name, "1");
    const second = await opened(name);
    expect(await second.call("append", name, "2")).toBe(1);
    const waits = first.call("append", name, "3");
    await expect.poll(() => typesOf(first, name)).toContain("leaderlost");
    expect(await typesOf(first, name)).toContain("loadfailed");
    const asked = first.page.waitForRequest(/\/tabs-[^/]*\.js\?\d+$/);
    await first.page.unroute(/\/tabs-[^/]*\.js/);
    await asked;
    expect(await waits).toBe(2);
    expect(await typesOf(first, name)).not.toContain("closed");
    expect(await first.call("role", name)).toBe("follower");
  });

  it("tabs.js is never there again: it leads once more when the other tab has gone", async () => {
    const name = fresh();
    const first = await opened(name);
    await first.page.route(/\/tabs-[^/]*\.js/, missing);
    await first.call("append", name, "1");
    const second = await opened(name);
    await second.call("append", name, "2");
    await expect.poll(() => typesOf(first, name)).toContain("leaderlost");
    const waits = first.call("append", name, "3");
    await second.leave();
    expect(await waits).toBe(2);
    expect(await first.call("role", name)).toBe("leader");
  });
});

describe("a file of the package that can't be loaded", () => {
  it("core.js: open() is LOAD_FAILED, says what to do, and works when it is asked again", async () => {
    const name = fresh();
    const tab = await browser.open(site.url);
    site.instead = (pathname) => (pathname.includes("/core-") ? { status: 404 } : undefined);
    const refused = await tab.call("refused", name);
    expect(refused).toMatchObject({ typed: true, code: "LOAD_FAILED", kind: "retry", details: { file: "core.js" } });
    expect(refused!.message).toContain("core.js");
    expect(refused!.message).toContain("npx tidemark assets");
    site.instead = undefined;
    await tab.call("open", name);
    expect(await tab.call("append", name, "1")).toBe(0);
  });

  it.each([
    ["is missing", { status: 404 }, "HTTP 404"],
    ["is answered with a page", { type: "text/html", body: "<!doctype html><p>not here</p>" }, "is no WebAssembly"],
    [
      "is of another kind",
      { type: "application/wasm", body: new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]) },
      "not Tidemark's kernel",
    ],
    ["is cut off", { type: "application/wasm", body: new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0]) }, "CompileError"],
  ])("kernel.wasm %s", async (_, instead, words) => {
    const tab = await browser.open(site.url);
    site.instead = (pathname) => (pathname.endsWith(".wasm") ? instead : undefined);
    const refused = await tab.call("refused", fresh());
    expect(refused).toMatchObject({ typed: true, code: "LOAD_FAILED", details: { file: "kernel.wasm" } });
    expect(refused!.message).toContain(words);
  });

  it("a part fails the call that needs it, and no other; the next such call tries again", async () => {
    const name = fresh();
    const tab = await opened(name);
    site.instead = (pathname) => (pathname.includes("/extras-") ? { status: 404 } : undefined);
    const refused = await tab.call("stateTried", name);
    expect(refused).toMatchObject({ typed: true, code: "LOAD_FAILED", details: { file: "extras.js" } });
    expect(await tab.call("append", name, "1")).toBe(0);
    site.instead = undefined;
    expect(await tab.call("stateTried", name)).toEqual({});
  });

  it("recovery.js: a tide that holds a log is not opened, and nothing of it is lost", async () => {
    const name = fresh();
    const first = await opened(name);
    await first.call("append", name, "1");
    await first.leave();
    const tab = await browser.open(site.url);
    site.instead = (pathname) => (pathname.includes("/recovery-") ? { status: 404 } : undefined);
    const refused = await tab.call("refused", name);
    expect(refused).toMatchObject({
      typed: true,
      code: "LOAD_FAILED",
      kind: "retry",
      details: { file: "recovery.js" },
    });
    // The worker's words are its page's.
    expect(refused!.message).toContain("npx tidemark assets");
    // A new one holds none.
    const other = fresh();
    await tab.call("open", other);
    expect(await tab.call("append", other, "1")).toBe(0);
    site.instead = undefined;
    await tab.call("open", name);
    expect(await tab.call("append", name, "2")).toBe(1);
    expect(await tab.call("read", name)).toEqual(["1", "2"]);
  });

  it("sync.js: sync() is refused, and a synced topic takes nothing until it is there (H44)", async () => {
    const name = fresh();
    const tab = await opened(name);
    await tab.call("append", name, "1");
    const lost = (pathname: string) => (pathname.includes("/sync-") ? { status: 404 } : undefined);
    site.instead = lost;
    const failed = { typed: true, code: "LOAD_FAILED", details: { file: "sync.js" } };
    expect(await tab.call("syncRefused", name)).toMatchObject(failed);
    // Nothing has become synced, so the topic goes on as it was.
    expect(await tab.call("append", name, "2")).toBe(1);
    site.instead = undefined;
    expect(await tab.call("syncRefused", name)).toBeUndefined();
    expect(await tab.call("append", name, "3")).toBe(2 ** 52 + 2);
    await tab.leave();

    site.instead = lost;
    const again = await opened(name);
    expect(await again.call("tried", name, "4")).toMatchObject(failed);
    site.instead = undefined;
    expect(await again.call("append", name, "4")).toBe(2 ** 52 + 3);
    await again.leave();

    // What was synced goes on by itself: nobody appends, reads, or calls sync().
    let refused = 0;
    site.instead = (pathname) => (lost(pathname) && ++refused ? { status: 404 } : undefined);
    const silent = await opened(name);
    await expect.poll(() => refused).toBeGreaterThan(0);
    expect(await typesOf(silent, name)).not.toContain("sync");
    site.instead = undefined;
    await expect.poll(() => typesOf(silent, name)).toContain("sync");
  });

  it("segments.js: appends fail that need a new segment, and no other; none is lost or doubled", async () => {
    const name = fresh();
    const tab = await browser.open(site.url);
    await tab.call("open", name, { segmentBytes: 65_536 });
    site.instead = (pathname) => (pathname.includes("/segments-") ? { status: 404 } : undefined);
    const value = (first: string): string => first.padEnd(9_000, ".");
    const acked: string[] = [];
    for (let i = 0; i < 12; i++) {
      const answer = await tab.call("tried", name, value(`${i}`));
      if (answer.offset === undefined)
        expect(answer).toMatchObject({ typed: true, code: "LOAD_FAILED", details: { file: "segments.js" } });
      else {
        expect(answer.offset).toBe(acked.length);
        acked.push(value(`${i}`));
      }
    }
    expect(acked.length).toBeGreaterThan(2);
    expect(acked.length).toBeLessThan(8);
    expect(await tab.call("read", name)).toEqual(acked);
    site.instead = undefined;
    for (let i = 0; i < 12; i++) {
      expect(await tab.call("append", name, value(`more ${i}`))).toBe(acked.length);
      acked.push(value(`more ${i}`));
    }
    expect(await tab.call("read", name)).toEqual(acked);
  });

  it("a worker that stands by has all that a fail-over needs", async () => {
    const name = fresh();
    const first = await browser.open(site.url);
    await first.call("open", name, { segmentBytes: 65_536 });
    for (let i = 0; i < 12; i++) await first.call("append", name, "".padEnd(9_000, "."));
    const asked = (): number => site.asked.filter((each) => each.includes("/segments-")).length;
    const before = asked();
    const second = await opened(name);
    await second.seesStandBy();
    await expect.poll(asked).toBeGreaterThan(before);
    site.instead = () => ({ status: 404 });
    await first.leave();
    expect(await second.call("append", name, "after")).toBe(12);
    expect((await second.call("read", name)).length).toBe(13);
    expect(await typesOf(second, name)).not.toContain("loadfailed");
  });

  it("in a worker that stands by: it is not given the lead, and another one is tried", async () => {
    const name = fresh();
    const first = await opened(name);
    const second = await opened(name);
    await second.call("append", name, "1");
    // Its page asks first, then its workers.
    let asked = 0;
    const third = await opened(name, ({ page }) =>
      page.route(/\/tabs-[^/]*\.js/, (route) => (++asked > 1 ? missing(route) : route.continue())),
    );
    await third.call("append", name, "2");
    await expect.poll(() => asked).toBeGreaterThan(1);
    await third.page.unroute(/\/tabs-[^/]*\.js/);
    await first.leave();
    await second.leave();
    expect(await third.call("append", name, "3")).toBe(2);
  });
});

describe("listeners", () => {
  it("one that throws harms nobody: not a change of the leader, not close(), no other listener", async () => {
    expected = ["listener"];
    const name = fresh();
    const first = await opened(name);
    await first.call("append", name, "1");
    const second = await opened(name);
    await second.call("throwAlways", name);
    await second.call("heardOf", name, "leaderchange");
    await first.call("close", name);
    expect(await second.call("append", name, "2")).toBe(1);
    expect(await second.call("heard", name)).toEqual(["leaderchange"]);
    await second.call("close", name);
    expect(
      await second.page.evaluate(() => (window as typeof window & { app: { uncaught: string[] } }).app.uncaught),
    ).toContain("error: Uncaught Error: listener");
  });

  it.each([[[]], [["closed"]], [["nothing", null]], [["closed", 5]], [[5]]])(
    "on(%j) is refused by name",
    async (args) => {
      const name = fresh();
      const tab = await opened(name);
      expect(await tab.call("refusedOn", name, ...(args as unknown[]))).toMatchObject({
        typed: true,
        code: "INVALID_ARGUMENT",
      });
    },
  );
});

describe("close()", () => {
  it("often at once gives the same answer each time, on a leader and on a follower", async () => {
    const name = fresh();
    const first = await opened(name);
    const second = await opened(name);
    void first.call("append", name, "1");
    expect(await second.call("closeOften", name)).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
    expect(await first.call("closeOften", name)).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
    expect(await first.call("closeOften", name)).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
  });

  it("while the leader goes, with an append under way", async () => {
    const name = fresh();
    const first = await opened(name);
    const second = await opened(name);
    await second.call("append", name, "1");
    await first.leave();
    const acked = second.call("append", name, "2");
    expect(await second.call("closeOften", name)).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
    expect(await acked).toBe(1);
  });
});

it("control calls over a channel, and then the leader goes: nothing is left that throws later", async () => {
  const name = fresh();
  const first = await opened(name, (tab) => tab.call("noSharedWorker"));
  const second = await opened(name, (tab) => tab.call("noSharedWorker"));
  await second.call("append", name, "1");
  for (let i = 0; i < 5; i++) expect((await second.call("state", name)).logEndOffset).toBe(1);
  await first.crash();
  expect(await second.call("append", name, "2")).toBe(1);
  const session = await second.page.context().newCDPSession(second.page);
  for (let i = 0; i < 3; i++) await session.send("HeapProfiler.collectGarbage");
  // A collected proxy sends its message in a later turn.
  expect((await second.call("state", name)).logEndOffset).toBe(2);
});
