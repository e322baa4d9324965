/**
 * Control calls (trim, roll, inspect …) mean one topic. When that topic was deleted, they do nothing to a later topic
 * of its name.
 */
import { expect, test } from "vitest";
import { type Connected, controlOver } from "../../src/browser/port/control-client.ts";
import { offerControl } from "../../src/browser/worker/control-host.ts";
import type { Controlled } from "../../src/browser/worker/host-control.ts";
import { BrowserTopic, type TopicHost } from "../../src/browser/page/browser-topic.ts";
import { TidemarkError } from "../../src/errors.ts";
import { fails } from "../contract/check.ts";
import { kernel } from "./log-fixtures.ts";

const BORN = 7;
const deleted = (): TidemarkError => new TidemarkError("UNKNOWN_TOPIC", "the topic was deleted", { deleted: true });

/** A worker whose topic was made at `born`. Returns the topic of a page that knows it as made at BORN. */
function topicOver(born: () => number) {
  const trimmed: number[] = [];
  const ports: MessagePort[] = [];
  const control = {
    topics: { names: async () => [], settings: {}, stored: async () => undefined },
    async readable(_: string, expected?: number) {
      if (expected !== undefined && expected !== born()) throw deleted();
      return {
        born: BORN,
        log: {
          trim: async (offset: number) => void trimmed.push(offset),
          roll: async () => undefined,
          clean: async () => undefined,
        },
      };
    },
  } as unknown as Controlled;
  const connection = {
    failed: new Promise<never>(() => undefined),
    async call(request: { readonly op: string; readonly port?: MessagePort }) {
      if (request.op === "topic") return { born: BORN };
      ports.push(request.port!);
      return offerControl(request.port!, control);
    },
    control: async (method: "state" | "upkeep" | "look", ...args: unknown[]) => {
      const control = await controlOver(connection as unknown as Connected);
      return (control[method] as (...args: unknown[]) => Promise<unknown>)(...args);
    },
  };
  const tide = {
    kernel,
    connection,
    settings: new Map(),
    opened: { batchBytesMax: 1 << 20, recovery: [] },
    forget: () => undefined,
  };
  const topic = new BrowserTopic("a", {}, tide as unknown as TopicHost);
  return { topic, trimmed, end: () => ports.forEach((port) => port.close()) };
}

test("they reach the topic that the page has", async () => {
  const { topic, trimmed, end } = topicOver(() => BORN);
  await topic.trim(3);
  expect(trimmed).toEqual([3]);
  end();
});

test("a topic of the same name that was made since is left alone, and the page's topic ends", async () => {
  const { topic, trimmed, end } = topicOver(() => BORN + 1);
  await fails("UNKNOWN_TOPIC", topic.trim(3));
  for (const call of [() => topic.roll(), () => topic.clean(), () => topic.state()])
    await fails("UNKNOWN_TOPIC", call());
  expect(trimmed).toEqual([]);
  end();
});

test("looking into a segment means that topic, too", async () => {
  const { topic, end } = topicOver(() => BORN + 1);
  await fails("UNKNOWN_TOPIC", topic.explainSeek({ offset: 0 }));
  end();
});
