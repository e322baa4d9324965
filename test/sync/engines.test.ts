/**
 * Sync in other engines than the other files have: Chromium over IndexedDB, Firefox over OPFS and over IndexedDB, and
 * WebKitGTK over IndexedDB, sync one topic with the edge. Each writes offline and online, is told each record's place,
 * and holds what the edge holds; what one engine wrote the next one reads. When a browser is not installed, its tests
 * are skipped with one line.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Engine } from "../crash/events.ts";
import type { EngineBrowser } from "../tabs/engine.ts";
import { FirefoxBrowser, findFirefox } from "../tabs/firefox.ts";
import { findWebKit, WebKitBrowser } from "../tabs/webkit.ts";
import type { Device } from "./device.ts";
import { readEdge } from "./edge.ts";
import type { DeviceConfig } from "./events.ts";
import { Fleet } from "./fleet.ts";
import type { SyncPage } from "./page/main.ts";
import { FaultProxy } from "./proxy.ts";

const [firefox, webkit] = [findFirefox(), findWebKit()];
if (!firefox) console.log("Firefox is not installed (apt-get install firefox-esr): sync is not tested in it");
if (!webkit)
  console.log(
    "WebKitGTK is not installed (apt-get install webkit2gtk-driver xvfb xauth dbus): sync is not tested in it",
  );

const LOG = "shared/engines";
let fleet: Fleet;
let network: FaultProxy;
const written: string[] = [];
beforeAll(async () => {
  fleet = await Fleet.start();
  network = await new FaultProxy(fleet.edge.port).start();
});
afterAll(async () => {
  await network?.stop();
  await fleet?.end();
});

type Call = <M extends keyof SyncPage>(
  method: M,
  ...args: Parameters<SyncPage[M]>
) => Promise<Awaited<ReturnType<SyncPage[M]>>>;
/** A tab with this suite's page in it. */
interface Opened {
  readonly call: Call;
  close(): Promise<void>;
}
type Open = (config: DeviceConfig) => Promise<Opened>;

/** A tab of the tabs suites' helper, or of a device, with this suite's page in it. */
const syncPage = (tab: { readonly call: unknown; close(): Promise<void> }): Opened => tab as Opened;
const openIn =
  (browser: EngineBrowser): Open =>
  async (config) =>
    syncPage(await browser.open(config as DeviceConfig & Parameters<typeof browser.open>[0]));

async function syncs(browser: string, engine: Engine, open: Open): Promise<void> {
  const name = `${browser}-${engine}`;
  const page = await open({
    name,
    edge: network.url,
    path: LOG,
    tokens: fleet.tokens.urlOf(name),
    engine,
    database: name,
  });
  expect((await page.call("storage")).engine).toBe(engine);
  await page.call("write", name, 0, 20);
  await page.call("holds", written.length + 20);
  network.refuse();
  await page.call("write", name, 20, 20);
  // The status is told in a later turn than the ack.
  await expect.poll(async () => (await page.call("brief")).status!.topics["orders"]!.pending.records).toBe(20);
  network.heal();
  written.push(...Array.from({ length: 40 }, (_, i) => `${name}-${i}`));
  await page.call("holds", written.length);
  expect((await page.call("read")).map(([, value]) => value)).toEqual(written);
  await expect.poll(async () => (await page.call("places")).length).toBe(40);
  expect((await readEdge(fleet.edge.url, LOG)).map(([, value]) => value)).toEqual(written);
  await page.call("close");
  await page.close();
}

describe("Chromium", () => {
  let device: Device;
  beforeAll(async () => void (device = await fleet.add("chromium")));
  afterAll(() => fleet.remove(device));

  it("syncs a topic over indexeddb", () =>
    syncs("chromium", "indexeddb", async (config) => syncPage(await device.open(config))));
});

describe.skipIf(!firefox)("Firefox", () => {
  let browser: FirefoxBrowser;
  beforeAll(async () => void (browser = await FirefoxBrowser.start(fleet.stage.url, firefox!)));
  afterAll(() => browser?.end());

  it.each(["opfs", "indexeddb"] as const)("syncs a topic over %s", (engine) =>
    syncs("firefox", engine, openIn(browser)),
  );
});

describe.skipIf(!webkit)("WebKitGTK", () => {
  let browser: WebKitBrowser;
  beforeAll(async () => void (browser = await WebKitBrowser.start(fleet.stage.url, webkit!)));
  afterAll(() => browser?.end());

  it("syncs a topic over indexeddb", () => syncs("webkitgtk", "indexeddb", openIn(browser)));
});
