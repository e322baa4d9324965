/**
 * The WebSocket dialect inside workerd: append and follow, many logs on one socket, sleep and reset, slow readers,
 * tokens, hostile frames.
 */
import { abortAllDurableObjects, env, evictDurableObject, SELF } from "cloudflare:test";
import { SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import {
  decodeFrame,
  encodeFrame,
  type Frame,
  FrameType,
  jsonFrame,
  jsonOf,
  appendPayload,
} from "../../src/sync/frames.ts";
import { type Delivered, type EdgeLog, EdgeSocket, type Wire } from "../../src/sync/edge-socket.ts";
import type { Env } from "../../worker/env.ts";
import { objectName } from "../../worker/rpc/stubs.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { handle } from "../../worker/front/router.ts";
import { timers } from "./timers.ts";

const kernel = await edgeKernel();
const { LOGS } = env as unknown as Env;
const TEXT = { "content-type": "text/plain" };
const decoder = new TextDecoder();
let streams = 0;

const fresh = (): string => `socket/${++streams}`;
const objectOf = (path: string): never => LOGS.get(LOGS.idFromName(objectName("dev", path))) as never;
const at = (path: string): string => `http://localhost/v1/stream/${path}`;

async function make(path: string, body?: string): Promise<string> {
  const response = await SELF.fetch(at(path), { method: "PUT", headers: TEXT, ...(body !== undefined && { body }) });
  expect(response.status).toBe(201);
  await response.arrayBuffer();
  return path;
}

async function post(path: string, body: string): Promise<void> {
  expect((await SELF.fetch(at(path), { method: "POST", headers: TEXT, body })).status).toBe(204);
}

type Upgraded = Response & { webSocket: (Wire & { accept(): void; binaryType: string }) | null };

async function wireTo(
  url: string,
  fetching: (request: Request) => Promise<Response> = (request) => SELF.fetch(request),
): Promise<Wire> {
  const response = (await fetching(new Request(url, { headers: { upgrade: "websocket" } }))) as Upgraded;
  if (!response.webSocket) throw new Error(`${response.status} ${await response.text()}`);
  response.webSocket.binaryType = "arraybuffer";
  response.webSocket.accept();
  return response.webSocket;
}

const bind = async (path: string): Promise<EdgeLog> => EdgeSocket.bind(await wireTo(at(path)), timers);
const many = async (): Promise<EdgeSocket> => EdgeSocket.connect(await wireTo("http://localhost/v1/socket"), timers);

function batchOf(values: readonly string[], producer = -1, sequence = -1): Uint8Array {
  const builder = new BatchBuilder(kernel);
  for (const value of values)
    builder.tryAppend({ key: null, value: new TextEncoder().encode(value), timestamp: 1_000 });
  return builder.build({ producerId: producer, producerEpoch: producer < 0 ? -1 : 0, baseSequence: sequence });
}

function textsOf({ bytes }: { readonly bytes: Uint8Array }): string[] {
  return splitBatches(bytes).flatMap((part) => {
    const batch = decodeBatch(kernel, part) as Exclude<ReturnType<typeof decodeBatch>, Promise<unknown>>;
    return Array.from({ length: batch.count }, (_, i) => decoder.decode(batch.valueAt(i)!));
  });
}

/** Takes from a follow until so many records came. */
async function take(follow: AsyncGenerator<Delivered>, count: number): Promise<string[]> {
  const found: string[] = [];
  while (found.length < count) {
    const { value, done } = await follow.next();
    if (done) break;
    found.push(...textsOf(value));
  }
  return found;
}

/** A socket without the client: every frame that comes, in order. */
class Raw {
  readonly frames: Frame[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  #wake: () => void = () => undefined;

  constructor(
    readonly wire: Wire,
    readonly answersPings = true,
  ) {
    this.closed = new Promise((resolve) => wire.addEventListener("close", resolve));
    wire.addEventListener("message", ({ data }) => {
      if (data === "ping" && answersPings) wire.send("pong");
      const frame = decodeFrame(data);
      if (frame) this.frames.push(frame);
      this.#wake();
    });
  }
  async next(isIt: (frame: Frame) => boolean): Promise<Frame> {
    for (;;) {
      const found = this.frames.find(isIt);
      if (found) return found;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
  bytesOf(id: number): number {
    return this.frames
      .filter((frame) => frame.id === id && frame.type === FrameType.BATCHES)
      .reduce((sum, { payload }) => sum + payload.length, 0);
  }
}

describe("append and follow", () => {
  it("acks carry base offsets; followers get the records in order, and HTTP readers the same ones", async () => {
    const path = await make(fresh(), "zero ");
    const [writer, reader] = [await bind(path), await bind(path)];
    const follow = reader.follow("earliest");
    expect(await take(follow, 1)).toEqual(["zero "]);
    // Not awaited one by one: their order is that of the calls.
    const acks = await Promise.all(
      Array.from({ length: 40 }, (_, i) => writer.append([batchOf([`${i}a `, `${i}b `], 5, i * 2)])),
    );
    expect(acks.map(([ack]) => ack!.baseOffset)).toEqual(Array.from({ length: 40 }, (_, i) => 1 + i * 2));
    const expected = Array.from({ length: 40 }, (_, i) => [`${i}a `, `${i}b `]).flat();
    expect(await take(follow, 80)).toEqual(expected);
    await post(path, "http ");
    expect(await take(follow, 1)).toEqual(["http "]);
    expect(await (await SELF.fetch(`${at(path)}?offset=-1`)).text()).toBe(["zero ", ...expected, "http "].join(""));
    await follow.return(undefined);
    writer.socket.close();
    reader.socket.close();
  });

  it("starts at an offset, the end or a time; fetch answers once; a closed log ends its follows", async () => {
    const path = await make(fresh());
    const log = await bind(path);
    for (const value of ["a", "b", "c"]) await log.append([batchOf([value])]);
    expect(await take(log.follow(2), 1)).toEqual(["c"]);
    expect(textsOf({ bytes: await log.fetch(1) })).toEqual(["b", "c"]);
    expect((await log.fetch("latest")).length).toBe(0);
    expect(textsOf({ bytes: await log.fetch({ timestamp: 1_000 }) })).toEqual(["a", "b", "c"]);
    await expect(log.fetch(9)).rejects.toMatchObject({ code: "OFFSET_OUT_OF_RANGE" });
    const follow = log.follow("latest");
    const rest = take(follow, Infinity);
    // The answer of a later request shows that the follow stands.
    await log.fetch("latest");
    await SELF.fetch(at(path), { method: "POST", headers: { ...TEXT, "stream-closed": "true" }, body: "last" });
    expect(await rest).toEqual(["last"]);
    await expect(log.append([batchOf(["x"])])).rejects.toMatchObject({
      code: "CLOSED",
      details: { edge: "STREAM_CLOSED" },
    });
    log.socket.close();
  });

  it("unacknowledged appends go out again through the next socket, and are duplicates there", async () => {
    const path = await make(fresh());
    const first = await bind(path);
    await first.append([batchOf(["a", "b"], 9, 0)]);
    first.socket.close();
    await evictDurableObject(objectOf(path));
    const second = await bind(path);
    expect(await second.append([batchOf(["a", "b"], 9, 0)])).toMatchObject([
      { baseOffset: 0, lastOffset: 1, duplicate: true },
    ]);
    expect(await second.append([batchOf(["c"], 9, 2)])).toMatchObject([{ baseOffset: 2, duplicate: false }]);
    await expect(second.append([batchOf(["e"], 9, 5)])).rejects.toMatchObject({ code: "OUT_OF_ORDER_SEQUENCE" });
    await expect(second.append([batchOf(["x", "y"], 9, 0)])).rejects.toMatchObject({ code: "SEQUENCE_CONFLICT" });
    await expect(second.append([batchOf(["x"])], { ifEnd: 1 })).rejects.toMatchObject({ code: "OFFSET_CONFLICT" });
    expect(await second.append([batchOf(["d"])], { ifEnd: 3 })).toMatchObject([{ baseOffset: 3 }]);
    expect(await take(second.follow(0), 4)).toEqual(["a", "b", "c", "d"]);
    second.socket.close();
  });
});

describe("many logs on one socket", () => {
  it("fifty logs append and follow beside each other, and share nothing", async () => {
    const socket = await many();
    const paths = await Promise.all(Array.from({ length: 50 }, () => make(fresh())));
    const logs = await Promise.all(paths.map((path) => socket.open(path)));
    const following = logs.map((log) => take(log.follow("earliest", { windowBytes: 64 * 1024 }), 5));
    await Promise.all(
      logs.map(async (log, n) => {
        for (let i = 0; i < 5; i++) await log.append([batchOf([`${n}:${i}`])]);
      }),
    );
    const found = await Promise.all(following);
    expect(found).toEqual(logs.map((_, n) => Array.from({ length: 5 }, (_, i) => `${n}:${i}`)));
    logs[3]!.close();
    await expect(logs[3]!.append([batchOf(["x"])])).rejects.toMatchObject({ code: "CLOSED" });
    expect(await logs[4]!.append([batchOf(["x"])])).toMatchObject([{ baseOffset: 5 }]);
    socket.close();
  });

  it("a log that is not there, a name that is none and a channel twice are errors of their own", async () => {
    const socket = await many();
    await expect(socket.open("not/there")).rejects.toMatchObject({ code: "UNKNOWN_TOPIC" });
    await expect(socket.open("__ds/subscriptions")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const log = await socket.open(await make(fresh()));
    expect(await log.append([batchOf(["fine"])])).toMatchObject([{ baseOffset: 0 }]);
    socket.close();
  });
});

describe("sleep and reset", () => {
  it("a follow goes on after its object was evicted, from its position and with its credits", async () => {
    const path = await make(fresh());
    const log = await bind(path);
    const follow = log.follow("earliest");
    await post(path, "one");
    expect(await take(follow, 1)).toEqual(["one"]);
    for (const text of ["two", "three", "four"]) {
      await evictDurableObject(objectOf(path), { webSockets: "hibernate" });
      await post(path, text);
      expect(await take(follow, 1)).toEqual([text]);
    }
    await evictDurableObject(objectOf(path), { webSockets: "hibernate" });
    expect(await log.append([batchOf(["five"])])).toMatchObject([{ baseOffset: 4 }]);
    expect(await take(follow, 1)).toEqual(["five"]);
    log.socket.close();
  });

  it("after a reset the socket says so, and a reader goes on from its offset without loss or repetition", async () => {
    const path = await make(fresh());
    const seen: string[] = [];
    let from = 0;
    for (let life = 0; life < 4; life++) {
      const log = await bind(path);
      const follow = log.follow(from);
      await log.append([batchOf([`${life}`])]);
      const { value } = await follow.next();
      seen.push(...textsOf(value!));
      from = value!.nextOffset;
      await abortAllDurableObjects();
      expect((await log.socket.ended).code).toBe(1012);
      await expect(log.append([batchOf(["lost"])])).rejects.toMatchObject({ kind: "reopen" });
    }
    expect(seen).toEqual(["0", "1", "2", "3"]);
  });

  it("on a shared socket only the reset log's channel ends, and a deleted log's likewise", async () => {
    const socket = await many();
    const [kept, doomed] = [await socket.open(await make(fresh())), await socket.open(await make(fresh()))];
    const follow = expect(doomed.follow("earliest").next()).rejects.toMatchObject({ details: { edge: "GONE" } });
    await SELF.fetch(at(`socket/${streams}`), { method: "DELETE" });
    await follow;
    expect(await kept.append([batchOf(["still here"])])).toMatchObject([{ baseOffset: 0 }]);
    socket.close();
  });
});

describe("credits", () => {
  it("a reader that gives no more gets not a byte beyond its credits, and all of it once it does", async () => {
    const path = await make(fresh());
    const writer = await bind(path);
    for (let i = 0; i < 30; i++) await writer.append([batchOf([`${i}:${"x".repeat(10_000)}`])]);
    const raw = new Raw(await wireTo(at(path)));
    const window = 64 * 1024;
    raw.wire.send(jsonFrame({ type: FrameType.FOLLOW, id: 1, credits: window }, { from: 0 }));
    let given = window;
    let beyond = 0;
    for (let records = 0; records < 30;) {
      // Batches behind an answer were sent before it; commits meanwhile send nothing more.
      const id = 100 + records;
      raw.wire.send(jsonFrame({ type: FrameType.FETCH, id, credits: 1 << 20 }, { from: "latest" }));
      await raw.next((frame) => frame.id === id);
      beyond = Math.max(beyond, raw.bytesOf(1) - given);
      records = raw.frames
        .filter(({ id: of, type }) => of === 1 && type === FrameType.BATCHES)
        .reduce((sum, { payload }) => sum + splitBatches(payload).length, 0);
      raw.wire.send(encodeFrame({ type: FrameType.CREDIT, id: 1, credits: 20_000 }));
      given += 20_000;
    }
    expect(beyond).toBeLessThanOrEqual(0);
    expect(
      raw.frames
        .filter(({ type }) => type === FrameType.BATCHES)
        .flatMap(({ payload }) => textsOf({ bytes: payload }))
        .map((text) => Number(text.split(":")[0])),
    ).toEqual(Array.from({ length: 30 }, (_, i) => i));
    raw.wire.close(1000);
    writer.socket.close();
  });

  it("a batch larger than the window is announced, once, and comes when there is room", async () => {
    const path = await make(fresh(), "y".repeat(300_000));
    const raw = new Raw(await wireTo(at(path)));
    raw.wire.send(jsonFrame({ type: FrameType.FOLLOW, id: 1, credits: 1000 }, { from: 0 }));
    await raw.next(({ type }) => type === FrameType.STARVE);
    await post(path, "more");
    raw.wire.send(jsonFrame({ type: FrameType.FETCH, id: 2, credits: 1 << 20 }, { from: "latest" }));
    await raw.next(({ id }) => id === 2);
    expect([raw.frames.filter(({ type }) => type === FrameType.STARVE).length, raw.bytesOf(1)]).toEqual([1, 0]);
    raw.wire.close(1000);
    const log = await bind(path);
    expect((await take(log.follow(0, { windowBytes: 1000 }), 2)).map((text) => text.length)).toEqual([300_000, 4]);
    log.socket.close();
  });

  it("more credits than the edge would hold are refused, and so are appends beyond theirs", async () => {
    const path = await make(fresh());
    const raw = new Raw(await wireTo(at(path)));
    raw.wire.send(jsonFrame({ type: FrameType.FOLLOW, id: 1, credits: 2 ** 31 }, { from: 0 }));
    expect(jsonOf(await raw.next(({ id }) => id === 1))).toMatchObject({ code: "LIMIT_EXCEEDED" });
    const batch = batchOf(["x".repeat(1_000_000)]);
    for (let id = 10; id < 40; id++)
      raw.wire.send(encodeFrame({ type: FrameType.APPEND, id, payload: appendPayload([batch]) }));
    for (let id = 10; id < 40; id++) await raw.next((frame) => frame.id === id);
    const answers = raw.frames.filter(({ id }) => id >= 10);
    const refused = answers.filter(({ type }) => type === FrameType.ERROR);
    for (const frame of refused) expect(jsonOf(frame)).toMatchObject({ code: "BACKPRESSURE" });
    // Each answer gives its credits back.
    for (const { credits } of answers) expect(credits).toBe(batch.length + 8);
    raw.wire.close(1000);
  });

  it("what a fetch did not use is free again, and no window is refused: a follow waits for its turn", async () => {
    const path = await make(fresh(), "some");
    const log = await bind(path);
    for (let i = 0; i < 40; i++)
      expect((await log.fetch(i % 2 === 0 ? 0 : "latest", 8 * 1024 * 1024)).length > 0).toBe(i % 2 === 0);
    log.socket.close();
    const raw = new Raw(await wireTo(at(path)));
    const follow = (id: number) =>
      raw.wire.send(jsonFrame({ type: FrameType.FOLLOW, id, credits: 8 * 1024 * 1024 }, { from: "latest" }));
    follow(1);
    follow(2);
    // Answers to an append of the same id give nothing of it back.
    raw.wire.send(encodeFrame({ type: FrameType.APPEND, id: 2, payload: appendPayload([batchOf(["x"])]) }));
    await raw.next(({ id, type }) => id === 2 && type === FrameType.OK);
    follow(3);
    await post(path, "for all");
    for (const id of [1, 2, 3]) await raw.next((frame) => frame.id === id && frame.type === FrameType.BATCHES);
    follow(1);
    expect(jsonOf(await raw.next(({ id, type }) => id === 1 && type === FrameType.ERROR))).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    raw.wire.send(encodeFrame({ type: FrameType.CANCEL, id: 2 }));
    await raw.next(({ id, type, credits }) => id === 2 && type === FrameType.OK && credits === 0);
    follow(4);
    raw.wire.send(jsonFrame({ type: FrameType.FETCH, id: 5, credits: 10 }, { from: "latest" }));
    expect((await raw.next(({ id }) => id === 5)).type).toBe(FrameType.BATCHES);
    expect(raw.frames.some(({ id, type }) => id === 4 && type === FrameType.ERROR)).toBe(false);
    raw.wire.close(1000);
  });

  it("a client that never shows that it reads is given up", async () => {
    const path = await make(fresh());
    const raw = new Raw(await wireTo(at(path)), false);
    for (let id = 1; id <= 5000; id++) raw.wire.send(encodeFrame({ type: FrameType.CANCEL, id }));
    expect((await raw.closed).code).toBe(4429);
    const patient = new Raw(await wireTo(at(path)));
    for (let id = 1; id <= 5000; id++) {
      patient.wire.send(encodeFrame({ type: FrameType.CANCEL, id }));
      if (id % 500 === 0) await patient.next((frame) => frame.id === id);
    }
    expect(patient.frames.length).toBeGreaterThanOrEqual(5000);
    patient.wire.close(1000);
  });
});

describe("tokens", () => {
  const SECRET = "a secret of at least thirty-two characters";
  const closed: Env = { ...(env as unknown as Env), TIDEMARK_OPEN_ACCESS: "", TIDEMARK_JWT_SECRETS: SECRET };
  const tokenOf = (scope: string, seconds: number, tenant = "acme"): Promise<string> =>
    new SignJWT({ scope, tenant })
      .setProtectedHeader({ alg: "HS256" })
      .setIssuedAt()
      .setExpirationTime(Math.floor(Date.now() / 1000) + seconds)
      .sign(new TextEncoder().encode(SECRET));
  const edge = (request: Request): Promise<Response> => handle(request, closed);
  const open = async (path: string, token: string): Promise<Wire> =>
    wireTo(`https://edge.example${path}?token=${token}`, edge);
  const put = async (path: string): Promise<void> => {
    const request = new Request(`https://edge.example/v1/stream/${path}`, {
      method: "PUT",
      headers: { ...TEXT, authorization: `Bearer ${await tokenOf("write:**", 60)}` },
    });
    expect((await edge(request)).status).toBe(201);
  };

  it("no token, none that allows anything here, and a log that is not there: an answer, and no socket", async () => {
    await put("t/closed");
    await expect(wireTo("https://edge.example/v1/stream/t/closed", edge)).rejects.toThrow("401");
    await expect(wireTo("https://edge.example/v1/socket", edge)).rejects.toThrow("401");
    await expect(open("/v1/stream/t/closed", await tokenOf("read:other/*", 60))).rejects.toThrow("403");
    await expect(open("/v1/stream/t/none", await tokenOf("read:**", 60))).rejects.toThrow("404");
  });

  it("each frame needs its scope, each log its pattern", async () => {
    await put("t/scoped");
    await put("t/other");
    const reader = await EdgeSocket.bind(await open("/v1/stream/t/scoped", await tokenOf("read:t/*", 60)), timers);
    await expect(reader.append([batchOf(["x"])])).rejects.toMatchObject({ details: { edge: "FORBIDDEN" } });
    const writer = EdgeSocket.connect(await open("/v1/socket", await tokenOf("write:t/scoped", 60)), timers);
    const log = await writer.open("t/scoped");
    await log.append([batchOf(["x"])]);
    await expect(log.fetch(0)).rejects.toMatchObject({ details: { edge: "FORBIDDEN" } });
    await expect(writer.open("t/other")).rejects.toMatchObject({ details: { edge: "FORBIDDEN" } });
    expect(textsOf({ bytes: await reader.fetch(0) })).toEqual(["x"]);
    reader.socket.close();
    writer.close();
  });

  it("a socket ends with its token, unless a newer one came in time", async () => {
    await put("t/long");
    const [ending, renewed] = [
      await EdgeSocket.bind(await open("/v1/stream/t/long", await tokenOf("read:**", 2)), timers),
      await EdgeSocket.bind(await open("/v1/stream/t/long", await tokenOf("read:**", 2)), timers),
    ];
    expect(await renewed.socket.token(await tokenOf("read:** write:**", 60))).toBeGreaterThan(Date.now() / 1000 + 50);
    const follow = expect(ending.follow("earliest").next()).rejects.toMatchObject({ kind: "reopen" });
    expect((await ending.socket.ended).code).toBe(4401);
    await follow;
    // The newer token counts for scopes, too.
    expect(await renewed.append([batchOf(["x"])])).toMatchObject([{ baseOffset: 0 }]);
    renewed.socket.close();
  });

  it("a newer token that is bad, another tenant's, or takes reading away, ends what it no longer allows", async () => {
    await put("t/renew");
    const token = await tokenOf("read:** write:**", 60);
    const socketOf = async () => EdgeSocket.bind(await open("/v1/stream/t/renew", token), timers);
    const [bad, foreign, less] = [await socketOf(), await socketOf(), await socketOf()];
    await expect(bad.socket.token("no token")).rejects.toMatchObject({ details: { edge: "UNAUTHORIZED" } });
    expect((await bad.socket.ended).code).toBe(4401);
    await expect(foreign.socket.token(await tokenOf("read:**", 60, "other"))).rejects.toMatchObject({
      details: { edge: "FORBIDDEN" },
    });
    expect((await foreign.socket.ended).code).toBe(4403);
    const follow = expect(less.follow("earliest").next()).rejects.toMatchObject({ details: { edge: "FORBIDDEN" } });
    await less.fetch("latest");
    await less.socket.token(await tokenOf("write:**", 60)).catch(() => undefined);
    await follow;
    less.socket.close();
  });
});

describe("hostile frames", () => {
  const good = jsonFrame({ type: FrameType.FETCH, id: 7, credits: 1000 }, { from: 0 });
  it.each<[string, Uint8Array<ArrayBuffer> | string]>([
    ["a text", "hello"],
    ["nothing", new Uint8Array(0)],
    ["half a header", good.slice(0, 11)],
    ["another version", good.map((byte, i) => (i === 0 ? 9 : byte))],
    ["a type that is none", good.map((byte, i) => (i === 1 ? 200 : byte))],
    ["the edge's own type", encodeFrame({ type: FrameType.BATCHES, id: 1 })],
    ["more than a frame may have", new Uint8Array(5 * 1024 * 1024).fill(1)],
  ])("%s ends the socket with a code, and the log goes on", async (_, message) => {
    const path = await make(fresh(), "safe");
    const raw = new Raw(await wireTo(at(path)));
    raw.wire.send(message);
    expect((await raw.closed).code).toBe(4400);
    expect(await (await SELF.fetch(`${at(path)}?offset=-1`)).text()).toBe("safe");
  });

  const batch = batchOf(["x"]);
  it.each<[string, Uint8Array<ArrayBuffer>, string]>([
    [
      "an append without its end",
      encodeFrame({ type: FrameType.APPEND, id: 1, payload: new Uint8Array(3) }),
      "BAD_REQUEST",
    ],
    ["no batch", encodeFrame({ type: FrameType.APPEND, id: 1, payload: appendPayload([]) }), "BAD_REQUEST"],
    [
      "half a batch",
      encodeFrame({ type: FrameType.APPEND, id: 1, payload: appendPayload([batch.subarray(0, 65)]) }),
      "INVALID_BATCH",
    ],
    [
      "a flipped bit",
      encodeFrame({
        type: FrameType.APPEND,
        id: 1,
        payload: appendPayload([batch.map((byte, i) => (i === 65 ? byte ^ 4 : byte))]),
      }),
      "INVALID_BATCH",
    ],
    [
      "a batch larger than a row",
      encodeFrame({ type: FrameType.APPEND, id: 1, payload: appendPayload([new Uint8Array(2_000_000)]) }),
      "INVALID_BATCH",
    ],
    [
      "a follow without JSON",
      encodeFrame({ type: FrameType.FOLLOW, id: 1, credits: 10, payload: new Uint8Array([255, 254]) }),
      "BAD_REQUEST",
    ],
    [
      "a follow from nowhere",
      jsonFrame({ type: FrameType.FOLLOW, id: 1, credits: 10 }, { from: { timestamp: "x" } }),
      "BAD_REQUEST",
    ],
    ["a fetch of a fraction", jsonFrame({ type: FrameType.FETCH, id: 1, credits: 10 }, { from: 0.5 }), "BAD_REQUEST"],
    [
      "a channel that is not open",
      jsonFrame({ type: FrameType.FETCH, channel: 9, id: 1, credits: 10 }, { from: 0 }),
      "CLOSED",
    ],
    [
      "another log on one log's socket",
      jsonFrame({ type: FrameType.OPEN, channel: 1, id: 1 }, { path: "x" }),
      "BAD_REQUEST",
    ],
  ])("%s is an error frame, and the socket goes on", async (_, frame, code) => {
    const path = await make(fresh(), "safe");
    const raw = new Raw(await wireTo(at(path)));
    raw.wire.send(frame);
    expect(jsonOf(await raw.next(({ id, type }) => id === 1 && type === FrameType.ERROR))).toMatchObject({ code });
    raw.wire.send(good);
    expect(textsOf({ bytes: (await raw.next(({ id }) => id === 7)).payload })).toEqual(["safe"]);
    raw.wire.close(1000);
  });

  it("too many follows on one socket are refused", async () => {
    const raw = new Raw(await wireTo(at(await make(fresh()))));
    for (let id = 1; id <= 20; id++)
      raw.wire.send(jsonFrame({ type: FrameType.FOLLOW, id, credits: 100 }, { from: 0 }));
    expect(jsonOf(await raw.next(({ id }) => id === 20))).toMatchObject({ code: "LIMIT_EXCEEDED" });
    raw.wire.close(1000);
  });
});
