/**
 * The worker's part of sync (src/browser/sync/tide-sync.ts) under Node, over real sockets to real workerd and a network
 * that is cut. The storage is the simulation's, in memory.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import { TideSync } from "../../../src/browser/sync/tide-sync.ts";
import type { SyncNews } from "../../../src/browser/sync/words.ts";
import { textsOf } from "../../simulation/sync/edge.ts";
import { MemoryTopicStore, newDisk } from "../../simulation/sync/memory-store.ts";
import { releaseKernel } from "../../support/kernels.ts";
import { FaultProxy } from "../../sync/proxy.ts";
import { type LocalWorker, startWorker } from "../local-worker.ts";

const kernel = await releaseKernel();
const TOPIC = "orders";
let worker: LocalWorker;
let network: FaultProxy;
const open: TideSync[] = [];
let devices = 0;

beforeAll(async () => {
  worker = await startWorker();
  network = await new FaultProxy(Number(new URL(worker.url).port)).start();
}, 60_000);
afterAll(async () => {
  for (const sync of open) sync.close();
  await network.stop();
  await worker.stop();
});

class Device {
  readonly news: SyncNews[] = [];
  readonly store: MemoryTopicStore;
  readonly sync: TideSync;
  readonly #producer = ++devices;
  #sequence = 0;

  constructor(path: string, disk = newDisk()) {
    disk.note = { ...disk.note, url: this.url, path };
    const newId = (): string => (0x1000 * this.#producer + this.#sequence + 1).toString(16).padStart(16, "0");
    this.store = new MemoryTopicStore(disk, newId, () => Promise.resolve());
    this.sync = new TideSync({
      pages: () => [],
      tell: (news) => this.news.push(news),
      proveTerm: () => Promise.resolve(),
      epoch: disk.term,
      open: async () => ({ store: this.store, log: undefined as never }),
      synced: () => [],
      failed: (error) => this.news.push({ type: "stopped", topic: TOPIC, code: error.code }),
    });
    open.push(this.sync);
  }

  get url(): string {
    return `http://127.0.0.1:${network.port}`;
  }
  start(): Promise<unknown> {
    return this.sync.ask({ ask: "start", url: this.url, topics: { [TOPIC]: {} } });
  }
  async write(...values: string[]): Promise<void> {
    for (const value of values) {
      const builder = new BatchBuilder(kernel);
      builder.tryAppend({ key: null, value: new TextEncoder().encode(JSON.stringify(value)), timestamp: 1_000 });
      const baseSequence = this.#sequence++;
      await this.store.append(builder.build({ producerId: this.#producer, producerEpoch: 0, baseSequence }));
    }
  }
  async level(): Promise<void> {
    for (const until of ["drained", "level"] as const) await this.sync.ask({ ask: "wait", until, topic: TOPIC });
  }
  /** Resolves once this device has so many committed records. */
  async holds(count: number): Promise<string[]> {
    while (this.store.watermark < count)
      await new Promise<void>((resolve) => {
        const end = this.store.listen({ risen: () => (end(), resolve()) });
      });
    return textsOf(kernel, this.store.shown().committed).map((text) => JSON.parse(text) as string);
  }
}

const paths = (() => {
  let next = 0;
  return (): string => `sync/${++next}`;
})();

describe("tides in sync", () => {
  it("make the log, push what each has, and hold the same; a cut in the middle loses and doubles nothing", async () => {
    const path = paths();
    const [ann, ben] = [new Device(path), new Device(path)];
    await ann.write("a0", "a1");
    await Promise.all([ann.start(), ben.start()]);
    await ann.level();
    expect(await ben.holds(2)).toEqual(["a0", "a1"]);
    network.refuse();
    await ann.write("a2", "a3");
    await ben.write("b0", "b1", "b2");
    network.heal();
    await Promise.all([ann.level(), ben.level()]);
    const [one, other] = await Promise.all([ann.holds(7), ben.holds(7)]);
    expect(one).toEqual(other);
    expect(one.filter((value) => value.startsWith("a"))).toEqual(["a0", "a1", "a2", "a3"]);
    expect(one.filter((value) => value.startsWith("b"))).toEqual(["b0", "b1", "b2"]);
  }, 60_000);

  it("status says what waits, whether the edge is there, and that a pause is a person's", async () => {
    const device = new Device(paths());
    await device.start();
    await device.level();
    expect(device.sync.status()).toMatchObject({
      state: "live",
      connected: true,
      topics: {
        [TOPIC]: { state: "live", pending: { records: 0, bytes: 0 }, behind: { records: 0 }, hasSynced: true },
      },
    });
    await device.sync.ask({ ask: "pause" });
    await device.write("later");
    expect(device.sync.status()).toMatchObject({
      state: "paused",
      reason: "user",
      connected: false,
      topics: { [TOPIC]: { state: "offline", pending: { records: 1 } } },
    });
    await device.sync.ask({ ask: "resume" });
    await device.level();
    expect(await device.holds(1)).toEqual(["later"]);
    const settled = device.news.filter(({ type }) => type === "settled");
    expect(settled.length).toBeGreaterThan(0);
    await expect(device.sync.ask({ ask: "wait", until: "drained", topic: "other" })).rejects.toMatchObject({
      code: "UNKNOWN_TOPIC",
    });
    const elsewhere = device.sync.ask({ ask: "start", url: "http://other.example", topics: { [TOPIC]: {} } });
    await expect(elsewhere).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "url" } });
  }, 60_000);

  it("a copy of a device claims: what both share is at the edge once, and what each wrote since, too", async () => {
    const path = paths();
    const disk = newDisk();
    const original = new Device(path, disk);
    await original.write("shared");
    const copy = new Device(path, { ...disk });
    await original.write("original");
    await copy.write("copy");
    await original.start();
    await original.level();
    await copy.start();
    await copy.level();
    await original.level();
    const found = await original.holds(3);
    expect([...found].sort()).toEqual(["copy", "original", "shared"]);
    expect(await copy.holds(3)).toEqual(found);
    expect(copy.news.some(({ type }) => type === "claimed")).toBe(true);
  }, 60_000);

  it("a batch that the edge refuses blocks what is behind it, until it is discarded", async () => {
    const device = new Device(paths());
    await device.write("good");
    const builder = new BatchBuilder(kernel);
    builder.tryAppend({ key: null, value: new TextEncoder().encode("{ no JSON"), timestamp: 1_000 });
    await device.store.append(builder.build({ producerId: 900, producerEpoch: 0, baseSequence: 0 }));
    await device.write("behind");
    await device.start();
    const wait = device.sync.ask({ ask: "wait", until: "drained", topic: TOPIC });
    await expect(wait).rejects.toMatchObject({ details: { topic: TOPIC } });
    expect(await device.holds(1)).toEqual(["good"]);
    const { blocked } = device.sync.status().topics[TOPIC]!;
    expect(blocked).toMatchObject({ firstOffset: 2 ** 52 + 1, records: 1 });
    await device.sync.ask({ ask: "unblock", topic: TOPIC, choice: "discard" });
    await device.level();
    expect(await device.holds(2)).toEqual(["good", "behind"]);
  }, 60_000);
});
