/** A page of the end-to-end test of sync: opens a tide, writes, and says what it sees. */
import { open, type SyncStatus, type Tide, type Topic } from "../../../src/browser/index.ts";

const TOPIC = "orders";

let tide: Tide;
let topic: Topic<string>;
const states: string[] = [];
const places: (number | undefined)[] = [];

export const page = {
  /** Opens the tide; with an edge, keeps the topic in step with it. */
  async open(edge: string | undefined, path: string): Promise<string> {
    tide = await open("sync-test", {
      segmentBytes: 64 * 1024,
      ...(edge !== undefined && { sync: { url: edge, topics: { [TOPIC]: { path } } } }),
    });
    topic = tide.topic<string>(TOPIC);
    tide.syncing?.subscribe(({ state }) => states.at(-1) !== state && states.push(state));
    return tide.role;
  },

  /** Resolves with the offsets of the acks: durable here, with or without a network. */
  async write(name: string, from: number, count: number): Promise<number[]> {
    const acks = await Promise.all(
      Array.from({ length: count }, (_, i) => topic.append({ key: name, value: `${name}-${from + i}` })),
    );
    for (const { committed } of acks) void committed.then(({ offset }) => places.push(offset));
    return acks.map(({ offset }) => offset);
  },
  async writeThrough(value: string): Promise<number> {
    const { offset, acks } = await topic.append({ key: "through", value }, { acks: "replicated" });
    return acks === "replicated" ? offset : -1;
  },

  async level(): Promise<void> {
    await tide.syncing!.drained();
    await tide.syncing!.caughtUp();
  },

  /** Committed records, by offset. */
  async read(): Promise<[number, string][]> {
    const found: [number, string][] = [];
    for await (const { offset, value } of topic.read()) found.push([offset, value!]);
    return found;
  },
  /** Everything that is seen here: committed, then what has no place at the edge yet. */
  async seen(): Promise<string[]> {
    const found: string[] = [];
    for await (const { value } of topic.read({ isolation: "provisional" })) found.push(value!);
    return found;
  },

  status: (): SyncStatus | undefined => tide.syncing?.status,
  states: () => states,
  places: () => places,
  topics: () => tide.topics(),
  close: () => tide.close(),
};
export type SyncPage = typeof page;

Object.assign(window, { page });
document.title = "ready";
