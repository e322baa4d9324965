/**
 * One socket with many logs, in plain workerd: the default windows of all of them fit, and for a client that does not
 * read the edge holds no more than a bounded amount.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { decodeFrame, encodeFrame, FrameType, jsonFrame } from "../../../src/sync/frames.ts";
import { EdgeSocket, type Wire } from "../../../src/sync/edge-socket.ts";
import { HARD_BYTES } from "../../../worker/front/socket-credits.ts";
import { RawWorkerd } from "../raw-workerd.ts";
import { timers } from "../timers.ts";

const directory = mkdtempSync(path.join(os.tmpdir(), "tidemark-follows-"));
const TEXT = { "content-type": "text/plain" };
let worker: RawWorkerd;

beforeAll(async () => {
  worker = await RawWorkerd.create({ directory });
  await worker.start();
});
afterAll(async () => {
  await worker.kill();
  rmSync(directory, { recursive: true, force: true });
});

async function wire(path: string): Promise<WebSocket> {
  const socket = new WebSocket(worker.url.replace("http", "ws") + path);
  socket.binaryType = "arraybuffer";
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve, { once: true });
    socket.addEventListener("error", reject, { once: true });
  });
  return socket;
}
const at = (name: string): string => `${worker.url}/v1/stream/${name}`;

test("150 follows with the client's default window work on one socket, and each gets its log's records", async () => {
  const names = Array.from({ length: 150 }, (_, i) => `many-${i}`);
  for (const name of names)
    expect((await fetch(at(name), { method: "PUT", headers: TEXT, body: `first of ${name}` })).status).toBe(201);
  const socket = EdgeSocket.connect((await wire("/v1/socket")) as Wire, timers);
  const heard = await Promise.all(
    names.map(async (name) => {
      const follow = (await socket.open(name)).follow(0);
      const first = await follow.next();
      expect((await fetch(at(name), { method: "POST", headers: TEXT, body: `second of ${name}` })).status).toBe(204);
      const second = await follow.next();
      return [first.value?.nextOffset, second.value?.nextOffset];
    }),
  );
  expect(new Set(heard.map(String))).toEqual(new Set(["1,2"]));
  socket.close();
});

test("for a client that does not read a bounded amount is held; when it reads, everything comes", async () => {
  expect((await fetch(at("long"), { method: "PUT", headers: TEXT })).status).toBe(201);
  const MIB = 1024 * 1024;
  for (let i = 0; i < 6; i++)
    expect((await fetch(at("long"), { method: "POST", headers: TEXT, body: "x".repeat(8 * MIB) })).status).toBe(204);
  const socket = await wire("/v1/stream/long");
  let [bytes, pings, answersPings] = [0, 0, false];
  let wake: () => void = () => undefined;
  const answered = new Set<number>();
  socket.addEventListener("message", ({ data }) => {
    if (data === "ping") {
      if (answersPings) socket.send("pong");
      else pings++;
    }
    const frame = decodeFrame(data);
    if (frame?.type === FrameType.BATCHES) {
      bytes += frame.payload.length;
      socket.send(encodeFrame({ type: FrameType.CREDIT, id: 1, credits: frame.payload.length }));
    }
    if (frame) answered.add(frame.id);
    wake();
  });
  const until = async (isSo: () => boolean): Promise<void> => {
    while (!isSo()) await new Promise<void>((resolve) => (wake = resolve));
  };
  socket.send(jsonFrame({ type: FrameType.FOLLOW, id: 1, credits: 4 * MIB }, { from: 0 }));
  // Each answer comes behind everything that was sent before it, so what was sent by then has arrived.
  for (let id = 100; id < 400; id++) {
    socket.send(encodeFrame({ type: FrameType.CANCEL, id }));
    await until(() => answered.has(id));
  }
  await until(() => bytes >= HARD_BYTES - 2 * MIB);
  for (let id = 400; id < 500; id++) {
    socket.send(encodeFrame({ type: FrameType.CANCEL, id }));
    await until(() => answered.has(id));
  }
  expect(bytes).toBeLessThanOrEqual(HARD_BYTES);
  expect(pings).toBeGreaterThan(10);
  answersPings = true;
  for (let i = 0; i < pings; i++) socket.send("pong");
  await until(() => bytes >= 48 * MIB);
  socket.close();
});
