/** Many tabs over the packed package, built by Vite: a worker stands by, is seen, and takes over as fast as the documents say. */
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { PackedApp, serveFolder, type Site } from "../tooling/packed.ts";
import { APP, AppBrowser, type AppTab } from "./packed-tabs.ts";

/** From the strike to the follower's next ack; of a leader that hangs, with the time after which it is deposed. */
const FAIL_OVER_MS = 500;
const HANG_MS = 3_500;

let app: PackedApp;
let site: Site;
let browser: AppBrowser;

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
afterEach(async () => expect(await browser.clear()).toEqual([]));

let names = 0;

/** A leader and its followers, each of which has appended; a worker stands by. */
async function tabs(followers: number, options: object = {}): Promise<{ name: string; leader: AppTab; rest: AppTab[] }> {
  const name = `packed-${names++}`;
  const all: AppTab[] = [];
  for (let i = 0; i <= followers; i++) {
    const tab = await browser.open(site.url);
    await tab.call("open", name, options);
    await tab.call("append", name, `first of ${i}`);
    all.push(tab);
  }
  // A tab that is seen takes the lead from one that is hidden; that is over once each has its role.
  await expect.poll(async () => (await Promise.all(all.map((tab) => tab.call("role", name)))).filter((role) => role === "leader")).toEqual(["leader"]);
  await all[0]!.seesStandBy();
  const roles = await Promise.all(all.map((tab) => tab.call("role", name)));
  const leader = all[roles.indexOf("leader")]!;
  return { name, leader, rest: all.filter((tab) => tab !== leader) };
}

const strikes = {
  "its page is closed": ({ leader }: { leader: AppTab }) => leader.leave(),
  "its tide is closed": ({ leader, name }: { leader: AppTab; name: string }) => leader.call("close", name),
  "its renderer crashes": ({ leader }: { leader: AppTab }) => leader.crash(),
};

describe.each(["opfs", "indexeddb"])("the packed package over %s", (engine) => {
  describe.each([1, 3])("with followers: %d", (followers) => {
    it.each(Object.keys(strikes) as (keyof typeof strikes)[])("the next leader acks in time when %s", async (strike) => {
      const story = await tabs(followers, { engine });
      const struckAt = Date.now();
      const struck = strikes[strike](story);
      const acked = Promise.all(story.rest.map((tab) => tab.call("append", story.name, "after")));
      await Promise.all([struck, acked]);
      expect(Date.now() - struckAt).toBeLessThan(FAIL_OVER_MS);
      const values = await story.rest[0]!.call("read", story.name);
      expect(values.filter((value) => value === "after")).toHaveLength(followers);
      expect(values.filter((value) => value.startsWith("first"))).toHaveLength(followers + 1);
    });

    it("a leader whose worker hangs is deposed in time", async () => {
      const { name, leader, rest } = await tabs(followers, { engine });
      leader.hangWorkers(20_000);
      const struckAt = Date.now();
      await Promise.all(rest.map((tab) => tab.call("append", name, "after")));
      expect(Date.now() - struckAt).toBeLessThan(HANG_MS);
    });
  });
});
