/**
 * Hostile clients against the worker in plain workerd, seeded: batches with a right checksum and a wrong header, frames
 * of noise, bodies that break off. Each must be refused with a code that is not a server's error, and must change no
 * stored record.
 */
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import {
  ATTRIBUTES_AT,
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  BATCH_HEADER_BYTES,
  CRC_AT,
  CRC_FROM,
  LAST_OFFSET_DELTA_AT,
  LEADER_EPOCH_AT,
  LENGTH_AT,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORD_COUNT_AT,
} from "../../../src/record/format.ts";
import { decodeFrame, encodeFrame, FrameType, jsonOf } from "../../../src/sync/frames.ts";
import { Random } from "../../simulation/prng.ts";
import { releaseKernel } from "../../support/kernels.ts";
import { RawWorkerd } from "../raw-workerd.ts";

const kernel = await releaseKernel();
const directory = mkdtempSync(path.join(os.tmpdir(), "tidemark-hostile-"));
const TEXT = { "content-type": "text/plain" };
const BATCHES = { "content-type": "application/vnd.tidemark.batches" };
const encoder = new TextEncoder();
let worker: RawWorkerd;

beforeAll(async () => {
  worker = await RawWorkerd.create({ directory });
  await worker.start();
});
afterAll(async () => {
  await worker.kill();
  rmSync(directory, { recursive: true, force: true });
});

async function make(name: string): Promise<string> {
  const url = `${worker.url}/v1/stream/${name}`;
  expect((await fetch(url, { method: "PUT", headers: TEXT, body: "first" })).status).toBe(201);
  return url;
}
const textOf = async (url: string): Promise<string> => (await fetch(`${url}?offset=-1`)).text();

describe("batches", () => {
  const EDGES = [0n, -1n, 1n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 53n, 2n ** 62n, 2n ** 63n - 1n, -(2n ** 63n)];
  const WIDE = [0, BASE_TIMESTAMP_AT, MAX_TIMESTAMP_AT, PRODUCER_ID_AT];
  const MIDDLE = [LENGTH_AT, LEADER_EPOCH_AT, LAST_OFFSET_DELTA_AT, BASE_SEQUENCE_AT, RECORD_COUNT_AT];
  const SHORT = [MAGIC_AT, ATTRIBUTES_AT, PRODUCER_EPOCH_AT];

  /** A batch with one changed field or byte, and a checksum that is right for it. */
  function liar(random: Random): Uint8Array<ArrayBuffer> {
    const builder = new BatchBuilder(kernel);
    for (let i = 0; i < 3; i++)
      builder.tryAppend({
        key: encoder.encode(`k${i}`),
        value: encoder.encode(`value ${i}`),
        timestamp: 1_000 + i,
        headers: [["h", new Uint8Array(2)]],
      });
    const producerId = random.chance(0.3) ? random.int(5) : -1;
    const batch = builder
      .build({ producerId, producerEpoch: Math.min(producerId, 0), baseSequence: Math.min(producerId, 0) })
      .slice();
    const view = new DataView(batch.buffer);
    const edge = EDGES[random.int(EDGES.length)]!;
    const kind = random.int(4);
    if (kind === 0) view.setBigInt64(WIDE[random.int(WIDE.length)]!, BigInt.asIntN(64, edge));
    else if (kind === 1) view.setInt32(MIDDLE[random.int(MIDDLE.length)]!, Number(BigInt.asIntN(32, edge)));
    else if (kind === 2) view.setUint8(SHORT[random.int(SHORT.length)]! + random.int(2), random.int(256));
    else view.setUint8(BATCH_HEADER_BYTES + random.int(batch.length - BATCH_HEADER_BYTES), random.int(256));
    view.setUint32(CRC_AT, kernel.crc32c(batch.subarray(CRC_FROM)));
    return batch;
  }

  test("with wrong fields and a right checksum are taken or refused; taken ones stay readable", async () => {
    const url = await make("liars");
    const random = new Random(7);
    const codes: Record<string, number> = {};
    for (let i = 0; i < 600; i++) {
      const response = await fetch(url, { method: "POST", headers: BATCHES, body: liar(random) });
      const code = response.headers.get("tidemark-error") ?? "taken";
      await response.arrayBuffer();
      expect([i, code, response.status]).toEqual([
        i,
        code,
        expect.toSatisfy((status: number) => status === 200 || (status >= 400 && status < 500)),
      ]);
      codes[code] = (codes[code] ?? 0) + 1;
    }
    console.log(`liars, seed 7: ${JSON.stringify(codes)}`);
    expect(codes["INVALID_BATCH"]).toBeGreaterThan(100);
    expect(codes["taken"]).toBeGreaterThan(50);
    const before = await textOf(url);
    expect(before.startsWith("first")).toBe(true);
    await worker.kill();
    await worker.start();
    expect(await textOf(url)).toBe(before);
  });
});

describe("frames", () => {
  const JSONS = [
    "{",
    "null",
    "[]",
    '{"from":1e300}',
    '{"from":-1}',
    '{"from":0.5}',
    '{"from":{"timestamp":"x"}}',
    '{"from":{"timestamp":1e300}}',
    '{"from":{"last":-5}}',
    '{"from":"earliest"}',
    '{"path":5}',
    '{"path":"__ds/x"}',
    '{"path":"no/such"}',
    `{"from":${"[".repeat(5000)}${"]".repeat(5000)}}`,
  ];
  const CREDITS = [0, 1, 60, 4096, 2 ** 23, 2 ** 24, 2 ** 32 - 1];
  const noise = (random: Random): Uint8Array => new Uint8Array(random.int(300)).map(() => random.int(256));

  test("of noise are refused with a code that is the client's fault, and the log is as it was", async () => {
    const url = await make("noise");
    const random = new Random(11);
    const codes: Record<string, number> = {};
    let sent = 0;
    for (let round = 0; round < 60; round++) {
      const socket = new WebSocket((random.chance(0.5) ? `${worker.url}/v1/socket` : url).replace("http", "ws"));
      socket.binaryType = "arraybuffer";
      await new Promise((resolve) => socket.addEventListener("open", resolve, { once: true }));
      const ended = new Promise((resolve) => socket.addEventListener("close", resolve, { once: true }));
      socket.addEventListener("message", ({ data }) => {
        const frame = decodeFrame(data);
        if (frame?.type !== FrameType.ERROR) return;
        const code = String(jsonOf(frame)?.["code"]);
        codes[code] = (codes[code] ?? 0) + 1;
      });
      for (let i = 0; i < 25; i++, sent++) {
        // A token of noise ends the socket, so it is sent at the end.
        const type = [1, 2, 3, 4, 5, 6, 8][random.int(7)]! as FrameType;
        const payload = random.chance(0.5) ? encoder.encode(JSONS[random.int(JSONS.length)]!) : noise(random);
        socket.send(
          encodeFrame({
            type,
            channel: random.int(3),
            id: random.chance(0.2) ? 2 ** 32 - 1 : random.int(4),
            credits: CREDITS[random.int(CREDITS.length)]!,
            payload: payload as Uint8Array<ArrayBuffer>,
          }),
        );
      }
      socket.send(encodeFrame({ type: FrameType.TOKEN, id: 1, payload: noise(random) as Uint8Array<ArrayBuffer> }));
      await ended;
    }
    console.log(`noise, seed 11, ${sent} frames: ${JSON.stringify(codes)}`);
    expect(codes["UNAUTHORIZED"]).toBe(60);
    expect(Object.keys(codes)).not.toContain("INTERNAL");
    expect(await textOf(url)).toBe("first");
  });
});

describe("bodies", () => {
  /** Sends these bytes and nothing more. Returns the server's answer. */
  function say(text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = net.connect(worker.port, "127.0.0.1");
      let heard = "";
      socket.on("data", (part) => (heard += String(part)));
      socket.on("close", () => resolve(heard));
      socket.on("error", reject);
      socket.end(text);
    });
  }

  test.each<[string, string, string]>([
    ["shorter than their length", "POST", "content-length: 50\r\n\r\nshort"],
    ["of a new stream, shorter than their length", "PUT", "content-length: 50\r\n\r\nshort"],
    ["large, and cut off", "POST", "content-length: 5000000\r\n\r\nshort"],
    ["in chunks without a size", "POST", "transfer-encoding: chunked\r\n\r\nzz\r\nshort"],
    ["in chunks, and cut off", "POST", "transfer-encoding: chunked\r\n\r\n5\r\nsh"],
  ])("%s are a bad request, and change nothing", async (what, method, rest) => {
    const name = `bodies-${what.replaceAll(/\W+/g, "-")}`;
    const url = await make(name);
    const target = method === "PUT" ? `${name}-new` : name;
    const answer = await say(
      `${method} /v1/stream/${target} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n${rest}`,
    );
    expect(answer.split("\r\n")[0]).toBe("HTTP/1.1 400 Bad Request");
    expect(answer).toContain('{"error":{"code":"BAD_REQUEST"');
    expect(await textOf(url)).toBe("first");
    expect((await fetch(`${worker.url}/v1/stream/${name}-new`, { method: "HEAD" })).status).toBe(404);
  });
});
