/**
 * What operators see of WebSockets, inside workerd: an event for each append, read and refusal, and their numbers in
 * the metrics.
 */
import { env, SELF } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { type EdgeLog, EdgeSocket, type Wire } from "../../src/sync/edge-socket.ts";
import type { Env } from "../../worker/env.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { handle } from "../../worker/front/router.ts";
import { call, inside } from "./archive-tools.ts";
import { timers } from "./timers.ts";

const kernel = await edgeKernel();
const real = env;
let streams = 0;

function batchOf(value: string, producer = -1, sequence = -1): Uint8Array {
  const builder = new BatchBuilder(kernel);
  builder.tryAppend({ key: null, value: new TextEncoder().encode(value), timestamp: 1_000 });
  return builder.build({ producerId: producer, producerEpoch: producer < 0 ? -1 : 0, baseSequence: sequence });
}

async function fresh(): Promise<string> {
  const path = `socket-events/${++streams}`;
  expect((await call(path, "PUT")).status).toBe(201);
  await inside(path, (instance) => void (instance.env = { ...instance.env, TIDEMARK_EVENTS: "all" }));
  return path;
}

type Upgraded = Response & { webSocket: Wire & { accept(): void; binaryType: string } };

async function bind(path: string, settings: Partial<Env> = {}): Promise<EdgeLog> {
  const request = new Request(`http://localhost/v1/stream/${path}`, { headers: { upgrade: "websocket" } });
  const { webSocket } = (await handle(request, { ...real, TIDEMARK_EVENTS: "all", ...settings })) as Upgraded;
  webSocket.binaryType = "arraybuffer";
  webSocket.accept();
  return EdgeSocket.bind(webSocket, timers);
}

/** The events of sockets that are logged while `work` runs. */
async function eventsOf(work: () => Promise<unknown>): Promise<Record<string, unknown>[]> {
  const lines: string[] = [];
  const log = vi.spyOn(console, "log").mockImplementation((line: unknown) => void lines.push(String(line)));
  try {
    await work();
  } finally {
    log.mockRestore();
  }
  return lines
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ source }) => source === "socket");
}

describe("frames", () => {
  it("an append, a repeat, a fetch, a follow and a refusal are an event each: whose, what and how much", async () => {
    const path = await fresh();
    const log = await bind(path);
    const batch = batchOf("one", 5, 0);
    const events = await eventsOf(async () => {
      await log.append([batch.slice()]);
      await log.append([batch.slice()]);
      await log.fetch("earliest");
      for await (const _ of log.follow(0)) break;
      await expect(log.append([batchOf("three", 5, 7)])).rejects.toMatchObject({ code: "OUT_OF_ORDER_SEQUENCE" });
      await expect(log.append([new Uint8Array(80).fill(7)])).rejects.toMatchObject({ code: "INVALID_BATCH" });
      await expect(log.fetch(99)).rejects.toMatchObject({ code: "OFFSET_OUT_OF_RANGE" });
    });
    const whose = { tenant: "dev", path, source: "socket" };
    expect(events).toMatchObject([
      {
        ...whose,
        event: "append",
        type: "append",
        status: 200,
        next: 1,
        batches: 1,
        duplicate: false,
        ms: expect.any(Number),
        bytes: batch.length + 8,
      },
      { ...whose, event: "append", next: 1, duplicate: true },
      { ...whose, event: "read", type: "fetch", from: 0, bytes: batch.length },
      { ...whose, event: "read", type: "follow", from: 0 },
      { ...whose, event: "rejection", type: "append", code: "OUT_OF_ORDER_SEQUENCE" },
      { ...whose, event: "rejection", type: "append", code: "INVALID_BATCH", bytes: 88 },
      { ...whose, event: "rejection", type: "fetch", code: "OFFSET_OUT_OF_RANGE" },
    ]);
    expect(events.length).toBe(7);
  });

  it("a refusal by the Worker itself is an event, too", async () => {
    const path = await fresh();
    let left = 1;
    const log = await bind(path, { RATE_LIMIT: { limit: async () => ({ success: left-- > 0 }) } as never });
    const events = await eventsOf(() =>
      expect(log.append([batchOf("x")])).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" }),
    );
    expect(events).toMatchObject([
      {
        event: "rejection",
        source: "socket",
        tenant: "dev",
        path,
        type: "append",
        code: "TOO_MANY_REQUESTS",
        status: 429,
      },
    ]);
  });

  it("are in the metrics: appends, repeats, reads, bytes that were sent, sockets", async () => {
    const path = await fresh();
    const log = await bind(path);
    const batch = batchOf("one", 5, 0);
    await log.append([batch.slice()]);
    await log.append([batch.slice()]);
    await log.fetch(0);
    for await (const _ of log.follow(0)) break;
    await expect(log.fetch(99)).rejects.toThrow();
    const text = await (await SELF.fetch(`http://localhost/v1/metrics/${path}`)).text();
    const metric = (name: string): number =>
      Number(new RegExp(`^tidemark_${name}\\{.*\\} (\\S+)$`, "m").exec(text)?.[1]);
    expect(
      [
        "appends_total",
        "duplicates_total",
        "reads_total",
        "delivered_bytes_total",
        "rejections_total",
        "sockets",
        "watchers",
      ].map(metric),
    ).toEqual([2, 1, 3, 2 * batch.length, 1, 1, 0]);
  });
});
