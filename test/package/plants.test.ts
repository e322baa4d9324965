/**
 * Shows that the package suite notices wrong wiring of the package's parts: the address of a part or its install() is
 * broken in dist/, the app is built with that, and the suite's own checks must fail. With nothing planted they pass.
 */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { TabsBrowser } from "../tabs/browser.ts";
import { APPS, buildApp, type Installed, installApp, serveApp } from "./apps.ts";
import { appPage, manyTabs, tooSlow, USED } from "./story.ts";

const PARTS = ["recovery", "indexeddb", "extras", "tabs"] as const;

let app: Installed;
beforeAll(async () => {
  app = await installApp({ ...APPS.viteBuild, name: "planted" }, inject("packageFolder"), inject("tarball"));
});

/** Runs the suite's checks over the app as it is built now: "passed", or the first failure. */
async function outcome(): Promise<string> {
  await buildApp(app);
  const served = await serveApp(app);
  const browser = await TabsBrowser.start(served.url);
  try {
    const tab = await browser.open({ name: "alone", engine: "opfs", noSharedWorker: false, pauseMs: 0 });
    expect(await appPage(tab).call("use", "use")).toEqual({ opfs: USED("opfs"), indexeddb: USED("indexeddb") });
    expect(tooSlow(await manyTabs(browser, "opfs", 1, ["page closed"]))).toEqual([]);
    return "passed";
  } catch (thrown) {
    return String(thrown).split("\n")[0]!;
  } finally {
    await browser.end();
    await served.close();
  }
}

/** The outcome with one piece of one file of dist/ replaced. The piece must occur exactly once. */
async function planted(file: string, find: RegExp, replace: string): Promise<string> {
  const place = path.join(app.directory, "node_modules/tidemark/dist", file);
  const text = readFileSync(place, "utf8");
  expect(text.match(new RegExp(find, "g"))?.length, `${find.source} in ${file}`).toBe(1);
  writeFileSync(place, text.replace(find, replace));
  try {
    return await outcome();
  } finally {
    writeFileSync(place, text);
  }
}

describe("wiring of the package's parts", () => {
  it("as it is: the checks pass", async () => {
    expect(await outcome()).toBe("passed");
  });

  it.each(PARTS)("another file's address for %s: the checks fail", async (part) => {
    const other = part === "tabs" ? "extras" : "tabs";
    expect(await planted("browser.js", new RegExp(`new URL\\("\\./${part}\\.js"`), `new URL("./${other}.js"`)).not.toBe(
      "passed",
    );
  });

  it.each(PARTS)("%s without its install(): the checks fail", async (part) => {
    expect(
      await planted(`${part}.js`, /(?<=\bas )install(?=[,}])|(?<=export function )install(?=\()/, "uninstall"),
    ).not.toBe("passed");
  });
});
