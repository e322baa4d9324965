/**
 * Rate limits on WebSockets by the platform's limiter, inside workerd: an upgrade, an opened channel and each request
 * on
 * it count. The object's own token bucket is tested in test/edge/http/rate.test.ts.
 */
import { env } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { EdgeSocket, type Wire } from "../../src/sync/edge-socket.ts";
import type { Env } from "../../worker/env.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { handle } from "../../worker/front/router.ts";
import { call } from "./archive-tools.ts";
import { timers } from "./timers.ts";

const kernel = await edgeKernel();
const real = env;
let streams = 0;

async function fresh(): Promise<string> {
  const path = `rate/${++streams}`;
  expect((await call(path, "PUT")).status).toBe(201);
  return path;
}

/** A limiter that lets `count` requests pass. Its answers take a varying time, as those of a remote service do. */
function limiter(allowed: number) {
  const keys: string[] = [];
  const limit = async ({ key }: { key: string }) => {
    keys.push(key);
    const success = keys.length <= allowed;
    for (let turns = (keys.length * 7) % 5; turns > 0; turns--) await new Promise((resolve) => setTimeout(resolve, 0));
    return { success };
  };
  return { keys, env: { ...real, RATE_LIMIT: { limit } as never } };
}

type Upgraded = Response & { webSocket: (Wire & { accept(): void; binaryType: string }) | null };

async function upgrade(where: string, settings: Env): Promise<Upgraded> {
  const response = (await handle(
    new Request(`http://localhost/v1/${where}`, { headers: { upgrade: "websocket" } }),
    settings,
  )) as Upgraded;
  if (response.webSocket) {
    response.webSocket.binaryType = "arraybuffer";
    response.webSocket.accept();
  }
  return response;
}

function batchOf(value: string): Uint8Array {
  const builder = new BatchBuilder(kernel);
  builder.tryAppend({ key: null, value: new TextEncoder().encode(value), timestamp: 1_000 });
  return builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
}

const tooMany = { code: "LIMIT_EXCEEDED", details: { edge: "TOO_MANY_REQUESTS", retryAfter: 10 } };

describe("the platform's limiter", () => {
  it("is asked for an upgrade, which then is a 429 with Retry-After", async () => {
    const path = await fresh();
    const { keys, env: settings } = limiter(1);
    expect((await upgrade(`stream/${path}`, settings)).status).toBe(101);
    const refused = await upgrade(`stream/${path}`, settings);
    expect([refused.status, refused.headers.get("retry-after"), refused.headers.get("tidemark-error")]).toEqual([
      429,
      "10",
      "TOO_MANY_REQUESTS",
    ]);
    expect(keys).toEqual([`dev/${path}`, `dev/${path}`]);
  });

  it("is asked for each append, follow and fetch in order; refusals say when to try again", async () => {
    const path = await fresh();
    const { keys, env: settings } = limiter(1 + 5);
    const log = await EdgeSocket.bind((await upgrade(`stream/${path}`, settings)).webSocket!, timers);
    const results = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => log.append([batchOf(`${i};`)])));
    expect(results.slice(0, 5).map((result) => (result as PromiseFulfilledResult<unknown>).value)).toMatchObject(
      [0, 1, 2, 3, 4].map((baseOffset) => [{ baseOffset }]),
    );
    for (const result of results.slice(5)) expect(result).toMatchObject({ reason: tooMany });
    await expect(log.fetch("earliest")).rejects.toMatchObject(tooMany);
    await expect(log.follow("earliest").next()).rejects.toMatchObject(tooMany);
    expect(keys.length).toBe(1 + 8 + 1 + 1);
    const kept = await (await call(`${path}?offset=-1`, "GET")).text();
    expect(kept).toBe("0;1;2;3;4;");
  });

  it("is asked for the list of streams, once for a page", async () => {
    const { keys, env: settings } = limiter(1);
    const list = () => handle(new Request("http://localhost/v1/stream/__ds/streams?limit=2"), settings);
    expect([(await list()).status, (await list()).status]).toEqual([200, 429]);
    expect(keys).toEqual(["dev/__ds/streams", "dev/__ds/streams"]);
  });

  it("is asked with the log of a channel, also when the channel is opened", async () => {
    const [one, two] = [await fresh(), await fresh()];
    const { keys, env: settings } = limiter(2);
    const socket = EdgeSocket.connect((await upgrade("socket", settings)).webSocket!, timers);
    const log = await socket.open(one);
    await log.append([batchOf("x")]);
    await expect(socket.open(two)).rejects.toMatchObject(tooMany);
    expect(keys).toEqual([`dev/${one}`, `dev/${one}`, `dev/${two}`]);
    await expect(log.append([batchOf("y")])).rejects.toMatchObject(tooMany);
  });

  it("credits that waiting requests hold come back with the refusal", async () => {
    const path = await fresh();
    const { env: settings } = limiter(1);
    const log = await EdgeSocket.bind((await upgrade(`stream/${path}`, settings)).webSocket!, timers);
    // Five times the largest window is more than one socket may hold: refused follows must have given theirs back.
    for (let i = 0; i < 5; i++)
      await expect(log.follow("earliest", { windowBytes: 8 * 1024 * 1024 }).next()).rejects.toMatchObject(tooMany);
  });
});
