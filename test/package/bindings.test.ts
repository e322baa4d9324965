/**
 * The bindings as an app has them, walked in Chromium: test/package/bindings-app.ts. With TIDEMARK_PACKAGE=all also
 * over the lowest version of each framework that package.json allows.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { type Running, startBrowser } from "../support/chromium.ts";
import { type BindingsApp, bindingsApp, type Framework, FRAMEWORKS, LOWEST, Tab } from "./bindings-app.ts";

/** As many components as are mounted at once, twice. */
const MANY = 1000;
const HEAP_ROUNDS = 3;
/** Far less than one object each would make. */
const HEAP_GROWTH_MAX = 400_000;
const RECORDS = 300;
const APPS: Record<string, readonly string[] | undefined> = {
  bindings: undefined,
  ...(process.env["TIDEMARK_PACKAGE"] === "all" && { "bindings-lowest": LOWEST }),
};

let browser: Running;
let tides = 0;
const fresh = (framework: Framework): string => `${framework}-${tides++}`;
beforeAll(async () => {
  browser = await startBrowser(path.join(inject("packageFolder"), "bindings-profile"));
});
afterAll(() => {
  if (browser) process.kill(-browser.child.pid!, "SIGKILL");
});

describe.each(Object.keys(APPS))("%s", (name) => {
  let app: BindingsApp;
  beforeAll(async () => {
    app = await bindingsApp(name, APPS[name]);
  }, 240_000);
  afterAll(() => app?.site.close());
  const openTab = (file: string, tide: string, tab: string, more: { readonly every?: string } = {}): Promise<Tab> =>
    Tab.open(browser.context, app.site, file, { tide, tab, ...more });

  describe.each(FRAMEWORKS)("tidemark/%s", (framework) => {
    it("hydrates what the server has rendered without a warning, opens once, and shows what is appended", async () => {
      const tide = fresh(framework);
      const tab = await openTab(`${framework}-rendered`, tide, "a");
      await tab.shows("state", "open leader");
      await tab.shows("count", "0 records");
      await tab.click("add");
      await tab.shows("count", "1 records");
      await tab.shows("last", "a0");
      expect(await tab.call((walk) => walk.pendings)).toBeGreaterThan(0);
      await tab.shows("pending", "");
      for (let i = 0; i < 4; i++) await tab.click("add");
      await tab.shows("count", "5 records");
      await tab.shows("last", "a2\na3\na4");
      expect([await tab.text("sync"), await tab.text("even")]).toEqual(["idle", "4"]);
      // Drawn again only where the selection differs; StrictMode mounts twice.
      const evens = await tab.call((walk) => walk.evens);
      expect(framework === "react" ? evens.slice(1) : evens).toEqual([0, 2, 4]);
      // `select` reads the base for the first time at a state that shows the same.
      for (const base of [3, 5, 4]) {
        await tab.call((walk, given) => walk.base(given), base);
        await tab.shows("past", String(5 - base));
      }
      const pasts = await tab.call((walk) => walk.pasts);
      expect(framework === "react" ? pasts.slice(1) : pasts).toEqual([0, 2, 0, 1]);
      await tab.click("bad");
      await tab.shows("failed", "INVALID_ARGUMENT");
      await tab.click("dismiss");
      await tab.shows("failed", "");
      expect(await tab.opened()).toEqual([`tidemark:${tide}`]);
      expect(tab.problems).toEqual([]);
      await tab.page.close();
    });

    it("a thousand components with every hook share what runs and leave none of it; the last closes all", async () => {
      const tide = fresh(framework);
      const tab = await openTab(framework, tide, "a", { every: "1" });
      await tab.shows("state", "open leader");
      await tab.shows("count", "0 records");
      const alone = await tab.running();
      // The view of the page, and what is newest of both topics.
      expect(alone).toMatchObject({ tides: 1, followers: 4, views: 1, changes: 2 });
      await tab.mountMany(MANY);
      const all = await tab.running();
      // One more of the newest: the last record. All else is shared with the page.
      expect(all).toMatchObject({ tides: 1, followers: 5, views: 1, changes: 3 });
      for (const what of ["the tide", "view", "records", "sync"])
        expect(all[`listeners of ${what}`]! - alone[`listeners of ${what}`]!).toBeGreaterThanOrEqual(MANY);
      const before = await tab.call((walk) => walk.applied.times);
      const appended = await tab.call(async ({ tide }, given) => {
        const topic = tide.topic("notes");
        await Promise.all(Array.from({ length: given }, (_, i) => topic.append({ value: String(i) })));
        return given;
      }, RECORDS);
      await tab.shows("count", `${appended} records`);
      expect(await tab.page.locator("#many i").last().innerText()).toBe(String(appended));
      expect((await tab.call((walk) => walk.applied.times)) - before).toBe(appended);
      await tab.mountMany(0);
      await expect.poll(() => tab.running()).toEqual(alone);
      // What leaks grows each time; compiled code and caches of the framework grow once.
      const growths: number[] = [];
      while (growths.length < HEAP_ROUNDS && !(growths.at(-1)! < HEAP_GROWTH_MAX)) {
        const heap = await tab.heap();
        for (const count of [MANY, 0, MANY, 0]) await tab.mountMany(count);
        growths.push((await tab.heap()) - heap);
      }
      expect(Math.min(...growths), growths.join()).toBeLessThan(HEAP_GROWTH_MAX);
      await expect.poll(() => tab.running()).toEqual(alone);

      const times = await tab.call((walk) => walk.applied.times);
      expect(await tab.locks(tide)).toEqual([`tidemark:${tide}`]);
      await tab.call((walk) => walk.unmount());
      await expect.poll(() => tab.locks(tide)).toEqual([]);
      await expect.poll(() => tab.running()).toEqual({});
      // Mounted anew it is opened anew, and folds from the start.
      await tab.call((walk) => walk.mount());
      await tab.shows("count", `${appended} records`);
      expect((await tab.call((walk) => walk.applied.times)) - times).toBe(appended);
      expect((await tab.opened()).length).toBe(2);
      expect(tab.problems).toEqual([]);
      await tab.page.close();
    });

    it("asks for other records and another view while it is mounted, and leaves what it had", async () => {
      const tab = await openTab(framework, fresh(framework), "a");
      await tab.shows("state", "open leader");
      for (let i = 0; i < 3; i++) await tab.click("add");
      await tab.shows("count", "3 records");
      const alone = await tab.running();
      await tab.call((walk) => walk.ask({ last: 2 }));
      await tab.shows("asked", "[1,2] 3");
      await tab.call((walk) => walk.ask({ last: 1, follow: false }));
      await tab.shows("asked", "[2] 3");
      await tab.click("add");
      await tab.shows("asked", "[2] 4");
      await tab.call((walk) => walk.ask({ last: 2, isTwice: true }));
      await tab.shows("asked", "[2,3] 8");
      await tab.call((walk) => walk.ask({ last: 2, isOrders: true }));
      await tab.shows("asked", "[] 4");
      await tab.click("order");
      await tab.shows("asked", "[0] 4");
      await tab.call((walk) => walk.ask());
      await expect.poll(() => tab.running()).toEqual(alone);
      expect(tab.problems).toEqual([]);
      await tab.page.close();
    });

    it("unmounted while it opens, reads or appends: nothing is left, and what was appended is stored", async () => {
      const tide = fresh(framework);
      const tab = await openTab(framework, tide, "a");
      await tab.call(async (walk) => {
        const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));
        const add = (): HTMLElement | null => document.querySelector("#add");
        walk.unmount();
        for (let turns = 0; turns < 24; turns += 3) {
          walk.mount();
          for (let i = 0; i < turns; i++) await turn();
          walk.unmount();
          if (turns % 2 === 0) await turn();
        }
        for (const isOpen of [false, true]) {
          walk.mount();
          while (!add() || (isOpen && !document.body.textContent.includes("open leader"))) await turn();
          add()!.click();
          walk.unmount();
        }
      });
      await expect.poll(() => tab.locks(tide)).toEqual([]);
      await expect.poll(() => tab.running()).toEqual({});
      await tab.call((walk) => walk.mount());
      await tab.shows("count", "2 records");
      expect(tab.problems).toEqual([]);
      await tab.page.close();
    });

    it("a topic with a schema: it is read as the schema makes it, and what failed is appended by retry", async () => {
      const tab = await openTab(framework, fresh(framework), "a");
      await tab.shows("state", "open leader");
      await tab.click("order");
      await tab.shows("orders", "1.00");
      await tab.click("wrong");
      await tab.shows("unsent", "5 SCHEMA_MISMATCH");
      // It is judged again, and fits no better.
      await tab.click("retry");
      await tab.shows("unsent", "5 SCHEMA_MISMATCH");
      await tab.click("forget");
      await tab.shows("unsent", "");
      await tab.call((walk) => walk.refuse(true));
      await tab.click("order");
      await tab.click("order");
      await tab.shows("unsent", "2 QUOTA_EXCEEDED\n3 QUOTA_EXCEEDED");
      await tab.call((walk) => walk.refuse(false));
      await tab.click("retry");
      await tab.shows("orders", "1.00\n2.00\n3.00");
      await tab.shows("unsent", "");
      await tab.click("retry");
      await tab.click("order");
      await tab.shows("orders", "1.00\n2.00\n3.00\n4.00");
      expect(tab.problems).toEqual([]);
      await tab.page.close();
    });

    it("two tabs show the same; the leader goes while the other draws, and nothing is lost", async () => {
      const tide = fresh(framework);
      const first = await openTab(framework, tide, "a");
      await first.shows("state", "open leader");
      const second = await openTab(framework, tide, "b");
      await second.shows("state", "open follower");
      await first.click("add");
      await second.shows("last", "a0");
      await second.click("add");
      await first.shows("count", "2 records");
      await second.mountMany(200);
      const acked = second.call(async ({ tide }, given) => {
        const topic = tide.topic("notes");
        let acked = 0;
        for (let i = 0; i < given; i++) {
          await topic.append({ value: String(i) });
          acked++;
          await new Promise((resolve) => requestAnimationFrame(resolve));
        }
        return acked;
      }, 120);
      await second.shows("count", /^[3-9]\d records/);
      await first.page.close();
      expect(await acked).toBe(120);
      await second.shows("count", "122 records");
      await second.shows("state", "open leader");
      expect(await second.page.locator("#many i").last().innerText()).toBe("122");
      expect([...first.problems, ...second.problems]).toEqual([]);
      await second.page.close();
    });

    // React and Solid: the nearest error boundary. Vue and Svelte: `error`.
    it("an error of a view is shown where the framework's people look for it, and other views go on", async () => {
      const tab = await openTab(framework, fresh(framework), "a");
      await tab.shows("count", "0 records");
      await tab.call((walk) => walk.fail());
      await tab.click("add");
      await tab.shows("caught", "INTERNAL");
      await tab.shows("count", "1 records");
      await tab.page.close();
    });
  });

  it("tidemark/react says that it is for clients, for bundlers of server components", () => {
    const file = path.join(app.directory, "node_modules/tidemark/dist/react.js");
    expect(readFileSync(file, "utf8")).toMatch(/^"use client";\n/);
  });
});
