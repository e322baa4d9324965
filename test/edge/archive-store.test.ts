/**
 * The chunk store and its archiver against a model, over a Durable Object's own SQLite and real R2, inside workerd:
 * seeded runs of appends, trims, compactions, resets and faults of the bucket, also during a put. After each step reads
 * must give what the model has. At the end the bucket must hold exactly the objects that the tables name.
 */
import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { nextOffsetOf, readHeader } from "../../src/record/format.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import { concat } from "../../src/store/bytes.ts";
import { Archive } from "../../worker/store/segment-archive.ts";
import { ArchiveTables } from "../../worker/store/archive-tables.ts";
import { Archiver } from "../../worker/log-object/archiver.ts";
import { type Bucket, bucketSource } from "../../worker/store/bucket.ts";
import { ChunkLog } from "../../worker/store/chunk-log.ts";
import { ChunkTables } from "../../worker/store/chunk-tables.ts";
import type { Sql, SqlRow } from "../../worker/store/sql.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { makeBatch } from "../contract/log-store-contract.ts";
import { Random } from "../simulation/prng.ts";
import { retryIn } from "../support/retry.ts";
import { objectOf, real } from "./archive-tools.ts";

const kernel = await edgeKernel();

class World {
  readonly tables: ArchiveTables;
  log!: ChunkLog;
  archiver!: Archiver;
  now = 1_000_000;
  keys = 0;
  /** Batches that must be there, by base offset. */
  model = new Map<number, Uint8Array>();
  fired: Record<string, number> = {};
  /** Runs in the middle of the next put. */
  meanwhile: (() => Promise<void>) | undefined;
  fault: "before" | "after" | "refused" | "delete" | undefined;

  constructor(
    readonly sql: Sql,
    readonly prefix: string,
    readonly random: Random,
    readonly plant: string | undefined,
  ) {
    new ChunkTables(sql).create();
    this.tables = new ArchiveTables(sql);
    this.reset();
  }

  count(what: string): void {
    this.fired[what] = (this.fired[what] ?? 0) + 1;
  }

  /** Drops everything in memory, as a reset of the object does. */
  reset(): void {
    const bucket = this.bucket();
    this.log = new ChunkLog({
      sql: this.sql,
      kernel,
      now: () => this.now,
      name: "a",
      segmentBytes: 8_000,
      archive: new Archive(bucketSource(bucket), kernel),
    });
    const log = this.log;
    this.archiver = new Archiver({
      bucket: () => bucket,
      tables: this.tables,
      kernel: edgeKernel,
      now: () => this.now,
      retry: retryIn(this.sql, () => this.now, "archive"),
      abort: () => {},
      log: () => (this.log === log ? log : undefined),
      newKey: async (base) => `${this.prefix}/${base}.${this.keys++}`,
      event: (name) => this.count(name),
    });
  }

  bucket(): Bucket {
    const inner = real.SEGMENTS;
    const take = (...faults: string[]): string | undefined => {
      if (this.fault === undefined || !faults.includes(this.fault)) return undefined;
      const { fault } = this;
      this.fault = undefined;
      this.count(fault);
      return fault;
    };
    return {
      put: async (key, value, options) => {
        const fault = take("before", "after", "refused");
        if (fault === "before") throw new Error("unreachable");
        const { meanwhile } = this;
        this.meanwhile = undefined;
        if (meanwhile) this.count("meanwhile");
        await meanwhile?.();
        if (fault === "refused") return null;
        if (this.plant === "a bucket that forgets") return {};
        const stored = await inner.put(key, value, options);
        if (fault === "after") throw new Error("connection lost");
        return stored;
      },
      get: (key, options) => inner.get(key, options) as never,
      delete: async (keys) => {
        if (take("delete")) throw new Error("unreachable");
        if (this.plant !== "deletions that do nothing") await inner.delete(keys);
      },
    };
  }

  async append(): Promise<void> {
    for (let count = this.random.between(1, 8); count > 0; count--) {
      const batch = makeBatch(
        kernel,
        this.log.logEndOffset,
        this.random.between(1, 4),
        this.random.between(100, 1_500),
      );
      await this.log.append([batch]);
      this.model.set(readHeader(batch).baseOffset, batch.slice());
    }
    await this.log.flush();
  }

  async trim(): Promise<void> {
    const { logStartOffset, flushedOffset } = this.log;
    const to = logStartOffset + this.random.int(Math.max(1, Math.floor((flushedOffset - logStartOffset) / 2)));
    await this.log.trim(to);
    for (const [base, batch] of this.model) if (nextOffsetOf(readHeader(batch)) <= to) this.model.delete(base);
  }

  /** Removes some batches from a run of sealed segments. */
  async compact(): Promise<void> {
    const sealed = this.log
      .segments()
      .filter(({ state, baseOffset }) => state === "sealed" && baseOffset >= this.log.logStartOffset);
    const first = this.random.int(Math.max(1, sealed.length));
    const run = sealed.slice(first, first + 2);
    if (run.length === 0) return;
    const from = run[0]!.baseOffset;
    const to = run.at(-1)!.nextOffset;
    const kept = [...this.model]
      .filter(([base]) => base >= from && base < to && this.random.chance(0.7))
      .sort(([a], [b]) => a - b);
    const outputs =
      kept.length === 0
        ? []
        : [{ baseOffset: from, nextOffset: to, bytes: concat(kept.map(([, batch]) => batch)), sealedAt: this.now }];
    await this.log.replace(from, to, outputs);
    for (const base of [...this.model.keys()])
      if (base >= from && base < to && !kept.some(([known]) => known === base)) this.model.delete(base);
  }

  async check(): Promise<void> {
    const { logStartOffset, logEndOffset } = this.log;
    const expected = [...this.model.keys()]
      .filter((base) => nextOffsetOf(readHeader(this.model.get(base)!)) > logStartOffset)
      .sort((a, b) => a - b);
    const found: number[] = [];
    for (let offset = logStartOffset; offset < logEndOffset;) {
      const { bytes, nextOffset } = await this.log.read(
        offset,
        this.random.between(1, 20_000),
        logEndOffset,
        this.random.chance(0.2),
      );
      if (bytes.length === 0) break;
      for (const batch of splitBatches(bytes)) {
        const { baseOffset } = readHeader(batch);
        found.push(baseOffset);
        expect(batch.slice(16)).toEqual(this.model.get(baseOffset)!.slice(16));
      }
      offset = nextOffset;
    }
    expect(found).toEqual(expected);
  }
}

type State = {
  readonly storage: {
    readonly sql: { exec(query: string, ...bindings: unknown[]): Iterable<SqlRow> };
    transactionSync<T>(work: () => T): T;
  };
};

function run(seed: number, steps: number, plant?: string): Promise<{ fired: Record<string, number>; kept: number }> {
  const prefix = `model/${seed}${plant ?? ""}`;
  return runInDurableObject(objectOf(prefix), async (_: unknown, { storage }: State) => {
    const sql: Sql = {
      exec: (query, ...bindings) => storage.sql.exec(query, ...bindings),
      transaction: (work) => storage.transactionSync(work),
    };
    const random = new Random(seed);
    const world = new World(sql, prefix, random, plant);
    for (let step = 0; step < steps; step++) {
      world.now += 1_000_000;
      const choice = random.int(10);
      if (random.chance(0.2)) world.fault = (["before", "after", "refused", "delete"] as const)[random.int(4)]!;
      if (random.chance(0.2)) world.meanwhile = () => (random.chance(0.5) ? world.trim() : world.compact());
      if (choice < 5) await world.append();
      else if (choice === 5) await world.trim();
      else if (choice === 6) await world.compact();
      else if (choice === 7) world.reset();
      await world.archiver.run();
      await world.check();
    }
    world.fault = world.meanwhile = undefined;
    world.reset();
    for (let turn = 0; world.archiver.due !== undefined && turn < 200; turn++) {
      world.now += 20 * 60_000;
      await world.archiver.run();
    }
    await world.check();
    const kept = world.tables
      .kept()
      .map(({ key }) => key)
      .sort();
    const { objects } = await real.SEGMENTS.list({ prefix: `${prefix}/` });
    expect(objects.map(({ key }) => key).sort()).toEqual(kept);
    expect(world.log.segments().filter(({ state, batches }) => state === "sealed" && batches > 0).length).toBe(
      kept.length,
    );
    return { fired: world.fired, kept: kept.length };
  }) as never;
}

it("one run moves at most four segments, and says when it wants the next", () =>
  runInDurableObject(objectOf("model/bounded"), async (_: unknown, { storage }: State) => {
    const sql: Sql = {
      exec: (query, ...bindings) => storage.sql.exec(query, ...bindings),
      transaction: (work) => storage.transactionSync(work),
    };
    const world = new World(sql, "model/bounded", new Random(1), undefined);
    while (world.log.segments().length < 12) await world.append();
    const kept: number[] = [];
    for (; world.archiver.due !== undefined; kept.push(world.tables.kept().length)) {
      expect(world.archiver.due).toBe(world.now);
      await world.archiver.run();
    }
    const sealed = (): number => world.log.segments().filter(({ state }) => state === "sealed").length;
    expect(kept).toEqual([4, 8, sealed()]);
    // After each failure the pause doubles, also when the object sleeps in between.
    while (sealed() === kept.at(-1)) await world.append();
    for (const wait of [1_000, 2_000, 4_000]) {
      world.fault = "before";
      await world.archiver.run();
      world.reset();
      expect(world.archiver.due! - world.now).toBe(wait);
      world.now = world.archiver.due!;
    }
    await world.archiver.run();
    expect(world.tables.kept().length).toBe(sealed());
    await world.check();
  }));

describe("chunk store and archiver against a model", () => {
  it.each([2, 5, 6])("seed %i: whatever fails or happens meanwhile, what is read is what was written", async (seed) => {
    const { fired, kept } = await run(seed, 60);
    console.log(JSON.stringify({ seed, kept, ...fired }));
    expect(kept).toBeGreaterThan(0);
    for (const what of ["archive", "archive_failed", "archive_deleted", "meanwhile"])
      expect(fired[what] ?? 0).toBeGreaterThan(0);
  });

  it.each(["a bucket that forgets", "deletions that do nothing"])("planted bug: %s is found", async (plant) => {
    await expect(run(1, 60, plant)).rejects.toThrow();
  });
});
