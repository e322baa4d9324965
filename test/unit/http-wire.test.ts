/**
 * What a fetch gives over the wire of HTTP, a batch or its size; and answers that something between has cut short. The
 * rest: test/edge/sync-over-http.test.ts.
 */
import { describe, expect, it } from "vitest";
import { BATCH_BYTES_MAX } from "../../src/log/limits.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { EdgeSocket, type Wire } from "../../src/sync/edge-socket.ts";
import { decodeFrame, encodeFrame, FrameType, jsonFrame } from "../../src/sync/frames.ts";
import { type HttpAnswer, HttpWire } from "../../src/sync/http-wire.ts";
import { BYTES_HEADER, END_HEADER, formatOffset, LIFE_HEADER } from "../../src/sync/http-words.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const HELLO = { logStartOffset: 0, logEndOffset: 1, contentType: "text/plain", closed: false };

function batchOf(valueBytes: number): Uint8Array<ArrayBuffer> {
  const builder = new BatchBuilder(kernel);
  builder.tryAppend({ key: null, value: new Uint8Array(valueBytes), timestamp: 0 });
  return builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 }).slice();
}

/** An edge with one batch, which answers a fetch as the real one: with it, or with its size if it is too large. */
function wireOf(batch: Uint8Array, closes: number[]): HttpWire {
  const wire = new HttpWire({
    url: "https://edge.example",
    token: undefined,
    async request({ body }) {
      const { type, channel, id, credits } = decodeFrame(body!)!;
      const size = new Uint8Array(4);
      new DataView(size.buffer).setUint32(0, batch.length);
      const told =
        type === FrameType.OPEN
          ? jsonFrame({ type: FrameType.HELLO, channel }, HELLO)
          : batch.length > credits
            ? encodeFrame({ type: FrameType.STARVE, channel, id, payload: size })
            : encodeFrame({ type: FrameType.BATCHES, channel, id, payload: batch });
      return { status: 200, header: () => null, bytes: async () => told };
    },
    after: () => () => undefined,
  });
  (wire as Wire).addEventListener("close", ({ code }) => closes.push(code));
  return wire;
}

describe("a fetch over HTTP", () => {
  const room = BATCH_BYTES_MAX - 100;
  const largest = batchOf(room + BATCH_BYTES_MAX - batchOf(room).length);

  it("gives the largest batch that a log takes", async () => {
    expect(largest.length).toBe(BATCH_BYTES_MAX);
    const log = await EdgeSocket.connect(wireOf(largest, []), { after: () => () => undefined }).open("orders");
    expect((await log.fetch(0)).length).toBe(BATCH_BYTES_MAX);
  });

  it("says how large a batch is that does not fit, and the wire goes on", async () => {
    const closes: number[] = [];
    const log = await EdgeSocket.connect(wireOf(largest, closes), { after: () => () => undefined }).open("orders");
    await expect(log.fetch(0, 1024)).rejects.toMatchObject({
      code: "BATCH_TOO_LARGE",
      details: { bytes: BATCH_BYTES_MAX },
    });
    expect((await log.fetch(0)).length).toBe(BATCH_BYTES_MAX);
    expect(closes).toEqual([]);
  });
});

/** Answers an open, and then one request with this; the next one is lost. */
function wireWith(answer: (channel: number, id: number) => HttpAnswer, closes: number[]): HttpWire {
  let isAnswered = false;
  const wire = new HttpWire({
    url: "https://edge.example",
    token: undefined,
    async request({ body }) {
      const { type, channel, id } = body ? decodeFrame(body)! : { type: 0, channel: 0, id: 0 };
      if (type !== FrameType.OPEN && isAnswered) throw new TypeError("lost");
      isAnswered = type !== FrameType.OPEN;
      if (isAnswered) return answer(channel, id);
      const told = jsonFrame({ type: FrameType.HELLO, channel }, HELLO);
      return { status: 200, header: () => null, bytes: async () => told };
    },
    after: () => () => undefined,
  });
  (wire as Wire).addEventListener("close", ({ code }) => closes.push(code));
  return wire;
}

const answerOf = (headers: Readonly<Record<string, string>>, bytes: Uint8Array): HttpAnswer => ({
  status: 200,
  header: (name) => headers[name] ?? null,
  bytes: async () => bytes,
});

describe("a body that something between has cut to nothing", () => {
  const batch = batchOf(10);
  const NOTHING = new Uint8Array(0);
  const tide = {
    "Tidemark-From-Offset": formatOffset(0),
    "Tidemark-Start-Offset": formatOffset(0),
    "Stream-Next-Offset": formatOffset(1),
    [END_HEADER]: formatOffset(1),
    [LIFE_HEADER]: "0000000100000001",
  };

  it("of a follow ends the wire, and no record is taken for compacted", async () => {
    const closes: number[] = [];
    const wire = wireWith(() => answerOf({ ...tide, [BYTES_HEADER]: String(batch.length) }, NOTHING), closes);
    const log = await EdgeSocket.connect(wire, { after: () => () => undefined }).open("orders");
    const taken: number[] = [];
    const follow = (async () => {
      for await (const { nextOffset } of log.follow(0)) taken.push(nextOffset);
    })();
    await expect(follow).rejects.toMatchObject({ code: "CLOSED" });
    expect([taken, closes]).toEqual([[], [1006]]);
  });

  it("of a follow that compaction left empty is as long as it says: what was there is passed", async () => {
    const wire = wireWith(() => answerOf({ ...tide, [BYTES_HEADER]: "0" }, NOTHING), []);
    const log = await EdgeSocket.connect(wire, { after: () => () => undefined }).open("orders");
    const first = await log.follow(0).next();
    expect(first.value).toMatchObject({ nextOffset: 1, bytes: NOTHING });
    wire.close();
  });

  it("of a fetch ends the wire, and is not the end of the log", async () => {
    const closes: number[] = [];
    const wire = wireWith((channel, id) => {
      const whole = encodeFrame({ type: FrameType.BATCHES, channel, id, payload: batch });
      return answerOf({ [BYTES_HEADER]: String(whole.length) }, whole.slice(0, whole.length - batch.length));
    }, closes);
    const log = await EdgeSocket.connect(wire, { after: () => () => undefined }).open("orders");
    await expect(log.fetch(0)).rejects.toMatchObject({ code: "CLOSED" });
    expect(closes).toEqual([1006]);
  });
});

describe("a token over HTTP", () => {
  const token = (claims: object): string => `h.${btoa(JSON.stringify(claims))}.s`;
  const mine = token({ tenant: "t", sub: "ann", exp: 1 });

  /** A log behind a wire that has `mine`. The answer to a push waits for `answer`. */
  async function opened() {
    const sent: [type: number, token: string | undefined][] = [];
    let answer = (): void => undefined;
    const wire = new HttpWire({
      url: "https://edge.example",
      token: mine,
      async request({ body, headers }) {
        const { type, channel, id } = decodeFrame(body!)!;
        sent.push([type, headers["authorization"]?.slice("Bearer ".length)]);
        if (type === FrameType.PUSH) await new Promise<void>((resolve) => (answer = resolve));
        const told =
          type === FrameType.OPEN
            ? jsonFrame({ type: FrameType.HELLO, channel }, HELLO)
            : jsonFrame({ type: FrameType.OK, channel, id }, {});
        return { status: 200, header: () => null, bytes: async () => told };
      },
      after: () => () => undefined,
    });
    const socket = EdgeSocket.connect(wire, { after: () => () => undefined });
    return { socket, log: await socket.open("orders"), sent, wire, answer: () => answer() };
  }
  const push = (wire: HttpWire, channel: number, id: number): void =>
    wire.send(encodeFrame({ type: FrameType.PUSH, channel, id, payload: new Uint8Array(64) }));

  it("of the same owner is used from the next request on", async () => {
    const { socket, log, sent } = await opened();
    const next = token({ tenant: "t", sub: "ann", exp: 2 });
    await socket.token(next);
    await log.fetch(0).catch(() => undefined);
    expect(sent.at(-1)![1]).toBe(next);
  });

  it.each([
    ["of another owner", token({ tenant: "t", sub: "bob", exp: 2 })],
    ["that does not say whose it is", "opaque"],
  ])("%s ends the log: no push that waits goes out under it", async (_, next) => {
    const { socket, log, sent, wire, answer } = await opened();
    const ended = log.fetch(0).catch((thrown: unknown) => thrown);
    await Promise.resolve();
    push(wire, 1, 7);
    push(wire, 1, 8);
    await socket.token(next);
    expect(await ended).toMatchObject({ message: expect.stringContaining("another owner: join again") });
    answer();
    await (await socket.open("orders")).fetch(0).catch(() => undefined);
    expect(sent.filter(([type, by]) => type === FrameType.PUSH && by !== mine)).toEqual([]);
    expect(sent.at(-1)![1]).toBe(next);
  });
});
