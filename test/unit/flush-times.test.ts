/** How long a volume's flushes take: each is told once, only while somebody asks; and as OpenTelemetry's histogram. */
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import type { Tide, TideEvent } from "../../src/browser/api.ts";
import { endFlushes, nextFlushes } from "../../src/browser/worker/flush-times.ts";
import { TimedVolume } from "../../src/browser/worker/timed-volume.ts";
import { TidemarkError } from "../../src/errors.ts";
import { open } from "../../src/node/index.ts";
import { flushes, INSTRUMENT, observe } from "../../src/otel/index.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import type { Volume } from "../../src/store/volume.ts";
import { fails } from "../contract/check.ts";
import { endPages, leader, pageOver } from "./page-fixtures.ts";

const measured = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 3_600_000 });
const measuring = new MeterProvider({ readers: [reader] });
const meter = measuring.getMeter("test");
afterEach(endPages);
afterAll(() => measuring.shutdown());

/** Attributes and counts of the flushes so far. */
async function counted(): Promise<(readonly [object, number])[]> {
  measured.reset();
  await reader.forceFlush();
  return measured
    .getMetrics()
    .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics))
    .filter(({ descriptor }) => descriptor.name === INSTRUMENT.flush)
    .flatMap(({ dataPoints }) =>
      dataPoints.map(({ attributes, value }) => [attributes, (value as { count: number }).count] as const),
    );
}

const newVolume = (): MemoryVolume => new MemoryVolume({ slotBytes: 64 * 1024 });
/** As much of a store as is timed. */
const newStore = (): { volume: Volume } => ({ volume: newVolume() });
const isTimed = ({ volume }: { readonly volume: Volume }): boolean => volume instanceof TimedVolume;

describe("a store", () => {
  test("is timed from the first question to the end of the last observer; each flush is told once", async () => {
    const store = newStore();
    const { volume } = store;
    const [a, b] = [nextFlushes(store, "a"), nextFlushes(store, "b")];
    expect(isTimed(store)).toBe(true);
    for (let n = 0; n < 3; n++) await store.volume.flush([]);
    // The first goes to a, the second to b, the third waits for who asks next.
    expect([(await a).length, (await b).length, (await nextFlushes(store, "b")).length]).toEqual([1, 1, 1]);
    for (const { ms, failed } of [...(await a), ...(await b)]) expect([ms >= 0, failed]).toEqual([true, undefined]);
    const waiting = nextFlushes(store, "a");
    endFlushes("b");
    expect(isTimed(store)).toBe(true);
    endFlushes("a");
    expect([await waiting, store.volume === volume]).toEqual([[], true]);
    endFlushes("a");
    endFlushes("nobody");
  });

  test("is otherwise the volume itself", async () => {
    const store = newStore();
    void nextFlushes(store, "a");
    const timed = store.volume;
    await timed.addSlots(2);
    await timed.prepare(1);
    await timed.write(1, 5, Uint8Array.of(1, 2));
    await timed.handOver([1]);
    const read = new Uint8Array(3);
    expect([await timed.read(1, 5, read), ...read]).toEqual([3, 1, 2, 0]);
    expect([timed.slotCount, timed.slotBytes, timed.info.engine, await timed.checkAttached()]).toEqual([
      2,
      64 * 1024,
      "memory",
      true,
    ]);
    await timed.close();
    endFlushes("a");
  });

  test("a flush that fails fails as ever, and is told with its code", async () => {
    const store = newStore();
    store.volume.flush = () => Promise.reject(new TidemarkError("QUOTA_EXCEEDED", "full"));
    const next = nextFlushes(store, "a");
    await fails("QUOTA_EXCEEDED", store.volume.flush([]));
    expect((await next).map(({ failed }) => failed)).toEqual(["QUOTA_EXCEEDED"]);
    endFlushes("a");
  });

  test("asking anew ends what was asked before, also at a store that was opened again", async () => {
    const [before, after] = [newStore(), newStore()];
    const [first, second] = [nextFlushes(before, "a"), nextFlushes(before, "a")];
    expect(await first).toEqual([]);
    const third = nextFlushes(after, "a");
    expect([await second, isTimed(before), isTimed(after)]).toEqual([[], false, true]);
    await after.volume.flush([]);
    expect(await third).toHaveLength(1);
    endFlushes("a");
  });

  test("observers that ask no more are taken for gone", async () => {
    const store = newStore();
    const next = nextFlushes(store, "a");
    for (let n = 0; n < 10_001; n++) await store.volume.flush([]);
    expect([(await next).length, isTimed(store)]).toEqual([1, false]);
  });
});

describe("observe()", () => {
  test("measures the flushes of the leader, from whichever page, until it is ended", async () => {
    const leading = await leader(newVolume());
    const { store } = leading;
    const pages = [pageOver(leading), pageOver(leading)];
    const topic = pages[0]!.topic("orders");
    await topic.append({ value: 1 });
    expect([isTimed(store), await counted()]).toEqual([false, []]);
    let told: (event: TideEvent) => void = () => undefined;
    const on = ((listener: typeof told) => {
      told = listener;
      return () => undefined;
    }) as Tide["on"];
    const stops = pages.map(({ tide }) => observe({ ...tide, on } as never, { meter, attributes: { app: 1 } }));
    await expect.poll(() => isTimed(store), { interval: 1 }).toBe(true);
    await topic.append({ value: 2 });
    await expect.poll(counted, { interval: 1 }).not.toEqual([]);
    expect((await counted()).map(([attributes]) => attributes)).toEqual([{ app: 1, "tidemark.tide": "test" }]);
    // A store that was opened again has another volume: it is asked again.
    told({ type: "reopened", reason: "test" });
    for (const stop of stops) stop();
    for (const stop of stops) stop();
    await expect.poll(() => isTimed(store), { interval: 1 }).toBe(false);
  });

  test("a tide that is closed asks for no more, and its worker is told so", async () => {
    const store = newStore();
    const asked: boolean[] = [];
    const control = async (_: string, observer: string, isWanted: boolean): Promise<unknown> => {
      asked.push(isWanted);
      if (isWanted) return nextFlushes(store, observer);
      endFlushes(observer);
      return [];
    };
    const listeners = new Set<(event: TideEvent) => void>();
    const on = (listener: (event: TideEvent) => void): (() => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    };
    const stop = observe({ name: "closing", connection: { control }, on } as never, { meter });
    await expect.poll(() => isTimed(store), { interval: 1 }).toBe(true);
    for (const listener of [...listeners]) listener({ type: "closed", reason: "test" } as TideEvent);
    await expect.poll(() => isTimed(store), { interval: 1 }).toBe(false);
    stop();
    expect(asked).toEqual([true, false]);
  });

  test("measures the flushes of a tide in Node, until that is closed", async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-observed-"));
    try {
      const tide = await open(folder, { segmentBytes: 64 * 1024 });
      const stop = observe(tide, { meter });
      const topic = tide.topic<number>("orders");
      const ofThis = async () =>
        (await counted()).filter(([attributes]) => isDeepStrictEqual(attributes, { "tidemark.tide": tide.name }));
      // The first question may come behind the first flush.
      await expect.poll(async () => (await topic.append({ value: 1 }), ofThis()), { interval: 1 }).not.toEqual([]);
      await tide.close();
      stop();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("without flushes it asks for none; flushes() measures those of the edge", async () => {
    const { tide } = pageOver(await leader(newVolume()));
    const asked: unknown[] = [];
    const connection = { control: async (...given: unknown[]) => void asked.push(given) };
    observe({ ...tide, connection } as never, { meter, flushes: false })();
    expect(asked).toEqual([]);
    const tell = flushes({ meter });
    tell({ topic: "orders", ms: 5 });
    tell({ topic: "orders", ms: 7, failed: "Error" });
    const edge = { "messaging.system": "tidemark", "messaging.destination.name": "orders" };
    expect((await counted()).slice(-2)).toEqual([
      [edge, 1],
      [{ ...edge, "error.type": "Error" }, 1],
    ]);
    expect(() => flushes({ meter: 5 } as never)).toThrow("meter");
  });
});
