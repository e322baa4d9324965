/** Kafka's segments into an empty stream, inside workerd: by openTopic and over HTTP, whole or not at all. */
import { abortAllDurableObjects, env, runDurableObjectAlarm, SELF } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { gzip } from "../../src/record/codec.ts";
import { BATCH_HEADER_BYTES } from "../../src/record/format.ts";
import { PIECE_BYTES_MAX } from "../../src/store/segment-files.ts";
import { openTopic } from "../../worker/library.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { fails } from "../contract/check.ts";
import { batchAt, flipped, joined, range, timeAt, valueAt } from "../support/kafka-batches.ts";
import { call, inside, look, objectOf, settle } from "./archive-tools.ts";

const kernel = await edgeKernel();
let topics = 0;
const fresh = (): string => `import/${++topics}`;
const batches = (from: number, to: number, size?: number): Uint8Array =>
  joined(range(0, (to - from) / 3).map((i) => batchAt(kernel, from + 3 * i, 3, size)));
const textTopic = (path: string) => openTopic<string>(env, path, { serializer: "text" });

async function offsetsOf(path: string, from: number | "earliest" = "earliest", size = 1000): Promise<number[]> {
  const found: number[] = [];
  for await (const { offset, value, timestamp } of textTopic(path).read({ from })) {
    expect([value, timestamp]).toEqual([valueAt(offset, size), timeAt(offset)]);
    found.push(offset);
  }
  return found;
}

/** Tables that an import uses. */
const aside = (path: string): Promise<number> =>
  inside(path, (_, { storage: { sql } }) =>
    Number(sql.exec("SELECT count(*) AS n FROM sqlite_master WHERE name LIKE 'incoming%'").toArray()[0]!["n"]),
  );

const first = batches(100, 160);
const second = batches(160, 280);
const FILES = [
  { name: "00000000000000000160.log", log: new Blob([second as Uint8Array<ArrayBuffer>]) },
  { name: "00000000000000000100.log", log: first },
];

/** A small batch of 32 MiB. */
async function largeOnceUnpacked(): Promise<Uint8Array> {
  const head = batchAt(kernel, 100, 1, 10).slice(0, BATCH_HEADER_BYTES);
  const batch = joined([head, await gzip(new Uint8Array(32 * 1024 * 1024))]);
  const view = new DataView(batch.buffer);
  view.setInt32(8, batch.length - 12);
  view.setInt16(21, 1);
  view.setUint32(17, kernel.crc32c(batch.subarray(21)));
  return batch;
}

/** The requests of the protocol, by hand. */
const begin = (path: string, request: unknown): Promise<Response> =>
  call(path, "POST", { "content-type": "application/vnd.tidemark.import+json" }, JSON.stringify(request));
const piece = (path: string, query: string, bytes: Uint8Array): Promise<Response> =>
  call(`${path}?${query}`, "POST", { "content-type": "application/vnd.tidemark.import-piece" }, bytes);
const answer = async (response: Promise<Response>): Promise<Record<string, unknown> & { import: string }> =>
  (await response).json();
const refusal = async (response: Promise<Response>): Promise<unknown> => {
  const { status } = await response;
  const { error } = (await (await response).json()) as { error: { code: string; details: object } };
  return { status, code: error.code, ...error.details };
};

describe("openTopic().importSegments()", () => {
  it("keeps offsets, times and bytes, whatever the order of the files; the log goes on behind", async () => {
    const path = fresh();
    const told: number[] = [];
    const result = await textTopic(path).importSegments(FILES, { onProgress: ({ bytes }) => told.push(bytes) });
    expect(result).toEqual({ batches: 60, records: 180, firstOffset: 100, nextOffset: 280, damage: [] });
    expect(told).toEqual([first.length, first.length + second.length]);
    expect(await offsetsOf(path)).toEqual(range(100, 280));
    expect(await offsetsOf(path, 200)).toEqual(range(200, 280));
    expect(await textTopic(path).state()).toEqual({ logStartOffset: 100, logEndOffset: 280, closed: false });
    const found: number[] = [];
    for await (const { offset } of textTopic(path).read({ from: { timestamp: timeAt(150) } })) found.push(offset);
    expect(found).toEqual(range(150, 280));
    const before = await call(`${path}?offset=${String(90).padStart(16, "0")}_0000000000000000`, "GET");
    expect(before.status).toBe(410);
    expect(await textTopic(path).append({ value: valueAt(280, 1000), timestamp: timeAt(280) })).toMatchObject({
      offset: 280,
    });
    await abortAllDurableObjects();
    expect(await offsetsOf(path)).toEqual(range(100, 281));
    expect(await aside(path)).toBe(0);
  });

  it("the same call again is told what was taken; other files are refused, also behind an append", async () => {
    const path = fresh();
    const result = await textTopic(path).importSegments(FILES);
    expect(await textTopic(path).importSegments(FILES)).toEqual(result);
    const { details } = await fails("INVALID_ARGUMENT", textTopic(path).importSegments([first]));
    expect(details).toMatchObject({ reason: "filled", logEndOffset: 280 });
    const used = fresh();
    await textTopic(used).append({ value: "0" });
    await fails("INVALID_ARGUMENT", textTopic(used).importSegments(FILES));
    expect(await aside(used)).toBe(0);
  });

  it("readers that wait at the beginning go on with what was imported", async () => {
    const path = fresh();
    await call(path, "PUT");
    const ended = new AbortController();
    const reading = (async () => {
      const seen: number[] = [];
      for await (const { offset } of textTopic(path).read({ follow: true, signal: ended.signal }))
        if (seen.push(offset) === 31) ended.abort();
      return seen;
    })();
    await textTopic(path).importSegments([batches(0, 30)]);
    await textTopic(path).append({ value: valueAt(30, 1000), timestamp: timeAt(30) });
    expect(await reading).toEqual(range(0, 31));
  });

  it("files larger than a piece come in several; segments move to object storage and are read there", async () => {
    const path = fresh();
    const file = batches(7, 7 + 3 * 100, 30_000);
    expect(file.length).toBeGreaterThan(2 * PIECE_BYTES_MAX);
    const pieces: number[] = [];
    await textTopic(path).importSegments([file], { onProgress: ({ bytes }) => pieces.push(bytes) });
    expect(pieces.length).toBeGreaterThan(2);
    expect(await look(path)).toMatchObject({ sealed: pieces.length });
    expect(await offsetsOf(path, "earliest", 30_000)).toEqual(range(7, 307));
    await settle(path);
    expect(await look(path)).toMatchObject({ chunks: 0 });
    expect(await offsetsOf(path, "earliest", 30_000)).toEqual(range(7, 307));
  });

  it("holes inside and between files stay holes, in rows and in object storage", async () => {
    const path = fresh();
    const far = 5_000_000_000;
    const offsets = [...range(0, 3), ...range(9, 12), ...range(1000, 1003), ...range(far, far + 3)];
    const files = [joined([batchAt(kernel, 0), batchAt(kernel, 9)]), batchAt(kernel, 1000), batchAt(kernel, far)];
    expect(await textTopic(path).importSegments(files)).toMatchObject({ records: 12, nextOffset: far + 3 });
    for (const _ of ["rows", "objects"]) {
      expect(await offsetsOf(path)).toEqual(offsets);
      expect(await offsetsOf(path, 500)).toEqual(offsets.slice(6));
      await settle(path);
    }
    expect(await textTopic(path).append({ value: valueAt(far + 3, 1000), timestamp: timeAt(far + 3) })).toMatchObject({
      offset: far + 3,
    });
  });
});

describe("damage", () => {
  const size = batchAt(kernel, 100).length;
  const bad = flipped(first, 5 * size + 300);
  const torn = second.slice(0, -10);

  it("is refused with its place, and nothing is taken; without it the same topic takes all", async () => {
    const path = fresh();
    const { details } = await fails("INVALID_BATCH", textTopic(path).importSegments([{ name: "a.log", log: bad }]));
    expect(details).toMatchObject({ file: "a.log", position: 5 * size, bytes: size, from: 115, to: 118 });
    expect(typeof details["reason"]).toBe("string");
    expect(await textTopic(path).state()).toMatchObject({ logStartOffset: 0, logEndOffset: 0 });
    expect(await aside(path)).toBe(0);
    await textTopic(path).importSegments(FILES);
    expect(await offsetsOf(path)).toEqual(range(100, 280));
  });

  it("is gone over and told with damage: skip", async () => {
    const path = fresh();
    const files = [
      { name: "a.log", log: bad },
      { name: "b.log", log: torn },
    ];
    const { damage, records } = await textTopic(path).importSegments(files, { damage: "skip" });
    expect(damage).toEqual([
      { file: "a.log", position: 5 * size, bytes: size, reason: expect.any(String) as string, from: 115, to: 118 },
      { file: "b.log", position: 39 * size, bytes: size - 10, reason: "BAD_LENGTH", from: 277 },
    ]);
    expect([records, await offsetsOf(path)]).toEqual([174, [...range(100, 115), ...range(118, 277)]]);
  });

  it("a length that no piece can hold is damage, or a batch that is too large", async () => {
    const long = second.slice();
    new DataView(long.buffer).setUint32(8, 0x7fffff);
    const file = joined([long, new Uint8Array(9 * 1024 * 1024).fill(7)]);
    await fails("BATCH_TOO_LARGE", textTopic(fresh()).importSegments([file]));
    const path = fresh();
    const { damage, records } = await textTopic(path).importSegments([long], { damage: "skip" });
    expect([damage.length, records]).toEqual([1, 117]);
  });

  it("records that do not fit the stream's type are refused with their place", async () => {
    const path = fresh();
    await call(path, "PUT", { "content-type": "application/json" });
    const { details, message } = await fails("INVALID_ARGUMENT", textTopic(path).importSegments([first])).catch(
      (thrown: unknown) => thrown as never,
    );
    expect([details, message]).toEqual([
      expect.objectContaining({ file: "files[0]", position: 0 }),
      expect.stringMatching(/JSON/),
    ]);
    expect(await aside(path)).toBe(0);
    await openTopic(env, path).importSegments([batchAt(kernel, 4, 3, 10, true)]);
    expect(await (await SELF.fetch(`http://localhost/v1/stream/${path}?offset=-1`)).json()).toEqual(
      range(4, 7).map((offset) => valueAt(offset, 10)),
    );
  });
});

describe("over HTTP", () => {
  const ONE = { files: [{ name: "a.log", bytes: first.length }] };

  it("says where the import is, takes each place once, and shows nothing before the end", async () => {
    const path = fresh();
    expect(await refusal(begin(path, ONE))).toMatchObject({ status: 404, code: "NOT_FOUND" });
    await call(path, "PUT");
    const { import: id, ...start } = await answer(begin(path, ONE));
    expect(start).toMatchObject({ file: 0, position: 0, done: false, records: 0 });
    const half = Math.floor(first.length / 2);
    const taken = await answer(piece(path, `import=${id}&file=0&position=0`, first.subarray(0, half)));
    // Up to the last whole batch.
    expect(Number(taken["position"])).toBeGreaterThan(half / 2);
    expect(await answer(piece(path, `import=${id}&file=0&position=0`, first.subarray(0, half)))).toEqual(taken);
    expect((await call(path, "HEAD")).headers.get("stream-next-offset")).toMatch(/^0{16}_/);
    expect(await offsetsOf(path)).toEqual([]);
    await abortAllDurableObjects();
    expect(await answer(begin(path, ONE))).toEqual({ ...taken });
    const position = Number(taken["position"]);
    const done = await answer(piece(path, `import=${id}&file=0&position=${position}`, first.subarray(position)));
    expect(done).toMatchObject({ import: id, done: true, records: 60, firstOffset: 100, nextOffset: 160 });
    expect(await answer(begin(path, ONE))).toEqual(done);
    expect(await offsetsOf(path)).toEqual(range(100, 160));
  });

  it("another import takes the place of one that is under way; an append ends it", async () => {
    const path = fresh();
    await call(path, "PUT");
    const { import: id } = await answer(begin(path, ONE));
    const other = await answer(begin(path, { ...ONE, damage: "skip" }));
    expect(await refusal(piece(path, `import=${id}&file=0&position=0`, first))).toMatchObject({
      status: 409,
      code: "OFFSET_CONFLICT",
      reason: "replaced",
    });
    await call(path, "POST", {}, "text");
    expect(await refusal(piece(path, `import=${other.import}&file=0&position=0`, first))).toMatchObject({
      status: 400,
      code: "INVALID_ARGUMENT",
      reason: "filled",
    });
    expect(await aside(path)).toBe(0);
  });

  it("an import without pieces for a day is given up, and its rows are removed", async () => {
    const path = fresh();
    await call(path, "PUT");
    const { import: id } = await answer(begin(path, ONE));
    await answer(piece(path, `import=${id}&file=0&position=0`, first.subarray(0, 30_000)));
    await runDurableObjectAlarm(objectOf(path));
    expect(await aside(path)).toBe(2);
    await inside(path, (_, { storage: { sql } }) => {
      const old = "UPDATE meta SET value = json_set(value, '$.heardAt', 0) WHERE key = 'import:at'";
      void sql.exec(old).toArray();
    });
    await call(path, "HEAD");
    await runDurableObjectAlarm(objectOf(path));
    expect(await aside(path)).toBe(0);
    await textTopic(path).importSegments(FILES);
    expect(await offsetsOf(path)).toEqual(range(100, 280));
  });

  it("refuses what is no import, by name, and keeps one that is under way", async () => {
    const path = fresh();
    await call(path, "PUT");
    for (const request of [
      [],
      { files: 7 },
      { files: [{ name: "", bytes: 1 }] },
      { files: [{ name: "a", bytes: -1 }] },
      { files: [{ name: "a", bytes: 1 }], damage: "maybe" },
    ])
      expect(await refusal(begin(path, request))).toMatchObject({ status: 400, code: "BAD_REQUEST" });
    const { import: id } = await answer(begin(path, ONE));
    for (const query of ["", `import=${id}`, `import=${id}&file=0&position=x`, `import=${id}&file=-1&position=0`])
      expect(await refusal(piece(path, query, first))).toMatchObject({ status: 400, code: "BAD_REQUEST" });
    expect(
      await refusal(piece(path, `import=${id}&file=0&position=0`, new Uint8Array(PIECE_BYTES_MAX + 1))),
    ).toMatchObject({ status: 413, code: "TOO_LARGE" });
    expect(await answer(begin(path, ONE))).toMatchObject({ import: id, position: 0 });
    const short = await refusal(piece(path, `import=${id}&file=0&position=0`, first.subarray(0, 100)));
    expect(short).toMatchObject({ status: 400, code: "BAD_REQUEST" });
  });

  it("a piece that is too short or too long is refused, and the import goes on where it was", async () => {
    const path = fresh();
    await call(path, "PUT");
    const { import: id } = await answer(begin(path, ONE));
    const half = first.subarray(0, Math.floor(first.length / 2));
    const at = await answer(piece(path, `import=${id}&file=0&position=0`, half));
    const position = Number(at["position"]);
    const here = `import=${id}&file=0&position=${position}`;
    const place = { status: 400, code: "BAD_REQUEST", file: "a.log", position };
    const size = batchAt(kernel, 100).length;
    expect(await refusal(piece(path, here, first.subarray(position, position + 100)))).toEqual({
      ...place,
      wants: size,
    });
    const long = joined([first.subarray(position), new Uint8Array(1)]);
    expect(await refusal(piece(path, here, long))).toEqual({ ...place, left: first.length - position });
    expect(await answer(begin(path, ONE))).toEqual(at);
    expect(await answer(piece(path, here, first.subarray(position)))).toMatchObject({ import: id, done: true });
    expect(await offsetsOf(path)).toEqual(range(100, 160));
  });

  it("a stream that is closed meanwhile, and a batch that unpacks to too much, end the import", async () => {
    const path = fresh();
    await call(path, "PUT");
    const { import: id } = await answer(begin(path, ONE));
    const half = first.subarray(0, Math.floor(first.length / 2));
    const { position } = await answer(piece(path, `import=${id}&file=0&position=0`, half));
    await call(path, "POST", { "stream-closed": "true" });
    const rest = first.subarray(Number(position));
    expect(await refusal(piece(path, `import=${id}&file=0&position=${String(position)}`, rest))).toMatchObject({
      code: "STREAM_CLOSED",
    });
    expect(await aside(path)).toBe(0);
    const other = fresh();
    await fails("DECOMPRESSION_LIMIT", textTopic(other).importSegments([await largeOnceUnpacked()]));
    expect(await aside(other)).toBe(0);
  });

  it("is use of a stream that expires, and its end plans when that is", async () => {
    const path = fresh();
    const ttlMs = 1_000_000;
    await call(path, "PUT", { "stream-ttl": String(ttlMs / 1000) });
    /** The stream was used last half its time ago, and its object sleeps, without any alarm. */
    const unused = async (): Promise<void> => {
      const then = Date.now() - ttlMs / 2;
      const old = `UPDATE meta SET value = json_set(value, '$.touchedAt', ${then}) WHERE key = 'config'`;
      await inside(path, async (_, { storage }) => {
        void storage.sql.exec(old).toArray();
        await storage.deleteAlarm();
      });
      await abortAllDurableObjects();
      await inside(path, (instance) => void (instance.env = { ...instance.env, SEGMENTS: undefined }));
    };
    const unusedMs = (): Promise<number> =>
      inside(path, (_, { storage: { sql } }) => {
        const read = "SELECT json_extract(value, '$.touchedAt') AS at FROM meta WHERE key = 'config'";
        return Date.now() - Number(sql.exec(read).toArray()[0]!["at"]);
      });
    await unused();
    const { import: id } = await answer(begin(path, ONE));
    expect(await unusedMs()).toBeLessThan(ttlMs / 4);
    await unused();
    expect(await answer(piece(path, `import=${id}&file=0&position=0`, first))).toMatchObject({ done: true });
    expect(await unusedMs()).toBeLessThan(ttlMs / 4);
    const alarm = await inside(path, (_, { storage }) => storage.getAlarm());
    expect(alarm! - Date.now()).toBeGreaterThan(ttlMs / 2);
    expect(alarm! - Date.now()).toBeLessThan(2 * ttlMs);
  });

  it("a closed stream and a fork take none", async () => {
    const closed = fresh();
    await call(closed, "PUT", { "stream-closed": "true" });
    expect(await refusal(begin(closed, ONE))).toMatchObject({ status: 409, code: "STREAM_CLOSED" });
    const [source, fork] = [fresh(), fresh()];
    await call(source, "PUT");
    await call(fork, "PUT", { "stream-forked-from": `/v1/stream/${source}` });
    expect(await refusal(begin(fork, ONE))).toMatchObject({ status: 400, reason: "fork" });
  });
});
