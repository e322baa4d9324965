/** The import of segments at the edge by its requests, inside workerd: pieces, refusals, and what ends it. */
import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { PIECE_BYTES_MAX } from "../../src/store/segment-files.ts";
import { fails } from "../contract/check.ts";
import { batchAt, joined, range } from "../support/kafka-batches.ts";
import { call, inside, objectOf } from "./archive-tools.ts";
import {
  kernel,
  fresh,
  textTopic,
  offsetsOf,
  aside,
  first,
  FILES,
  largeOnceUnpacked,
  begin,
  piece,
  answer,
  refusal,
} from "./import-tools.ts";

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
      await evictDurableObject(objectOf(path));
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
