/** Tabs that differ from the others: another version of the library, an incognito window, tabs that slept. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { check, printFinding } from "../checker/checker.ts";
import { Ledger } from "../crash/ledger.ts";
import { setStage, type Stage } from "../crash/stage.ts";
import { PROTOCOL_VERSION as OLD } from "../../src/browser/port/protocol.ts";
import { TabsBrowser } from "./browser.ts";

const NEW = OLD + 1;
/** The page's second build, with another protocol version. */
const NEWER = {
  what: "another protocol",
  bug: {
    name: "newer",
    file: "src/browser/port/protocol.ts",
    find: `PROTOCOL_VERSION = ${OLD};`,
    replace: `PROTOCOL_VERSION = ${NEW};`,
  },
};

let ledger: Ledger;
let stage: Stage;
let browser: TabsBrowser;

beforeAll(async () => {
  ledger = new Ledger();
  stage = await setStage(ledger, undefined, "test/tabs/page", { folder: "newer", plant: NEWER });
  browser = await TabsBrowser.start(stage.url);
});
afterAll(async () => {
  await browser?.end();
  await stage?.close();
});

const config = (name: string) => ({ name, engine: "opfs", noSharedWorker: false, pauseMs: 2 }) as const;

describe("an old and a new version of the library, on one tide", () => {
  it.each([
    ["the old one leads", "", "newer/", [OLD, NEW]],
    ["the new one leads", "newer/", "", [NEW, OLD]],
  ] as const)(
    "%s: the other's open() says why not, the leader is told and goes on, and then they change places",
    async (name, first, second, met) => {
      const tide = config(name.replaceAll(" ", "-"));
      const leader = await browser.openIn(await browser.newPage(first), tide);
      const follower = await browser.openIn(await browser.newPage(first), tide);
      for (const tab of [leader, follower]) await tab.call("work");
      const stranger = await browser.newPage(second);
      await expect(browser.openIn(stranger, tide)).rejects.toThrow(
        /UNSUPPORTED_FORMAT: another tab runs another version/,
      );
      await expect.poll(async () => (await leader.state()).versions).toEqual([met]);
      const { acked } = await follower.state();
      await expect.poll(async () => (await follower.state()).acked).toBeGreaterThan(acked + 20);
      for (const tab of [leader, follower]) await tab.call("rest");
      for (const tab of [follower, leader]) expect((await tab.state()).failures).toEqual([]);
      await follower.close();
      await leader.call("close");
      // The tab was refused. After a reload it finds everything.
      await stranger.reload();
      const next = await browser.openIn(stranger, tide);
      expect((await next.state()).role).toBe("leader");
      await next.call("append", 1);
      await next.call("readAll");
      // This record was sent without the ledger's knowledge.
      expect(
        check(ledger.history)
          .findings.filter(({ anomaly }) => anomaly !== "never-sent")
          .map(printFinding),
      ).toEqual([]);
      expect(ledger.problems).toEqual([]);
      await next.close();
      await leader.close();
      ledger.clear();
    },
  );
});

describe("a follower whose next leader is of another version", () => {
  // The tab was frozen, or it would lead.
  it.each([
    ["newer", "", "newer/", [OLD, NEW]],
    ["older", "newer/", "", [NEW, OLD]],
  ] as const)(
    "%s: says why it ends when it wakes; the leader is told, and goes on",
    async (name, ours, theirs, met) => {
      ledger.clear();
      const tide = config(`next-${name}`);
      const follower = await browser.openIn(await browser.newPage(ours), tide);
      const leader = await browser.openIn(await browser.newPage(ours), tide);
      await expect.poll(async () => (await leader.state()).role).toBe("leader");
      expect(await follower.call("append", 1)).toBe(0);
      await follower.freeze();
      const page = await browser.newPage(theirs);
      await leader.close();
      const stranger = await browser.openIn(page, tide);
      expect((await stranger.state()).role).toBe("leader");
      await follower.thaw();
      await expect.poll(async () => (await follower.state()).closed).toMatch(/another version/);
      expect((await follower.state()).versions).toEqual([met]);
      await expect(follower.call("append", 2)).rejects.toThrow(/UNSUPPORTED_FORMAT/);
      await expect.poll(async () => (await stranger.state()).versions).toEqual([[...met].reverse()]);
      expect(await stranger.call("append", 3)).toBe(1);
      expect(await stranger.call("readAll")).toBe(2);
      expect(browser.problems).toEqual([]);
      for (const tab of [stranger, follower]) await tab.close();
      ledger.clear();
    },
  );
});

describe("a leader that hangs while it alone is seen", () => {
  // Timers of hidden tabs run once a second: a late timer does not mean that the tab slept.
  it.each([1_500, 2_500])("is deposed by a hidden tab, leaderTimeoutMs %i", async (leaderTimeoutMs) => {
    ledger.clear();
    const tide = { ...config(`unseen-${leaderTimeoutMs}`), leaderTimeoutMs };
    const tabs = [await browser.open(tide), await browser.open(tide), await browser.open(tide)];
    const leader = tabs[2]!;
    await expect.poll(async () => (await leader.state()).role).toBe("leader");
    for (const tab of tabs) await tab.call("work");
    const pid = await leader.process(browser.pid);
    process.kill(pid, "SIGSTOP");
    await expect
      .poll(async () =>
        (await Promise.all([tabs[0]!, tabs[1]!].map((tab) => tab.state()))).map(({ role }) => role).sort(),
      )
      .toEqual(["follower", "leader"]);
    process.kill(pid, "SIGCONT");
    for (const tab of tabs) await tab.call("rest");
    await tabs[0]!.call("readAll");
    expect(check(ledger.history).findings.map(printFinding)).toEqual([]);
    for (const tab of tabs) await tab.close();
  });
});

describe("the back-forward cache", () => {
  it("gives a tab back as it was, and it goes on", async () => {
    ledger.clear();
    // These tabs exchange no messages: Chromium drops a page from its cache when a message arrives or when another
    // page waits for one of its locks.
    const tide = { ...config("way-back"), noSharedWorker: true };
    const tabs = [await browser.open(tide), await browser.open(tide)];
    const follower = tabs[0]!;
    await expect.poll(async () => (await follower.state()).role).toBe("follower");
    await follower.page.goto("about:blank");
    // No event tells when Chromium has put the page into its cache. Going back sooner would reload it.
    await new Promise((resolve) => setTimeout(resolve, 500));
    await follower.page.goBack({ waitUntil: "commit" });
    expect((await follower.call("brief")).restored).toBe(1);
    expect(await follower.call("append", 1)).toBe(0);
    expect(await tabs[1]!.call("append", 2)).toBe(1);
    expect(await follower.call("readAll")).toBe(2);
    for (const tab of tabs) await tab.close();
  });
});

describe("incognito windows", () => {
  it("share a tide of their own, whose acks are worth nothing beyond them, and say so", async () => {
    ledger.clear();
    const tide = { ...config("incognito"), engine: "auto" } as const;
    const outside = await browser.open(tide);
    await outside.call("append", 1);
    expect(await outside.state()).toMatchObject({ storage: "opfs", durability: "device", role: "leader" });
    const context = await browser.incognito();
    const [first, second] = [
      await browser.openIn(await browser.newPage("", context), tide),
      await browser.openIn(await browser.newPage("", context), tide),
    ];
    expect(await first.call("append", 2)).toBe(0);
    expect(await second.call("append", 3)).toBe(1);
    expect(await second.call("readAll")).toBe(2);
    expect(
      (await Promise.all([first, second].map((tab) => tab.state()))).map(
        ({ role, storage, durability }) => `${role} ${storage} ${durability}`,
      ),
    ).toEqual(["leader opfs none", "follower opfs none"]);
    await first.crash();
    await expect.poll(async () => (await second.state()).role).toBe("leader");
    expect(await second.call("append", 4)).toBe(2);
    expect(await second.state()).toMatchObject({ durability: "none" });
    await context.close();
    expect(await outside.call("append", 5)).toBe(1);
    expect(browser.problems).toEqual([]);
    await outside.close();
  });
});
