/**
 * Compaction at the edge, inside workerd: what the alarm removes from rows and from R2, what makes it wait, and what
 * readers of each dialect see.
 */
import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, SELF } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { readHeader } from "../../src/record/format.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { PATH_HEADER, TENANT_HEADER } from "../../worker/rpc/internal-headers.ts";
import type { Peer } from "../../worker/rpc/fork-peer.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { call, inside, look, objectOf, settle } from "./archive-tools.ts";

const kernel = await edgeKernel();
const BATCHES = "application/vnd.tidemark.batches";
const PRODUCER = 11;
const encoder = new TextEncoder();
const at = (offset: number): string => `${String(offset).padStart(16, "0")}_${"0".repeat(16)}`;
let streams = 0;

async function fresh(headers: Record<string, string> = {}): Promise<string> {
  const path = `compaction/${++streams}`;
  expect((await call(path, "PUT", { "tidemark-compaction": "key", ...headers })).status).toBe(201);
  return path;
}

function batchOf(key: string | null, value: string | null, sequence: number): Uint8Array {
  const builder = new BatchBuilder(kernel);
  builder.tryAppend({
    key: key === null ? null : encoder.encode(key),
    value: value === null ? null : encoder.encode(value),
    timestamp: 1_000 + sequence,
  });
  return builder.build({ producerId: PRODUCER, producerEpoch: 0, baseSequence: sequence });
}

const valueOf = (offset: number): string => `${offset};`.padEnd(400_000, ".");

/** Posts a record, again with the same sequence number after a reset, until it is in the log. */
async function post(
  path: string,
  key: string | null,
  value: string | null,
  sequence: number,
): Promise<{ baseOffset: number; duplicate: boolean }> {
  for (let tries = 0; tries < 20; tries++) {
    const response = await call(path, "POST", { "content-type": BATCHES }, batchOf(key, value, sequence)).catch(
      () => undefined,
    );
    if (response?.status === 200)
      return ((await response.json()) as { appended: { baseOffset: number; duplicate: boolean }[] }).appended[0]!;
  }
  throw new Error(`the record of ${path} was not taken after many tries`);
}

/** Appends `count` records with five keys, over and over. The very first record has no key. */
async function write(path: string, count: number, first = 0): Promise<void> {
  for (let i = first; i < first + count; i++) await post(path, i === 0 ? null : `k${i % 5}`, valueOf(i), i);
}

/** Asks the stream's object: a Worker may answer from a manifest that is up to a minute old. */
const asked = (path: string, query: string): Promise<Response> =>
  (objectOf(path) as { fetch(url: string, init: object): Promise<Response> }).fetch(`http://localhost/${query}`, {
    headers: { accept: BATCHES, [PATH_HEADER]: encodeURIComponent(path), [TENANT_HEADER]: "dev" },
  });
const outside = (path: string, query: string): Promise<Response> =>
  SELF.fetch(`http://localhost/v1/stream/${path}${query}`, { headers: { accept: BATCHES } });

/** The keys of all records by their offsets, read by the batches dialect. */
async function offsets(path: string, ask = asked): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  for (let offset = "-1"; ;) {
    const response = await ask(path, `?offset=${offset}`);
    expect(response.status).toBe(200);
    for (const bytes of splitBatches(new Uint8Array(await response.arrayBuffer()))) {
      const batch = await decodeBatch(kernel, bytes);
      for (let i = 0; i < batch.count; i++) {
        found.set(batch.offsetAt(i), new TextDecoder().decode(batch.keyAt(i) ?? new Uint8Array(0)));
        const value = batch.valueAt(i);
        if (value) expect(new TextDecoder().decode(value)).toBe(valueOf(batch.offsetAt(i)));
      }
    }
    offset = response.headers.get("stream-next-offset")!;
    if (response.headers.get("stream-up-to-date") === "true") return found;
  }
}

const marked = (path: string): Promise<number> =>
  inside(path, (_, { storage: { sql } }) => {
    const row = sql.exec("SELECT value FROM meta WHERE key = 'compaction'").toArray()[0];
    return row ? (JSON.parse(String(row["value"])) as { to: number }).to : 0;
  });

async function until(what: () => Promise<boolean>): Promise<void> {
  for (let turn = 0; turn < 1_000; turn++) {
    if (await what().catch(() => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("it never came to that");
}

/** The records that must be there when everything below `to` is compacted and the log ends at `end`. */
function expected(to: number, end: number): number[] {
  return Array.from({ length: end }, (_, i) => i).filter((i) => i === 0 || i >= to || i + 5 >= to);
}

describe("compaction", () => {
  it("keeps the newest record of each key and all without one; each dialect reads across the holes", async () => {
    const path = await fresh();
    await write(path, 34);
    // Ten or eleven records a segment.
    await until(async () => (await marked(path)) >= 20);
    const { sealed, keys } = await settle(path);
    const to = await marked(path);
    for (const ask of [asked, outside]) expect([...(await offsets(path, ask)).keys()]).toEqual(expected(to, 34));
    expect(keys.length).toBe(sealed);
    const text = await (async () => {
      let all = "";
      for (let offset = "-1"; ;) {
        const response = await call(`${path}?offset=${offset}`, "GET");
        all += await response.text();
        offset = response.headers.get("stream-next-offset")!;
        if (response.headers.get("stream-up-to-date") === "true") return all;
      }
    })();
    expect(text === expected(to, 34).map(valueOf).join("")).toBe(true);
    // A read at a removed offset begins with the next record; a read by time does as well.
    expect((await (await call(`${path}?offset=${at(3)}`, "GET")).text()).startsWith(`${expected(to, 34)[1]};`)).toBe(
      true,
    );
    const byTime = await SELF.fetch(`http://localhost/v1/stream/${path}?timestamp=1003`, {
      headers: { accept: BATCHES },
    });
    expect(readHeader(splitBatches(new Uint8Array(await byTime.arrayBuffer()))[0]!).baseOffset).toBe(
      expected(to, 34)[1],
    );
    const metrics = await (await SELF.fetch(`http://localhost/v1/metrics/${path}`)).text();
    expect(metrics).toMatch(/tidemark_compacted_records_total\{[^}]*\} [1-9]/);
  });

  it("a producer's last batch stays known when compaction removes it, also to an object that has slept", async () => {
    const path = await fresh();
    await write(path, 13);
    await until(async () => (await marked(path)) > 5);
    await evictDurableObject(objectOf(path));
    expect(await post(path, "k2", valueOf(12), 12)).toMatchObject({ baseOffset: 12, duplicate: true });
    const gap = await call(path, "POST", { "content-type": BATCHES }, batchOf("k", "x", 20));
    expect([gap.status, gap.headers.get("tidemark-error")]).toEqual([409, "OUT_OF_ORDER_SEQUENCE"]);
    await write(path, 2, 13);
    expect([...(await offsets(path)).keys()]).toEqual(expected(await marked(path), 15));
  });

  it("through resets at any moment no newest record is lost, none comes twice, and it reaches its end", async () => {
    const path = await fresh();
    let isDone = false;
    let resets = 0;
    const writing = write(path, 60).finally(() => (isDone = true));
    while (!isDone) {
      await look(path).catch(() => undefined);
      await abortAllDurableObjects();
      resets++;
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
    await writing;
    expect(resets).toBeGreaterThan(3);
    await until(async () => (await call(path, "HEAD")).ok && (await marked(path)) >= 30);
    await settle(path);
    const to = await marked(path);
    expect([...(await offsets(path)).keys()]).toEqual(expected(to, 60));
  });

  it("a tombstone is removed one pass later than the records that it deletes", async () => {
    const path = await fresh({ "tidemark-compaction-tombstone-seconds": "0" });
    await write(path, 10);
    await post(path, "k3", null, 10);
    for (let i = 11; i < 14; i++) await post(path, "big", valueOf(i), i);
    await until(async () => (await marked(path)) > 10);
    await settle(path);
    expect([...(await offsets(path)).keys()].slice(0, 6)).toEqual([0, 5, 6, 7, 9, 10]);
    await inside(path, (_, { storage: { sql } }) => {
      const mark = JSON.parse(
        String(sql.exec("SELECT value FROM meta WHERE key = 'compaction'").toArray()[0]!["value"]),
      ) as object;
      void sql
        .exec("UPDATE meta SET value = ? WHERE key = 'compaction'", JSON.stringify({ ...mark, doneAt: 0 }))
        .toArray();
    });
    await evictDurableObject(objectOf(path));
    await until(async () => (await call(path, "HEAD")).ok && !(await offsets(path)).has(10));
    expect([...(await offsets(path)).values()]).not.toContain("k3");
  });

  it("removes nothing while a fork reads from the stream, and everything outdated afterwards", async () => {
    const path = await fresh();
    await write(path, 4);
    const fork = `compaction/${++streams}`;
    expect((await call(fork, "PUT", { "stream-forked-from": `/v1/stream/${path}` })).status).toBe(201);
    await write(path, 20, 4);
    await settle(path);
    expect([await marked(path), (await offsets(path)).size, (await offsets(fork)).size]).toEqual([0, 24, 4]);
    expect((await call(fork, "DELETE")).status).toBe(204);
    await until(async () => (await marked(path)) >= 10);
    expect([...(await offsets(path)).keys()]).toEqual(expected(await marked(path), 24));
  });

  it("changes the ETag of a range from which it removes records", async () => {
    const path = await fresh();
    const url = `${path}?offset=${at(0)}`;
    await write(path, 4);
    const before = (await call(url, "GET")).headers.get("etag")!;
    expect((await call(url, "GET", { "if-none-match": before })).status).toBe(304);
    await write(path, 12, 4);
    await until(async () => (await marked(path)) > 5);
    expect((await call(url, "GET")).headers.get("etag")!.split(":")[0]).not.toBe(before.split(":")[0]);
  });

  it("is reported by HEAD, is compared by a repeated PUT, and wrong settings are refused", async () => {
    const path = await fresh({
      "tidemark-compaction-lag-seconds": "60",
      "tidemark-compaction-tombstone-seconds": "3600",
    });
    const { headers } = await call(path, "HEAD");
    expect(
      ["tidemark-compaction", "tidemark-compaction-lag-seconds", "tidemark-compaction-tombstone-seconds"].map((name) =>
        headers.get(name),
      ),
    ).toEqual(["key", "60", "3600"]);
    expect(
      (
        await call(path, "PUT", {
          "tidemark-compaction": "key",
          "tidemark-compaction-lag-seconds": "60",
          "tidemark-compaction-tombstone-seconds": "3600",
        })
      ).status,
    ).toBe(200);
    expect((await call(path, "PUT", { "tidemark-compaction": "key" })).status).toBe(409);
    const nonsense: Record<string, string>[] = [
      { "tidemark-compaction": "value" },
      { "tidemark-compaction-lag-seconds": "1" },
      { "tidemark-compaction": "key", "tidemark-compaction-lag-seconds": "1e3" },
    ];
    for (const bad of nonsense) expect((await call("compaction/bad", "PUT", bad)).status).toBe(400);
    expect((await call("compaction/bad", "HEAD")).status).toBe(404);
  });
});

describe("a fork that was noted and never made", () => {
  afterEach(() => void vi.useRealTimers());
  const noted = async (path: string, fork: string): Promise<void> => {
    expect((await (objectOf(path) as Peer).forkFrom(fork, undefined, 0, undefined, "0000000a")).error).toBeUndefined();
  };
  const later = async (path: string): Promise<void> => {
    vi.useFakeTimers({ toFake: ["Date"] });
    vi.setSystemTime(Date.now() + 11 * 60_000);
    expect(await runDurableObjectAlarm(objectOf(path))).toBe(true);
    vi.useRealTimers();
  };
  const forksOf = (path: string): Promise<string[]> =>
    inside(path, (_, { storage: { sql } }) =>
      sql
        .exec("SELECT key FROM meta WHERE key LIKE 'fork:%'")
        .toArray()
        .map((row) => String(row["key"]).slice(5)),
    );

  it("does not hold records for ever; a fork that was made is kept", async () => {
    const path = await fresh();
    await write(path, 4);
    const fork = `compaction/${++streams}`;
    expect((await call(fork, "PUT", { "stream-forked-from": `/v1/stream/${path}` })).status).toBe(201);
    await noted(path, "compaction/ghost");
    await write(path, 12, 4);
    await later(path);
    expect([await forksOf(path), await marked(path), (await offsets(path)).size]).toEqual([[fork], 0, 16]);
    expect((await call(fork, "DELETE")).status).toBe(204);
    await until(async () => (await marked(path)) > 5);
  });

  it("is asked about when due although the object slept; an idle source's alarms become rare", async () => {
    const path = await fresh({ "tidemark-retention-seconds": "3600" });
    const [fork, ghost] = [`compaction/${++streams}`, `compaction/${++streams}`];
    expect((await call(fork, "PUT", { "stream-forked-from": `/v1/stream/${path}` })).status).toBe(201);
    await noted(path, ghost);
    await evictDurableObject(objectOf(path));
    await later(path);
    expect(await forksOf(path)).toEqual([fork]);
    await evictDurableObject(objectOf(path));
    // Being woken for something else does not begin the ten minutes again.
    expect((await call(path, "HEAD")).status).toBe(200);
    const nextAlarm = await inside(path, (_, { storage }) => storage.getAlarm());
    expect(nextAlarm! - Date.now()).toBeGreaterThan(25 * 60_000);
  });

  it("does not keep a deleted stream's records", async () => {
    const path = await fresh();
    await write(path, 3);
    await noted(path, "compaction/ghost");
    expect((await call(path, "DELETE")).status).toBe(204);
    expect((await look(path)).chunks).toBe(3);
    await later(path);
    expect((await look(path)).chunks).toBe(0);
    expect((await call(path, "GET")).status).toBe(404);
  });
});
