/** Hostile frames on a WebSocket inside workerd: some end the socket, others are answered with an error frame. */
import { SELF } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { appendPayload, encodeFrame, FrameType, jsonFrame, jsonOf } from "../../src/sync/frames.ts";
import { at, batchOf, fresh, make, many, Raw, textsOf, wireTo } from "./socket-tools.ts";

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
