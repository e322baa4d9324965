/**
 * Channels of the client's socket (src/client/live-socket.ts), over a socket that answers as the edge does: of more
 * topics than there is room for, those that nobody uses give theirs up.
 */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { LiveSocket } from "../../src/client/live-socket.ts";
import { decodeFrame, encodeFrame, type Frame, FrameType, jsonFrame, jsonOf } from "../../src/sync/frames.ts";

/** As the edge has it. */
const CHANNELS_MAX = 256;
const BATCH = new Uint8Array(100);

/** An edge that opens channels, refuses too many, acks appends, and counts what is open. */
class Edge extends EventTarget {
  static last: Edge;
  binaryType = "";
  readonly open = new Map<number, string>();
  readonly seen: string[] = [];
  refused = 0;

  constructor() {
    super();
    Edge.last = this;
    queueMicrotask(() => this.dispatchEvent(new Event("open")));
  }
  close(): void {}
  send(data: Uint8Array<ArrayBuffer>): void {
    this.#answer(decodeFrame(data)!);
  }
  #answer({ type, channel, id, payload }: Frame): void {
    const tell = (frame: Uint8Array): void =>
      queueMicrotask(() => this.dispatchEvent(new MessageEvent("message", { data: frame })));
    if (type === FrameType.OPEN) {
      if (this.open.has(channel) || this.open.size >= CHANNELS_MAX) {
        this.refused++;
        return tell(jsonFrame({ type: FrameType.ERROR, channel }, { code: "LIMIT_EXCEEDED" }));
      }
      const { path } = jsonOf({ type, channel, id, credits: 0, payload }) as { path: string };
      this.open.set(channel, path);
      this.seen.push(`open ${path}`);
      return tell(encodeFrame({ type: FrameType.HELLO, channel }));
    }
    const path = this.open.get(channel);
    if (type === FrameType.CLOSE) {
      this.open.delete(channel);
      this.seen.push(`close ${path}`);
    } else if (type === FrameType.APPEND) {
      expect(path).toBeDefined();
      tell(jsonFrame({ type: FrameType.OK, channel, id }, { appended: [{ baseOffset: 0 }] }));
    } else if (type === FrameType.FOLLOW) {
      expect(path).toBeDefined();
      tell(jsonFrame({ type: FrameType.PASSED, channel, id }, { nextOffset: 1 }));
    }
  }
}

const requests = { url: "https://edge.example", token: () => ({ text: Promise.resolve(undefined) }) };
const closing = new AbortController();
let live: LiveSocket;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout"] });
  live = new LiveSocket(requests as never, Edge as never, closing.signal);
});
afterEach(() => void vi.useRealTimers());

const turns = async (): Promise<void> => {
  for (let n = 0; n < 50; n++) await Promise.resolve();
};
/** A follow that is live, and how to leave it. Undefined where it is one for requests. */
async function followed(name: string): Promise<(() => Promise<void>) | undefined> {
  const over = new AbortController();
  const follow = live.follow(name, 0, over.signal);
  if (!follow) return undefined;
  if ((await follow.next()).done) return undefined;
  return async () => void (await follow.return(undefined));
}
const append = async (name: string): Promise<boolean> => {
  const acked = (await live.append(name, BATCH, undefined, closing.signal)) !== undefined;
  await turns();
  return acked;
};

it("a topic that nobody follows any more gives its place to the 257th, the longest unused one first", async () => {
  const leave = [];
  for (let n = 0; n < CHANNELS_MAX; n++) leave.push((await followed(`t${n}`))!);
  expect(await followed("late")).toBeUndefined();
  await leave[7]!();
  await leave[3]!();
  // Unused for longer than 7, but appended to since.
  vi.advanceTimersByTime(1);
  expect(await append("t7")).toBe(true);
  expect(await followed("late")).toBeDefined();
  expect(Edge.last.seen.slice(CHANNELS_MAX)).toEqual(["close t3", "open late"]);
  // One whose place is taken works as any topic without one.
  expect(await append("t3")).toBe(false);
  expect([await followed("t3"), Edge.last.seen.at(-1)]).toEqual([expect.any(Function), "open t3"]);
  expect(Edge.last.refused).toBe(0);
});

it("a thousand follows, one behind the other, use the socket, and no refusal of the edge is met", async () => {
  const stays = await followed("stays");
  for (let n = 0; n < 1_000; n++) await (await followed(`t${n}`))!();
  expect([Edge.last.open.size, Edge.last.refused, stays]).toEqual([CHANNELS_MAX, 0, expect.any(Function)]);
  expect([...Edge.last.open.values()]).toContain("stays");
});

it("300 follows that begin at once: as many as there is room for use the socket, and the others requests", async () => {
  const begun = await Promise.all(Array.from({ length: 300 }, (_, n) => followed(`t${n}`)));
  expect(begun.filter(Boolean)).toHaveLength(CHANNELS_MAX);
  expect([Edge.last.refused, Edge.last.open.size]).toEqual([0, CHANNELS_MAX]);
  // A follow without room is no failure of the socket: a topic that has its channel can be followed again.
  expect(await followed("t0")).toBeDefined();
});

it("appends to more topics than there is room for, in turn, open no channel each; after a while they do", async () => {
  await followed("stays");
  for (let n = 1; n < 300; n++) await append(`t${n}`);
  const { seen } = Edge.last;
  expect(seen).toHaveLength(CHANNELS_MAX);
  for (let n = 1; n < 300; n++) expect([n, await append(`t${n}`)]).toEqual([n, n < CHANNELS_MAX]);
  expect(seen).toHaveLength(CHANNELS_MAX);
  vi.advanceTimersByTime(10_000);
  expect(await append("t299")).toBe(false);
  expect([await append("t299"), seen.slice(CHANNELS_MAX)]).toEqual([true, ["close t1", "open t299"]]);
});
