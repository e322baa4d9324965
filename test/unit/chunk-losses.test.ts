/**
 * Rows of a stream's object that are gone or empty, over Node's own SQLite: a read stops before them and names them, as
 * damage. It never goes on behind them as if they had not been, and what is around them stays readable.
 */
import { describe, expect, it } from "vitest";
import type { Fetched } from "../../src/log/types.ts";
import { emptySegment } from "../../worker/store/chunk-tables.ts";
import { ChunkLog } from "../../worker/store/chunk-log.ts";
import { Stream } from "../../worker/stream/stream.ts";
import { makeBatch } from "../contract/log-store-contract.ts";
import { releaseKernel } from "../support/kernels.ts";
import { nodeSql } from "../support/node-sql.ts";

const kernel = await releaseKernel();
const SEALED = 6;
const ALL = 10;

type Change = (run: (query: string, ...bindings: (number | string)[]) => unknown) => void;

/** A log of ten records, each a row of its own: six are sealed. Then `change` meets its tables, and it is opened. */
async function changed(change: Change): Promise<ChunkLog> {
  const sql = nodeSql();
  const options = { sql, kernel, now: () => 1, name: "a" };
  const log = new ChunkLog(options);
  for (let offset = 0; offset < ALL; offset++) {
    if (offset === SEALED) await log.roll();
    await log.append([makeBatch(kernel, offset, 1)]);
    await log.flush();
  }
  await log.close();
  change((query, ...bindings) => [...sql.exec(query, ...bindings)]);
  return new ChunkLog(options);
}

/** The base offsets of what is read, and the ranges that reads refused on the way, each read from behind the last. */
async function readAll(log: ChunkLog): Promise<unknown[]> {
  const found: unknown[] = [];
  for (let at = 0; at < log.logEndOffset;) {
    const read: Pick<Fetched, "nextOffset"> | undefined = await log
      .read(at, 1, log.logEndOffset)
      .catch(({ code, details: { from, to } }: { code: string; details: { from: number; to: number } }) => {
        found.push(`${code} ${from} ${to}`);
        at = to;
        return undefined;
      });
    if (!read) continue;
    if (read.nextOffset === at) break;
    found.push(at);
    at = read.nextOffset;
  }
  return found;
}

describe("rows that are gone", () => {
  it.each([
    ["the first", 0],
    ["of a sealed segment", 3],
    ["the last of a sealed segment", SEALED - 1],
    ["the first behind the last seal", SEALED],
    ["behind the last seal", 8],
  ])("one, %s: damage, and what is around it is read", async (_, gone) => {
    const log = await changed((run) => run("DELETE FROM chunk WHERE base_offset = ?", gone));
    const expected = Array.from({ length: ALL }, (_, n) => (n === gone ? `CORRUPT_RANGE ${n} ${n + 1}` : n));
    expect(await readAll(log)).toEqual(expected);
    if (gone >= SEALED) expect(log.recovery.quarantined).toMatchObject([{ from: gone, to: gone + 1 }]);
  });

  it("all of a sealed segment, and a row without bytes", async () => {
    const log = await changed((run) => {
      run("DELETE FROM chunk WHERE base_offset < ?", SEALED);
      run("UPDATE chunk SET bytes = x'' WHERE base_offset = 8");
    });
    expect(await readAll(log)).toEqual([`CORRUPT_RANGE 0 ${SEALED}`, 6, 7, "CORRUPT_RANGE 8 9", 9]);
  });

  it("in a segment with holes the segment's own bytes say whether rows are gone", async () => {
    const holes: Change = (run) => {
      run(
        "UPDATE segment SET compacted = 1, bytes = (SELECT sum(length(bytes)) FROM chunk WHERE base_offset IN (0, 4))",
      );
      run("UPDATE chunk SET crc = NULL WHERE base_offset < ?", SEALED);
      run("DELETE FROM chunk WHERE base_offset < ? AND base_offset NOT IN (0, 4)", SEALED);
    };
    expect(await readAll(await changed(holes))).toEqual([0, 1, 5, 7, 8, 9]);
    const less = await changed((run) => {
      holes(run);
      run("DELETE FROM chunk WHERE base_offset = 4");
    });
    expect(await readAll(less)).toEqual([0, `CORRUPT_RANGE 1 ${SEALED}`, 6, 7, 8, 9]);
  });

  it("a segment in object storage that the list of segments does not have", async () => {
    const segment = { ...emptySegment(0, 1, 1), nextOffset: SEALED, sealedAt: 1 };
    const entry = { key: "k", slot: 0, baseOffset: 0, epoch: 1, createdAt: 1, sealed: segment };
    const log = await changed((run) => {
      run("INSERT INTO archive VALUES ('k', 0, ?, 1, 1, ?)", SEALED, JSON.stringify(entry));
      run("DELETE FROM chunk WHERE base_offset < ?", SEALED);
      run("DELETE FROM segment");
    });
    expect(await readAll(log)).toEqual([`CORRUPT_RANGE 0 ${SEALED}`, 6, 7, 8, 9]);
  });
});

describe("rows about the stream itself", () => {
  const load = async (change: Change): Promise<unknown> => {
    const sql = nodeSql();
    const run = (query: string, ...bindings: (number | string)[]) => [...sql.exec(query, ...bindings)];
    const log = new ChunkLog({ sql, kernel, now: () => 1, name: "a" });
    await log.append([makeBatch(kernel, 0, 1)]);
    change(run);
    return Stream.load({ sql, kernel, now: () => 1 } as never).then(
      (stream) => stream,
      ({ code }: { code: string }) => code,
    );
  };

  it.each([
    ["a description that is gone", (run) => run("DELETE FROM meta")],
    ["a description that is no JSON", (run) => run(`INSERT INTO meta VALUES ('config', '{"id"')`)],
  ] satisfies [string, Change][])("%s: CORRUPT_CATALOG, and no stream that could be made anew", async (_, change) => {
    expect(await load(change)).toBe("CORRUPT_CATALOG");
  });
});
