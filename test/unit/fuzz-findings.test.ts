/**
 * Bugs that fuzzing found, each as the shortest case that showed it: messages of a page that looped or were never
 * answered, messages of a worker that threw, structures with right checksums and impossible numbers, and segments whose
 * offsets span more than 31 bits.
 */
import { describe, expect, it } from "vitest";
import { PortClient } from "../../src/browser/port/port-client.ts";
import { type PortHost, PortServer } from "../../src/browser/port/port-server.ts";
import { TidemarkError } from "../../src/errors.ts";
import { SEGMENT_OFFSETS_MAX } from "../../src/kernel/types.ts";
import { Log } from "../../src/log/log.ts";
import { loadSnapshot } from "../../src/log/producer-snapshot.ts";
import { ProducerState } from "../../src/log/producer-state.ts";
import { stampBaseOffset } from "../../src/record/format.ts";
import { decodeBatch } from "../../src/record/record-batch.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { takeSnapshot } from "../../src/store/take-snapshot.ts";
import { fails } from "../contract/check.ts";
import { craft, utf8 } from "../contract/kernel-samples.ts";
import {
  decodeCatalog,
  encodeCatalog,
  makeImage,
  type PackedCatalog,
  resealProducers,
  SLOT_BYTES,
} from "../fuzz/stored-image.ts";
import { gzipped } from "../fuzz/seeds.ts";
import { batchOf, fixture, kernel } from "./log-fixtures.ts";

type Port = globalThis.MessagePort;

const hostOf = (log: Log): PortHost => ({
  manage: async () => undefined,
  readable: async () => ({ log, born: 1 }),
  writable: async () => ({ log, born: 1 }),
  appended: () => undefined,
  failed: () => undefined,
});

describe("data port", () => {
  const HOSTILE: readonly (readonly [string, object])[] = [
    ["maxBytes below the look-ahead: looped for ever", { op: "fetch", topic: "t", from: 0, maxBytes: -8192 }],
    ["maxBytes no number: looped for ever", { op: "fetch", topic: "t", from: 0, maxBytes: "9" }],
    ["maxBytes a fraction: said the store failed", { op: "fetch", topic: "t", from: 0, maxBytes: 0.5 }],
    ["unknown acks: never answered", { op: "append", topic: "t", acks: "all" }],
    ["unknown isolation: read what is not committed", { op: "fetch", topic: "t", from: 0, isolation: "x" }],
    ["no position: INTERNAL", { op: "resolve", topic: "t" }],
    ["a position in words: INTERNAL", { op: "resolve", topic: "t", position: "last" }],
    ["a bigint position: INTERNAL", { op: "resolve", topic: "t", position: { timestamp: 1n } }],
    ["a topic without words: INTERNAL", { op: "fetch", topic: { toString: 1 }, from: 0 }],
    ["an op without words: INTERNAL", { op: { toString: 1, valueOf: 1 }, topic: "t" }],
  ];

  it.each(HOSTILE)("%s", async (_, request) => {
    const made = await fixture();
    await made.log.append(batchOf(["a=1"]));
    const { port1, port2 } = new MessageChannel();
    new PortServer(port2 as Port, hostOf(made.log));
    const client = new PortClient(port1 as Port);
    await client.ready;
    const whole = "acks" in request ? { ...request, batch: batchOf(["b=2"]) } : request;
    expect((await fails("INVALID_ARGUMENT", client.call(whole as never))).kind).toBe("fix");
    // The worker still answers.
    expect(await client.call({ op: "resolve", topic: "t", position: "latest" })).toEqual({ offset: 1, born: 1 });
    client.fail(new TidemarkError("CLOSED", "end"));
  });

  it("shared bytes are refused, and a view counts with all that it keeps in memory", async () => {
    const made = await fixture();
    const { port1, port2 } = new MessageChannel();
    new PortServer(port2 as Port, hostOf(made.log));
    const client = new PortClient(port1 as Port);
    await client.ready;
    const shared = new Uint8Array(new SharedArrayBuffer(100));
    shared.set(batchOf(["a=1"]).subarray(0, 100));
    // Sent without the client, which would transfer the buffer: a shared one cannot be transferred.
    const receive = port1.onmessage!;
    const answer = new Promise<unknown>((resolve) => (port1.onmessage = ({ data }: MessageEvent) => resolve(data)));
    port1.postMessage({ id: 99, op: "append", topic: "t", batch: shared });
    expect(await answer).toMatchObject({ id: 99, error: { code: "INVALID_ARGUMENT" } });
    port1.onmessage = receive;
    await fails(
      "BACKPRESSURE",
      client.call({ op: "append", topic: "t", batch: new Uint8Array(33 * 1024 * 1024).subarray(0, 70) }),
    );
    client.fail(new TidemarkError("CLOSED", "end"));
  });

  it("wrong messages of a worker are dropped; an error's unknown code becomes INTERNAL", async () => {
    const { port1, port2 } = new MessageChannel();
    const client = new PortClient(port1 as Port);
    const receive = port1.onmessage as (event: { data: unknown }) => void;
    for (const data of [null, undefined, 5, "hello"]) receive({ data });
    const calls = [1, 2, 3].map(() => client.call({ op: "ready" }));
    receive({ data: { id: 1, error: { code: "toString", message: "x", details: {} } } });
    receive({ data: { id: 2, error: undefined } });
    receive({ data: { id: 3, error: { code: "CLOSED", message: { toString: 1 }, details: null } } });
    const kinds = await Promise.all(
      calls.map((call) => call.catch((thrown: TidemarkError) => `${thrown.code} ${thrown.kind}`)),
    );
    expect(kinds).toEqual(["INTERNAL report", "INTERNAL report", "CLOSED reopen"]);
    port2.close();
  });
});

describe("stored bytes", () => {
  /** A volume with a changed catalog, the same in both copies. */
  async function withCatalog(change: (catalog: PackedCatalog) => void): Promise<MemoryVolume> {
    const { slots } = await makeImage(kernel, true);
    const volume = new MemoryVolume({ slotBytes: SLOT_BYTES, slots: slots.length });
    const catalog = decodeCatalog(slots[0]!);
    change(catalog);
    for (const copy of [0, 1]) slots[copy]!.set(encodeCatalog(kernel, JSON.stringify(catalog), 999n));
    for (const [slot, bytes] of slots.entries()) await volume.write(slot, 0, bytes);
    return volume;
  }
  const open = (volume: MemoryVolume) => SegmentStore.open({ volume, kernel, now: () => 5 });

  it.each<[string, (catalog: PackedCatalog) => void]>([
    ["a segment that is no list", (catalog) => void (catalog.logs[0]!.segments = [5] as never)],
    ["a log that is none", (catalog) => void (catalog.logs[0] = null as never)],
    ["more bytes than a slot", (catalog) => void (catalog.logs[0]!.segments[0]![6] = 2 ** 40)],
    ["an end between two offsets", (catalog) => void (catalog.logs[1]!.segments[0]![5] = 0.5)],
    ["a slot far out", (catalog) => void (catalog.logs[0]!.segments[0]![0] = 2 ** 50)],
    ["slots without end", (catalog) => void (catalog.usedSlots = 2 ** 50)],
    ["an epoch beyond 31 bits", (catalog) => void (catalog.epoch = 2 ** 40)],
    ["an id of any length", (catalog) => void (catalog.id = "x".repeat(65))],
    ["an end before its segment", (catalog) => void (catalog.logs[0]!.end = [0, 0])],
    ["an end beyond its slot", (catalog) => void (catalog.logs[0]!.end[1] = 2 ** 40)],
    ["no end", (catalog) => void delete (catalog.logs[0] as { end?: unknown }).end],
    ["no segments", (catalog) => void (catalog.logs[0]!.segments = [])],
    [
      "a quarantined range that leads back",
      (catalog) =>
        void catalog.logs[0]!.quarantined.push({ from: 5, to: 3, slot: 2, position: 0, bytes: -1, reason: "" }),
    ],
  ])("a catalog with a good checksum and %s is CORRUPT_CATALOG", async (_, change) => {
    await fails("CORRUPT_CATALOG", withCatalog(change).then(open));
    await open(await withCatalog(() => undefined));
  });

  it("a producers' snapshot whose counts do not fit its bytes is not loaded", () => {
    const state = new ProducerState(10);
    const header = { producerId: 7, producerEpoch: 0, baseSequence: 0, recordCount: 1, crc: 1 };
    state.record(header as never, 0);
    const snapshot = takeSnapshot(state, kernel, 1000);
    for (const [at, value] of [
      [4, 2 ** 32 - 1],
      [4, 2],
      [26, 0xffff_0000],
      [26, 0],
    ] as const) {
      const bytes = snapshot.slice();
      new DataView(bytes.buffer).setUint32(at, value);
      resealProducers(kernel, bytes);
      const loaded = new ProducerState(10);
      expect([loadSnapshot(loaded, kernel, bytes, 9), loaded.size], `${value} at ${at}`).toEqual([false, 0]);
    }
    expect(loadSnapshot(new ProducerState(10), kernel, snapshot, 9)).toBe(true);
  });

  it("a compressed batch's numbers are checked, whether or not its checksum is", async () => {
    const batch = gzipped(
      kernel.encodeBatch({
        blob: new Uint8Array(0),
        lengths: Int32Array.of(-1, -1, 0),
        timestamps: Float64Array.of(5),
        count: 1,
        attributes: 0,
        producerId: -1,
        producerEpoch: -1,
        baseSequence: -1,
      }).bytes,
    );
    stampBaseOffset(batch, Number.MAX_SAFE_INTEGER);
    await fails("CORRUPT_RANGE", Promise.resolve(decodeBatch(kernel, batch, { checkCrc: false })));
  });
});

it("settings of the wrong type are refused before they count", async () => {
  const wrong: readonly Record<string, unknown>[] = [
    { retention: null },
    { retention: 5 },
    { compaction: true },
    { waitersMax: "9" },
    { queueBytesMax: {} },
    { recordBytesMax: Number.NaN },
  ];
  for (const settings of wrong) await fails("INVALID_ARGUMENT", fixture(settings as never));
});

describe("2^31 offsets in one segment", () => {
  /** A batch of one record that spans any number of offsets. */
  const wide = (baseOffset: number, offsets: number, valueBytes = 1) =>
    craft({
      baseOffset,
      records: [{ key: utf8(`k${baseOffset}`), value: new Uint8Array(valueBytes) }],
      count: 1,
      lastOffsetDelta: offsets - 1,
      baseTimestamp: 1000,
      maxTimestamp: 1000,
    });

  it("an append that would pass them rolls", async () => {
    const made = await fixture();
    const store = await made.store.log("wide-0");
    const half = SEGMENT_OFFSETS_MAX / 2;
    await store.append([wide(0, half), wide(half, half)]);
    expect(store.segments()).toHaveLength(1);
    await store.append([wide(2 * half, half), wide(3 * half, 10)]);
    await store.flush();
    expect(store.segments().map(({ baseOffset }) => baseOffset)).toEqual([0, 2 * half]);
    expect((await store.read(3 * half + 5, 1, store.logEndOffset)).nextOffset).toBe(3 * half + 10);
  });

  it("compaction does not join such segments", async () => {
    const made = await fixture();
    const store = await made.store.log("wide-0");
    const size = SEGMENT_OFFSETS_MAX - 100;
    for (let i = 0; i < 3; i++) {
      // The first segment is large, so by their bytes the other two could be joined.
      await store.append([wide(i * size, size, i === 0 ? 1000 : 1)]);
      await store.roll();
    }
    const log = await Log.open({ store, kernel, clock: made.clock, settings: { compaction: {} } });
    await log.clean();
    expect(made.store.poisoned).toBe(false);
    expect(log.segments().map(({ baseOffset }) => baseOffset)).toEqual([0, size, 2 * size, 3 * size]);
  });
});
