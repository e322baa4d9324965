/**
 * Sync over HTTP (src/sync/http-wire.ts) inside workerd: what a socket gives, given by requests.
 */
import { SELF } from "cloudflare:test";
import { afterEach, describe, expect, it } from "vitest";
import { type EdgeLog, EdgeSocket, takesSync, type Wire } from "../../src/sync/edge-socket.ts";
import { encodeFrame, FrameType, jsonFrame } from "../../src/sync/frames.ts";
import { type HttpRequest, HttpWire } from "../../src/sync/http-wire.ts";
import { FRAME_TYPE, HTTP_WIRE_MS, OUTBOX_HEADER } from "../../src/sync/http-words.ts";
import { crcOf, JOIN } from "./outbox-device.ts";
import { at, batchAt, connect, makeLog, textOf } from "./outbox-tools.ts";

const wires: HttpWire[] = [];
const requests: string[] = [];
const closes: number[] = [];
const timers: { readonly ms: number; readonly work: () => void }[] = [];
afterEach(() => {
  for (const wire of wires.splice(0)) wire.close();
  for (const list of [requests, closes, timers]) list.length = 0;
});

type Change = (request: HttpRequest) => Response | undefined;

function wireOf(change: Change = () => undefined, token?: string): HttpWire {
  const wire = new HttpWire({
    url: "http://localhost",
    token,
    async request(request) {
      requests.push(`${request.method} ${new URL(request.url).search}`);
      const { method, headers, body, signal } = request;
      const asked = new Request(request.url, { method, headers, signal, ...(body && { body }) });
      const response = change(request) ?? (await SELF.fetch(asked));
      return {
        status: response.status,
        header: (name) => response.headers.get(name),
        bytes: async () => new Uint8Array(await response.arrayBuffer()),
      };
    },
    after(ms, work) {
      const timer = { ms, work };
      timers.push(timer);
      return () => void timers.splice(timers.indexOf(timer) >>> 0, 1);
    },
  });
  (wire as Wire).addEventListener("close", ({ code }) => closes.push(code));
  wires.push(wire);
  return wire;
}

const open = (path: string, change?: Change): Promise<EdgeLog> =>
  EdgeSocket.connect(wireOf(change), { after: () => () => undefined }).open(path);

const headerOf = (batch: Uint8Array) => ({ previous: crcOf(batch) });
const push = (expected: number, previous = 0) => ({ expected, at: expected, readTo: undefined, previous });

describe("sync over HTTP", () => {
  it("opens, joins, pushes once, and follows: batches come behind a tide that names their life", async () => {
    const path = await makeLog("over-http");
    const log = await open(path);
    expect(takesSync(await log.opened)).toBe(true);
    const follow = log.follow(0, { windowBytes: 64 * 1024 });
    const { joined, refusal } = await log.join(JOIN);
    expect([refusal, joined.known, joined.next]).toEqual([undefined, true, 0]);
    const level = await follow.next();
    expect(level.value).toMatchObject({ nextOffset: 0, tide: { highWatermark: 0, life: joined.life } });

    const [first, second] = [batchAt(0, ["a", "b"]), batchAt(2, ["c"])];
    expect(await log.push(push(0), [first])).toMatchObject({ next: 2, duplicate: false, lastOffset: 1 });
    expect(await log.push(push(0), [first])).toMatchObject({ next: 2, duplicate: true });
    expect(await log.push(push(2, crcOf(first)), [second])).toMatchObject({ next: 3 });
    expect(await textOf(path)).toBe("abc");
    let next = 0;
    while (next < 3) ({ nextOffset: next } = (await follow.next()).value!);
    const told = await follow.next();
    expect(told.value).toMatchObject({ tide: { highWatermark: 3, nextOffset: 3 } });
    await log.fetch(0).then((bytes) => expect(bytes.length).toBeGreaterThan(100));
    await follow.return(undefined);
  });

  it("asks nothing while a follow has no credits, and goes on when they come back", async () => {
    const path = await makeLog("credits");
    const device = await connect(path);
    await device.join();
    await device.push([batchAt(0, ["x".repeat(4_000)]), batchAt(1, ["y".repeat(4_000)])]);
    const log = await open(path);
    await log.join({ ...JOIN, outbox: null });
    const follow = log.follow(0, { windowBytes: 1 });
    expect((await follow.next()).value).toMatchObject({ tide: { nextOffset: 0 } });
    expect((await follow.next()).value!.nextOffset).toBe(2);
    const polled = requests.filter((request) => request.startsWith("GET")).length;
    expect(polled).toBe(1);
    expect((await follow.next()).value).toMatchObject({ tide: { nextOffset: 2 } });
    const later = follow.next();
    await device.push([batchAt(2, ["z"])], headerOf(batchAt(1, ["y".repeat(4_000)])));
    expect((await later).value).toMatchObject({ nextOffset: 3 });
    await follow.return(undefined);
  });

  it("speaks for the outbox with which it joined: a leader with a higher term fences it", async () => {
    const path = await makeLog("fenced");
    const [old, newer] = [await open(path), await open(path)];
    await old.join({ ...JOIN, term: 1 });
    await newer.join({ ...JOIN, term: 2, registered: true });
    await expect(old.push(push(0), [batchAt(0, ["a"])])).rejects.toMatchObject({ code: "FENCED_LEADER" });
    // A join that is refused is an answer, as on a socket.
    const again = await old.join({ ...JOIN, term: 1, registered: true });
    expect([again.refusal, again.joined.term]).toEqual(["FENCED_LEADER", 2]);
    expect(await newer.push(push(0), [batchAt(0, ["b"])])).toMatchObject({ next: 1 });
    expect(await textOf(path)).toBe("b");
  });

  it("a claim that is granted raises the generation of later pushes", async () => {
    const path = await makeLog("claim");
    const log = await open(path);
    await log.join(JOIN);
    const first = batchAt(0, ["a"]);
    await log.push(push(0), [first]);
    const claimed = batchAt(5, ["b"]);
    expect(await log.push({ expected: 0, at: 5, readTo: 1, previous: 0 }, [claimed])).toMatchObject({ generation: 2 });
    expect(await log.push(push(6, crcOf(claimed)), [batchAt(6, ["c"])])).toMatchObject({ next: 7, generation: 2 });
    expect(await textOf(path)).toBe("abc");
  });

  it("a log that does not exist refuses the open, and a closed one ends the follow", async () => {
    await expect(open("nowhere")).rejects.toMatchObject({ code: "UNKNOWN_TOPIC" });
    const path = await makeLog("closed");
    const log = await open(path);
    const follow = log.follow(0);
    await follow.next();
    const ended = follow.next();
    await SELF.fetch(at(path), { method: "POST", headers: { "stream-closed": "true" } });
    let last = await ended;
    while (!last.done) last = await follow.next();
    expect(last.done).toBe(true);
    await log.join(JOIN);
    await expect(log.push(push(0), [batchAt(0, ["a"])])).rejects.toMatchObject({ code: "CLOSED" });
  });

  it("a request that fails ends the wire, and a push that was on its way has an unknown outcome", async () => {
    const path = await makeLog("lost");
    let isLost = false;
    const log = await open(path, ({ method }) => {
      if (isLost && method === "POST") throw new TypeError("network");
      return undefined;
    });
    await log.join(JOIN);
    isLost = true;
    await expect(log.push(push(0), [batchAt(0, ["a"])])).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
    expect(closes).toEqual([1006]);
  });

  it("an answer of something between ends the wire; a refused token closes it as a socket would be", async () => {
    const path = await makeLog("portal");
    for (const [response, code] of [
      [new Response("<h1>Sign in to the airport</h1>"), 1006],
      [new Response("no", { status: 502 }), 1006],
      [new Response("{}", { status: 401 }), 4401],
    ] as const) {
      await expect(open(path, () => response.clone())).rejects.toMatchObject({ code: "CLOSED" });
      expect(closes.splice(0)).toEqual([code]);
    }
    const log = await open(path);
    const follow = log.follow(0);
    await follow.next();
    expect(closes).toEqual([]);
  });

  it("after ten minutes it ends as a server that restarts, so that a WebSocket is tried", async () => {
    const log = await open(await makeLog("time"));
    const { ms, work } = timers[0]!;
    expect(ms).toBe(HTTP_WIRE_MS);
    work();
    expect(closes).toEqual([1012]);
    await expect(log.join(JOIN)).rejects.toMatchObject({ code: "CLOSED" });
  });

  it("more follows than a browser has connections ask in turns, and none is left out", async () => {
    const paths = await Promise.all(Array.from({ length: 6 }, (_, i) => makeLog(`many-${i}`)));
    const socket = EdgeSocket.connect(wireOf(), { after: () => () => undefined });
    const logs = await Promise.all(paths.map((path) => socket.open(path)));
    const follows = logs.map((log) => log.follow(0));
    await Promise.all(follows.map((follow) => follow.next()));
    const news = follows.map((follow) => follow.next());
    const devices = await Promise.all(paths.map((path) => connect(path)));
    await Promise.all(
      devices.map(async (device) => {
        await device.join();
        await device.push([batchAt(0, ["a"])]);
      }),
    );
    // The pauses between are over when these timers fire.
    const waits = setInterval(() => timers.filter(({ ms }) => ms === 2_000).forEach(({ work }) => work()), 5);
    const found = await Promise.all(news);
    clearInterval(waits);
    for (const { value } of found) expect(value!.nextOffset).toBeLessThanOrEqual(1);
    expect(requests.filter((request) => request.includes("long-poll"))).toEqual([]);
  });
});

describe("hostile frames over HTTP", () => {
  const post = (body: BodyInit, headers: Record<string, string> = {}): Promise<Response> =>
    SELF.fetch(at("hostile"), { method: "POST", headers: { "content-type": FRAME_TYPE, ...headers }, body });
  const refused = async (response: Response): Promise<unknown> => {
    const { error } = (await response.json()) as { error: { code: string } };
    return [response.status, error.code];
  };

  it("each is refused by itself, with what is wrong", async () => {
    await makeLog("hostile");
    const follow = jsonFrame({ type: FrameType.FOLLOW, id: 1, credits: 100 }, { from: 0 });
    const pushes = encodeFrame({ type: FrameType.PUSH, id: 1, payload: new Uint8Array(60) });
    expect(await refused(await post(""))).toEqual([400, "BAD_REQUEST"]);
    expect(await refused(await post(new Uint8Array(12)))).toEqual([400, "BAD_REQUEST"]);
    expect(await refused(await post(follow))).toEqual([400, "BAD_REQUEST"]);
    for (const speaks of [{}, { [OUTBOX_HEADER]: "me" }, { [OUTBOX_HEADER]: "0123456789abcdef; generation=x; term=1" }])
      expect(await refused(await post(pushes, speaks))).toEqual([400, "BAD_REQUEST"]);
    // A client can't say who it is: the Worker's own header is not passed on.
    const asOther = { [OUTBOX_HEADER]: "0123456789abcdef; generation=1; term=1", "x-tidemark-frame": "someone-else" };
    const answer = new Uint8Array(await (await post(pushes, asOther)).arrayBuffer());
    expect(answer[1]).toBe(FrameType.ERROR);
    expect(await textOf("hostile")).toBe("");
  });
});
