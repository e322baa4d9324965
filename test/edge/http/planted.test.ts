/**
 * The promises of the WebSocket dialect, checked on the worker in plain workerd, and on workers with planted bugs: each
 * bug must break one promise.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { SignJWT } from "jose";
import { expect, test } from "vitest";
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import { decodeFrame, encodeFrame, FrameType, jsonFrame } from "../../../src/sync/frames.ts";
import { EdgeSocket, type EdgeLog, type Wire } from "../../../src/sync/edge-socket.ts";
import { releaseKernel } from "../../support/kernels.ts";
import type { PlantedBug } from "../../support/planted-bug.ts";
import { RawWorkerd } from "../raw-workerd.ts";
import { timers } from "../timers.ts";

const SECRET = "a secret of at least thirty-two characters";
const kernel = await releaseKernel();

const tokenOf = (scope: string, seconds = 60): Promise<string> =>
  new SignJWT({ scope, tenant: "acme" })
    .setProtectedHeader({ alg: "HS256" })
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + seconds)
    .sign(new TextEncoder().encode(SECRET));

function batchOf(value: string, sequence = -1): Uint8Array {
  const builder = new BatchBuilder(kernel);
  builder.tryAppend({ key: null, value: new TextEncoder().encode(value), timestamp: 1_000 });
  return builder.build({
    producerId: sequence < 0 ? -1 : 7,
    producerEpoch: sequence < 0 ? -1 : 0,
    baseSequence: sequence,
  });
}

class Edge {
  constructor(readonly worker: RawWorkerd) {}

  async make(name: string): Promise<void> {
    const headers = { authorization: `Bearer ${await tokenOf("write:**")}`, "content-type": "text/plain" };
    expect((await fetch(`${this.worker.url}/v1/stream/${name}`, { method: "PUT", headers })).status).toBe(201);
  }
  async wire(name: string, scope: string, seconds = 60): Promise<WebSocket> {
    const socket = new WebSocket(
      `${this.worker.url.replace("http", "ws")}/v1/stream/${name}?token=${await tokenOf(scope, seconds)}`,
    );
    socket.binaryType = "arraybuffer";
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve, { once: true });
      socket.addEventListener("error", reject, { once: true });
    });
    return socket;
  }
  async log(name: string, scope: string): Promise<EdgeLog> {
    return EdgeSocket.bind((await this.wire(name, scope)) as Wire, timers);
  }
}

/** Each function returns whether the promise was kept. */
const PROMISES: Readonly<Record<string, (edge: Edge) => Promise<boolean>>> = {
  async "not a byte beyond the credits"(edge) {
    await edge.make("credits");
    const writer = await edge.log("credits", "write:**");
    for (let i = 0; i < 20; i++) await writer.append([batchOf("x".repeat(1_000))]);
    const socket = await edge.wire("credits", "read:**");
    let bytes = 0;
    const answered = new Promise<void>((resolve) =>
      socket.addEventListener("message", ({ data }) => {
        const frame = decodeFrame(data);
        if (frame?.id === 1 && frame.type === FrameType.BATCHES) bytes += frame.payload.length;
        if (frame?.id === 2) resolve();
      }),
    );
    // Credits in three parts, so that a part that is not counted shows when the next one comes.
    socket.send(jsonFrame({ type: FrameType.FOLLOW, id: 1, credits: 3_000 }, { from: 0 }));
    for (let i = 0; i < 2; i++) socket.send(encodeFrame({ type: FrameType.CREDIT, id: 1, credits: 3_000 }));
    socket.send(jsonFrame({ type: FrameType.FETCH, id: 2, credits: 1_000 }, { from: "latest" }));
    await answered;
    socket.close();
    writer.socket.close();
    return bytes > 0 && bytes <= 9_000;
  },
  async "a token that may only read can't write"(edge) {
    await edge.make("scope");
    const log = await edge.log("scope", "read:**");
    const isRefused = await log.append([batchOf("x")]).then(
      () => false,
      () => true,
    );
    log.socket.close();
    return isRefused;
  },
  async "appends keep the order of their frames"(edge) {
    await edge.make("order");
    const log = await edge.log("order", "write:**");
    const results = await Promise.allSettled(Array.from({ length: 200 }, (_, i) => log.append([batchOf(`${i}`, i)])));
    log.socket.close();
    return results.every((result, i) => result.status === "fulfilled" && result.value[0]!.baseOffset === i);
  },
  async "a socket ends with its token"(edge) {
    await edge.make("expiry");
    const socket = await edge.wire("expiry", "read:**", 1);
    const closed = new Promise<number>((resolve) => socket.addEventListener("close", ({ code }) => resolve(code)));
    const code = await Promise.race([closed, new Promise<number>((resolve) => setTimeout(resolve, 3_000, 0))]);
    socket.close();
    return code === 4401;
  },
};

const SOCKETS = "worker/log-object/sockets.ts";
const PLANTS: readonly (PlantedBug & { readonly breaks: string })[] = [
  {
    name: "credits are not used up",
    file: "worker/log-object/follow-serving.ts",
    find: "follow.credits -= sent.bytes;",
    replace: "",
    breaks: "not a byte beyond the credits",
  },
  {
    name: "a batch that does not fit is sent",
    file: "worker/log-object/follow-frames.ts",
    find: "if (bytes.length <= credits) return bytes;",
    replace: "if (credits > 0) return bytes;",
    breaks: "not a byte beyond the credits",
  },
  {
    name: "frames are not looked at for scope",
    file: "worker/front/client-socket.ts",
    find: "if (needed && !channel[needed])",
    replace: "if (false)",
    breaks: "a token that may only read can't write",
  },
  {
    name: "frames overtake each other",
    file: SOCKETS,
    find: "session.turn.then(() => this.#take(session, frame))",
    replace:
      "Promise.resolve().then(() => frame.id % 3 === 0 ? new Promise((resolve) => setTimeout(resolve, 1)) : " +
      "undefined).then(() => this.#take(session, frame))",
    breaks: "appends keep the order of their frames",
  },
  {
    name: "no timer",
    file: "worker/front/client-socket.ts",
    find: "if (expires === undefined) return;",
    replace: "return;",
    breaks: "a socket ends with its token",
  },
];

async function withEdge<T>(plants: readonly PlantedBug[], work: (edge: Edge) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(path.join(os.tmpdir(), "tidemark-planted-"));
  const worker = await RawWorkerd.create({ directory, settings: { TIDEMARK_JWT_SECRETS: SECRET }, plants });
  try {
    await worker.start();
    return await work(new Edge(worker));
  } finally {
    await worker.kill();
    rmSync(directory, { recursive: true, force: true });
  }
}

test("the worker keeps every promise", async () => {
  await withEdge([], async (edge) => {
    for (const [promise, kept] of Object.entries(PROMISES))
      expect([promise, await kept(edge)]).toEqual([promise, true]);
  });
});

test.each(PLANTS)("planted bug: $name", async ({ breaks, ...plant }) => {
  expect(await withEdge([plant], (edge) => PROMISES[breaks]!(edge))).toBe(false);
});

test("sockets of a log are bounded: one more is refused, and when one ends there is room again", async () => {
  const few = {
    name: "room for two",
    file: SOCKETS,
    find: "const SOCKETS_MAX = 10_000;",
    replace: "const SOCKETS_MAX = 2;",
  };
  await withEdge([few], async (edge) => {
    await edge.make("full");
    const [first, second] = [await edge.log("full", "read:**"), await edge.log("full", "read:**")];
    await expect(edge.wire("full", "read:**")).rejects.toBeDefined();
    first.socket.close();
    // There is no event that says when the object has noticed the closed socket.
    let third: EdgeLog | undefined;
    for (let tries = 0; !third && tries < 500; tries++)
      third = await edge.log("full", "read:**").catch(() => undefined);
    expect(third).toBeDefined();
    for (const log of [second, third!]) log.socket.close();
  });
});
