/**
 * Whole topics as Kafka's files, in real Chromium over both engines: export as a stream, import into another tide, and
 * damage. `npm test` also runs it over the package's built files.
 */
import { afterEach, describe, expect, it } from "vitest";
import { open, type SegmentExport, type Tide, TidemarkError } from "../../src/browser/index.ts";

const SEGMENT_BYTES = 64 * 1024;
const RECORDS = 600;
const opened: Tide[] = [];
afterEach(async () => {
  for (const tide of opened.splice(0).reverse()) await tide.close();
});
let names = 0;
const fresh = (): string => `segments-${Date.now()}-${names++}`;
type Engine = "opfs" | "indexeddb";
async function tideOf(engine: Engine, name = fresh()): Promise<Tide> {
  const tide = await open(name, { segmentBytes: SEGMENT_BYTES, engine });
  opened.push(tide);
  return tide;
}
const textOf = (n: number): string => `${n} `.padEnd(900, "x");
async function exported(tide: Tide): Promise<SegmentExport[]> {
  const files: SegmentExport[] = [];
  for await (const file of tide.topic("t").export()) files.push(file);
  return files;
}
const bytesOf = async (files: readonly SegmentExport[]): Promise<Uint8Array> =>
  new Uint8Array(await new Blob(files.map(({ log }) => log as Uint8Array<ArrayBuffer>)).arrayBuffer());
async function offsetsOf(tide: Tide): Promise<number[]> {
  const found: number[] = [];
  for await (const { offset, value } of tide.topic<string>("t").read()) {
    expect(value).toBe(textOf(offset));
    found.push(offset);
  }
  return found;
}
const ALL = Array.from({ length: RECORDS - 50 }, (_, i) => 50 + i);

/** A topic whose first 50 records are gone, as files. */
async function source(engine: Engine): Promise<SegmentExport[]> {
  const tide = await tideOf(engine);
  const topic = tide.topic<string>("t");
  for (let n = 0; n < RECORDS; n++) void topic.append({ key: `k${n % 7}`, value: textOf(n) });
  await topic.append({ value: textOf(RECORDS) });
  await topic.trim(50);
  return exported(tide);
}
const WHOLE = [...ALL, RECORDS];

describe.each(["opfs", "indexeddb"] as const)("over %s", (engine) => {
  it("what one tide exports another imports: offsets, records and bytes are the same", async () => {
    const files = await source(engine);
    expect(files.length).toBeGreaterThan(3);
    const copy = await tideOf(engine);
    const topic = copy.topic<string>("t");
    // The first segment also holds records below the trim.
    const { nextOffset, damage, records } = await topic.importSegments(
      files.map(({ log }) => new Blob([log as never])),
    );
    expect([nextOffset, damage]).toEqual([RECORDS + 1, []]);
    expect(records).toBeGreaterThanOrEqual(WHOLE.length);
    expect((await offsetsOf(copy)).slice(-WHOLE.length)).toEqual(WHOLE);
    expect(await bytesOf(await exported(copy))).toEqual(await bytesOf(files));
    expect((await topic.append({ value: textOf(RECORDS + 1) })).offset).toBe(RECORDS + 1);
    const again = await topic.importSegments(files).catch((thrown: unknown) => thrown);
    expect(again).toMatchObject({ code: "INVALID_ARGUMENT", details: { reason: "filled" } });
    expect(again).toBeInstanceOf(TidemarkError);
  });

  it("damage is refused with its place, and the topic stays empty; skip takes the rest", async () => {
    const files = await source(engine);
    const log = files[1]!.log.slice();
    log[400]! ^= 1;
    const bad = [files[0]!, { name: "bad.log", log }, ...files.slice(2)];
    const copy = await tideOf(engine);
    const topic = copy.topic<string>("t");
    const error: unknown = await topic.importSegments(bad).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "INVALID_BATCH", details: { file: "bad.log", position: 0 } });
    expect(await offsetsOf(copy)).toEqual([]);
    const { damage } = await topic.importSegments(bad, { damage: "skip" });
    expect(damage.map(({ file, position }) => [file, position])).toEqual([["bad.log", 0]]);
    const { from, to } = damage[0]!;
    expect((await offsetsOf(copy)).filter((offset) => offset >= 50)).toEqual(
      WHOLE.filter((offset) => offset < from || offset >= to!),
    );
  });
});
