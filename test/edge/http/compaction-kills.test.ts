/**
 * kill -9 of workerd while it compacts. Segments and portions are small, segments move to object storage and back, and
 * tombstones are removed at once. A reader of the whole log must end with the values that were acknowledged last, and
 * must get each offset once.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import { decodeBatch, splitBatches } from "../../../src/record/record-batch.ts";
import { Random } from "../../simulation/prng.ts";
import { releaseKernel } from "../../support/kernels.ts";
import type { PlantedBug } from "../../support/planted-bug.ts";
import { R2Server } from "../r2-server.ts";
import { RawWorkerd } from "../raw-workerd.ts";
import { smallSegments } from "../small-segments.ts";

const kernel = await releaseKernel();
const BATCHES = "application/vnd.tidemark.batches";
const KEYS = 50;
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const SMALL: readonly PlantedBug[] = [
  smallSegments(64),
  {
    name: "small portions",
    file: "worker/log-object/compaction-schedule.ts",
    find: "const PORTION_BYTES = 16 * 1024 * 1024;",
    replace: "const PORTION_BYTES = 128 * 1024;",
  },
];

type Values = Map<string, string>;

class Victim {
  readonly counts: Record<string, number> = { kills: 0, repeated: 0, duplicates: 0 };
  readonly values: Values = new Map();
  #sequence = 0;

  constructor(
    readonly worker: RawWorkerd,
    readonly url: string,
  ) {}

  /** Posts one record, again until it is in the log. */
  async write(key: string, value: string | null): Promise<void> {
    const builder = new BatchBuilder(kernel);
    builder.tryAppend({
      key: encoder.encode(key),
      value: value === null ? null : encoder.encode(value),
      timestamp: 1_000,
    });
    const body = builder.build({ producerId: 9, producerEpoch: 0, baseSequence: this.#sequence });
    for (let tries = 0; ; tries++) {
      const response = await fetch(this.url, {
        method: "POST",
        headers: { "content-type": BATCHES },
        body: body as BodyInit,
        signal: AbortSignal.timeout(5_000),
      }).catch(() => undefined);
      if (response?.status === 200) {
        const { appended } = (await response.json()) as { appended: { baseOffset: number; duplicate: boolean }[] };
        expect(appended[0]!.baseOffset).toBe(this.#sequence++);
        if (appended[0]!.duplicate) this.counts["duplicates"]!++;
        if (value === null) this.values.delete(key);
        else this.values.set(key, value);
        return;
      }
      if (tries > 1_000) throw new Error(`still not taken after 1,000 tries; the last status was ${response?.status}`);
      this.counts["repeated"]!++;
      await sleep(10);
    }
  }

  /** Reads the whole log. Returns the value of each key, and the number of records. */
  async read(): Promise<{ readonly values: Values; readonly records: number }> {
    const values: Values = new Map();
    let records = 0;
    let last = -1;
    for (let offset = "-1"; ;) {
      const response = await fetch(`${this.url}?offset=${offset}`, { headers: { accept: BATCHES } });
      expect(response.status).toBe(200);
      const from = offset === "-1" ? 0 : Number(offset.slice(0, 16));
      for (const bytes of splitBatches(new Uint8Array(await response.arrayBuffer()))) {
        const batch = await decodeBatch(kernel, bytes);
        for (let i = 0; i < batch.count; i++) {
          if (batch.offsetAt(i) < from) continue;
          expect(batch.offsetAt(i)).toBeGreaterThan(last);
          last = batch.offsetAt(i);
          records++;
          const [key, value] = [decoder.decode(batch.keyAt(i)!), batch.valueAt(i)];
          if (value === null) values.delete(key);
          else values.set(key, decoder.decode(value));
        }
      }
      offset = response.headers.get("stream-next-offset")!;
      if (response.headers.get("stream-up-to-date") === "true") return { values, records };
    }
  }
}

async function run(seed: number, records: number, plants: readonly PlantedBug[] = []) {
  const directory = mkdtempSync(path.join(os.tmpdir(), "tidemark-compaction-"));
  const r2 = await R2Server.start(new Random(seed, 0x72));
  const worker = await RawWorkerd.create({ directory, r2Port: r2.port, plants: [...SMALL, ...plants] });
  await worker.start();
  try {
    const victim = new Victim(worker, `${worker.url}/v1/stream/values`);
    const headers = {
      "content-type": "text/plain",
      "tidemark-compaction": "key",
      "tidemark-compaction-tombstone-seconds": "0",
    };
    expect((await fetch(victim.url, { method: "PUT", headers })).status).toBe(201);
    let isOver = false;
    const killing = (async () => {
      // The kill must come at any point, so there is no event to wait for.
      for (const random = new Random(seed, 0x6b); !isOver; victim.counts["kills"]!++) {
        await sleep(random.between(30, 300));
        await worker.kill();
        await worker.start();
      }
    })();
    const random = new Random(seed);
    for (let i = 0; i < records; i++)
      await victim.write(
        `k${random.int(KEYS)}`,
        random.chance(0.1) ? null : `${i};`.padEnd(50 + random.int(2_000), "."),
      );
    isOver = true;
    await killing;
    const found = await victim.read();
    const same = JSON.stringify([...found.values].sort()) === JSON.stringify([...victim.values].sort());
    return {
      seed,
      written: records,
      read: found.records,
      keys: found.values.size,
      same,
      ...victim.counts,
      ...r2.counts,
    };
  } finally {
    await worker.kill();
    r2.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

test("kill -9 while it compacts: a reader ends with the values that were acknowledged last", async () => {
  const found = await run(31, 800);
  console.log(JSON.stringify(found));
  expect(found).toMatchObject({ same: true });
  expect(found["kills" as never]).toBeGreaterThan(5);
  expect(found.read).toBeLessThan(found.written / 2);
});

test("planted bug: compaction keeps the oldest record of each key, and the reader ends with other values", async () => {
  const oldest = {
    name: "the oldest stays",
    file: "src/log/compaction.ts",
    find: "this.#newest.set(key, batch!.offsetAt(i));",
    replace: "if (this.#newest.get(key) === undefined) this.#newest.set(key, batch!.offsetAt(i));",
  };
  expect((await run(32, 400, [oldest])).same).toBe(false);
});
