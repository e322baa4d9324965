/** A read of any size makes progress or is refused, so that a reader's loop never stops at one place. */
import { describe, expect, it } from "vitest";
import { nextOffsetOf, readHeader } from "../../src/record/format.ts";
import type { LogStore } from "../../src/store/log-store.ts";
import { ChunkLog } from "../../worker/store/chunk-log.ts";
import { fails } from "../contract/check.ts";
import { nodeSql } from "../support/node-sql.ts";
import { batchOf, dump, fixture, kernel } from "./log-fixtures.ts";

const BATCHES = 10;
/** Batches of 70 to 20,000 bytes, so that headers, windows and index entries coincide in many ways. */
const batchAt = (i: number): Uint8Array => batchOf([`k${i}=${"x".repeat((i * 7919) % 20_000)}`]);

async function readAll(store: LogStore, maxBytes: number): Promise<number[]> {
  const found: number[] = [];
  for (let offset = 0, turns = 0; offset < store.logEndOffset; turns++) {
    expect(turns, "turns").toBeLessThan(2 * BATCHES);
    const { bytes, nextOffset } = await store.read(offset, maxBytes, store.logEndOffset);
    expect(nextOffset).toBeGreaterThan(offset);
    found.push(nextOffsetOf(readHeader(bytes)) - 1);
    offset = nextOffset;
  }
  return found;
}

describe("maxBytes", () => {
  it.each(["active", "sealed", "rows"] as const)(
    "of 0, 1, 60, 61, 62 and more, in a segment store and in rows: one batch at least (%s)",
    async (where) => {
      const made = await fixture();
      const log = where === "rows" ? undefined : made.log;
      const store: LogStore =
        where === "rows"
          ? new ChunkLog({ sql: nodeSql(), kernel, now: () => made.clock.time, name: "a" })
          : await made.store.log("t-0");
      for (let i = 0; i < BATCHES; i++) {
        if (log) await log.append(batchAt(i));
        else {
          const batch = batchAt(i);
          new DataView(batch.buffer).setBigInt64(0, BigInt(i));
          await store.append([batch]);
          await store.flush();
        }
      }
      if (where === "sealed") await made.log.roll();
      for (const maxBytes of [0, 1, 60, 61, 62, 4096, 8191]) expect((await readAll(store, maxBytes))[0]).toBe(0);
      expect(await readAll(store, 0), "one batch each").toEqual(Array.from({ length: BATCHES }, (_, i) => i));
    },
  );

  it("with a wrong size is refused by name; size 1 reads everything, batch by batch", async () => {
    const { log } = await fixture();
    for (let i = 0; i < BATCHES; i++) await log.append(batchAt(i));
    for (const maxBytes of [0, -1, 1.5, Number.NaN, Infinity, null, "1", 2 ** 53]) {
      await fails("INVALID_ARGUMENT", log.fetch(0, { maxBytes: maxBytes as never }));
      await expect(log.fetch(0, { maxBytes: maxBytes as never })).rejects.toThrow(
        `maxBytes is ${typeof maxBytes === "string" ? `"${maxBytes}"` : String(maxBytes)}; it must be`,
      );
    }
    let offset = 0;
    for (let i = 0; i < BATCHES; i++) ({ nextOffset: offset } = await log.fetch(offset, { maxBytes: 1 }));
    expect([offset, (await dump(log)).length]).toEqual([BATCHES, BATCHES]);
  });

  it("positions that are no numbers are refused", async () => {
    const { log } = await fixture();
    await log.append(batchAt(1));
    for (const timestamp of [Number.NaN, null, "now", undefined])
      await fails("INVALID_ARGUMENT", log.resolve({ timestamp: timestamp as never }));
    for (const last of [Number.NaN, -1, null, "x"])
      await fails("INVALID_ARGUMENT", log.resolve({ last: last as never }));
    for (const offset of [0.5, Number.NaN, -1]) await fails("OFFSET_OUT_OF_RANGE", log.resolve(offset));
  });
});
