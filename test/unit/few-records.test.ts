/**
 * Reads of few records in large batches: parts of a batch are exact, checked, and never shared between two readers.
 * What can't be cut, and what is damaged, comes whole.
 */
import { expect, it } from "vitest";
import type { ReaderOptions } from "../../src/delivery/reader.ts";
import type { Fetched } from "../../src/log/types.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { compressBatch } from "../../src/record/codec.ts";
import { decodeBatch } from "../../src/record/record-batch.ts";
import { batchesOf, readingOf } from "../../src/topic/reading.ts";
import { serializerOf } from "../../src/topic/serializer.ts";
import { BODY_AT } from "../../src/store/slot-layout.ts";
import { fails } from "../contract/check.ts";
import { type Fixture, fixture, kernel } from "./log-fixtures.ts";

const COUNT = 500;
const MIB = 1024 * 1024;
const bytes = serializerOf<Uint8Array>("bytes");
/** Sizes differ, so that a wrong guess of a record's place shows. */
const valueOf = (n: number): Uint8Array => new Uint8Array(200 + ((n * 37) % 300)).fill(n);

/** A batch of `count` records; record n of the log has timestamp 1,000 + n. */
function batchFrom(first: number, count: number): Uint8Array {
  const builder = new BatchBuilder(kernel, { bytesMax: MIB });
  for (let n = first; n < first + count; n++)
    expect(builder.tryAppend({ key: null, value: valueOf(n), timestamp: 1000 + n })).toBe(true);
  return builder.build({ producerId: 7, producerEpoch: 0, baseSequence: first });
}

/** A log of three large batches and a small one, in which a read has met a large batch already. */
async function large(encode: (batch: Uint8Array) => Uint8Array | Promise<Uint8Array> = (batch) => batch) {
  const made = await fixture({}, { slotBytes: 4 * MIB });
  for (let i = 0; i < 3; i++) await made.log.append(await encode(batchFrom(i * COUNT, COUNT)));
  await made.log.append(await encode(batchFrom(3 * COUNT, 5)));
  await made.log.fetch(0);
  return made;
}

const read = (made: Fixture, options: ReaderOptions) => readingOf(() => made.log, kernel, bytes, options);

async function sought(made: Fixture, options: ReaderOptions): Promise<number[]> {
  const found: number[] = [];
  for await (const { offset, id, timestamp, value } of read(made, options)) {
    expect([id, timestamp, value]).toEqual([`7-0-${offset.toString(36)}`, 1000 + offset, valueOf(offset)]);
    found.push(offset);
  }
  return found;
}
const span = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

it("brings exactly the records of the range, from every kind of place, however little is asked for", async () => {
  const made = await large();
  const end = made.log.highWatermark;
  for (const from of [0, 1, 7, 8, 250, COUNT - 1, COUNT, COUNT + 3, 2 * COUNT + 499, 3 * COUNT, end - 1])
    for (const size of [1, 2, 10, 60, 300, COUNT + 9])
      for (const maxBytes of [1, 5000, undefined])
        expect(await sought(made, { from, to: from + size, maxBytes })).toEqual(span(from, Math.min(from + size, end)));
  expect(await sought(made, { from: 123, maxBytes: 1 })).toEqual(span(123, end));
  expect(await sought(made, { from: { timestamp: 1700 }, maxBytes: 1 })).toEqual(span(700, end));
});

it("sends a part with a checksum of its own, and ends where it ends: who goes on there misses nothing", async () => {
  const { log } = await large();
  const few = await log.fetch(700, { to: 703 });
  const batch = await decodeBatch(kernel, few.bytes);
  expect([batch.count, batch.offsetAt(0), few.nextOffset, few.bytes.length < 2000]).toEqual([3, 700, 703, true]);
  const batches = batchesOf(() => log, kernel, bytes, { from: 700, maxBytes: 1 });
  const first = (await batches.next()).value!;
  const second = (await batches.next()).value!;
  expect([first.baseOffset, first.nextOffset, first.count < 40]).toEqual([700, 700 + first.count, true]);
  expect([second.baseOffset, second.nextOffset]).toEqual([first.nextOffset, 2 * COUNT]);
});

it("readers at the same time each get their own bytes", async () => {
  const made = await large();
  const offsets = span(0, 60).map((n) => (n * 397) % (3 * COUNT));
  const found = await Promise.all(offsets.map((offset) => made.log.fetch(offset, { to: offset + 1 })));
  const small: Fetched[] = [];
  for (const at of span(3 * COUNT, 3 * COUNT + 5)) small.push(await made.log.fetch(at, { to: at + 1 }));
  for (const offset of offsets) await made.log.fetch(offset, { to: offset + 2 });
  for (const [i, offset] of offsets.entries())
    expect((await decodeBatch(kernel, found[i]!.bytes)).valueAt(0)).toEqual(valueOf(offset));
  for (const { bytes } of small) expect((await decodeBatch(kernel, bytes)).valueAt(4)).toEqual(valueOf(3 * COUNT + 4));
});

it("whole batches come where nothing says that less is wanted, and of compressed ones", async () => {
  const plain = await large();
  expect((await plain.log.fetch(700, { maxBytes: 1 })).nextOffset).toBe(2 * COUNT);
  expect((await plain.log.fetch(700, { to: 703, maxBytes: 1, verify: true })).nextOffset).toBe(703);
  const gzip = await large((batch) => compressBatch(kernel, batch));
  expect(await sought(gzip, { from: 700, to: 703, maxBytes: 1 })).toEqual([700, 701, 702]);
});

it("a batch that is damaged beside the wanted record is told as damaged, with its range", async () => {
  const made = await large();
  const at = BODY_AT + (await made.log.fetch(0, { maxBytes: 1 })).bytes.length + 90_000;
  const byte = new Uint8Array(1);
  const { slot } = made.log.segments()[0]!;
  await made.volume.read(slot!, at, byte);
  await made.volume.write(slot!, at, Uint8Array.of(byte[0]! ^ 1));
  const error = await fails("CORRUPT_RANGE", sought(made, { from: COUNT + 2, to: COUNT + 3 }));
  expect(error.details).toMatchObject({ from: COUNT, to: 2 * COUNT });
  expect(await sought(made, { from: 5, to: 6 })).toEqual([5]);
  expect(await sought(made, { from: 2 * COUNT, to: 2 * COUNT + 1 })).toEqual([2 * COUNT]);
});
