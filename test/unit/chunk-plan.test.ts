/**
 * The plan of a long answer names the rows from an offset on, as far as they are contiguous and fit. It is compared
 * with a plain walk over all rows.
 */
import { describe, expect, it } from "vitest";
import { ChunkTables, type PlannedRow } from "../../worker/store/chunk-tables.ts";
import { Random } from "../simulation/prng.ts";
import { nodeSql } from "../support/node-sql.ts";

const SEED = Number(process.env["SEED"] ?? 20_261_121);
type Row = PlannedRow & { readonly crc: number | null };

/** The same plan, made row by row. */
function walked(all: readonly Row[], offset: number, maxBytes: number, maxRows: number): PlannedRow[] {
  const rows: PlannedRow[] = [];
  let bytes = 0;
  for (const { baseOffset, nextOffset, size, crc } of all) {
    if (nextOffset <= offset) continue;
    if (
      baseOffset > (rows.at(-1)?.nextOffset ?? offset) ||
      crc !== null ||
      rows.length === maxRows ||
      bytes + size > maxBytes
    )
      break;
    rows.push({ baseOffset, nextOffset, size });
    bytes += size;
  }
  return rows;
}

describe(`plans, seed ${SEED}`, () => {
  it("are what a walk over all rows finds: holes, rows with a checksum and both bounds end them", () => {
    const random = new Random(SEED);
    const ends = { whole: 0, early: 0 };
    for (let round = 0; round < 30; round++) {
      const tables = new ChunkTables(nodeSql());
      tables.create();
      const all: Row[] = [];
      const count = random.pick([0, 1, 31, 32, 33, 300, 300, 300]);
      for (let base = random.int(3), i = 0; i < count; i++) {
        base += random.chance(0.003) ? 1 : 0;
        const nextOffset = base + 1 + random.int(5);
        const row: Row = {
          baseOffset: base,
          nextOffset,
          size: random.pick([1, 10, 10, 500]),
          crc: random.chance(0.002) ? 7 : null,
        };
        tables.insertChunk({ ...row, maxTimestamp: 0, recordCount: 1, writtenAt: 0, bytes: new Uint8Array(row.size) });
        all.push(row);
        base = nextOffset;
      }
      for (let asked = 0; asked < 80; asked++) {
        const [offset, maxBytes, maxRows] = [
          random.int((all.at(-1)?.nextOffset ?? 0) + 3),
          random.pick([0, 100, 20_000, 1e9, 1e9]),
          random.pick([1, 32, 33, 100, 1024, 1024]),
        ];
        const expected = walked(all, offset, maxBytes, maxRows);
        const { rows, bytes } = tables.rowsAround(offset, maxBytes, maxRows);
        expect([round, offset, maxBytes, maxRows, rows, bytes]).toEqual([
          round,
          offset,
          maxBytes,
          maxRows,
          expected,
          expected.reduce((sum, { size }) => sum + size, 0),
        ]);
        if (expected.length > 32)
          ends[
            expected.at(-1) === undefined || expected.at(-1)!.nextOffset === all.at(-1)!.nextOffset ? "whole" : "early"
          ]++;
      }
    }
    // Plans of several pages occur with both endings.
    expect([ends.whole > 20, ends.early > 20], JSON.stringify(ends)).toEqual([true, true]);
  });

  it("fetch the rows that they name, without those that have a checksum", () => {
    const tables = new ChunkTables(nodeSql());
    tables.create();
    for (let i = 0; i < 5; i++)
      tables.insertChunk({
        baseOffset: i * 2,
        nextOffset: i * 2 + 2,
        maxTimestamp: 0,
        recordCount: 2,
        writtenAt: 0,
        crc: i === 3 ? 1 : null,
        bytes: new Uint8Array([i]),
      });
    expect(tables.batchesBetween(2, 10).map(({ nextOffset, bytes }) => [nextOffset, bytes[0]])).toEqual([
      [4, 1],
      [6, 2],
      [10, 4],
    ]);
    expect(tables.batchesBetween(0, 2).length).toBe(1);
  });
});
