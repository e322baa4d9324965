/**
 * Each call of a socket of the edge over HTTP, ended in every turn of its way: the socket is closed, its wire is lost,
 * or the log's channel is left. The call settles, and no request and no timer goes on.
 */
import { expect, it } from "vitest";
import { type EdgeLog, EdgeSocket, type Wire } from "../../src/sync/edge-socket.ts";
import { decodeFrame, encodeFrame, FrameType, jsonFrame } from "../../src/sync/frames.ts";
import { type HttpAnswer, type HttpRequest, HttpWire } from "../../src/sync/http-wire.ts";
import { END_HEADER, formatOffset, LIFE_HEADER } from "../../src/sync/http-words.ts";
import { inEveryTurn, settledTurn, type Trial } from "../support/every-turn.ts";

const HELLO = { logStartOffset: 0, logEndOffset: 1, contentType: "text/plain", closed: false };
const CLOSED = {
  "Tidemark-From-Offset": formatOffset(0),
  "Tidemark-Start-Offset": formatOffset(0),
  "Stream-Next-Offset": formatOffset(1),
  [END_HEADER]: formatOffset(1),
  [LIFE_HEADER]: "0000000100000001",
  "Stream-Closed": "true",
} as Readonly<Record<string, string>>;
/** Another token of the same owner is renewed alike. */
const TOKEN = `h.${btoa(JSON.stringify({ tenant: "t", sub: "ann" }))}.s`;

/** A closed log with one record, which compaction has removed. Each answer takes some turns. */
class World {
  readonly requests = new Set<object>();
  readonly timers = new Set<object>();
  readonly after = (): (() => void) => {
    const timer = {};
    this.timers.add(timer);
    return () => this.timers.delete(timer);
  };
  readonly wire = new HttpWire({
    url: "https://edge.example",
    token: TOKEN,
    request: (request) => this.#answered(request),
    after: this.after,
  });
  readonly socket = EdgeSocket.connect(this.wire as Wire, { after: this.after });
  log!: EdgeLog;

  async #answered({ body, signal }: HttpRequest): Promise<HttpAnswer> {
    const request = {};
    this.requests.add(request);
    for (let turn = 0; turn < 3; turn++) await null;
    this.requests.delete(request);
    signal.throwIfAborted();
    if (!body) return { status: 200, header: (name) => CLOSED[name] ?? null, bytes: async () => new Uint8Array(0) };
    const { type, channel, id } = decodeFrame(body)!;
    const told =
      type === FrameType.OPEN
        ? jsonFrame({ type: FrameType.HELLO, channel }, HELLO)
        : type === FrameType.FETCH
          ? encodeFrame({ type: FrameType.BATCHES, channel, id })
          : jsonFrame({ type: FrameType.OK, channel, id }, {});
    return { status: 200, header: () => null, bytes: async () => told };
  }
}

const CALLS: Readonly<Record<string, (world: World) => Promise<unknown>>> = {
  open: ({ socket }) => socket.open("other"),
  fetch: ({ log }) => log.fetch(0),
  append: ({ log }) => log.append([new Uint8Array(80)]),
  token: ({ socket }) => socket.token(TOKEN),
  "follow to the end": async ({ log }) => {
    for await (const _ of log.follow(0)) continue;
  },
};
const ENDS: Readonly<Record<string, (world: World) => void>> = {
  "the socket is closed": ({ socket }) => socket.close(),
  "the wire is lost": ({ wire }) => wire.close(1006),
  "the log is left, and the socket closed": ({ log, socket }) => {
    log.close();
    socket.close();
  },
  "the socket is closed before": () => undefined,
};

async function trial(call: string, end: string): Promise<Trial> {
  const world = new World();
  world.log = await world.socket.open("orders");
  if (end.endsWith("before")) world.socket.close();
  return {
    call: (async () => CALLS[call]!(world))(),
    end: () => ENDS[end]!(world),
    async left() {
      world.socket.close();
      await settledTurn();
      const { requests, timers } = world;
      const after = await world.log.fetch(0).then(
        () => "done",
        ({ code }: { code: string }) => code,
      );
      return [
        ...(requests.size > 0 ? [`${requests.size} requests`] : []),
        ...(timers.size > 0 ? [`${timers.size} timers`] : []),
        ...(after === "CLOSED" ? [] : [`a call afterwards: ${after}`]),
      ];
    },
  };
}

it.each(Object.keys(CALLS))("%s, ended in every turn", async (call) => {
  for (const end of Object.keys(ENDS)) {
    const { outcomes, wrong } = await inEveryTurn(() => trial(call, end), 60);
    expect({ [end]: wrong }).toEqual({ [end]: [] });
    expect(Object.keys(outcomes).filter((each) => !/^(done|CLOSED|OUTCOME_UNKNOWN)$/.test(each))).toEqual([]);
  }
});
