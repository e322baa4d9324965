/**
 * Raw batches of a fork, inside workerd: records of its source behind the fork's point do not belong to the fork, in
 * whichever way it is read.
 */
import { SELF } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { compressBatch } from "../../src/record/codec.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { EdgeSocket, type Wire } from "../../src/sync/edge-socket.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { openTopic } from "../../worker/library.ts";
import { call, real } from "./archive-tools.ts";
import { offsetText } from "./sse-reader.ts";
import { timers } from "./timers.ts";

const kernel = await edgeKernel();
const BATCHES = "application/vnd.tidemark.batches";
const encoder = new TextEncoder();
const decoder = new TextDecoder();
let streams = 0;
const fresh = (): string => `fork-batches/${++streams}`;
const at = (path: string): string => `http://localhost/v1/stream/${path}`;

type Seen = [offset: number, key: string, value: string, header: string];
const seen = (offset: number, of: string): Seen => [offset, `k${offset}`, `${of}${offset}`, `h${offset}`];
const PRODUCER = { producerId: 7, producerEpoch: 0 };

async function post(path: string, from: number, count: number, of: string, isPacked: boolean): Promise<void> {
  const builder = new BatchBuilder(kernel);
  for (let offset = from; offset < from + count; offset++) {
    builder.tryAppend({
      key: encoder.encode(`k${offset}`),
      value: encoder.encode(`${of}${offset}`),
      headers: [["h", encoder.encode(`h${offset}`)]],
      timestamp: 1_000 + offset,
    });
  }
  const plain = builder.build({
    ...PRODUCER,
    producerId: of === "own" ? 8 : 7,
    baseSequence: of === "own" ? from - 3 : from,
  });
  expect(
    (await call(path, "POST", { "content-type": BATCHES }, isPacked ? await compressBatch(kernel, plain) : plain))
      .status,
  ).toBe(200);
}

async function recordsIn(bytes: Uint8Array): Promise<{ records: Seen[]; ends: number[] }> {
  const [records, ends]: [Seen[], number[]] = [[], []];
  for (const each of splitBatches(bytes)) {
    // Checks the checksum as well.
    const batch = await decodeBatch(kernel, each, { checkCrc: true });
    for (let i = 0; i < batch.count; i++) {
      records.push([
        batch.offsetAt(i),
        decoder.decode(batch.keyAt(i)!),
        decoder.decode(batch.valueAt(i)!),
        decoder.decode(batch.headersAt(i)[0]![1]!),
      ]);
      expect(batch.timestampAt(i)).toBe(1_000 + batch.offsetAt(i));
    }
    ends.push(batch.nextOffset);
  }
  return { records, ends };
}

/** Reads as a client that uses the batches dialect only: each read begins where the last batch ended. */
async function byBatches(path: string): Promise<Seen[]> {
  const all: Seen[] = [];
  for (let offset = 0; ;) {
    const response = await SELF.fetch(`${at(path)}?offset=${offsetText(offset)}`, { headers: { accept: BATCHES } });
    expect(response.status).toBe(200);
    const { records, ends } = await recordsIn(new Uint8Array(await response.arrayBuffer()));
    all.push(...records.filter((record) => record[0] >= offset));
    if (ends.length === 0) return all;
    offset = ends.at(-1)!;
  }
}

async function bySocket(path: string, count: number): Promise<Seen[]> {
  const response = (await SELF.fetch(at(path), { headers: { upgrade: "websocket" } })) as Response & {
    webSocket: Wire & { accept(): void; binaryType: string };
  };
  response.webSocket.binaryType = "arraybuffer";
  response.webSocket.accept();
  const socket = await EdgeSocket.bind(response.webSocket, timers);
  const all: Seen[] = [];
  for await (const batch of socket.follow("earliest")) {
    all.push(...(await recordsIn(batch.bytes)).records);
    if (all.length >= count) return all;
  }
  return all;
}

describe("batches of a fork", () => {
  it.each([
    ["as they are", false],
    ["compressed", true],
  ])("end where it leaves its source: %s", async (_, isPacked) => {
    const [source, fork, forkOfFork] = [fresh(), fresh(), fresh()];
    expect((await call(source, "PUT")).status).toBe(201);
    await post(source, 0, 2, "source", isPacked);
    await post(source, 2, 5, "source", isPacked);
    expect(
      (await call(fork, "PUT", { "stream-forked-from": `/v1/stream/${source}`, "stream-fork-offset": offsetText(3) }))
        .status,
    ).toBe(201);
    await post(fork, 3, 4, "own", isPacked);
    expect(
      (
        await call(forkOfFork, "PUT", {
          "stream-forked-from": `/v1/stream/${fork}`,
          "stream-fork-offset": offsetText(5),
        })
      ).status,
    ).toBe(201);

    const expected = [
      seen(0, "source"),
      seen(1, "source"),
      seen(2, "source"),
      seen(3, "own"),
      seen(4, "own"),
      seen(5, "own"),
      seen(6, "own"),
    ];
    expect(await byBatches(fork)).toEqual(expected);
    expect(await bySocket(fork, 7)).toEqual(expected);
    expect(await byBatches(forkOfFork)).toEqual(expected.slice(0, 5));
    const values: string[] = [];
    for await (const { value } of openTopic<string>(real, fork, { serializer: "text" }).read({ from: "earliest" }))
      values.push(value!);
    expect(values).toEqual(expected.map(([, , value]) => value));
    // The source still has all its records.
    expect(await byBatches(source)).toEqual([0, 1, 2, 3, 4, 5, 6].map((offset) => seen(offset, "source")));
  });
});
