/**
 * Live readers that reach offsets of which compaction has removed all records: each gets the offset behind them, and
 * learns that it has caught up.
 */
import { describe, expect, it } from "vitest";
import { encodeFrame, type Frame, FrameType, decodeFrame, jsonFrame, jsonOf } from "../../src/sync/frames.ts";
import { EdgeSocket, type Wire } from "../../src/sync/edge-socket.ts";
import { longPoll } from "../../worker/front/live-reads.ts";
import { LogSockets, type SocketHost } from "../../worker/log-object/sockets.ts";
import { Counters } from "../../worker/telemetry/counters.ts";
import { sse } from "../../worker/front/sse.ts";
import type { Ask } from "../../worker/rpc/watch.ts";
import { offsetText } from "../edge/sse-reader.ts";
import { timers } from "../edge/timers.ts";

describe("a follow over a WebSocket", () => {
  /** A log with ten offsets of which the last have no records. */
  function logOf({ closed }: { closed: boolean }) {
    const sent: Frame[] = [];
    let attachment: unknown = { channel: 3, follows: [] };
    const socket = {
      send: (data: Uint8Array) => void sent.push(decodeFrame(data.slice())!),
      close: () => expect.fail("closed"),
      serializeAttachment: (value: unknown) => void (attachment = value),
      deserializeAttachment: () => attachment,
    };
    const stream = {
      store: { isEnded: false },
      tail: 10,
      start: 0,
      closed,
      touch: () => {},
      checkOffset: () => {},
      log: { logEndOffset: 10 },
      readBatches: async () => ({ bytes: new Uint8Array(0), nextOffset: 10 }),
    };
    const present = { stream };
    const host = {
      ctx: { acceptWebSocket: () => {}, getWebSockets: () => [socket] },
      stream: async () => present.stream,
      begin: () => {},
      counters: new Counters(),
      event: () => {},
    } as unknown as SocketHost;
    return { sockets: new LogSockets(host), socket, sent, saved: () => attachment, present };
  }

  it.each([false, true])("gets the next offset; the log is closed: %s", async (closed) => {
    const { sockets, socket, sent, saved } = logOf({ closed });
    await sockets.message(
      socket,
      jsonFrame({ type: FrameType.FOLLOW, channel: 3, id: 7, credits: 1_000 }, { from: 4 }),
    );
    await new Promise((resolve) => setImmediate(resolve));
    const told = sent.map((frame) => [frame.type, frame.channel, frame.id, jsonOf(frame)]);
    const passed = [FrameType.PASSED, 3, 7, { nextOffset: 10, logEndOffset: 10 }];
    expect(told).toEqual(closed ? [passed, [FrameType.END, 3, 7, { logEndOffset: 10 }]] : [passed]);
    // Saved in the socket's attachment: after an eviction the object does not send it again.
    expect(saved()).toMatchObject({ follows: closed ? [] : [{ id: 7, next: 10 }] });
  });

  it("goes on with a stream that was opened anew while it was served, whose commits were told meanwhile", async () => {
    const { sockets, socket, sent, present } = logOf({ closed: false });
    const { stream } = present;
    let read = (_: { bytes: Uint8Array<ArrayBuffer>; nextOffset: number }): void => expect.fail("nothing is read");
    stream.readBatches = () => new Promise((resolve) => (read = resolve));
    const frame = { type: FrameType.FOLLOW, channel: 3, id: 7, credits: 1_000 };
    await sockets.message(socket, jsonFrame(frame, { from: 4 }));
    await new Promise((resolve) => setImmediate(resolve));
    const bytes = new Uint8Array(0);
    const renewed = { ...stream, tail: 12, readBatches: async () => ({ bytes, nextOffset: 12 }) };
    stream.store = { isEnded: true };
    present.stream = renewed;
    await sockets.moved(renewed as never, { from: 10, bytes, nextOffset: 12 }, async () => {});
    read({ bytes, nextOffset: 10 });
    await new Promise((resolve) => setImmediate(resolve));
    expect(sent.map((each) => jsonOf(each)?.["nextOffset"])).toEqual([10, 12]);
  });

  it("the client passes it on, and ignores unknown frames", async () => {
    const sent: Frame[] = [];
    let say: (event: { data: unknown }) => void = () => expect.fail("nobody listens");
    const wire = {
      send: (data: Uint8Array) => void sent.push(decodeFrame(data)!),
      close: () => {},
      addEventListener: (type: string, listener: never) => void (type === "message" && (say = listener)),
    } as Wire;
    const opening = EdgeSocket.bind(wire, timers);
    say({
      data: jsonFrame(
        { type: FrameType.HELLO, credits: 100 },
        { logStartOffset: 0, logEndOffset: 10, contentType: "text/plain", closed: false },
      ),
    });
    const follow = (await opening).follow(4);
    const first = follow.next();
    const { id } = sent.find(({ type }) => type === FrameType.FOLLOW)!;
    say({ data: encodeFrame({ type: 99 as FrameType, id }) });
    say({ data: jsonFrame({ type: FrameType.PASSED, id }, { nextOffset: 10, logEndOffset: 10 }) });
    expect(await first).toEqual({ done: false, value: { bytes: new Uint8Array(0), nextOffset: 10 } });
    const second = follow.next();
    say({ data: jsonFrame({ type: FrameType.ERROR, id }, { code: "CLOSED", message: "reset", details: {} }) });
    await expect(second).rejects.toMatchObject({ code: "CLOSED" });
  });
});

describe("over HTTP", () => {
  const socket = { accept: () => {}, addEventListener: () => {}, close: () => {} };
  const answering =
    (contentType: string, body: string): Ask =>
    async (query) => {
      if (query === "") return { status: 101, webSocket: socket } as unknown as Response;
      return new Response(body, {
        headers: {
          "content-type": contentType,
          "stream-next-offset": offsetText(10),
          "tidemark-from-offset": offsetText(4),
          "stream-up-to-date": "true",
        },
      });
    };
  const request = { offset: offsetText(4), cursor: undefined, waitMs: 60_000, accept: null, signal: undefined };

  it.each([
    ["application/json", "[]"],
    ["text/plain", ""],
    ["application/octet-stream", ""],
  ])("an event of %s says where the reader is, and no data", async (type, body) => {
    const response = await sse(answering(type, body), {
      ...request,
      lastEventId: null,
      heartbeatMs: 15_000,
      stalledMs: 15_000,
    });
    const reader = response.body!.getReader();
    const [retry, id, event, data] = new TextDecoder().decode((await reader.read()).value).split("\n");
    expect([retry, id, event]).toEqual(["retry: 1000", `id: ${offsetText(10)}`, "event: control"]);
    expect(JSON.parse(data!.slice(5))).toMatchObject({ streamNextOffset: offsetText(10), upToDate: true });
    await reader.cancel();
  });

  it("a long-poll answers at once", async () => {
    const response = await longPoll(answering("application/json", "[]"), { ...request, wantsTide: false });
    expect([
      response.status,
      response.headers.get("stream-next-offset"),
      response.headers.get("stream-up-to-date"),
      await response.json(),
    ]).toEqual([200, offsetText(10), "true", []]);
  });
});
