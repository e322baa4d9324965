/** Standby workers (src/browser/tabs/standby-workers.ts) in a page whose calls of the lock manager may fail. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Broker } from "../../src/browser/tabs/broker-client.ts";
import type { Member } from "../../src/browser/tabs/member.ts";
import { Joiner } from "../../src/browser/tabs/joiner.ts";
import { PortClient } from "../../src/browser/port/port-client.ts";
import { Spare } from "../../src/browser/tabs/standby-workers.ts";
import type { HostOptions } from "../../src/browser/port/protocol.ts";

const LOCK = "tidemark:t";
const LIFE = "tidemark-port:ours";
const LEADER = "tidemark-worker:t:1";

class FakeWorker {
  static made: FakeWorker[] = [];
  readonly heard: object[] = [];
  constructor() {
    FakeWorker.made.push(this);
  }
  readonly postMessage = (message: object): void => void this.heard.push(message);
  terminate(): void {}
}

const locks = {
  query: vi.fn<() => Promise<object>>(),
  /** Never resolves: no lock that is waited for becomes free. */
  request: vi.fn<(...args: unknown[]) => Promise<unknown>>(),
};
beforeEach(() => {
  FakeWorker.made = [];
  locks.query
    .mockReset()
    .mockResolvedValue({ held: [{ name: LIFE, clientId: "me" }], pending: [{ name: LOCK, clientId: "me" }] });
  locks.request.mockReset().mockReturnValue(new Promise(() => undefined));
  vi.stubGlobal("navigator", { locks });
});
afterEach(() => vi.unstubAllGlobals());

const refuse = (): Promise<never> => Promise.reject(new DOMException("the page is not active", "InvalidStateError"));

function follower(kernel = Promise.resolve({} as WebAssembly.Module)) {
  const tide = {
    name: "t",
    lock: LOCK,
    ended: undefined,
    options: { kernel },
    opened: { engine: "opfs", durability: "device" },
    connection: { ended: undefined, lifeLock: LEADER },
    makeWorker: () => new FakeWorker(),
  };
  const spare = new Spare(tide as unknown as Member, () => new Promise(() => undefined));
  spare.follow(LIFE, LEADER);
  return spare;
}

test("a failed query of locks changes nothing, and the next one starts the worker", async () => {
  const spare = follower();
  locks.query.mockImplementationOnce(refuse);
  await expect(spare.look()).resolves.toBeUndefined();
  expect(FakeWorker.made).toHaveLength(0);
  await spare.look();
  expect(FakeWorker.made).toHaveLength(1);
  expect(FakeWorker.made[0]!.heard).toMatchObject([{ standBy: expect.anything(), leader: LEADER }]);
});

test("a kernel that cannot be loaded changes nothing either", async () => {
  const kernel = Promise.reject(new Error("no network"));
  const spare = follower(kernel as Promise<never>);
  for (const _ of [1, 2]) await expect(spare.look()).resolves.toBeUndefined();
  expect(locks.query).toHaveBeenCalledTimes(0);
  expect(FakeWorker.made).toHaveLength(0);
});

test("a lock that cannot be waited for leaves no unhandled rejection", async () => {
  const spare = follower();
  locks.request.mockImplementation(refuse);
  locks.query.mockResolvedValue({
    held: [{ name: "tidemark-port:other", clientId: "other" }],
    pending: [{ name: LOCK, clientId: "other" }],
  });
  await spare.look();
  expect(locks.request).toHaveBeenCalledWith("tidemark-port:other", { mode: "shared" }, expect.anything());
  new PortClient(new MessageChannel().port1 as globalThis.MessagePort, LEADER).watch();
  await new Promise((resolve) => setImmediate(resolve));
});

test("a standby worker gets the lead over its port, with what to wait for; a new worker gets it directly", async () => {
  const spare = follower();
  await spare.look();
  const [standing] = FakeWorker.made as [FakeWorker];
  const { standBy } = standing.heard[0] as { standBy: MessagePort };
  standBy.postMessage(0);
  await vi.waitUntil(() => spare.ready);
  const told = new Promise((resolve) => (standBy.onmessage = ({ data }: MessageEvent) => resolve(data)));
  const { port1: port } = new MessageChannel();
  spare.last = LEADER;
  spare.order(spare.take(), { name: "t", port } as HostOptions);
  expect(await told).toMatchObject({ name: "t", last: LEADER });
  expect(standing.heard).toHaveLength(1);
  const next = spare.take();
  const options = { name: "t", port } as HostOptions;
  spare.order(next, options);
  expect(FakeWorker.made.map(({ heard }) => heard.length)).toEqual([1, 1]);
  expect(FakeWorker.made[1]!.heard).toEqual([options]);
  standBy.close();
});

test("a tab that gets no lock for its port does not join, and may do so later", async () => {
  const tide = {} as Member;
  const said: unknown[] = [];
  const joiner = new Joiner(tide, { tried: Promise.resolve(), id: undefined } as Broker, (word) => said.push(word));
  locks.request.mockImplementation(refuse);
  expect(await joiner.join(LEADER, undefined)).toBeUndefined();
  expect(said).toEqual([]);
  expect(joiner.isOnItsWay(LEADER)).toBe(false);
});
