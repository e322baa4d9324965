/** A full database refuses a note of the stream's own: nobody is told what is not stored, or refused what is. */
import { expect, it } from "vitest";
import { bucketSource } from "../../worker/store/bucket.ts";
import { Archive } from "../../worker/store/segment-archive.ts";
import type { Sql } from "../../worker/store/sql.ts";
import type { AppendRequest } from "../../worker/stream/appends.ts";
import { Stream, type StreamHost } from "../../worker/stream/stream.ts";
import { releaseKernel } from "../support/kernels.ts";
import { nodeSql } from "../support/node-sql.ts";
import { STREAM_CONFIG } from "../support/stream-config.ts";

const kernel = await releaseKernel();
const HOUR_S = 3_600;

/** A stream whose notes in `meta` are refused while `isFull`, and the reasons why its object was restarted. */
async function edge() {
  const inner = nodeSql();
  const state = { isFull: false, nowMs: 1_764_000_000_000, aborted: [] as string[] };
  const sql: Sql = {
    exec: (query, ...bindings) => {
      if (state.isFull && /^(INSERT|REPLACE).* meta\b/s.test(query))
        throw new Error("database or disk is full: SQLITE_FULL");
      return inner.exec(query, ...bindings);
    },
    transaction: (work) => inner.transaction(work),
  };
  const host: StreamHost = {
    sql,
    kernel,
    archive: new Archive(bucketSource(undefined), kernel),
    now: () => state.nowMs,
    breathe: () => Promise.resolve(),
    readSource: () => Promise.reject(new Error("no source")),
    onChange: () => {},
    onSealed: () => {},
    abort: (reason) => state.aborted.push(reason),
  };
  const config = { ...STREAM_CONFIG, ttl: HOUR_S, touchedAt: state.nowMs };
  return { state, stream: await Stream.create(host, config), open: () => Stream.load(host) };
}

const request = (text: string, closing = false): AppendRequest => ({
  body: new TextEncoder().encode(text),
  contentType: text === "" ? undefined : STREAM_CONFIG.contentType,
  producer: undefined,
  seq: undefined,
  ifEnd: undefined,
  closing,
});

it("a close that it refuses is no close, then or later, and the object starts from its tables", async () => {
  const { state, stream, open } = await edge();
  await stream.append(request("a"));
  state.isFull = true;
  await expect(stream.append(request("", true))).rejects.toThrow("SQLITE_FULL");
  expect(stream.closed).toBe(false);
  expect(state.aborted).toHaveLength(1);
  state.isFull = false;
  const again = (await open())!;
  expect(again.closed).toBe(false);
  expect(await again.append(request("", true))).toMatchObject({ closed: true, duplicate: false });
  expect((await open())!.closed).toBe(true);
});

it("what is stored is acknowledged, also if the time of the last use can't be noted", async () => {
  const { state, stream } = await edge();
  state.nowMs += (HOUR_S * 1000) / 2;
  state.isFull = true;
  stream.touch();
  expect(stream.deadline).toBeGreaterThanOrEqual(state.nowMs + HOUR_S * 1000);
  state.isFull = false;
  expect(await stream.append(request("a"))).toMatchObject({ nextOffset: 1 });
});
