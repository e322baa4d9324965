/**
 * When a follow's client gives credits back: behind batches that the loop has taken, a part of the window at a time,
 * and at once when the edge starves. A model of the edge sends what its credits allow, so a follow that held credits
 * back for ever would stop here.
 */
import { describe, expect, it } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { EdgeSocket, type Wire } from "../../src/sync/edge-socket.ts";
import { decodeFrame, encodeFrame, type Frame, FrameType, jsonFrame } from "../../src/sync/frames.ts";
import { timers } from "../edge/timers.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const WINDOW = 4_096;

function batchOf(baseOffset: number, bytes: number): Uint8Array {
  const builder = new BatchBuilder(kernel);
  builder.tryAppend({ key: null, value: new Uint8Array(bytes), timestamp: 1_000 });
  const batch = builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
  new DataView(batch.buffer, batch.byteOffset).setBigInt64(0, BigInt(baseOffset));
  return batch;
}

/** An edge that sends batches of these sizes as far as credits go, and says when the next one is larger. */
class Edge {
  readonly given: number[] = [];
  #credits = 0;
  #id = 0;
  #sent = 0;
  #isStarved = false;
  #say: (event: { data: unknown }) => void = () => expect.fail("nobody listens");
  readonly #sizes: readonly number[];

  constructor(sizes: readonly number[]) {
    this.#sizes = sizes;
  }

  readonly wire = {
    send: (data: Uint8Array) => this.#take(decodeFrame(data)!),
    close: () => undefined,
    addEventListener: (type: string, listener: never) => void (type === "message" && (this.#say = listener)),
  } as Wire;

  hello(): void {
    const hello = { logStartOffset: 0, logEndOffset: 0, contentType: "text/plain", closed: false };
    this.#say({ data: jsonFrame({ type: FrameType.HELLO, credits: 100 }, hello) });
  }

  #take({ type, id, credits }: Frame): void {
    if (type === FrameType.CREDIT) this.given.push(credits);
    else if (type !== FrameType.FOLLOW) return;
    this.#id = id;
    this.#credits += credits;
    this.#isStarved = false;
    queueMicrotask(() => this.#send());
  }

  #send(): void {
    while (this.#sent < this.#sizes.length && !this.#isStarved) {
      const payload = batchOf(this.#sent, this.#sizes[this.#sent]!);
      if (payload.length > this.#credits) {
        this.#isStarved = true;
        const need = new Uint8Array(4);
        new DataView(need.buffer).setUint32(0, payload.length);
        this.#say({ data: encodeFrame({ type: FrameType.STARVE, id: this.#id, payload: need }) });
        return;
      }
      this.#credits -= payload.length;
      this.#sent++;
      this.#say({ data: encodeFrame({ type: FrameType.BATCHES, id: this.#id, payload }) });
    }
  }

  /** Follows until all batches came. Returns their offsets. */
  async follow(): Promise<number[]> {
    const opening = EdgeSocket.bind(this.wire, timers);
    this.hello();
    const ends: number[] = [];
    for await (const { nextOffset } of (await opening).follow(0, { windowBytes: WINDOW }))
      if (ends.push(nextOffset) === this.#sizes.length) return ends;
    throw new Error("the follow has ended");
  }
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

describe("credits of a follow", () => {
  it("go back a part of the window at a time, and never more than was taken", async () => {
    const edge = new Edge(Array<number>(200).fill(50));
    expect(await edge.follow()).toEqual(upTo(200));
    const bytes = batchOf(0, 50).length;
    // This edge starves once per window, so less than a part goes back then.
    const parts = (200 * bytes) / (WINDOW / 4);
    expect(edge.given.length).toBeLessThan(1.5 * parts);
    expect(edge.given.reduce((sum, each) => sum + each)).toBeLessThanOrEqual(200 * bytes);
  });

  it("go back at once for a batch that is a part of the window itself", async () => {
    const edge = new Edge([2_000, 2_000, 2_000]);
    expect(await edge.follow()).toEqual(upTo(3));
    expect(edge.given).toEqual([batchOf(0, 2_000).length, batchOf(0, 2_000).length]);
  });

  it("go back when the edge has too few for its next batch, however few are held back", async () => {
    // Behind three small batches the fourth needs nearly the window, then one more than the window.
    const sizes = [100, 100, 100, WINDOW - 200, 100, 2 * WINDOW, 100, WINDOW, 10];
    const edge = new Edge(sizes);
    expect(await edge.follow()).toEqual(upTo(sizes.length));
  });

  it("let every batch through, of any sizes: 200 logs from seed 1", async () => {
    let state = 1;
    const random = (most: number): number => (state = (state * 48_271) % 2_147_483_647) % most;
    for (let log = 0; log < 200; log++) {
      const sizes = Array.from({ length: 40 }, () => random([60, 600, WINDOW, 2 * WINDOW][random(4)]!));
      expect(await new Edge(sizes).follow(), `log ${log}`).toEqual(upTo(sizes.length));
    }
  });
});
