/** The log's rules, one by one, on the real store. */
import { describe, expect, it } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { Log } from "../../src/log/log.ts";
import { compressBatch } from "../../src/record/codec.ts";
import { stampBaseOffset } from "../../src/record/format.ts";
import { fails } from "../contract/check.ts";
import { batchOf, dump, fixture, kernel } from "./log-fixtures.ts";

describe("append", () => {
  it("gives offsets in the order of the calls and acks after the flush", async () => {
    const { log, volume } = await fixture();
    const flushes = volume.flushes;
    const results = await Promise.all([
      log.append(batchOf(["a=1", "b=2"])),
      log.append(batchOf(["c=3"])),
      log.append(batchOf(["d=4"])),
    ]);
    expect(
      results.map(({ baseOffset, lastOffset, duplicate, acks }) => [baseOffset, lastOffset, duplicate, acks]),
    ).toEqual([
      [0, 1, false, "flushed"],
      [2, 2, false, "flushed"],
      [3, 3, false, "flushed"],
    ]);
    expect(volume.flushes - flushes, "one group, one flush").toBe(1);
    expect(log.highWatermark).toBe(4);
    expect(await dump(log)).toEqual(["0:a=1", "1:b=2", "2:c=3", "3:d=4"]);
  });

  it("tells the host how many batches a commit had, so that it knows whether to wait for others", async () => {
    const { store, clock } = await fixture();
    const told: (number | undefined)[] = [];
    const breathe = async (committed?: number): Promise<void> => void told.push(committed);
    const log = await Log.open({ store: await store.log("t-1"), kernel, clock, breathe });
    await log.append(batchOf(["a=1"]));
    await Promise.all([log.append(batchOf(["b=2"])), log.append(batchOf(["c=3", "d=4"]))]);
    await log.append(batchOf(["e=5"]));
    await log.close();
    expect(told).toEqual([1, 2, 1]);
  });

  it("acks each level when it is reached, and no sooner", async () => {
    const { log, volume } = await fixture();
    let open: () => void = () => undefined;
    volume.gate = new Promise((resolve) => (open = resolve));
    const order: string[] = [];
    const flushed = log.append(batchOf(["a=1"])).then(() => order.push("flushed"));
    const written = log.append(batchOf(["b=2"]), { acks: "written" }).then(() => order.push("written"));
    const accepted = log.append(batchOf(["c=3"]), { acks: "accepted" }).then(() => order.push("accepted"));
    await accepted;
    await written;
    expect([log.highWatermark, log.logEndOffset]).toEqual([0, 3]);
    expect((await log.fetch(0)).bytes.length, "committed readers see nothing yet").toBe(0);
    expect((await log.fetch(0, { isolation: "provisional" })).nextOffset).toBe(3);
    open();
    await flushed;
    expect(order).toEqual(["accepted", "written", "flushed"]);
    expect(log.highWatermark).toBe(3);
  });

  it("refuses what is not a good batch of a producer's, and keeps nothing of it", async () => {
    const { log } = await fixture({ recordBytesMax: 1000, batchBytesMax: 3000 });
    const flipped = batchOf(["a=1"]);
    flipped[66]! ^= 1;
    await fails("INVALID_BATCH", log.append(flipped));
    await fails("INVALID_BATCH", log.append(new Uint8Array(10)));
    await fails("INVALID_BATCH", log.append(batchOf(["a=1"]).subarray(0, 65)));
    await fails("BATCH_TOO_LARGE", log.append(batchOf([`a=${"x".repeat(3000)}`])));
    await fails("RECORD_TOO_LARGE", log.append(batchOf(["b=1", `a=${"x".repeat(1000)}`])));
    await log.append(batchOf([`a=${"x".repeat(900)}`, `b=${"x".repeat(900)}`]));
    await log.append(await compressBatch(kernel, batchOf(["z=1", "z=2"])));
    expect((await dump(log)).slice(-2)).toEqual(["2:z=1", "3:z=2"]);
  });

  it("reports the largest batch that it takes: the setting, or what a slot holds if that is less", async () => {
    const { log, store } = await fixture();
    const wide = await fixture({ batchBytesMax: 3000, recordBytesMax: 2000 });
    expect([log.limits.batchBytesMax, wide.log.limits]).toEqual([
      store.batchBytesMax,
      { batchBytesMax: 3000, recordBytesMax: 2000 },
    ]);
    expect(store.batchBytesMax).toBeLessThan(64 * 1024);
    const room = log.limits.batchBytesMax - batchOf([`a=${"x".repeat(50_000)}`]).length + 50_000;
    await fails("BATCH_TOO_LARGE", log.append(batchOf([`a=${"x".repeat(room + 1)}`])));
    const batch = batchOf([`a=${"x".repeat(room)}`]);
    expect(batch.length).toBe(log.limits.batchBytesMax);
    expect((await log.append(batch)).baseOffset).toBe(0);
  });

  it("ifEnd appends only where the log ends", async () => {
    const { log } = await fixture();
    const race = await Promise.allSettled([
      log.append(batchOf(["a=1"]), { ifEnd: 0 }),
      log.append(batchOf(["b=1"]), { ifEnd: 0 }),
      log.append(batchOf(["c=1"]), { ifEnd: 1 }),
    ]);
    expect(race.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    const error = await fails("OFFSET_CONFLICT", log.append(batchOf(["d=1"]), { ifEnd: 1 }));
    expect(error.details["logEndOffset"]).toBe(2);
    expect(await dump(log)).toEqual(["0:a=1", "1:c=1"]);
  });

  it("refuses with BACKPRESSURE when the queue is full, and takes appends again once it has drained", async () => {
    const { log, volume } = await fixture({ queueBytesMax: 500 });
    let open: () => void = () => undefined;
    volume.gate = new Promise((resolve) => (open = resolve));
    const first = log.append(batchOf(["a=1"]));
    await Promise.resolve();
    const queued: Promise<unknown>[] = [];
    let refused: unknown;
    while (!refused) {
      const attempt = log.append(batchOf(["b=1"]));
      queued.push(attempt);
      refused = await Promise.race([
        attempt.catch((error: unknown) => error),
        new Promise((resolve) => setImmediate(resolve)),
      ]);
    }
    expect((refused as TidemarkError).code).toBe("BACKPRESSURE");
    expect(queued.length).toBeLessThan(12);
    open();
    await first;
    const settled = await Promise.allSettled(queued);
    expect(settled.filter(({ status }) => status === "rejected")).toHaveLength(1);
    await log.append(batchOf(["c=1"]));
    expect(await dump(log)).toHaveLength(queued.length + 1);
  });
});

describe("idempotent producers", () => {
  it("a retry is a success with the first offset, pipelined, after re-opening and after rolls", async () => {
    const made = await fixture();
    const send = (sequence: number) =>
      made.log.append(batchOf([`k=${sequence}`, `k=${sequence + 1}`], { id: 7, sequence }));
    const [first, again] = await Promise.all([send(0), send(0)]);
    expect([first.duplicate, again.duplicate, again.baseOffset, again.lastOffset]).toEqual([false, true, 0, 1]);
    for (let sequence = 2; sequence < 12; sequence += 2) await send(sequence);
    await made.log.roll();
    await made.log.append(batchOf(["x=1"], { id: 8 }));
    await made.reopen();
    for (let sequence = 2; sequence < 12; sequence += 2)
      expect(await send(sequence)).toMatchObject({ duplicate: true, baseOffset: sequence });
    expect((await fails("OUT_OF_ORDER_SEQUENCE", send(0))).details).toMatchObject({ expected: 12, received: 0 });
    expect(await made.log.append(batchOf(["x=1"], { id: 8 }))).toMatchObject({ duplicate: true, baseOffset: 12 });
    expect(await send(12)).toMatchObject({ duplicate: false, baseOffset: 13 });
    expect(await dump(made.log)).toHaveLength(15);
  });

  it("gaps, other bytes, stale epochs and unknown ids are typed errors", async () => {
    const { log, clock } = await fixture();
    await log.append(batchOf(["a=1"], { id: 1, epoch: 3 }));
    expect(
      (await fails("OUT_OF_ORDER_SEQUENCE", log.append(batchOf(["a=1"], { id: 1, epoch: 3, sequence: 2 })))).details,
    ).toMatchObject({ expected: 1, received: 2 });
    await fails("SEQUENCE_CONFLICT", log.append(batchOf(["a=2"], { id: 1, epoch: 3, sequence: 0 })));
    expect(
      (await fails("FENCED_PRODUCER", log.append(batchOf(["a=1"], { id: 1, epoch: 2, sequence: 1 })))).details[
        "currentEpoch"
      ],
    ).toBe(3);
    await fails("OUT_OF_ORDER_SEQUENCE", log.append(batchOf(["a=1"], { id: 1, epoch: 4, sequence: 1 })));
    await log.append(batchOf(["a=3"], { id: 1, epoch: 4 }));
    expect(
      (await fails("OUT_OF_ORDER_SEQUENCE", log.append(batchOf(["a=1"], { id: 2, sequence: 1 }), { fromZero: true })))
        .details["unknownProducer"],
    ).toBe(true);
    clock.time += 1e12;
    expect(await log.append(batchOf(["a=3"], { id: 1, epoch: 4 }))).toMatchObject({ duplicate: true, baseOffset: 1 });
    expect(await dump(log)).toEqual(["0:a=1", "1:a=3"]);
  });

  it("sequences wrap behind 2^31 - 1", async () => {
    const { log } = await fixture();
    const last = 0x7fffffff;
    // An epoch begins at sequence 0, so the test reaches the end of the range by a snapshot with such a sequence.
    const { ProducerState } = await import("../../src/log/producer-state.ts");
    const { readHeader } = await import("../../src/record/format.ts");
    const state = new ProducerState(10);
    const header = { ...readHeader(batchOf(["a=1", "b=1"], { id: 1 })), baseSequence: last };
    state.record(header, 0);
    expect(state.get(1)!.batches[0]).toMatchObject({ baseSequence: last, lastSequence: 0 });
    expect(state.admit({ ...header, baseSequence: 1, crc: 0 })).toBeUndefined();
    expect(state.admit(header)).toMatchObject({ baseOffset: 0 });
    expect(log.logEndOffset).toBe(0);
  });

  it("remembers a bounded number of producers, and forgets the one that has been silent for longest", async () => {
    const { log } = await fixture({ producersMax: 3 });
    for (const id of [1, 2, 3, 1, 4])
      await log.append(batchOf(["a=1"], { id, sequence: id === 1 && log.logEndOffset > 0 ? 1 : 0 }));
    expect(await log.append(batchOf(["a=1"], { id: 1, sequence: 1 }))).toMatchObject({ duplicate: true });
    await fails("OUT_OF_ORDER_SEQUENCE", log.append(batchOf(["a=1"], { id: 2, sequence: 1 }), { fromZero: true }));
  });
});

describe("failure", () => {
  it("a failed flush leaves outcomes unknown; re-sending to the re-opened log is safe", async () => {
    const made = await fixture();
    const records = [["a=1"], ["b=2"], ["c=3"]];
    const send = () => records.map((record, sequence) => made.log.append(batchOf(record, { id: 1, sequence })));
    made.volume.failures.set("flush", new TidemarkError("STORAGE_FAILED", "no"));
    const parked = made.log.fetch(0, { wait: true });
    for (const attempt of await Promise.allSettled(send()))
      expect((attempt as PromiseRejectedResult).reason).toMatchObject({ code: "OUTCOME_UNKNOWN", kind: "reopen" });
    await fails("CLOSED", parked);
    await fails("CLOSED", made.log.append(batchOf(["d=4"])));
    await made.reopen();
    const results = await Promise.all(send());
    expect(results.map(({ baseOffset }) => baseOffset)).toEqual([0, 1, 2]);
    expect(await dump(made.log)).toEqual(["0:a=1", "1:b=2", "2:c=3"]);
  });

  it("a full disk fails for certain; all stays readable; the same sequence is taken once there is room", async () => {
    const made = await fixture({}, { slotBytes: 16 * 1024, slotsMax: 5 });
    const value = "x".repeat(1500);
    let sequence = 0;
    let refused: PromiseSettledResult<unknown>[] = [];
    while (refused.length === 0) {
      const attempts = await Promise.allSettled(
        [0, 1, 2].map((i) => made.log.append(batchOf([`k=${value}`], { id: 1, sequence: sequence + i }))),
      );
      refused = attempts.filter(({ status }) => status === "rejected");
      sequence += 3 - refused.length;
    }
    for (const { reason } of refused as PromiseRejectedResult[])
      expect(reason).toMatchObject({ code: "QUOTA_EXCEEDED", kind: "retry" });
    const before = await dump(made.log);
    expect(before).toHaveLength(sequence);
    await made.log.trim(made.log.segments()[1]!.baseOffset);
    expect(await made.log.append(batchOf([`k=${value}`], { id: 1, sequence }))).toMatchObject({
      duplicate: false,
      baseOffset: sequence,
    });
    await made.reopen();
    expect(await dump(made.log)).toHaveLength(sequence + 1 - made.log.logStartOffset);
  });

  it("close waits for what was taken, then refuses", async () => {
    const { log } = await fixture();
    const parked = log.fetch(5, { wait: true }).catch((error: TidemarkError) => error.code);
    const appends = [log.append(batchOf(["a=1"])), log.append(batchOf(["b=1"]))];
    await log.close();
    await Promise.all(appends);
    expect(["CLOSED", "OFFSET_OUT_OF_RANGE"]).toContain(await parked);
    await fails("CLOSED", log.append(batchOf(["c=1"])));
  });
});

describe("reads", () => {
  it("start positions: earliest, latest, offset, last n, timestamp", async () => {
    const { log } = await fixture();
    for (let i = 0; i < 50; i++) await log.append(batchOf([`a=${i}`, `b=${i}`], {}, 10_000 + i * 100));
    expect(await log.resolve("earliest")).toBe(0);
    expect(await log.resolve("latest")).toBe(100);
    expect(await log.resolve(17)).toBe(17);
    await fails("OFFSET_OUT_OF_RANGE", log.resolve(101));
    expect(await log.resolve({ last: 7 })).toBe(93);
    expect(await log.resolve({ last: 1000 })).toBe(0);
    expect(await log.resolve({ timestamp: 0 })).toBe(0);
    expect(await log.resolve({ timestamp: 10_001 })).toBe(1);
    expect(await log.resolve({ timestamp: 10_002 })).toBe(2);
    expect(await log.resolve({ timestamp: 99_999 })).toBe(100);
    await log.trim(41);
    expect(await log.resolve("earliest")).toBe(41);
    expect(await log.resolve({ timestamp: 0 })).toBe(41);
    expect((await dump(log))[0]).toBe("41:b=20");
  });

  it("a waiting read is answered at a commit, ends by its signal, and their number is bounded", async () => {
    const { log } = await fixture({ waitersMax: 2 });
    const controller = new AbortController();
    const parked = log.fetch(0, { wait: true });
    const aborted = log.fetch(0, { wait: true, signal: controller.signal });
    await new Promise((resolve) => setImmediate(resolve));
    await fails("LIMIT_EXCEEDED", log.fetch(0, { wait: true }));
    controller.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    await log.append(batchOf(["a=1"]));
    expect((await parked).nextOffset).toBe(1);
  });
});

describe("upkeep", () => {
  const filled = async (settings: Parameters<typeof fixture>[0], records = 400) => {
    const made = await fixture(settings, { slotBytes: 16 * 1024 });
    for (let i = 0; i < records; i++)
      await made.log.append(batchOf([`k${i % 10}=${i}-${"x".repeat(100)}`], {}, made.clock.time + i));
    return made;
  };

  it("retention by bytes, records and age takes whole segments from the front", async () => {
    const byBytes = await filled({ retention: { maxBytes: 30_000 } });
    const { retired } = await byBytes.log.clean();
    expect(retired.segments).toBeGreaterThan(2);
    expect(byBytes.log.segments().reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(30_000);
    const byRecords = await filled({ retention: { maxRecords: 150 } });
    await byRecords.log.clean();
    const left = byRecords.log.logEndOffset - byRecords.log.logStartOffset;
    expect(left).toBeGreaterThanOrEqual(150);
    expect(left - byRecords.log.segments()[0]!.records).toBeLessThan(150);
    const byAge = await filled({ retention: { maxAgeMs: 1000 } });
    expect((await byAge.log.clean()).retired.segments).toBe(0);
    byAge.clock.time += 1001;
    expect((await byAge.log.clean()).rolled, "the active one is as old as retention allows").toBe(true);
    expect(byAge.log.segments(), "what is sealed now is new").toHaveLength(2);
    byAge.clock.time += 1001;
    await byAge.log.clean();
    expect(byAge.log.segments()).toHaveLength(1);
    await byAge.reopen();
    expect(byAge.log.logStartOffset).toBe(byAge.log.segments()[0]!.baseOffset);
  });

  it("rolls by age", async () => {
    const { log, clock } = await fixture({ segmentMaxAgeMs: 5000 });
    await log.append(batchOf(["a=1"]));
    expect((await log.clean()).rolled).toBe(false);
    clock.time += 5000;
    expect((await log.clean()).rolled).toBe(true);
    expect(log.segments()).toHaveLength(2);
    expect((await log.clean()).rolled).toBe(false);
  });

  it("compaction keeps each key's newest record at its offset, keyless ones, and tombstones for a time", async () => {
    const made = await fixture({ compaction: { tombstoneRetentionMs: 10_000 } }, { slotBytes: 16 * 1024 });
    const { log, clock } = made;
    const expected = new Map<string, string>();
    const keyless: string[] = [];
    for (let i = 0; i < 300; i++) {
      const key = `k${(i * 7) % 13}`;
      const record = i % 29 === 0 ? `=loose${i}` : i % 17 === 0 ? `${key}=` : `${key}=${i}`;
      const batch = batchOf([record, `pad${i % 3}=${"y".repeat(90)}`]);
      const { baseOffset } = await log.append(i % 5 === 0 ? await compressBatch(kernel, batch) : batch);
      if (record.startsWith("=")) keyless.push(`${baseOffset}:${record}`);
      else expected.set(key, `${baseOffset}:${record}`);
      expected.set(`pad${i % 3}`, `${baseOffset + 1}:pad${i % 3}=${"y".repeat(90)}`);
    }
    await log.roll();
    const sorted = (records: string[]) => records.sort((a, b) => parseInt(a) - parseInt(b));
    const { compacted } = await log.clean();
    expect(compacted.recordsRemoved).toBeGreaterThan(400);
    expect(compacted.bytesAfter).toBeLessThan(compacted.bytesBefore);
    expect(await dump(log)).toEqual(sorted([...keyless, ...expected.values()]));
    expect((await log.clean()).compacted.segments, "nothing more to do").toBe(0);
    await made.reopen();
    expect(await dump(made.log)).toEqual(sorted([...keyless, ...expected.values()]));
    clock.time += 10_000;
    await made.log.clean();
    const alive = [...expected.values()].filter((record) => !record.endsWith("="));
    expect(alive.length).toBeLessThan(expected.size);
    expect(await dump(made.log)).toEqual(sorted([...keyless, ...alive]));
  });

  it("compaction leaves what is too young, what is beyond its keys, and the active segment alone", async () => {
    const young = await filled({ compaction: { minLagMs: 1000 } });
    expect((await young.log.clean()).compacted.recordsRemoved).toBe(0);
    young.clock.time += 1000;
    const active = young.log.segments().at(-1)!;
    expect((await young.log.clean()).compacted.recordsRemoved).toBe(active.baseOffset - 10);
    expect((await dump(young.log)).length).toBe(young.log.logEndOffset - active.baseOffset + 10);
    const few = await filled({ compaction: {}, compactionKeysMax: 4 });
    await few.log.clean();
    const newest = new Map<string, string>();
    for (const record of await dump(few.log)) newest.set(record.split(":")[1]!.split("=")[0]!, record);
    expect([...newest.values()].map((record) => parseInt(record.split("=")[1]!)).sort((a, b) => a - b)).toEqual([
      390, 391, 392, 393, 394, 395, 396, 397, 398, 399,
    ]);
  });

  it("appends, reads and trims go on while a compaction runs", async () => {
    const made = await filled({ compaction: {} });
    const running = made.log.clean();
    const end = made.log.logEndOffset;
    const appended = await Promise.all(Array.from({ length: 20 }, (_, i) => made.log.append(batchOf([`new${i}=1`]))));
    await made.log.trim(made.log.segments()[2]!.nextOffset);
    await running;
    expect(appended.map(({ baseOffset }) => baseOffset - end)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    const offsets = (await dump(made.log)).map((record) => parseInt(record));
    expect(offsets).toEqual([...new Set(offsets)].sort((a, b) => a - b));
    expect(offsets.at(-1)).toBe(end + 19);
  });
});

it("a batch that already has an offset gets the log's own", async () => {
  const { log } = await fixture();
  const batch = batchOf(["a=1"]);
  stampBaseOffset(batch, 99);
  expect((await log.append(batch)).baseOffset).toBe(0);
});
