/** What a fetch gives over the wire of HTTP, a batch or its size. The rest: test/edge/sync-over-http.test.ts. */
import { describe, expect, it } from "vitest";
import { BATCH_BYTES_MAX } from "../../src/log/limits.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { EdgeSocket, type Wire } from "../../src/sync/edge-socket.ts";
import { decodeFrame, encodeFrame, FrameType, jsonFrame } from "../../src/sync/frames.ts";
import { HttpWire } from "../../src/sync/http-wire.ts";
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
