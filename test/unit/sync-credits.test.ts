/**
 * What the edge may send at a moment: credits of the follows of two topics on one link, counted frame by frame. A topic
 * whose catch-up ends with frames that cost no credits keeps no window that it does not need.
 */
import { expect, it } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { nextOffsetOf, readHeader, stampBaseOffset } from "../../src/record/format.ts";
import { EdgeSocket, type Wire } from "../../src/sync/edge-socket.ts";
import { decodeFrame, encodeFrame, type Frame, FrameType, jsonFrame, jsonOf } from "../../src/sync/frames.ts";
import { receive } from "../../src/sync/receiver.ts";
import { ownPayload, tidePayload } from "../../src/sync/sync-frames.ts";
import type { ReceivedFrame, TopicStore } from "../../src/sync/topic-store.ts";
import { LEVEL_BYTES, WindowBudget, WINDOWS_BYTES } from "../../src/sync/window-budget.ts";
import { timers } from "../edge/timers.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const LIFE = "00000000000000b1";

function batchOf(offset: number): Uint8Array {
  const builder = new BatchBuilder(kernel);
  builder.tryAppend({ key: null, value: new Uint8Array(32 * 1024 - 100), timestamp: 1_000 });
  const batch = builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
  stampBaseOffset(batch, offset);
  return batch;
}

const BATCH = batchOf(0).length;

interface Follow {
  left: number;
  next: number;
  isLevel: boolean;
  isStarved: boolean;
}

/** A log of batches of one record; from `ownFrom` on they are the device's own. */
class Log {
  /** By follow. */
  readonly credits = new Map<number, Follow>();
  /** The most that it might be sent at a moment. */
  most = 0;
  follows = 0;

  constructor(
    public end: number,
    public ownFrom = Infinity,
  ) {}

  get left(): number {
    return [...this.credits.values()].reduce((sum, { left }) => sum + left, 0);
  }
}

/** The edge's end of a socket with a log on each channel. */
class Edge {
  readonly logs: Log[];
  most = 0;
  #say: (event: { data: unknown }) => void = () => undefined;

  constructor(...logs: Log[]) {
    this.logs = logs;
  }

  readonly wire = {
    send: (data: Uint8Array) => this.#take(decodeFrame(data)!),
    close: () => undefined,
    addEventListener: (type: string, listener: never) => void (type === "message" && (this.#say = listener)),
  } as Wire;

  #tell(frame: Uint8Array<ArrayBuffer>): void {
    queueMicrotask(() => this.#say({ data: frame }));
  }

  #take({ type, channel, id, credits, ...frame }: Frame): void {
    const log = this.logs[channel]!;
    if (type === FrameType.OPEN) {
      const hello = { logStartOffset: 0, logEndOffset: log.end, contentType: "text/plain", closed: false };
      return this.#tell(jsonFrame({ type: FrameType.HELLO, channel, credits: 100 }, hello));
    }
    if (type === FrameType.CANCEL) return void log.credits.delete(id);
    const next = Number(jsonOf({ type, channel, id, credits, ...frame })?.["from"] ?? 0);
    if (type === FrameType.FOLLOW) log.follows++;
    const follow = log.credits.get(id) ?? { left: 0, next, isLevel: false, isStarved: false };
    log.credits.set(id, follow);
    follow.left += credits;
    follow.isStarved = false;
    log.most = Math.max(log.most, log.left);
    this.most = Math.max(
      this.most,
      this.logs.reduce((sum, { left }) => sum + left, 0),
    );
    this.serve();
  }

  /** One batch, run or tide for each follow, as far as credits go; more when the client has heard of it. */
  serve(): void {
    for (const [channel, log] of this.logs.entries())
      for (const [id, follow] of log.credits) {
        const at = { channel, id };
        if (follow.next >= log.end) {
          if (follow.isLevel) continue;
          follow.isLevel = true;
          const ends = { logStartOffset: 0, nextOffset: follow.next, highWatermark: log.end, life: LIFE };
          this.#tell(encodeFrame({ ...at, type: FrameType.TIDE, payload: tidePayload(ends) }));
        } else if (follow.next >= log.ownFrom) {
          const { next: offset } = follow;
          follow.next++;
          const own = { position: offset, next: offset + 1, offset, crcs: [7] };
          this.#tell(encodeFrame({ ...at, type: FrameType.OWN, payload: ownPayload(own) }));
        } else if (follow.left >= BATCH) {
          follow.left -= BATCH;
          this.#tell(encodeFrame({ ...at, type: FrameType.BATCHES, payload: batchOf(follow.next++) }));
        } else {
          if (follow.isStarved) continue;
          follow.isStarved = true;
          const needed = new Uint8Array(4);
          new DataView(needed.buffer).setUint32(0, BATCH);
          this.#tell(encodeFrame({ ...at, type: FrameType.STARVE, payload: needed }));
        }
        queueMicrotask(() => this.serve());
      }
  }
}

/** Takes what comes; own batches are all here. */
class Store {
  watermark = 0;
  readonly frames: ReceivedFrame[] = [];
  beginLife = (): Promise<void> => Promise.resolve();
  ownBytes = ({ offset }: { readonly offset: number }): Promise<Uint8Array> => Promise.resolve(batchOf(offset));
  receive(frame: ReceivedFrame): Promise<void> {
    expect(frame.from).toBe(this.watermark);
    if (frame.bytes.length > 0) expect(nextOffsetOf(readHeader(frame.bytes))).toBe(frame.nextOffset);
    this.watermark = frame.nextOffset;
    return Promise.resolve();
  }
}

async function followed(log: Log, socket: EdgeSocket, isOver: (store: Store) => boolean): Promise<void> {
  const store = new Store();
  const edge = await socket.open("a log");
  await new Promise<void>((resolve, reject) => {
    const advanced = (): void => void (isOver(store) && resolve());
    const atEdge = {
      life: LIFE,
      get end() {
        return log.end;
      },
    };
    const host = { store: store as Partial<TopicStore> as TopicStore, atEdge };
    receive({ ...host, advanced }, edge).catch(reject);
  });
  // What the last tide has led to.
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

/** Where one that catches up alone comes to. */
async function alone(): Promise<number> {
  const log = new Log(1_000);
  const socket = EdgeSocket.connect(new Edge(log).wire, timers);
  await followed(log, socket, ({ watermark }) => watermark === log.end);
  return log.most;
}

it("a catch-up that ends with own batches leaves the window to the next topic", async () => {
  const [first, second] = [new Log(400, 300), new Log(1_000)];
  const edge = new Edge(first, second);
  const socket = EdgeSocket.connect(edge.wire, { ...timers, windows: new WindowBudget() });
  await followed(first, socket, ({ watermark }) => watermark === first.end);
  expect(first.most).toBeGreaterThan(16 * LEVEL_BYTES);
  expect(first.left).toBeLessThanOrEqual(LEVEL_BYTES);
  expect(first.credits.size).toBe(1);
  await followed(second, socket, ({ watermark }) => watermark === second.end);
  expect(second.most).toBeGreaterThan(0.9 * (await alone()));
  expect(edge.most).toBeLessThanOrEqual(WINDOWS_BYTES);
  // A topic that is level begins no further follow.
  expect([first.follows, second.follows]).toEqual([2, second.follows]);
});

it("a long run of own batches leaves it before the topic is level", async () => {
  const [first, second] = [new Log(2_000, 300), new Log(200)];
  const edge = new Edge(first, second);
  const socket = EdgeSocket.connect(edge.wire, { ...timers, windows: new WindowBudget() });
  let begunAt = 0;
  await followed(first, socket, ({ watermark }) => first.follows > 1 && (begunAt ||= watermark) > 0);
  expect(begunAt).toBeGreaterThan(first.ownFrom);
  expect(begunAt).toBeLessThan(1_000);
  expect(first.credits.size).toBe(1);
  expect(first.left).toBeLessThanOrEqual(LEVEL_BYTES);
});
