/**
 * The whole many-tab story over the packed package, in apps that Vite builds, that Vite's development server serves,
 * and that webpack builds. By default each app runs it over OPFS, with one tab that follows or with three, and the one
 * built by Vite over IndexedDB with each. With TIDEMARK_PACKAGE=all every app runs all four.
 */
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { Engine } from "../crash/events.ts";
import { TabsBrowser } from "../tabs/browser.ts";
import { APPS, type Installed, installApp, serveApp } from "./apps.ts";
import type { Served } from "./serve.ts";
import { appPage, manyTabs, tooSlow, USED } from "./story.ts";

const NAMES = ["viteBuild", "viteDev", "webpack"] as const;
type Run = readonly [engine: Engine, followers: number];
const ALL: readonly Run[] = [
  ["opfs", 1],
  ["opfs", 3],
  ["indexeddb", 1],
  ["indexeddb", 3],
];
const SOME: Readonly<Record<(typeof NAMES)[number], readonly Run[]>> = {
  viteBuild: [ALL[1]!, ALL[2]!, ALL[3]!],
  viteDev: [ALL[0]!],
  webpack: [ALL[1]!],
};
const runsOf = (name: (typeof NAMES)[number]): readonly Run[] =>
  process.env["TIDEMARK_PACKAGE"] === "all" ? ALL : SOME[name];

const installed = {} as Record<(typeof NAMES)[number], Installed>;
beforeAll(async () => {
  await Promise.all(
    NAMES.map(
      async (name) => (installed[name] = await installApp(APPS[name], inject("packageFolder"), inject("tarball"))),
    ),
  );
}, 240_000);

describe.each(NAMES)("many tabs of an app: %s", (name) => {
  let served: Served;
  let browser: TabsBrowser;
  beforeAll(async () => {
    served = await serveApp(installed[name]);
    browser = await TabsBrowser.start(served.url);
  });
  afterAll(async () => {
    await browser?.end();
    await served?.close();
  });

  it("one tab appends, reads, packs, compacts, over both engines", async () => {
    const tab = await browser.open({ name: "alone", engine: "opfs", noSharedWorker: false, pauseMs: 0 });
    const { opfs, indexeddb } = await appPage(tab).call("use", "use");
    expect([opfs, indexeddb]).toEqual([USED("opfs"), USED("indexeddb")]);
    expect(browser.problems).toEqual([]);
  });

  it.each(runsOf(name))(
    "over %s the leader goes in each way, with %i following, and a standby worker takes over in time",
    async (engine, followers) => {
      const times = await manyTabs(browser, engine, followers);
      console.log(
        `${name}, ${engine}, ${followers} following, ms from the strike to the next ack: ${JSON.stringify(times)}`,
      );
      expect(tooSlow(times)).toEqual([]);
    },
  );
});
