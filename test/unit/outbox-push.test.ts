/** A push at the edge, over Node's SQLite: which of its batches is named as bad, and what its answer waits for. */
import { describe, expect, it } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { TidemarkError } from "../../src/errors.ts";
import { checkBatches } from "../../worker/stream/batch-check.ts";
import { concat } from "../../src/record/bytes.ts";
import { readHeader, stampBaseOffset } from "../../src/record/format.ts";
import { Compactor } from "../../src/log/compaction.ts";
import { A, batchAt, Edge, edge, kernel, OWNER } from "./outbox-edge.ts";

const encoder = new TextEncoder();

describe("a bad batch of a push", () => {
  const good = (position: number): Uint8Array => batchAt(position);
  const spoiled = (position: number, at: number): Uint8Array => {
    const batch = batchAt(position);
    batch[at]! ^= 1;
    return batch;
  };
  const reserved = (position: number): Uint8Array => {
    const builder = new BatchBuilder(kernel);
    builder.tryAppend({ key: null, value: null, timestamp: 1, headers: [["ds.seq", encoder.encode("1")]] });
    const batch = builder.build({ producerId: 7, producerEpoch: 0, baseSequence: 0 });
    stampBaseOffset(batch, position);
    return batch;
  };
  const BAD: [string, string, (position: number) => Uint8Array][] = [
    ["checksum", "INVALID_BATCH", (position) => spoiled(position, 40)],
    ["reserved header", "BAD_REQUEST", reserved],
    ["position that does not follow", "BAD_REQUEST", (position) => batchAt(position + 1)],
  ];

  it.each(BAD)("%s: is named, and nothing of the push is taken", async (_, code, bad) => {
    const log = await edge();
    await log.join();
    for (const index of [0, 1, 2]) {
      const batches = [0, 1, 2].map((position) => (position === index ? bad(position) : good(position)));
      // In front of one that is bad in another way, which is found earlier.
      if (index < 2) batches[2] = spoiled(2, 40);
      const push = { expected: 0, at: 0, readTo: undefined, previous: 0, batches: concat(batches) };
      await expect(log.stream.pushes.check(push)).rejects.toMatchObject({ code, details: { index } });
    }
    expect(log.stream.log.logEndOffset).toBe(0);
    expect(log.outboxes.entryOf(A)).toMatchObject({ next: 0 });
  });

  it("JSON streams take one message a record", async () => {
    const log = await new Edge().open({ contentType: "application/json" });
    await log.join();
    const batches = concat([batchAt(0, 1, "{}"), batchAt(1, 1, "{")]);
    const push = { expected: 0, at: 0, readTo: undefined, previous: 0, batches };
    await expect(log.stream.pushes.check(push)).rejects.toMatchObject({ code: "BAD_REQUEST", details: { index: 1 } });
  });

  it("none at all, or too many", async () => {
    const log = await edge();
    const empty = { expected: 0, at: 0, readTo: undefined, previous: 0, batches: new Uint8Array(0) };
    await expect(log.stream.pushes.check(empty)).rejects.toMatchObject({ code: "BAD_REQUEST" });
    const batches = concat(Array.from({ length: 1_001 }, (_, i) => batchAt(i)));
    await expect(log.stream.pushes.check({ ...empty, batches })).rejects.toMatchObject({ code: "TOO_LARGE" });
  });
});

describe("a schema that has become narrower since", () => {
  async function judged(): Promise<{ readonly log: Edge; readonly narrow: () => void }> {
    const log = new Edge();
    let isNarrow = false;
    const judge = (): void => {
      if (isNarrow) throw new TidemarkError("SCHEMA_MISMATCH", "not any more", { record: 0 });
    };
    log.judge = { batch: judge, body: judge, append: (_, append) => append() };
    await log.open();
    return { log, narrow: () => (isNarrow = true) };
  }

  it("a push that was taken is acknowledged again; a new one is refused, but for who may not speak", async () => {
    const { log, narrow } = await judged();
    await log.join();
    const batches = [batchAt(0, 2), batchAt(2)];
    await log.push(batches);
    narrow();
    expect(await log.push(batches)).toMatchObject({ duplicate: true, next: 3, lastOffset: 2 });
    const previous = readHeader(batches[1]!).crc;
    await expect(log.push([batchAt(3), batchAt(4)], { previous })).rejects.toMatchObject({
      code: "SCHEMA_MISMATCH",
      details: { index: 0, record: 0 },
    });
    await expect(log.push([batchAt(3)], { previous, generation: 0 })).rejects.toMatchObject({ code: "FENCED_LEADER" });
    expect(log.stream.log.logEndOffset).toBe(3);
    // Beside another fault the first one is named at once.
    const spoiled = batchAt(4);
    spoiled[40]! ^= 1;
    await expect(log.push([batchAt(3), spoiled], { previous })).rejects.toMatchObject({ code: "SCHEMA_MISMATCH" });
  });

  it("a batch that was appended is a duplicate; with its producer forgotten it is refused, and never new", async () => {
    const { log, narrow } = await judged();
    const { stream } = log;
    const batch = batchAt(0, 2);
    await stream.appendBatches([batch.slice()], undefined);
    narrow();
    const sending = await checkBatches(kernel, [batch], stream);
    expect(sending).toEqual({ resentSince: 0 });
    const asked = { fromZero: true } as const;
    expect(await checkBatches(kernel, [batch], stream, asked)).toEqual({ ...asked, resentSince: 0 });
    expect(await stream.appendBatches([batch.slice()], undefined, sending)).toMatchObject([
      { baseOffset: 0, duplicate: true },
    ]);
    for (const other of [batchAt(2), batchAt(0, 1), batchAt(0, 2, "v", 8), batchAt(0, 2, "v", -1)])
      await expect(checkBatches(kernel, [batch, other], stream)).rejects.toMatchObject({
        code: "SCHEMA_MISMATCH",
        details: { batch: 1, record: 0 },
      });
    expect(stream.log.logEndOffset).toBe(2);
    const others = Array.from({ length: 1_000 }, (_, i) => batchAt(0, 1, "v", 100 + i));
    await stream.appendBatches(others, undefined);
    await expect(stream.appendBatches([batch.slice()], undefined, sending)).rejects.toMatchObject({
      code: "OUT_OF_ORDER_SEQUENCE",
      details: { unknownProducer: true },
    });
  });
});

describe("answers wait for the commit", () => {
  it("a repeat, a refusal and a join are answered behind what is queued for the outbox", async () => {
    const log = await edge();
    await log.join();
    const told: string[] = [];
    const note = <T>(name: string, work: Promise<T>): Promise<T> => work.finally(() => told.push(name));
    const batch = batchAt(0, 2);
    const { pushes, outboxes } = log.stream;
    const push = { expected: 0, at: 0, readTo: undefined, previous: 0 };
    const [first, second, third] = await Promise.all(
      [batch, batch, batchAt(0, 1, "other")].map((each) => pushes.check({ ...push, batches: each.slice() })),
    );
    const speaker = { outbox: A, generation: 1, term: 1, owner: OWNER };
    const original = note("original", pushes.take(speaker, first!));
    const repeat = note("repeat", pushes.take(speaker, second!));
    const conflict = note("conflict", pushes.take(speaker, third!));
    const joining = note("join", log.join({ registered: true, term: 2 }));
    expect(outboxes.queuedOf(A)).toBe(1);
    expect(await repeat).toMatchObject({ duplicate: true, lastOffset: 1, appended: [] });
    await expect(conflict).rejects.toMatchObject({ code: "OUTBOX_CONFLICT", details: { next: 2, lastOffset: 1 } });
    expect(await joining).toMatchObject({ next: 2, lastOffset: 1, lastCrc: readHeader(batch).crc, term: 2 });
    await original;
    expect(told[0]).toBe("original");
    await expect(log.push([batchAt(2)], { previous: readHeader(batch).crc })).rejects.toMatchObject({
      code: "FENCED_LEADER",
      details: { term: 2 },
    });
  });
});

it("a sample from a segment of which compaction left nothing does not disagree (sim --sync, seed 5)", async () => {
  const log = await edge();
  await log.join();
  const batches = [batchAt(0), batchAt(1), batchAt(2)];
  let previous = 0;
  for (const batch of batches) {
    await log.push([batch], { previous });
    previous = readHeader(batch).crc;
    await log.stream.log.roll();
  }
  const { store } = log.stream;
  const settings = { ...log.stream.log.settings, compaction: {}, compactionKeysMax: 100 };
  const { recordsRemoved } = await new Compactor({ store, kernel, settings }).run(log.now, 3, (swap) => swap());
  expect([recordsRemoved, log.stream.log.segments()[0]!.baseOffset]).toEqual([1, 1]);
  const samples = batches.map((batch, i) => [i, readHeader(batch).crc] as const);
  expect((await log.join({ end: 3, registered: true, samples })).lineage).toBe("same");
  await log.append();
  expect((await log.join({ end: 4, registered: true, samples: [[3, 1]] })).lineage).toBe("back");
});
