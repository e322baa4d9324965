/** The object's own token bucket, used when no rate limiter is bound: requests, upgrades and frames count the same. */
import http, { type IncomingHttpHeaders } from "node:http";
import { expect, test } from "vitest";
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import { EdgeSocket, type Wire } from "../../../src/sync/edge-socket.ts";
import { releaseKernel } from "../../support/kernels.ts";
import { startWorker } from "../local-worker.ts";
import { timers } from "../timers.ts";

const kernel = await releaseKernel();
const PER_SECOND = 8;

function batchOf(value: string): Uint8Array {
  const builder = new BatchBuilder(kernel);
  builder.tryAppend({ key: null, value: new TextEncoder().encode(value), timestamp: 1_000 });
  return builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
}

/** The status of the answer to an upgrade, whether it becomes a socket or not. */
function upgrade(url: string): Promise<{ status: number | undefined; headers: IncomingHttpHeaders }> {
  return new Promise((resolve, reject) => {
    const headers = {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    };
    const request = http.get(url, { headers }, (response) => {
      response.resume();
      resolve({ status: response.statusCode, headers: response.headers });
    });
    request.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode, headers: response.headers });
    });
    request.on("error", reject);
  });
}

test("frames and upgrades are limited as requests are; a refusal says when to try again", async () => {
  const worker = await startWorker({
    settings: { TIDEMARK_OPEN_ACCESS: "loopback", TIDEMARK_RATE_PER_SECOND: String(PER_SECOND) },
  });
  try {
    const url = `${worker.url}/v1/stream/rate`;
    expect((await fetch(url, { method: "PUT" })).status).toBe(201);
    const socket = new WebSocket(url.replace("http", "ws"));
    socket.binaryType = "arraybuffer";
    const log = await EdgeSocket.bind(socket as Wire, timers);
    const started = performance.now();
    const results = await Promise.allSettled(Array.from({ length: 60 }, () => log.append([batchOf("x")])));
    const seconds = (performance.now() - started) / 1000;
    const refused = results.filter((result) => result.status === "rejected");
    const taken = results.length - refused.length;
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThanOrEqual(PER_SECOND * (1 + seconds) + 1);
    for (const { reason } of refused)
      expect(reason).toMatchObject({ code: "LIMIT_EXCEEDED", details: { edge: "TOO_MANY_REQUESTS", retryAfter: 1 } });
    const answers = await Promise.all(Array.from({ length: 40 }, () => upgrade(url)));
    expect(
      new Set(answers.map(({ status, headers }) => `${status} ${headers["retry-after"]} ${headers["tidemark-error"]}`)),
    ).toContain("429 1 TOO_MANY_REQUESTS");
    log.socket.close();
  } finally {
    await worker.stop();
  }
});
