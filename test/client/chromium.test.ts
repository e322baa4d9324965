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
import { type ClientTopic, connect, type EdgeClient } from "../../src/client/index.ts";
import { type LocalWorker, startWorker } from "../edge/local-worker.ts";
import { FaultProxy } from "../sync/proxy.ts";

const root = path.join(import.meta.dirname, "../..");
/** A service worker has no DOM and no import(): an append in its handlers is all that it does. */
const SERVICE_WORKER = `
importScripts("/client.js");
const edge = client.connect(new URL(location.href).searchParams.get("edge"));
const topic = edge.topic("walk/service");
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
// "push" and "sync" give a handler the same waitUntil; a message can be sent without a push service.
self.addEventListener("message", (event) =>
  event.waitUntil(
    topic.append({ key: "push", value: event.data }).then(
      ({ offset }) => event.source.postMessage({ offset }),
      ({ code }) => event.source.postMessage({ code }),
    ),
  ),
);`;

let worker: LocalWorker;
let proxy: FaultProxy;
let server: Server;
let context: BrowserContext;
let page: Page;
const profile = mkdtempSync(path.join(os.tmpdir(), "tidemark-client-"));

async function bundle(): Promise<string> {
  const build = await rolldown({ input: path.join(root, "src/client/index.ts"), platform: "browser" });
  const { output } = await build.generate({ format: "iife", name: "client", codeSplitting: false });
  await build.close();
  return output[0].code;
}

beforeAll(async () => {
  const files: Record<string, readonly [type: string, body: string]> = {
    "/": ["text/html", `<!doctype html><title>walk</title><script src="/client.js"></script>`],
    "/client.js": ["text/javascript", await bundle()],
    "/sw.js": ["text/javascript", SERVICE_WORKER],
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

it("a service worker appends in its handlers, each once, across a drop", async () => {
  const send = (values: readonly string[]) =>
    page.evaluate(
      async ([url, values]) => {
        const { serviceWorker } = navigator;
        await serviceWorker.register(`/sw.js?edge=${encodeURIComponent(url)}`);
        await serviceWorker.ready;
        const answers: unknown[] = [];
        return new Promise<unknown[]>((resolve) => {
          serviceWorker.onmessage = ({ data }) => {
            if (answers.push(data) === values.length) resolve(answers);
          };
          serviceWorker.startMessages();
          void serviceWorker.ready.then(({ active }) => values.forEach((value) => active!.postMessage(value)));
        });
      },
      [proxy.url, values] as const,
    );
  expect(await send(["a", "b"])).toEqual([{ offset: 0 }, { offset: 1 }]);
  proxy.stopAfter("down", 20);
  expect(await send(["c"])).toEqual([{ offset: 2 }]);
  expect(proxy.heal()).toBeGreaterThan(0);
  expect(await valuesOf("walk/service")).toEqual(["a", "b", "c"]);
});
