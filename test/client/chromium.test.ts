/**
 * `tidemark/client` in a page and in a service worker of real Chromium, against real workerd behind a network that can
 * be cut: one walk in one load of the page.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, expect, it } from "vitest";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { CHROMIUM_ARGS, ensureChromium } from "../../tools/run/setup.mjs";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { loadedLater } from "../../tools/package/loaded-later.mjs";
// @ts-expect-error plain JavaScript, because it also runs before any package is installed
import { SIDE_ENTRIES } from "../../tools/package/side-entries.mjs";
import { type ClientTopic, connect, type EdgeClient } from "../../src/client/index.ts";
import { type LocalWorker, startWorker } from "../edge/local-worker.ts";
import { FaultProxy } from "../sync/proxy.ts";

const root = path.join(import.meta.dirname, "../..");
/** A service worker has no DOM and no import(). It does what a message says, and answers. */
const serviceWorker = (file: string): string => `
importScripts("/${file}");
const edge = client.connect(new URL(location.href).searchParams.get("edge"));
const topic = edge.topic("walk/service");
const works = {
  append: async (value) => ({ offset: (await topic.append({ key: "push", value })).offset }),
  async read() {
    const values = [];
    for await (const { value } of topic.read()) values.push(value);
    return { values };
  },
  use: async (value) => ({ offset: (await edge.topic("walk/used").use((_, next) => next()).append({ value })).offset }),
};
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
// "push" and "sync" give a handler the same waitUntil; a message can be sent without a push service.
self.addEventListener("message", (event) =>
  event.waitUntil(
    works[event.data[0]](event.data[1]).then(
      (answer) => event.source.postMessage(answer),
      ({ code, message }) => event.source.postMessage({ code, message }),
    ),
  ),
);`;

let worker: LocalWorker;
let proxy: FaultProxy;
let server: Server;
let context: BrowserContext;
let page: Page;
const profile = mkdtempSync(path.join(os.tmpdir(), "tidemark-client-"));

/** The client as one script. `later`: what stays an import() of a file. */
async function bundle(later: readonly (readonly [string, string])[] = []): Promise<string> {
  const plugins = [(loadedLater as (...given: unknown[]) => never)(later, new Set())];
  const build = await rolldown({ input: path.join(root, "src/client/index.ts"), platform: "browser", plugins });
  const { output } = await build.generate({ format: "iife", name: "client", codeSplitting: false });
  await build.close();
  return output[0].code;
}

beforeAll(async () => {
  const files: Record<string, readonly [type: string, body: string]> = {
    "/": ["text/html", `<!doctype html><title>walk</title><script src="/client.js"></script>`],
    "/client.js": ["text/javascript", await bundle()],
    "/client-split.js": ["text/javascript", await bundle(SIDE_ENTRIES.client.later)],
    "/sw.js": ["text/javascript", serviceWorker("client.js")],
    "/split/sw.js": ["text/javascript", serviceWorker("client-split.js")],
  };
  server = createServer((request, response) => {
    const [type, body] = files[request.url!.split("?")[0]!] ?? ["text/plain", ""];
    response.writeHead(body === "" ? 404 : 200, { "content-type": type }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  worker = await startWorker();
  proxy = await new FaultProxy(Number(new URL(worker.url).port)).start();
  context = await chromium.launchPersistentContext(profile, {
    executablePath: (ensureChromium as () => string)(),
    args: CHROMIUM_ARGS as string[],
  });
  page = await context.newPage();
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
});
afterAll(async () => {
  await context.close();
  await proxy.stop();
  await worker.stop();
  server.close();
  rmSync(profile, { recursive: true, force: true });
});

async function valuesOf(name: string): Promise<unknown[]> {
  const values = [];
  for await (const { value } of connect(worker.url).topic(name).read()) values.push(value);
  return values;
}

/** What the page has: the bundle's exports, and what a step leaves for the next one. */
declare const client: typeof import("../../src/client/index.ts");
declare const walk: {
  readonly edge: EdgeClient;
  readonly topic: ClientTopic<number>;
  readonly seen: number[];
  readonly over: AbortController;
  readonly done: Promise<void>;
  n: number;
};

it("a page appends and follows over a socket, across drops, and where no socket opens", async () => {
  const failures: string[] = [];
  page.on("pageerror", (error) => failures.push(String(error)));
  await page.evaluate(async (url) => {
    const edge = client.connect(url);
    const topic = edge.topic<number>("walk/page");
    await topic.create();
    const seen: number[] = [];
    const over = new AbortController();
    const done = (async () => {
      for await (const { value } of topic.read({ follow: true, signal: over.signal })) seen.push(value!);
    })();
    Object.assign(globalThis, { walk: { edge, topic, seen, over, done, n: 0 } });
  }, proxy.url);
  const append = (count: number) =>
    page.evaluate(async (count) => {
      await Promise.all(Array.from({ length: count }, () => walk.topic.append({ value: walk.n++ })));
      while (walk.seen.length < walk.n) await new Promise((resolve) => setTimeout(resolve, 2));
      return walk.seen.length;
    }, count);
  expect(await append(1_000)).toBe(1_000);
  for (const [way, bytes] of [
    ["up", 1],
    ["up", 100],
    ["down", 1],
    ["down", 100],
  ] as const) {
    proxy.stopAfter(way, bytes);
    await append(2);
    proxy.heal();
  }
  proxy.noSockets();
  await append(2);
  proxy.heal();
  proxy.cut();
  const total = await append(2);
  const seen = await page.evaluate(async () => {
    walk.over.abort();
    await walk.done;
    await walk.edge.close();
    return walk.seen;
  });
  expect(seen).toEqual(Array.from({ length: total }, (_, n) => n));
  expect(await valuesOf("walk/page")).toEqual(seen);
  expect(failures).toEqual([]);
});

type Work = readonly [name: "append" | "read" | "use", value?: string];

/** What the service worker answers to these messages, which it gets at once. */
const send = (script: string, works: readonly Work[]) =>
  page.evaluate(
    async ([script, url, works]) => {
      const { serviceWorker } = navigator;
      const { active, waiting, installing } = await serviceWorker.register(`${script}?edge=${encodeURIComponent(url)}`);
      const worker = (active ?? waiting ?? installing)!;
      const answers: unknown[] = [];
      return new Promise<unknown[]>((resolve) => {
        serviceWorker.onmessage = ({ data }) => {
          if (answers.push(data) === works.length) resolve(answers);
        };
        serviceWorker.startMessages();
        for (const work of works) worker.postMessage(work);
      });
    },
    [script, proxy.url, works] as const,
  );

it("a service worker appends in its handlers, each once, across a drop; one file has all other calls", async () => {
  const works: Work[] = [
    ["append", "a"],
    ["append", "b"],
  ];
  expect(await send("/sw.js", works)).toEqual([{ offset: 0 }, { offset: 1 }]);
  proxy.stopAfter("down", 20);
  expect(await send("/sw.js", [["append", "c"]])).toEqual([{ offset: 2 }]);
  expect(proxy.heal()).toBeGreaterThan(0);
  expect(await valuesOf("walk/service")).toEqual(["a", "b", "c"]);
  expect(await send("/sw.js", [["read"]])).toEqual([{ values: ["a", "b", "c"] }]);
  expect(await send("/sw.js", [["use", "d"]])).toEqual([{ offset: 0 }]);
});

it("a service worker that is a script, and would load files, appends; other calls say what to import", async () => {
  expect(await send("/split/sw.js", [["append", "e"]])).toEqual([{ offset: 3 }]);
  for (const work of ["read", "use"] as const)
    expect(await send("/split/sw.js", [[work, "f"]])).toEqual([
      { code: "LOAD_FAILED", message: expect.stringContaining("import tidemark/client-whole") as string },
    ]);
});
