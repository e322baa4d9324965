/**
 * A topic that did not exist when a page asked for it: everything that the page learns then belongs to the first topic
 * of that name, and never to a later one.
 */
import { afterEach, expect, test } from "vitest";
import { offerControl } from "../../src/browser/worker/control-host.ts";
import { PortClient } from "../../src/browser/port/port-client.ts";
import { PortServer } from "../../src/browser/port/port-server.ts";
import type { ManageRequest } from "../../src/browser/port/protocol.ts";
import { BrowserTopic, type TopicHost } from "../../src/browser/page/browser-topic.ts";
import { Topics } from "../../src/browser/worker/topics.ts";
import { TidemarkError } from "../../src/errors.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { fails } from "../contract/check.ts";
import { batchOf, kernel } from "./log-fixtures.ts";

const NAME = "a";
const ends: (() => void)[] = [];
afterEach(() => ends.splice(0).forEach((end) => end()));

/** A worker that leads over this volume. Its events are dropped. */
async function leader(volume: MemoryVolume) {
  const open = {
    store: await SegmentStore.open({ volume, kernel, now: () => 1, newId: () => "tide" }),
    logs: new Map(),
  };
  const topics = new Topics({
    kernel: () => kernel,
    open: async () => open,
    breathe: async () => undefined,
    tell: () => undefined,
    due: () => undefined,
  });
  const readable: Topics["readable"] = (topic, born) => topics.readable(topic, born);
  const manage = async (request: ManageRequest): Promise<unknown> => {
    if (request.op === "topic") return topics.ask(request);
    if (request.op === "control") return offerControl(request.port as MessagePort, { topics, readable });
    return undefined;
  };
  const connect = (): PortClient => {
    const { port1, port2 } = new MessageChannel();
    const host = {
      readable: topics.readable.bind(topics),
      writable: topics.writable.bind(topics),
      manage,
      appended: () => undefined,
      failed: () => undefined,
    };
    new PortServer(port2 as globalThis.MessagePort, host);
    // In a page the control port stays open. Here it would keep the process alive.
    const pair = (): readonly [globalThis.MessagePort, globalThis.MessagePort] => {
      const channel = new MessageChannel();
      ends.push(() => channel.port1.close());
      return [channel.port1, channel.port2] as readonly [globalThis.MessagePort, globalThis.MessagePort];
    };
    const client = new PortClient(port1 as globalThis.MessagePort, "", undefined, pair);
    ends.push(() => client.fail(new TidemarkError("CLOSED", "the test is over")));
    return client;
  };
  const append = (value: string) => connect().append({ topic: NAME, batch: batchOf([`=${value}`]) });
  return { topics, connect, append };
}

/**
 * A page that asked for the topic when there was none. `change` gives it another leader, under which the topic was
 * made, deleted and made again.
 */
async function pageWithout() {
  const volume = new MemoryVolume({ slotBytes: 64 * 1024 });
  const first = await leader(volume);
  const tide = {
    kernel,
    connection: first.connect(),
    settings: new Map(),
    opened: { batchBytesMax: 1 << 20, recovery: [] },
    forget: () => undefined,
    ready: () => tide.connection.call<void>({ op: "ready" }),
  };
  const topic = new BrowserTopic<string>(NAME, { serializer: "text" }, tide as unknown as TopicHost);
  // The answer to this read tells the page that the topic does not exist.
  expect((await topic.read().next()).done).toBe(true);
  const change = async (): Promise<void> => {
    const next = await leader(volume);
    const { born } = await next.topics.ask({ topic: NAME });
    await next.topics.delete(NAME, born!);
    for (const value of ["other 0", "other 1", "other 2"]) await next.append(value);
    const { connection } = tide;
    tide.connection = next.connect();
    connection.fail(new TidemarkError("CLOSED", "another tab leads now"));
  };
  return { topic, first, change };
}

test("a follow that waited for the topic ends when it is deleted, and reads nothing of the next one", async () => {
  const { topic, first, change } = await pageWithout();
  const follow = topic.read({ follow: true });
  const waiting = follow.next();
  await first.append("first");
  expect((await waiting).value).toMatchObject({ offset: 0, value: "first" });
  const more = follow.next();
  more.catch(() => undefined);
  await change();
  const error = await fails("UNKNOWN_TOPIC", more);
  expect(error.details).toMatchObject({ topic: NAME, deleted: true });
  await fails("UNKNOWN_TOPIC", topic.append({ value: "for the first one" }));
});

test("a page that has read the topic, or asked for its end, sends no append to the next one", async () => {
  for (const learn of ["read", "state", "resolve"] as const) {
    const { topic, first, change } = await pageWithout();
    await first.append("first");
    if (learn === "read") expect((await topic.read().next()).value).toMatchObject({ value: "first" });
    if (learn === "state") expect(await topic.state()).toMatchObject({ highWatermark: 1 });
    // The page learns the log's end and nothing else.
    if (learn === "resolve") expect((await topic.read({ from: "latest" }).next()).done).toBe(true);
    await change();
    await fails("UNKNOWN_TOPIC", topic.append({ value: "for the first one" }));
    await fails("UNKNOWN_TOPIC", topic.read().next());
  }
});

test("a page that has learned nothing of the first topic uses the next one", async () => {
  const { topic, first, change } = await pageWithout();
  await first.append("first");
  await change();
  expect((await topic.read().next()).value).toMatchObject({ offset: 0, value: "other 0" });
  expect((await topic.append({ value: "mine" })).offset).toBe(3);
});
