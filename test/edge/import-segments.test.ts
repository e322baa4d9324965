/** Kafka's segments into an empty stream, inside workerd: by openTopic and over HTTP, whole or not at all. */
import { abortAllDurableObjects, env, SELF } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { PIECE_BYTES_MAX } from "../../src/store/segment-files.ts";
import { openTopic } from "../../worker/library.ts";
import { fails } from "../contract/check.ts";
import { batchAt, flipped, joined, packedBatches, range, timeAt, valueAt } from "../support/kafka-batches.ts";
import { call, inside, look, settle } from "./archive-tools.ts";
import { kernel, fresh, batches, textTopic, offsetsOf, aside, first, second, FILES, piece } from "./import-tools.ts";

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

  it("is a batch of gzip, too, whose checksum is right and whose content can't be read", async () => {
    const path = fresh();
    const packed = await packedBatches(kernel, 0);
    const positions = packed.map((_, i) => joined(packed.slice(0, i)).length);
    const log = joined(packed);
    const { details, message } = await fails("INVALID_BATCH", textTopic(path).importSegments([{ name: "a.log", log }]));
    const bytes = packed[1]!.length;
    expect(details).toEqual({ file: "a.log", position: positions[1], bytes, reason: "BAD_GZIP", from: 3, to: 6 });
    expect(message).toContain(`a.log is damaged at byte ${positions[1]} (BAD_GZIP), offset 3: nothing was taken`);
    expect([await textTopic(path).state(), await aside(path)]).toMatchObject([{ logEndOffset: 0 }, 0]);
    const { damage, ...taken } = await textTopic(path).importSegments([log, second], { damage: "skip" });
    expect(taken).toEqual({ batches: 42, records: 126, firstOffset: 0, nextOffset: 280 });
    expect(damage.map(({ position, from, to }) => [position, from, to])).toEqual(
      [1, 2, 3, 4].map((i) => [positions[i], 3 * i, 3 * i + 3]),
    );
    const there = [0, 1, 2, 15, 16, 17, ...range(160, 280)];
    expect(await offsetsOf(path)).toEqual(there);
    await settle(path);
    expect(await offsetsOf(path)).toEqual(there);
    const end = fresh();
    await textTopic(end).importSegments([joined(packed.slice(0, 3))], { damage: "skip" });
    expect(await textTopic(end).append({ value: valueAt(3, 1000), timestamp: timeAt(3) })).toMatchObject({ offset: 3 });
    expect(await offsetsOf(end)).toEqual([0, 1, 2, 3]);
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
