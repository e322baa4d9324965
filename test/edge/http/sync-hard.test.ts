/**
 * Hard cases of docs/sync.md on the device's side, over real workerd: tokens with half of the rights (H24), the largest
 * batches and a gzip bomb (H30), late records and retention by age (H28), edges of other versions (H38).
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeBatch } from "../../../src/client/encode-batch.ts";
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import { encodeFrame, type Frame, FrameType, decodeFrame, jsonFrame, jsonOf } from "../../../src/sync/frames.ts";
import { MemoryVolume } from "../../../src/store/memory-volume.ts";
import { TidemarkError } from "../../../src/errors.ts";
import { compressBatch } from "../../../src/record/codec.ts";
import { releaseKernel } from "../../support/kernels.ts";
import { RawWorkerd } from "../raw-workerd.ts";
import { smallSegments } from "../small-segments.ts";
import type { SyncDevice } from "./sync-device.ts";
import { closeDevices, json, openDevice, pathsBelow } from "./sync-suite.ts";

const kernel = await releaseKernel();
const SECRET = "a secret of at least thirty-two characters";
const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-sync-hard-"));
let worker: RawWorkerd;

beforeAll(async () => {
  const settings = { TIDEMARK_JWT_SECRETS: SECRET };
  worker = await RawWorkerd.create({ directory: folder, plants: [smallSegments(16)], settings });
  await worker.start();
});
afterAll(async () => {
  await closeDevices();
  await worker.kill();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

const paths = pathsBelow("hard");
const tokenOf = (scope: string, tenant = "acme"): Promise<string> =>
  new SignJWT({ scope, tenant })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject("ann")
    .setIssuedAt()
    .setExpirationTime("1h")
    .sign(new TextEncoder().encode(SECRET));
const ALL = "read:** write:**";

async function deviceAt(at: string, more: object = {}, scope = ALL, slotBytes = 64 * 1024): Promise<SyncDevice> {
  const device = await openDevice(new MemoryVolume({ slotBytes }));
  const token = await tokenOf(scope);
  await device.start({ url: worker.url, token, topics: { orders: { path: at, ...more } } });
  return device;
}

describe("a token with half of the rights (H24)", () => {
  it("that may not write: no error before an append, then it is blocked; another token goes on", async () => {
    const at = paths();
    const other = await deviceAt(at);
    await other.write("a");
    await other.level();
    const device = await deviceAt(at, {}, "read:**");
    await device.level();
    expect(device.of()).toMatchObject({ state: "live", watermark: 1, behind: { records: 0 } });
    expect(device.events.filter(({ type }) => type === "blocked")).toEqual([]);
    await device.write("mine");
    await device.until(() => device.of().blocked);
    expect(device.of().blocked).toMatchObject({ code: "FORBIDDEN", firstOffset: undefined, records: 1 });
    await other.write("b");
    await device.until(() => device.of().watermark === 2);
    await expect(device.page.drained()).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("the token may not write here"),
      details: { topic: "orders", edge: "FORBIDDEN" },
    });
    await device.page.authenticate(await tokenOf(ALL));
    await device.until(() => !device.of().blocked);
    await device.level();
    expect(await device.committed()).toEqual(json(["a", "b", "mine"]));
  });

  it.each([
    ["may not write, and there is no log", "read:**", /no log .* the token may not make it \(403\)/],
    ["may do nothing there", "read:nothing", /the token does not allow read here/],
  ])("that %s: a wait says so, and another token goes on", async (_, scope, why) => {
    const at = paths();
    const device = await deviceAt(at, {}, scope);
    await device.write("mine");
    const refused = {
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(why) as string,
      details: { topic: "orders", edge: "FORBIDDEN" },
    };
    await expect(device.page.drained()).rejects.toMatchObject(refused);
    await expect(device.page.caughtUp()).rejects.toMatchObject(refused);
    await device.page.authenticate(await tokenOf(ALL));
    await device.level();
    expect(await device.committed()).toEqual(json(["mine"]));
  });

  it("of another tenant, which ends the connection: a wait says so", async () => {
    const device = await deviceAt(paths());
    await device.level();
    await device.page.authenticate(await tokenOf(ALL, "other"));
    await device.until(() => device.status.reason === "forbidden");
    await device.write("mine");
    const refused = { details: { topic: "orders", edge: "FORBIDDEN" } };
    await expect(device.page.drained()).rejects.toMatchObject(refused);
    await device.page.authenticate(await tokenOf(ALL));
    await device.page.drained();
  });

  it("that may not write: a discard ends the block, until the next append", async () => {
    const at = paths();
    await (await deviceAt(at)).level();
    const device = await deviceAt(at, {}, "read:**");
    for (const value of ["first", "second"]) {
      await device.write(value);
      await device.until(() => device.of().blocked);
      await device.page.unblock("orders", "discard");
      await device.level();
      expect(device.of()).toMatchObject({ state: "live", pending: { records: 0 } });
      expect(device.of()).not.toHaveProperty("blocked");
    }
    await device.page.authenticate(await tokenOf(ALL));
    await device.write("third");
    await device.level();
    expect(await device.committed()).toEqual(json(["third"]));
  });

  it("that may not read: own records go out, what it lacks is unknown, another token brings it", async () => {
    const at = paths();
    const other = await deviceAt(at);
    await other.write("a");
    await other.level();
    const device = await deviceAt(at, {}, "write:**");
    for (const value of ["mine", "more"]) {
      await device.write(value);
      await device.page.drained();
      expect(device.of()).toMatchObject({ pending: { records: 0 }, watermark: 0 });
      expect(device.of()).not.toHaveProperty("behind");
      expect(device.of()).not.toHaveProperty("blocked");
    }
    expect(device.status.error).toMatchObject({ message: expect.stringContaining("does not allow reads") });
    await other.level();
    expect(await other.committed()).toEqual(json(["a", "mine", "more"]));
    // Not settled: it is here until this device has read its place.
    expect(device.of().state).toBe("catching-up");
    await device.page.authenticate(await tokenOf(ALL));
    await device.level();
    expect(await device.committed()).toEqual(json(["a", "mine", "more"]));
    expect(device.of()).toMatchObject({ pending: { records: 0 }, behind: { records: 0 }, watermark: 3 });
  });

  it("that may not read: a topic is not live, although all that the edge had at the join is here", async () => {
    const at = paths();
    const device = await deviceAt(at, {}, "write:**");
    await device.write("mine");
    await device.page.drained();
    await device.until(() => device.status.error);
    expect(device.of()).toMatchObject({ state: "catching-up", pending: { records: 0 }, watermark: 0 });
    expect(device.status.state).toBe("catching-up");
    await device.page.authenticate(await tokenOf(ALL));
    await device.level();
    expect(device.of()).toMatchObject({ state: "live", watermark: 1 });
    await device.page.authenticate(await tokenOf("write:** read:nothing"));
    await device.until(() => device.status.error && device.of().state === "catching-up");
    expect(device.of()).not.toHaveProperty("behind");
  });
});

describe("the largest batches (H30)", () => {
  const text = (length: number): Uint8Array => new Uint8Array(length).fill(0x61);
  function batchOf(values: readonly Uint8Array[], sequence: number): Uint8Array {
    const builder = new BatchBuilder(kernel, { bytesMax: 16 * 1024 * 1024 });
    for (const value of values) builder.tryAppend({ key: null, value, timestamp: 1_000 });
    return builder.build({ producerId: 4711, producerEpoch: 0, baseSequence: sequence });
  }

  it("65,536 records, the largest record, a gzip bomb: taken, or refused by name", async () => {
    const at = paths();
    const device = await deviceAt(at, { serializer: "bytes" }, ALL, 4 * 1024 * 1024);
    await device.level();
    const log = await device.sync.log("orders");
    const many = batchOf(
      Array.from({ length: 65_536 }, () => text(1)),
      0,
    );
    await log.append(many);
    // A batch of 1,048,588 bytes, and one byte more.
    const { batchBytesMax } = log.limits;
    const overhead = batchOf([text(1_000_000)], 0).length - 1_000_000;
    const largest = batchOf([text(batchBytesMax - overhead)], 65_536);
    expect(largest.length).toBe(batchBytesMax);
    await log.append(largest);
    const tooLarge = log.append(batchOf([text(batchBytesMax - overhead + 1)], 65_537));
    await expect(tooLarge).rejects.toMatchObject({ code: "BATCH_TOO_LARGE" });
    await device.level();
    expect(device.of()).toMatchObject({ state: "live", watermark: 65_537, pending: { records: 0 } });
    // 16 MiB of zeros in some 16 KiB.
    const zeros = { key: null, value: new Uint8Array(16 * 1024 * 1024), timestamp: 0 };
    const identity = { producerId: 4711, producerEpoch: 0, baseSequence: 65_537 };
    const bomb = await compressBatch(kernel, encodeBatch([zeros], identity));
    expect(bomb.length).toBeLessThan(100_000);
    const offset = await log.append(bomb).then(
      ({ baseOffset }) => baseOffset,
      (thrown: unknown) => TidemarkError.from(thrown).code,
    );
    if (typeof offset === "number") {
      await device.until(() => device.of().blocked);
      expect(device.of().blocked).toMatchObject({ code: "DECOMPRESSION_LIMIT", firstOffset: offset, records: 1 });
      await device.page.unblock("orders", "discard");
    } else expect(offset).toBe("DECOMPRESSION_LIMIT");
    await log.append(batchOf([text(3)], 65_538));
    await device.level();
    expect(device.of()).toMatchObject({ state: "live", watermark: 65_538, pending: { records: 0 } });
  });
});

describe("late records and retention by age (H28)", () => {
  const AGE_MS = 1_500;

  it("records from 1970 live a full time at the edge, and on a device that keeps them as long", async () => {
    const at = paths();
    const device = await deviceAt(at, { create: { retention: { maxAgeMs: AGE_MS } }, keep: { maxAgeMs: 600_000 } });
    await device.level();
    await device.page.pause();
    for (let i = 0; i < 40; i++) await device.write(`${i}-${"x".repeat(1_000)}`);
    await device.page.resume();
    const pushed = performance.now();
    await device.level();
    await device.write("seals");
    await device.level();
    const fresh = await deviceAt(at);
    await fresh.level();
    expect((await fresh.committed()).length).toBe(41);
    await device.until(() => device.sync.edgeStartOf("orders") >= 40);
    expect(performance.now() - pushed).toBeGreaterThanOrEqual(AGE_MS);
    await device.sync.clean("orders");
    expect((await device.committed()).length).toBe(41);
  });
});

describe("edges of other versions (H38)", () => {
  /** Frames of the edge as another version would send them, for sockets that open from now on. */
  function speaking(changed: (frame: Frame) => readonly (string | Uint8Array<ArrayBuffer>)[]): () => void {
    const { WebSocket: real } = globalThis;
    globalThis.WebSocket = class extends real {
      constructor(...args: ConstructorParameters<typeof WebSocket>) {
        super(...args);
        const listen = this.addEventListener.bind(this);
        const heard = (listener: (event: { readonly data: unknown }) => void, { data }: MessageEvent): void => {
          const frame = decodeFrame(data);
          const all = frame ? changed(frame) : [data as string];
          for (const each of all) listener({ data: typeof each === "string" ? each : each.buffer });
        };
        this.addEventListener = ((type: string, listener: (event: unknown) => void) =>
          listen(type, type === "message" ? (event) => heard(listener, event as MessageEvent) : listener)) as never;
      }
    };
    return () => void (globalThis.WebSocket = real);
  }
  const again = (frame: Frame): Uint8Array<ArrayBuffer> => encodeFrame(frame as Parameters<typeof encodeFrame>[0]);

  it("an older one without sync1: the topic stops by name and works on, and goes on with a newer one", async () => {
    const at = paths();
    const first = await deviceAt(at);
    await first.write("a");
    await first.level();
    const restore = speaking((frame) => {
      if (frame.type !== FrameType.HELLO) return [again(frame)];
      const { features: _, ...hello } = jsonOf(frame)!;
      return [jsonFrame({ type: frame.type, channel: frame.channel, id: frame.id, credits: frame.credits }, hello)];
    });
    await first.reopen();
    await first.page.authenticate(await tokenOf(ALL));
    await first.until(() => first.of().state === "stopped");
    restore();
    expect(first.of().stopped).toMatchObject({ code: "UNSUPPORTED_EDGE" });
    await first.write("b");
    expect(await first.committed()).toEqual(json(["a"]));
    expect(first.of().pending.records).toBe(1);
    await first.reopen();
    await first.page.authenticate(await tokenOf(ALL));
    await first.level();
    expect(await first.committed()).toEqual(json(["a", "b"]));
  });

  it("one that knows none of the frames: a wait says so, and what is written stays", async () => {
    const at = paths();
    const first = await deviceAt(at);
    await first.write("a");
    await first.level();
    const { WebSocket: real } = globalThis;
    globalThis.WebSocket = class extends real {
      override addEventListener(type: string, listener: unknown): void {
        const closed = (): void => (listener as (event: object) => void)({ code: 4400, reason: "" });
        super.addEventListener(type, type === "close" ? closed : (listener as () => void));
        if (type === "close") super.addEventListener("message", () => this.close(), { once: true });
      }
    };
    await first.reopen();
    await first.page.authenticate(await tokenOf(ALL));
    await first.until(() => first.status.reason === "version");
    globalThis.WebSocket = real;
    await first.write("b");
    const told = { code: "UNSUPPORTED_EDGE", details: { topic: "orders" } };
    await expect(first.page.drained()).rejects.toMatchObject(told);
    await expect(first.page.caughtUp({ topic: "orders" })).rejects.toMatchObject(told);
    await first.reopen();
    await first.page.authenticate(await tokenOf(ALL));
    await first.page.drained();
    expect(await first.committed()).toEqual(json(["a", "b"]));
  });

  it("a newer one with features, fields and frames that nobody here knows changes nothing", async () => {
    const at = paths();
    let unknown = 0;
    const restore = speaking((frame) => {
      const { type, channel, id, credits } = frame;
      const fields = { type, channel, id, credits } as Parameters<typeof jsonFrame>[0];
      const more = (body: object): Uint8Array<ArrayBuffer> => jsonFrame(fields, { ...jsonOf(frame), ...body });
      const stranger = encodeFrame({ type: 99 as FrameType, channel, id, payload: new Uint8Array(7) });
      const isFollow = type === FrameType.BATCHES || type === FrameType.TIDE;
      if (isFollow) unknown++;
      if (type === FrameType.HELLO) return [more({ features: ["sync1", "sync2"], era: 7 })];
      if (type === FrameType.JOINED)
        return [more({ era: 7, limits: { ...(jsonOf(frame)!["limits"] as object), era: 7 } })];
      if (type === FrameType.OK) return [more({ era: 7 })];
      return isFollow ? [stranger, again(frame), stranger] : [again(frame)];
    });
    const [device, other] = [await deviceAt(at), await deviceAt(at)];
    await device.write("a", "b");
    await device.level();
    await other.write("c");
    await other.level();
    await device.until(() => device.of().watermark === 3);
    restore();
    expect(unknown).toBeGreaterThan(1);
    expect(await device.committed()).toEqual(await other.committed());
    expect(device.of()).toMatchObject({ state: "live", pending: { records: 0 } });
  });
});
