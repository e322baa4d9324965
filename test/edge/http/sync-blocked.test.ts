/** Topics that wait for a person, over real workerd: what is told, and what each answer leads to. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ASIDE_HEADERS } from "../../../src/sync/set-aside.ts";
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import { decodeBatch, splitBatches } from "../../../src/record/record-batch.ts";
import { releaseKernel } from "../../support/kernels.ts";
import { type LocalWorker, startWorker } from "../local-worker.ts";
import type { SyncDevice } from "./sync-device.ts";
import { closeDevices, json, openDevice, pathsBelow } from "./sync-suite.ts";

const kernel = await releaseKernel();
let worker: LocalWorker;

beforeAll(async () => {
  worker = await startWorker();
});
afterAll(async () => {
  await closeDevices();
  await worker.stop();
});

const paths = pathsBelow("blocked");
const raw = (text: string): Uint8Array => new TextEncoder().encode(text);

async function deviceAt(path: string): Promise<SyncDevice> {
  const device = await openDevice();
  await device.start({ url: worker.url, topics: { orders: { path } } });
  await device.level();
  return device;
}

/** Writes these, each in a batch, while nothing goes out; those that are bytes are no JSON. */
async function written(device: SyncDevice, ...values: readonly (string | Uint8Array)[]): Promise<number[]> {
  await device.page.pause();
  const offsets = await device.write(...values);
  await device.page.resume();
  return offsets;
}

async function asideOf(device: SyncDevice): Promise<{ value: string; headers: Record<string, string> }[]> {
  const log = await device.local("orders.aside");
  const found = [];
  for (const each of splitBatches((await log.fetch(0)).bytes)) {
    const batch = await decodeBatch(kernel, each);
    for (let i = 0; i < batch.count; i++)
      found.push({
        value: new TextDecoder().decode(batch.valueAt(i)!),
        headers: Object.fromEntries(
          batch.headersAt(i).map(([name, value]) => [name, new TextDecoder().decode(value ?? undefined)]),
        ),
      });
  }
  return found;
}

describe("a blocked topic", () => {
  it("says what is blocked, and setAside puts it into <name>.aside; what is behind goes on", async () => {
    const device = await deviceAt(paths());
    const offsets = await written(device, "a", raw("{ no JSON"), "b");
    await device.until(() => device.events.some(({ type }) => type === "blocked"));
    const event = device.events.find(({ type }) => type === "blocked");
    const { blocked } = device.of();
    expect(event).toMatchObject({ topic: "orders", blocked });
    expect(blocked).toMatchObject({ code: "BAD_REQUEST", firstOffset: offsets[1], records: 1, keys: ["k"] });
    expect(blocked!.bytes).toBeGreaterThan(60);
    expect(device.status).toMatchObject({ state: "blocked", reason: "INVALID_ARGUMENT" });
    const places = offsets.map((offset) => device.placeOf(offset));
    await expect(device.page.drained()).rejects.toMatchObject({ details: { topic: "orders", edge: "BAD_REQUEST" } });
    await device.page.unblock("orders", "setAside");
    await device.level();
    expect(await device.committed()).toEqual(json(["a", "b"]));
    expect(await places[2]).toEqual({ offset: 1 });
    await expect(places[1]).rejects.toMatchObject({ code: "RETRACTED" });
    const [aside, ...more] = await asideOf(device);
    expect(more).toEqual([]);
    expect(aside).toMatchObject({
      value: "{ no JSON",
      headers: { [ASIDE_HEADERS.key]: "k", [ASIDE_HEADERS.code]: "BAD_REQUEST" },
    });
    expect(device.status).toMatchObject({ state: "live", topics: { orders: { pending: { records: 0 } } } });
    await expect(device.page.unblock("orders", "retry")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(device.page.unblock("others", "retry")).rejects.toMatchObject({ code: "UNKNOWN_TOPIC" });
  });

  it("poison is discarded while offline: its promise says RETRACTED, a reload brings nothing back (H21)", async () => {
    const device = await deviceAt(paths());
    const [offset] = await written(device, raw("{ no JSON"), "b");
    await device.until(() => device.of().blocked);
    await device.page.pause();
    const place = device.placeOf(offset!);
    await device.page.unblock("orders", "discard");
    await expect(place).rejects.toMatchObject({ code: "RETRACTED", details: { topic: "orders" } });
    await device.reopen();
    expect(device.of().pending.records).toBe(1);
    await device.page.resume();
    await device.level();
    expect(await device.committed()).toEqual(json(["b"]));
  });

  it("retry of what is still refused blocks again; a discard of each leads on, in order (H20)", async () => {
    const device = await deviceAt(paths());
    await written(device, raw("1st"), "a", raw("2nd"), "b", raw("3rd"));
    for (let i = 0; i < 3; i++) {
      await device.until(() => device.of().blocked);
      const { firstOffset } = device.of().blocked!;
      if (i === 0) {
        await device.page.unblock("orders", "retry");
        await device.until(() => device.of().blocked === undefined);
        await device.until(() => device.of().blocked);
        expect(device.of().blocked!.firstOffset).toBe(firstOffset);
      }
      await device.page.unblock("orders", "discard");
    }
    await device.level();
    expect(await device.committed()).toEqual(json(["a", "b"]));
  });

  it("closed at the edge: the copy is complete, and what was not sent is set aside (H16)", async () => {
    const path = paths();
    const device = await deviceAt(path);
    await device.write("a");
    await device.level();
    await device.page.pause();
    await device.write("late", "later");
    const other = await deviceAt(path);
    await other.write("b");
    await other.level();
    const url = `${worker.url}/v1/stream/${path}`;
    const closed = await fetch(url, {
      method: "POST",
      headers: { "stream-closed": "true", "content-type": "application/json" },
    });
    expect(closed.ok).toBe(true);
    await device.page.resume();
    await device.until(() => device.of().blocked && device.of().watermark === 2);
    expect(device.of().blocked).toMatchObject({ code: "STREAM_CLOSED", firstOffset: undefined, records: 2, keys: [] });
    expect(await device.committed()).toEqual(json(["a", "b"]));
    await device.page.unblock("orders", "setAside");
    expect((await asideOf(device)).map(({ value }) => value)).toEqual(json(["late", "later"]));
    expect(device.of().pending.records).toBe(0);
    await device.page.drained();
    await device.until(() => device.of().state === "live");
  });
});

describe("records that a topic had before it became synced", () => {
  it("and the edge would refuse are all told before the first push; the others go out in order", async () => {
    const device = await openDevice();
    const log = await device.local("orders");
    for (const [value, header] of [["a"], ["b", "ds.seq"], ["c"], ["d"], ["e", "ds.producer"], ["f"]] as const) {
      const builder = new BatchBuilder(kernel);
      const headers = header === undefined ? [] : [[header, null] as const];
      builder.tryAppend({ key: raw("k"), value: raw(JSON.stringify(value)), headers, timestamp: 1_000 });
      await log.append(builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 }));
    }
    await device.start({ url: worker.url, topics: { orders: { path: paths() } } });
    await device.until(() => device.events.some(({ type }) => type === "blocked"));
    // Nothing has been taken by then, and both are known.
    expect(device.of()).toMatchObject({ state: "blocked", watermark: 0, pending: { records: 6 } });
    expect(device.of().blocked).toMatchObject({
      code: "BAD_REQUEST",
      message: expect.stringMatching(/^a record has the header ds.seq.*unblock\(\) sets them aside or discards them$/),
      firstOffset: 2 ** 52 + 1,
      records: 2,
      keys: ["k", "k"],
    });
    await device.page.unblock("orders", "retry");
    await device.until(() => device.of().blocked && device.of().watermark === 1);
    await device.page.unblock("orders", "setAside");
    await device.level();
    expect(await device.committed()).toEqual(json(["a", "c", "d", "f"]));
    expect((await asideOf(device)).map(({ value }) => value)).toEqual(json(["b", "e"]));
  });
});
