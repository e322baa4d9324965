/** When a copy is healed and made anew (healer.ts): one work at a time, and again after what failed. */
import { beforeEach, describe, expect, it } from "vitest";
import { type Healable, Healer } from "../../src/browser/sync/healer.ts";
import { topicStatus } from "../../src/browser/sync/sync-status.ts";
import { TidemarkError } from "../../src/errors.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import type { EdgeLog } from "../../src/sync/edge-socket.ts";
import { batchOf, ListedEdge, Synced } from "../contract/synced-fixture.ts";
import { releaseKernel } from "../support/kernels.ts";
// Loaded now: the product loads them when they are needed, which may take longer than the turns waited for here.
import "../../src/sync/healing.ts";
import "../../src/sync/renewing.ts";

const kernel = await releaseKernel();
const SLOT_BYTES = 16 * 1024;
const TOPIC = "orders";

/** Work of the event loop and of the memory volume. */
async function turns(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise(setImmediate);
}

/** A live topic whose copy has four segments, and the timers of its worker. */
class Device {
  synced!: Synced;
  readonly edge = new ListedEdge(kernel);
  healer!: Healer;
  open!: Healable;
  timers: { readonly ms: number; readonly work: () => void }[] = [];
  /** Awaited before each answer of the edge. */
  atFetch: (from: number) => Promise<unknown> = async () => undefined;
  asked = 0;
  /** What all tabs were told. */
  readonly told: string[] = [];
  looks = 0;
  underWay = 0;
  underWayMax = 0;

  static async make(): Promise<Device> {
    const made = new Device();
    const newVolume = async (slotBytes: number) => new MemoryVolume({ slotBytes });
    const host = { kernel, newVolume, reopen: async (volume: MemoryVolume) => volume } as never;
    made.synced = await Synced.make(host, {}, SLOT_BYTES);
    const { synced, edge } = made;
    await synced.join();
    for (let i = 0; synced.storage.replica!.log.segments().length < 4; i++) await made.receive(`record ${i}`);
    made.healer = new Healer({
      kernel,
      volume: { store: synced.store },
      healed: () => undefined,
      stale: (topic, { code, message }) => made.told.push(`${topic} ${code}: ${message}`),
      changed: () => made.looks++,
      now: () => 7,
      after: (ms, work) => {
        const timer = { ms, work };
        made.timers.push(timer);
        return () => void (made.timers = made.timers.filter((each) => each !== timer));
      },
    });
    const session = { edge: made.connection(), atEdge: { start: edge.start } };
    made.open = { store: synced.storage, log: synced.log, session } as never;
    return made;
  }

  async receive(name: string, batch = batchOf(kernel, [name.padEnd(400, ".")], 5, this.edge.end)): Promise<void> {
    await this.synced.storage.receive(this.edge.frame(this.edge.append(batch)));
  }

  connection(): EdgeLog {
    const fetch = async (from: number): Promise<Uint8Array> => {
      this.asked++;
      this.underWayMax = Math.max(this.underWayMax, ++this.underWay);
      await this.atFetch(from).finally(() => this.underWay--);
      return this.edge.frame(from, Math.min(this.edge.end, from + 7)).bytes;
    };
    return { fetch } as never;
  }

  async look(): Promise<void> {
    this.healer.look(TOPIC, this.open);
    await turns();
  }

  async wake(): Promise<number> {
    const [timer] = this.timers.splice(0, 1);
    timer!.work();
    await turns();
    return timer!.ms;
  }

  get note() {
    return this.synced.storage.replicaNote!;
  }
}

describe("a copy that is not as the edge's log", () => {
  let device: Device;
  beforeEach(async () => {
    device = await Device.make();
    await device.synced.storage.missed(device.edge.end + 1);
  });

  it("is made anew by one work, whatever changes meanwhile", async () => {
    const { synced } = device;
    const { batch } = await synced.append("mine");
    let letGo = (): void => undefined;
    device.atFetch = () => new Promise<void>((resolve) => (letGo = resolve));
    await device.look();
    await device.receive("", batch);
    await synced.storage.noteSettled();
    for (let looks = 0; looks < 3; looks++) await device.look();
    expect([device.asked, device.underWayMax]).toEqual([1, 1]);
    device.atFetch = async () => undefined;
    letGo();
    await turns();
    expect(device.underWayMax).toBe(1);
    expect(device.note).toMatchObject({ anew: 1 });
    expect(device.note).not.toHaveProperty("stale");
    expect(device.timers).toEqual([]);
  });

  it("is tried again after pauses that grow, and on another connection at once", async () => {
    device.atFetch = () => Promise.reject(new Error("the edge has damage"));
    await device.look();
    await device.look();
    expect([device.asked, device.timers.length]).toEqual([1, 1]);
    const pauses: number[] = [];
    for (let tries = 0; tries < 9; tries++) pauses.push((await device.wake()) / 1000);
    expect(pauses).toEqual([30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
    expect(device.asked).toBe(10);
    Object.assign(device.open.session, { edge: device.connection() });
    await device.look();
    expect([device.asked, device.timers.map(({ ms }) => ms)]).toEqual([11, [30_000]]);
    device.atFetch = async () => undefined;
    await device.wake();
    expect(device.note).toMatchObject({ anew: 1 });
    expect(device.timers).toEqual([]);
  });

  it("says why it can't be made anew: in the status, and by an event once for each reason", async () => {
    const status = () => {
      const { session, store } = device.open;
      const of = { ...session, store, state: { at: "live", tries: 0 } } as never;
      return topicStatus(of, undefined, device.healer.failureOf(TOPIC)).stale;
    };
    const { stale: below } = device.note;
    expect(status()).toEqual({ below });
    const rotten = new TidemarkError("CORRUPT_RANGE", "the segment is damaged", { from: 0, to: 9 });
    device.atFetch = () => Promise.reject(rotten);
    await device.look();
    expect(status()).toEqual({ below, error: { code: "CORRUPT_RANGE", message: "the segment is damaged", at: 7 } });
    await device.wake();
    const { looks } = device;
    expect([device.told, looks]).toEqual([[`${TOPIC} CORRUPT_RANGE: the segment is damaged`], 2]);
    device.atFetch = () => Promise.reject(new TidemarkError("STORAGE_FAILED", "the bucket is away"));
    await device.wake();
    expect(status()!.error!.code).toBe("STORAGE_FAILED");
    expect(device.told.slice(1)).toEqual([`${TOPIC} STORAGE_FAILED: the bucket is away`]);
    // A reason that was told is not told again.
    device.atFetch = () => Promise.reject(rotten);
    await device.wake();
    expect([status()!.error!.code, device.told.length]).toEqual(["CORRUPT_RANGE", 2]);
    // What ends with its connection says nothing of the copy.
    device.atFetch = async () => {
      Object.assign(device.open.session, { edge: undefined });
      throw new TidemarkError("CLOSED", "the socket has ended");
    };
    await device.wake();
    expect([status()!.error!.code, device.told.length]).toEqual(["CORRUPT_RANGE", 2]);
    // A batch that begins before the segment does can't take its place.
    device.atFetch = async () => undefined;
    const { fetch } = device.connection();
    Object.assign(device.open.session, { edge: { fetch: (from: number) => fetch(from - 1) } });
    await device.look();
    expect(device.told.at(-1)).toMatch(/^orders INVALID_BATCH: /);
    await device.wake();
    Object.assign(device.open.session, { edge: device.connection() });
    await device.look();
    expect(device.note).toMatchObject({ anew: 1 });
    expect([status(), device.healer.failureOf(TOPIC), device.told.length]).toEqual([undefined, undefined, 3]);
  });

  it.each([0, 1])("waits for own records until those are settled that it needs (%i before)", async (before) => {
    const { synced } = device;
    for (let i = 0; i < before; i++) await device.receive("", (await synced.append("before")).batch);
    await synced.storage.noteSettled();
    const first = await synced.append("first");
    const second = await synced.append("second");
    await device.receive("", second.batch);
    await device.look();
    expect([device.asked, device.timers.length]).toEqual([0, 1]);
    await device.receive("", first.batch);
    await synced.storage.noteSettled();
    await device.look();
    expect(device.note).toMatchObject({ anew: 1 });
    expect(device.timers).toEqual([]);
  });

  it("is made anew also where healing fails", async () => {
    const { log } = device.synced.storage.replica!;
    const [first] = log.segments();
    const damage = [{ from: first!.baseOffset, to: first!.baseOffset + 1 }];
    Object.defineProperty(log, "quarantined", { get: () => damage });
    device.atFetch = async (from) => {
      if (from < first!.nextOffset) throw new Error("the edge has damage");
    };
    await device.look();
    expect(device.note.stale).toBe(first!.nextOffset);
    expect(device.timers.length).toBe(1);
  });

  it("is not tried once its sync, or the tide, has ended", async () => {
    device.atFetch = () => Promise.reject(new Error("the line is cut"));
    for (const topic of [TOPIC, undefined]) {
      await device.look();
      expect(device.timers.length).toBe(1);
      device.healer.end("another");
      expect(device.timers.length).toBe(1);
      device.healer.end(topic);
      expect(device.timers).toEqual([]);
    }
    let fail = (_: Error): void => undefined;
    device.atFetch = () => new Promise((_, reject) => (fail = reject));
    await device.look();
    Object.assign(device.open.session, { edge: undefined });
    fail(new Error("the line is cut"));
    await turns();
    expect(device.timers).toEqual([]);
  });
});
