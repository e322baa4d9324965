/**
 * The edge's import of segments when the power goes at any SQL statement: a reader sees nothing or all, and the same
 * import goes on until all is there, each batch once.
 */
import { describe, expect, it } from "vitest";
import { readHeader } from "../../src/record/format.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import { Archive } from "../../worker/store/segment-archive.ts";
import { bucketSource } from "../../worker/store/bucket.ts";
import type { Sql } from "../../worker/store/sql.ts";
import {
  beginImport,
  type ImportPiece,
  type ImportRequest,
  type ImportStanding,
  takePiece,
} from "../../worker/stream/segment-imports.ts";
import { Stream, type StreamHost } from "../../worker/stream/stream.ts";
import { batchAt, joined, range } from "../support/kafka-batches.ts";
import { releaseKernel } from "../support/kernels.ts";
import { DyingSql, nodeSql } from "../support/node-sql.ts";
import { STREAM_CONFIG } from "../support/stream-config.ts";

const kernel = await releaseKernel();
const FILES = [
  joined(range(0, 6).map((i) => batchAt(kernel, 100 + 3 * i, 3, 200))),
  // A hole before it, and one inside.
  joined(range(0, 8).map((i) => batchAt(kernel, 200 + 3 * i + (i > 4 ? 50 : 0), 3, 200))),
];
const OFFSETS = [...range(100, 118), ...range(200, 215), ...range(265, 274)];
/** So many bytes come at once: several pieces for each file, cut inside batches. */
const PIECE = 2_000;
const REQUEST: ImportRequest = {
  files: FILES.map(({ length: bytes }, i) => ({ name: `${i}.log`, bytes })),
  damage: "refuse",
};

class Edge {
  readonly #inner: Sql = nodeSql();
  readonly #forgets: boolean;
  sql!: DyingSql;
  stream!: Stream;

  constructor(forgetsToRollBack = false) {
    this.#forgets = forgetsToRollBack;
  }

  /** Opens the object, whose power goes at its `after`th write. */
  async open(after?: number): Promise<void> {
    const sql = (this.sql = new DyingSql(this.#inner, this.#forgets));
    const host: StreamHost = {
      sql,
      kernel,
      archive: new Archive(bucketSource(undefined), kernel),
      now: () => 1_764_000_000_000,
      breathe: () => new Promise((resolve) => setImmediate(resolve)),
      readSource: () => Promise.reject(new Error("no source")),
      onChange: () => {},
      onSealed: () => {},
      abort: () => void (sql.isDead = true),
    };
    this.stream = (await Stream.load(host)) ?? (await Stream.create(host, STREAM_CONFIG));
    sql.after = after;
  }

  /** The piece that was sent last. */
  #sent: ImportPiece | undefined;

  async import(again?: "piece"): Promise<ImportStanding> {
    const { stream } = this;
    let at = again && this.#sent ? await takePiece(stream, this.#sent) : await beginImport(stream, REQUEST, () => "id");
    for (; !at.done;) {
      const { id, file, position } = at;
      const bytes = FILES[file]!.subarray(position, position + PIECE);
      this.#sent = { id, file, position, bytes };
      at = await takePiece(stream, this.#sent);
    }
    return at;
  }

  /** Offsets of all records that a reader sees. */
  async offsets(): Promise<number[]> {
    const { start, tail, log } = this.stream;
    const found: number[] = [];
    for (let from = start; from < tail;) {
      const { bytes, nextOffset } = await log.fetch(from);
      for (const batch of splitBatches(bytes)) {
        const { baseOffset, recordCount } = readHeader(batch);
        found.push(...range(baseOffset, baseOffset + recordCount));
      }
      from = Math.max(nextOffset, from + 1);
    }
    return found;
  }
}

/** How many writes an import has, and what a reader sees after a cut at each of them. */
async function cutEverywhere(
  forgets: boolean,
  again?: "piece",
): Promise<{ readonly cuts: number; readonly seen: ReadonlySet<string> }> {
  const seen = new Set<string>();
  for (let cut = 0; ; cut++) {
    const edge = new Edge(forgets);
    await edge.open(cut);
    const isCut = await edge.import().then(
      () => false,
      () => true,
    );
    if (!isCut) return { cuts: cut, seen };
    await edge.open();
    const offsets = await edge.offsets();
    seen.add(offsets.length === 0 ? "nothing" : offsets.join() === OFFSETS.join() ? "all" : "a part");
    const { records, done, taken } = await edge.import(again);
    expect([records, done]).toEqual([OFFSETS.length, true]);
    if (taken) await edge.open();
    expect(await edge.offsets()).toEqual(OFFSETS);
    expect([edge.stream.start, edge.stream.tail]).toEqual([100, 274]);
  }
}

describe("a power cut at any write of an import", () => {
  it("leaves nothing, or all; the same import goes on to the end", async () => {
    const { cuts, seen } = await cutEverywhere(false);
    console.log(`an import in pieces of ${PIECE} bytes: ${cuts} cuts, one at each write`);
    expect(cuts).toBeGreaterThan(30);
    expect([...seen]).toEqual(["nothing"]);
  });

  it("is the same to a sender that does not ask where it was, but sends its last piece again", async () => {
    expect([...(await cutEverywhere(false, "piece")).seen]).toEqual(["nothing"]);
  });

  it("planted bug: without transactions the cuts leave a part, or an import that can't go on", async () => {
    const found = await cutEverywhere(true).then(
      ({ seen }) => [...seen].join(),
      (thrown: unknown) => String(thrown),
    );
    expect(found).not.toBe("nothing");
  });

  it("a full database gives the import up, and the stream takes records", async () => {
    const edge = new Edge();
    await edge.open();
    const { exec } = edge.sql;
    let isFull = true;
    edge.sql.exec = function (this: DyingSql, query: string, ...bindings: never[]) {
      if (isFull && query.startsWith("INSERT INTO incoming_chunk"))
        throw new Error("database or disk is full: SQLITE_FULL");
      return exec.call(this, query, ...bindings);
    };
    await expect(edge.import()).rejects.toMatchObject({ code: "QUOTA_EXCEEDED" });
    expect(await edge.offsets()).toEqual([]);
    isFull = false;
    await edge.import();
    await edge.open();
    expect(await edge.offsets()).toEqual(OFFSETS);
    await edge.stream.appendBatches([batchAt(kernel, 0, 3, 200)], undefined);
    expect(await edge.offsets()).toEqual([...OFFSETS, 274, 275, 276]);
  });
});
