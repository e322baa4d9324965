/**
 * Compaction at the edge against a model, over Node's SQLite: seeded runs of appends, rolls, compaction in portions,
 * segments that move to object storage, forks that forbid compaction, and power cuts at any SQL statement. After each
 * step a reader must get the same newest values as the model, and each offset must have the record that was appended
 * there, or none.
 */
import { describe, expect, it } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { Archive } from "../../worker/store/segment-archive.ts";
import { ArchiveTables } from "../../worker/store/archive-tables.ts";
import { Archiver } from "../../worker/log-object/archiver.ts";
import { type Bucket, bucketSource } from "../../worker/store/bucket.ts";
import { Compaction } from "../../worker/log-object/compaction-schedule.ts";
import type { Sql } from "../../worker/store/sql.ts";
import { longRead } from "../../worker/stream/streamed-read.ts";
import { Stream, type StreamHost } from "../../worker/stream/stream.ts";
import type { StreamConfig } from "../../worker/stream/stream-config.ts";
import { Random } from "../simulation/prng.ts";
import { releaseKernel } from "../support/kernels.ts";
import { DyingSql, nodeSql } from "../support/node-sql.ts";
import { retryIn } from "../support/retry.ts";
import { STREAM_CONFIG } from "../support/stream-config.ts";

const kernel = await releaseKernel();
const encoder = new TextEncoder();
const text = (bytes: Uint8Array | null): string | null => (bytes === null ? null : new TextDecoder().decode(bytes));
const PRODUCER = 7;
const CONFIG: StreamConfig = { ...STREAM_CONFIG, compaction: { tombstoneRetentionMs: 60_000 } };

interface Kept {
  readonly key: string | null;
  readonly value: string | null;
}

function memoryBucket(): Bucket & { readonly objects: Map<string, Uint8Array> } {
  const objects = new Map<string, Uint8Array>();
  return {
    objects,
    put: async (key, value) => (objects.has(key) ? null : (objects.set(key, value.slice()), {})),
    get: async (key, options) => {
      const found = objects.get(key);
      if (!found) return null;
      const { offset, length } = options?.range ?? { offset: 0, length: found.length };
      return {
        size: found.length,
        arrayBuffer: async () => found.slice(offset, offset + length).buffer as ArrayBuffer,
      };
    },
    delete: async (keys) => keys.forEach((key) => objects.delete(key)),
  };
}

class World {
  readonly inner: Sql = nodeSql();
  readonly random: Random;
  readonly bucket = memoryBucket();
  readonly model: Kept[] = [];
  readonly fired: Record<string, number> = {};
  sql!: DyingSql;
  stream!: Stream;
  compaction!: Compaction;
  archiver!: Archiver;
  now = 1_764_000_000_000;
  keys = 0;
  sequence = 0;
  last: { readonly batch: Uint8Array; readonly baseOffset: number } | undefined;
  held: Map<number, Kept> | undefined;
  canStartKernel = true;

  constructor(
    seed: number,
    readonly plant?: "no rollback" | "no hold",
  ) {
    this.random = new Random(seed, 0x6564);
  }

  count(what: string, by = 1): void {
    this.fired[what] = (this.fired[what] ?? 0) + by;
  }

  async start(): Promise<void> {
    const sql = (this.sql = new DyingSql(this.inner, this.plant === "no rollback"));
    const host: StreamHost = {
      sql,
      kernel,
      archive: new Archive(bucketSource(this.bucket), kernel),
      now: () => this.now,
      breathe: () => new Promise((resolve) => setImmediate(resolve)),
      readSource: () => Promise.reject(new Error("no source")),
      onChange: () => {},
      onSealed: () => {},
      abort: () => void (sql.isDead = true),
    };
    const stream = (this.stream = (await Stream.load(host)) ?? (await Stream.create(host, CONFIG)));
    if (this.plant === "no hold") Object.defineProperty(stream, "isHeld", { get: () => false });
    const current = () => (this.stream === stream ? stream : undefined);
    const event = (name: string, fields: Record<string, unknown>): void =>
      this.count(name, name === "compaction" ? Number(fields["records"]) : 1);
    this.compaction = new Compaction({
      stream: current,
      kernel: () => (this.canStartKernel ? Promise.resolve(kernel) : Promise.reject(new Error("no kernel"))),
      now: () => this.now,
      hasBucket: () => true,
      event,
      retry: retryIn(sql, () => this.now, "compaction"),
      abort: () => void (sql.isDead = true),
    });
    this.archiver = new Archiver({
      bucket: () => this.bucket,
      tables: new ArchiveTables(sql),
      kernel: async () => kernel,
      now: () => this.now,
      retry: retryIn(sql, () => this.now, "archive"),
      event,
      log: () => current()?.store,
      newKey: async () => `k${this.keys++}`,
      abort: () => void (sql.isDead = true),
    });
  }

  async append(): Promise<void> {
    const { random } = this;
    const records: Kept[] = Array.from({ length: random.between(1, 6) }, (_, i) => ({
      key: random.chance(0.15) ? null : `k${random.int(12)}`,
      value: random.chance(0.15) ? null : `v${this.model.length + i}`,
    }));
    const builder = new BatchBuilder(kernel);
    for (const { key, value } of records)
      builder.tryAppend({
        key: key === null ? null : encoder.encode(key),
        value: value === null ? null : encoder.encode(value),
        timestamp: this.now,
      });
    const batch = builder.build({ producerId: PRODUCER, producerEpoch: 0, baseSequence: this.sequence });
    if (random.chance(0.1)) this.sql.after = 0;
    for (;;) {
      try {
        const [result] = await this.stream.appendBatches([batch.slice()], undefined);
        expect(result!.baseOffset).toBe(this.model.length);
        break;
      } catch (thrown) {
        if (!this.sql.isDead) throw thrown;
        this.count("append cut off");
        await this.start();
      }
    }
    this.last = { batch, baseOffset: this.model.length };
    this.sequence += records.length;
    this.model.push(...records);
  }

  /** Sends the producer's newest batch again. It must be a duplicate, also when compaction has removed its records. */
  async repeat(): Promise<void> {
    if (!this.last) return;
    const [result] = await this.stream.appendBatches([this.last.batch.slice()], undefined);
    expect(result).toMatchObject({ duplicate: true, baseOffset: this.last.baseOffset });
    this.count("repeated");
  }

  /** Runs `work`. Sometimes the power goes in the middle of it. */
  async mayDie(what: string, work: () => Promise<unknown>): Promise<void> {
    if (this.random.chance(0.35)) this.sql.after = this.random.int(14);
    await work().catch((thrown: unknown) => {
      if (!this.sql.isDead) throw thrown;
    });
    if (this.sql.isDead) {
      this.count(`${what} cut off`);
      await this.start();
    }
    this.sql.after = undefined;
  }

  async step(): Promise<void> {
    const { random } = this;
    this.now += random.int(random.chance(0.1) ? 100_000 : 3_000);
    const dice = random.int(100);
    if (dice < 40) return this.append();
    if (dice < 45) return this.repeat();
    if (dice < 62) return this.mayDie("roll", () => this.stream.log.roll());
    if (dice < 80) return this.mayDie("compaction", () => this.compaction.run());
    if (dice < 90) return this.mayDie("archive", () => this.archiver.run());
    if (dice < 94) return this.start();
    if (this.held) {
      this.held = undefined;
      return this.stream.forks.remove("child");
    }
    this.stream.forks.add("child", "0000000a");
    this.held = await this.all();
    this.count("held");
  }

  async all(): Promise<Map<number, Kept>> {
    const found = new Map<number, Kept>();
    const { start, tail } = this.stream;
    for (let at = start; at < tail;) {
      const { bytes, nextOffset } = await this.stream.readBatches(at, tail, 700);
      expect(nextOffset, "a read moves on").toBeGreaterThan(at);
      for (const each of splitBatches(bytes)) {
        const batch = await decodeBatch(kernel, each);
        for (let i = 0; i < batch.count; i++)
          if (batch.offsetAt(i) >= at)
            found.set(batch.offsetAt(i), { key: text(batch.keyAt(i)), value: text(batch.valueAt(i)) });
      }
      at = nextOffset;
    }
    return found;
  }

  /** Reads everything. Returns what is wrong with it, or undefined. */
  async verdict(): Promise<string | undefined> {
    const found = await this.all();
    for (const [offset, kept] of found)
      if (JSON.stringify(kept) !== JSON.stringify(this.model[offset])) return `offset ${offset} holds something else`;
    const newest = new Map(this.model.flatMap(({ key }, offset) => (key === null ? [] : [[key, offset] as const])));
    for (const [offset, { key, value }] of this.model.entries()) {
      const mustBeThere = key === null || (newest.get(key) === offset && value !== null) || this.held?.has(offset);
      if (mustBeThere && !found.has(offset)) return `offset ${offset} is gone`;
    }
    const fold = (records: Iterable<Kept>): string => {
      const state = new Map<string, string>();
      for (const { key, value } of records)
        if (key !== null && value === null) state.delete(key);
        else if (key !== null) state.set(key, value!);
      return JSON.stringify([...state].sort());
    };
    return fold([...found].sort(([a], [b]) => a - b).map(([, kept]) => kept)) === fold(this.model)
      ? undefined
      : "a reader comes to other values";
  }

  async run(steps: number): Promise<string | undefined> {
    await this.start();
    for (let i = 0; i < steps; i++) {
      await this.step();
      const wrong = await this.verdict();
      if (wrong !== undefined) return `step ${i}: ${wrong}`;
    }
    return undefined;
  }

  /**
   * Lets compaction finish without disturbance. Then below the mark each key must occur once, and no due tombstone may
   * be left.
   */
  async settle(): Promise<void> {
    if (this.held) this.stream.forks.remove("child");
    this.held = undefined;
    await this.stream.log.roll();
    for (let turn = 0; turn < 20; turn++) {
      this.now += 130_000;
      await this.compaction.run();
      await this.archiver.run();
    }
    expect(this.compaction.due).toBeUndefined();
    const { to } = JSON.parse(String(this.stream.tables.meta("compaction"))) as { to: number };
    const below = [...(await this.all())].filter(([offset, { key }]) => offset < to && key !== null);
    expect(new Set(below.map(([, { key }]) => key)).size, "each key once").toBe(below.length);
    expect(below.filter(([, { value }]) => value === null)).toEqual([]);
    expect(this.bucket.objects.size).toBe(this.stream.log.segments().length - 1);
  }
}

describe("compaction at the edge", () => {
  it("whatever happens in between, readers get the newest values, and what is due is removed", async () => {
    const total: Record<string, number> = {};
    for (let seed = 1; seed <= 25; seed++) {
      const world = new World(seed);
      expect([seed, await world.run(160)]).toEqual([seed, undefined]);
      await world.settle();
      expect([seed, await world.verdict()]).toEqual([seed, undefined]);
      for (const [what, count] of Object.entries(world.fired)) total[what] = (total[what] ?? 0) + count;
    }
    console.log(`compaction at the edge, 25 seeds: ${JSON.stringify(total)}`);
    expect(Object.keys(total)).toEqual(
      expect.arrayContaining([
        "append cut off",
        "archive",
        "archive cut off",
        "archive_deleted",
        "roll cut off",
        "held",
      ]),
    );
    expect(total["compaction"]).toBeGreaterThan(500);
    expect(total["compaction cut off"]).toBeGreaterThan(20);
  });

  it.each(["no rollback", "no hold"] as const)(
    "a planted bug is seen: %s",
    async (plant) => {
      for (let seed = 1; seed <= 25; seed++) {
        const seen = await new World(seed, plant).run(160).catch((thrown: unknown) => String(thrown));
        if (seen !== undefined) return;
      }
      throw new Error("no seed found the planted bug");
    },
    60_000,
  );
});

describe("a pass that fails", () => {
  it("waits, each time longer, also when the object sleeps in between", async () => {
    const world = new World(1);
    await world.start();
    for (let i = 0; i < 8; i++) {
      await world.append();
      await world.stream.log.roll();
    }
    expect(world.compaction.due).toBe(world.now);
    for (const pause of [1_000, 2_000, 4_000]) {
      world.canStartKernel = false;
      await world.compaction.run();
      world.canStartKernel = true;
      await world.start();
      expect(world.compaction.due).toBe(world.now + pause);
      await world.compaction.run();
      expect(world.fired["compaction"]).toBeUndefined();
      world.now += pause;
    }
    await world.compaction.run();
    expect(world.fired["compaction_failed"]).toBe(3);
    expect(world.fired["compaction"]).toBeDefined();
    // The next pass is due when its tombstones are.
    expect(world.compaction.due ?? Infinity).toBeGreaterThan(world.now + 60_000);
  });
});

describe("a long answer", () => {
  it.each(["values", "batches"] as const)(
    "of %s continues when compaction has joined the planned rows, and sends no record twice",
    async (form) => {
      const world = new World(1);
      await world.start();
      const { stream } = world;
      const expected: string[] = [];
      for (let i = 0; i < 24; i++) {
        const value = `${i};`.padEnd(200_000, ".");
        const builder = new BatchBuilder(kernel);
        builder.tryAppend({ key: encoder.encode(`once ${i}`), value: encoder.encode(value), timestamp: 1 });
        await stream.appendBatches([builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 })], undefined);
        expected.push(value);
        // Segments of one record, and a larger one: compaction may join segments up to the size of the largest.
        if (i < 6 || i === 23) await stream.log.roll();
      }
      const found = longRead(stream, "start", form)!;
      expect(found.nextOffset).toBe(24);
      // Compaction runs between the plan and the read of its first row: the joined row begins where that row began.
      await world.compaction.run();
      expect(stream.log.segments().length).toBe(3);
      expect(stream.store.swaps).toBeGreaterThan(0);
      const read: Uint8Array[] = [];
      for await (const parts of found.rest!)
        for (const part of parts)
          if (form === "values") read.push(part);
          else for (const batch of splitBatches(part)) read.push((await decodeBatch(kernel, batch)).valueAt(0)!);
      expect(read.map((value) => text(value)!.slice(0, 4))).toEqual(expected.map((value) => value.slice(0, 4)));
    },
  );
});

describe("a stream that was deleted, and made anew", () => {
  it("is not written by code that still holds the old stream", async () => {
    const world = new World(1);
    await world.start();
    for (let i = 0; i < 5; i++) await world.append();
    await world.stream.log.roll();
    const old = world.stream;
    // Deletes the stream's tables, as its object does.
    for (const table of ["chunk", "segment", "damage", "meta"]) void [...world.inner.exec(`DROP TABLE ${table}`)];
    old.store.end();
    Object.assign(world, { sequence: 0, last: undefined });
    world.model.length = 0;
    await world.start();
    await world.append();
    const rows = () =>
      JSON.stringify(
        [...world.inner.exec("SELECT key, value FROM meta")].concat([
          ...world.inner.exec("SELECT base_offset, next_offset FROM chunk"),
        ]),
      );
    const before = rows();
    const builder = new BatchBuilder(kernel);
    builder.tryAppend({ key: null, value: encoder.encode("late"), timestamp: 1 });
    await expect(
      old.appendBatches([builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 })], undefined),
    ).rejects.toMatchObject({ code: "CLOSED" });
    await expect(
      old.append({
        body: encoder.encode("late"),
        contentType: "text/plain",
        closing: false,
        producer: undefined,
        seq: undefined,
        ifEnd: undefined,
      }),
    ).rejects.toMatchObject({ code: "CLOSED" });
    await expect(old.log.trim(1)).rejects.toMatchObject({ code: "CLOSED" });
    old.save({ closed: true });
    expect(rows()).toBe(before);
    expect(await world.verdict()).toBeUndefined();
  });
});
