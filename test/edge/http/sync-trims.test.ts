/** An edge that lets records go, over real workerd with small segments. */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { H } from "../../../worker/wire/durable-streams.ts";
import { offsetIn } from "../../../worker/wire/offsets.ts";
import { RawWorkerd } from "../raw-workerd.ts";
import { smallSegments } from "../small-segments.ts";
import type { SyncDevice } from "./sync-device.ts";
import { closeDevices, json, openDevice, pathsBelow } from "./sync-suite.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-sync-trims-"));
const state = path.join(folder, "worker");
let worker: RawWorkerd;

beforeAll(async () => {
  worker = await RawWorkerd.create({ directory: state, plants: [smallSegments(16)] });
  await worker.start();
});
afterAll(async () => {
  await closeDevices();
  await worker.kill();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

const paths = pathsBelow("trims");
const numbered = (name: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${name}${i}-${"x".repeat(1_000)}`);

async function deviceAt(at: string, more: object = {}): Promise<SyncDevice> {
  const device = await openDevice();
  await device.start({ url: worker.url, topics: { orders: { path: at, ...more } } });
  return device;
}

describe("an edge that lets records go", () => {
  const create = { retention: { maxRecords: 20 } };

  /** A device that was away while most of the log was written and trimmed; "own" waits here. */
  async function away(at: string, onTrimmed: "skip" | "stop"): Promise<{ late: SyncDevice; end: number }> {
    const late = await deviceAt(at, { create, onTrimmed });
    await late.write("first");
    await late.level();
    await late.page.pause();
    await late.write("own");
    const writer = await deviceAt(at);
    await fill(writer);
    const end = await trimmed(writer);
    await late.page.resume();
    return { late, end };
  }

  /** Fills four segments: each is sealed by what comes next. */
  async function fill(writer: SyncDevice): Promise<void> {
    for (let i = 0; i < 4; i++) {
      await writer.write(...numbered(`${i}-`, 20));
      await writer.level();
    }
  }

  /** One more record seals a segment. Resolves once the edge has told of what it let go. Gives the log's end. */
  async function trimmed(writer: SyncDevice): Promise<number> {
    await writer.write("more");
    await writer.level();
    await writer.until(() => writer.sync.edgeStartOf("orders") >= 60);
    return writer.of().watermark;
  }

  it('H17: "skip": a gap is told and noted, what stands behind it comes, and own records go out', async () => {
    const at = paths();
    const { late, end } = await away(at, "skip");
    await late.level();
    const gap = late.events.find(({ type }) => type === "gap") as { from: number; to: number };
    expect(gap).toMatchObject({ topic: "orders", from: 1 });
    expect(gap.to).toBeGreaterThan(1);
    await late.until(() => late.of().watermark === end + 1);
    expect((await late.committed()).at(-1)).toBe(JSON.stringify("own"));
    expect((await late.sync.log("orders")).storage.replicaNote!.gaps[0]!.slice(0, 2)).toEqual([gap.from, gap.to]);
  });

  it('H17: "stop": the topic stops and asks; told to skip, it goes on', async () => {
    const at = paths();
    const { late, end } = await away(at, "stop");
    await late.until(() => late.of().state === "stopped");
    expect(late.of().stopped).toMatchObject({
      code: "OFFSET_OUT_OF_RANGE",
      details: { reason: "trimmed", watermark: 1 },
    });
    expect(await late.committed()).toEqual(json(["first"]));
    expect(late.of().pending.records).toBe(1);
    await late.start({ url: worker.url, topics: { orders: { onTrimmed: "skip" } } });
    await late.level();
    await late.until(() => late.of().watermark === end + 1);
  });

  it("what the edge let go leaves a device that had it, too, unless keep says otherwise", async () => {
    const at = paths();
    const device = await deviceAt(at, { create });
    const keeper = await deviceAt(at, { keep: { maxRecords: 1_000 } });
    await fill(device);
    const end = await trimmed(device);
    await keeper.until(() => keeper.of().watermark === end);
    // Each is woken by its own news only, so neither waits for the other.
    const start = offsetIn(await fetch(`${worker.url}/v1/stream/${at}`, { method: "HEAD" }), H.start);
    for (const each of [device, keeper]) await each.until(() => each.sync.edgeStartOf("orders") >= start);
    for (const each of [device, keeper]) {
      expect([...each.due]).toEqual(["orders"]);
      await each.sync.clean("orders");
    }
    expect((await device.sync.log("orders")).logStartOffset).toBe(device.sync.edgeStartOf("orders"));
    expect((await keeper.sync.log("orders")).logStartOffset).toBe(0);
  });

  it("a trim that somebody asked for is told to devices at once, in the middle of a segment", async () => {
    const at = paths();
    const device = await deviceAt(at);
    await device.write(...numbered("0-", 5));
    await device.level();
    const headers = { "tidemark-trim-before": `${"3".padStart(16, "0")}_${"0".repeat(16)}` };
    const { status } = await fetch(`${worker.url}/v1/stream/${at}`, { method: "POST", headers });
    expect(status).toBe(204);
    await device.until(() => device.sync.edgeStartOf("orders") === 3);
    expect([...device.due]).toEqual(["orders"]);
    await device.sync.clean("orders");
    expect((await device.sync.log("orders")).logStartOffset).toBe(3);
    await device.write("more");
    await device.level();
    expect((await device.committed()).at(-1)).toBe(JSON.stringify("more"));
  });
});
