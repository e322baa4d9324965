/**
 * HTTP producers at the edge when the power goes at any SQL statement, with requests queued behind a seal: what is sent
 * again stands in the stream once, and in order.
 */
import { expect, it } from "vitest";
import { splitBatches } from "../../src/record/record-batch.ts";
import { bucketSource } from "../../worker/store/bucket.ts";
import { Archive } from "../../worker/store/segment-archive.ts";
import type { Sql } from "../../worker/store/sql.ts";
import { Stream, type StreamHost } from "../../worker/stream/stream.ts";
import { releaseKernel } from "../support/kernels.ts";
import { DyingSql, nodeSql } from "../support/node-sql.ts";
import { STREAM_CONFIG } from "../support/stream-config.ts";

const kernel = await releaseKernel();
const REQUESTS = 4;

async function open(inner: Sql, after?: number): Promise<{ readonly stream: Stream; readonly sql: DyingSql }> {
  const sql = new DyingSql(inner);
  const host: StreamHost = {
    sql,
    kernel,
    archive: new Archive(bucketSource(undefined), kernel),
    now: () => 1_764_000_000_000,
    breathe: () => new Promise((resolve) => setImmediate(resolve)),
    readSource: () => Promise.reject(new Error("no source")),
    onChange: () => {},
    onSealed: () => {},
    abort: () => void (sql.isDead = true),
  };
  const stream = (await Stream.load(host)) ?? (await Stream.create(host, STREAM_CONFIG));
  sql.after = after;
  return { stream, sql };
}

const append = (stream: Stream, seq: number) =>
  stream.append({
    body: new TextEncoder().encode("x".repeat(seq + 1)),
    contentType: "text/plain",
    closing: false,
    producer: { id: "p", epoch: 0, seq },
    seq: undefined,
    ifEnd: undefined,
  });

/** Sizes of the stream's batches, which grow with each request. */
async function sizes({ log }: Stream): Promise<number[]> {
  const { bytes } = await log.fetch(0);
  return splitBatches(bytes).map(({ length }) => length);
}

it("requests that were queued behind a seal are new after a crash; those before it are repeats", async () => {
  const whole = await open(nodeSql());
  for (let seq = 0; seq < REQUESTS; seq++) await append(whole.stream, seq);
  const expected = await sizes(whole.stream);
  expect(new Set(expected).size).toBe(REQUESTS);
  let [cuts, repeats] = [0, 0];
  for (; ; cuts++) {
    const inner = nodeSql();
    const { stream, sql } = await open(inner, cuts);
    const first = append(stream, 0);
    await first.catch(() => undefined);
    // All of them are taken before the seal, and wait for it.
    const work = [stream.log.roll(), ...[1, 2].map((seq) => append(stream, seq))];
    await Promise.allSettled(work);
    await Promise.allSettled([stream.log.roll(), append(stream, 3)]);
    const isDead = sql.isDead;
    const again = await open(inner);
    for (let seq = 0; seq < REQUESTS; seq++) repeats += Number((await append(again.stream, seq)).duplicate);
    expect(await sizes(again.stream), `cut at write ${cuts}`).toEqual(expected);
    if (!isDead) break;
  }
  expect(cuts).toBeGreaterThan(REQUESTS);
  expect(repeats).toBeGreaterThan(REQUESTS);
});

it("to close a stream only where it ends counts what is queued before it", async () => {
  const { stream } = await open(nodeSql());
  const close = (ifEnd: number) =>
    stream.append({
      body: new Uint8Array(0),
      contentType: undefined,
      closing: true,
      producer: undefined,
      seq: undefined,
      ifEnd,
    });
  const appends = [0, 1, 2].map((seq) => append(stream, seq));
  await expect(close(2)).rejects.toMatchObject({ code: "OFFSET_CONFLICT", details: { logEndOffset: 3, ifEnd: 2 } });
  const closing = Promise.all([append(stream, 3), close(4)]);
  expect((await closing).map(({ nextOffset, closed }) => [nextOffset, closed])).toEqual([
    [4, false],
    [4, true],
  ]);
  await Promise.all(appends);
});
