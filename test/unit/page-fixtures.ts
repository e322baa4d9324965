/** A worker that leads and a page's topics over it, in one process: all but browsers and files is real. */
import { offerControl } from "../../src/browser/worker/control-host.ts";
import type { Tide, Topic, TopicOptions } from "../../src/browser/api.ts";
import { PortClient } from "../../src/browser/port/port-client.ts";
import { PortServer } from "../../src/browser/port/port-server.ts";
import type { ManageRequest } from "../../src/browser/port/protocol.ts";
import { BrowserTopic, type TopicHost } from "../../src/browser/page/browser-topic.ts";
import { Topics } from "../../src/browser/worker/topics.ts";
import { TidemarkError } from "../../src/errors.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import type { TypedHost } from "../contract/typed-contract.ts";
import { kernel } from "./log-fixtures.ts";

const ends: (() => void)[] = [];
export const endPages = (): void => ends.splice(0).forEach((end) => end());

/** A worker that leads over this volume. Its events are dropped. */
export async function leader(volume: MemoryVolume) {
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
  return { topics, connect, store: open.store };
}

/** A page over this leader: its topics, each call an object of its own, and the tide that they use. */
export function pageOver(first: Awaited<ReturnType<typeof leader>>) {
  const tide = {
    kernel,
    name: "test",
    connection: first.connect(),
    settings: new Map(),
    opened: { batchBytesMax: 1 << 20, recovery: [] },
    on: () => () => undefined,
    forget: () => undefined,
    gather: async () => undefined,
    ready: () => tide.connection.call<void>({ op: "ready" }),
  };
  const topic = (<V>(name: string, options: TopicOptions<V> = {}): Topic<V> =>
    new BrowserTopic<V>(name, options, tide as unknown as TopicHost)) as Tide["topic"];
  return { tide, topic };
}

/** A page whose volume is new. */
export const newPage = async () => pageOver(await leader(new MemoryVolume({ slotBytes: 64 * 1024 })));

/** The same, as the contract of typed topics takes it. */
export async function typedPage(): Promise<TypedHost> {
  const { topic } = await newPage();
  const tooLarge = { options: { recordBytesMax: 100 }, text: "x".repeat(200) };
  return { topic, tooLarge, prepare: () => Promise.resolve() };
}
