/** `tidemark/otel` with OpenTelemetry's own SDK, over real topics of a page. */
import { context, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import * as z from "zod";
import type { TideEvent } from "../../src/browser/index.ts";
import { ATTRIBUTE, INSTRUMENT, observe, processing, telemetry } from "../../src/otel/index.ts";
import { fails } from "../contract/check.ts";
import { endPages, newPage } from "./page-fixtures.ts";

afterEach(endPages);
const spans = new InMemorySpanExporter();
const tracing = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] });
const measured = new InMemoryMetricExporter(AggregationTemporality.DELTA);
const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 3_600_000 });
const measuring = new MeterProvider({ readers: [reader] });
const options = { tracer: tracing.getTracer("test"), meter: measuring.getMeter("test") };
beforeAll(() => void context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable()));
afterAll(async () => {
  context.disable();
  await Promise.all([tracing.shutdown(), measuring.shutdown()]);
});

async function all<R>(records: AsyncIterable<R>): Promise<R[]> {
  const found: R[] = [];
  for await (const record of records) found.push(record);
  return found;
}
const finished = () => {
  const all = spans.getFinishedSpans();
  spans.reset();
  return all;
};
/** By the instrument's name: how many values each set of attributes got. */
async function histograms(): Promise<Record<string, { attributes: object; count: number; sum: number }[]>> {
  await reader.forceFlush();
  const found: Record<string, { attributes: object; count: number; sum: number }[]> = {};
  for (const { scopeMetrics } of measured.getMetrics())
    for (const { metrics } of scopeMetrics)
      for (const { descriptor, dataPoints } of metrics)
        for (const { attributes, value } of dataPoints) {
          const { count, sum = 0 } = value as { count: number; sum?: number };
          (found[descriptor.name] ??= []).push({ attributes, count, sum });
        }
  measured.reset();
  return found;
}

test("an append is a producer's span, its context in the headers; reads link to it; times are measured", async () => {
  const { topic } = await newPage();
  const orders = topic("orders", { schema: z.number(), use: [telemetry(options)] });
  const parent = options.tracer.startSpan("request");
  await context.with(trace.setSpan(context.active(), parent), async () => {
    await orders.append({ value: 1, headers: { mine: "kept" } });
    await orders.appendBatch([{ value: 2 }, { value: 3 }]);
  });
  parent.end();
  const [one, two] = finished();
  expect([one!.name, one!.kind, one!.parentSpanContext?.spanId]).toEqual([
    "append orders",
    SpanKind.PRODUCER,
    parent.spanContext().spanId,
  ]);
  expect(one!.attributes).toEqual({
    "messaging.system": "tidemark",
    "messaging.destination.name": "orders",
    "messaging.operation.name": "append",
    "messaging.operation.type": "send",
    "tidemark.acks": "flushed",
    "tidemark.offset": 0,
  });
  expect(two!.attributes).toMatchObject({ "messaging.batch.message_count": 2, "tidemark.offset": 2 });
  const read = await all(orders.read());
  const { traceId, spanId } = one!.spanContext();
  expect({ ...read[0]!.headers }).toEqual({ mine: "kept", traceparent: `00-${traceId}-${spanId}-01` });
  const reads = finished();
  expect(reads.map(({ name, kind, attributes }) => [name, kind, attributes[ATTRIBUTE.batchCount]])).toEqual([
    ["read orders", SpanKind.CLIENT, 1],
    ["read orders", SpanKind.CLIENT, 2],
  ]);
  // Both records of the batch have the context of one span.
  expect(reads.map(({ links }) => links.map((link) => link.context.spanId))).toEqual([
    [spanId],
    [two!.spanContext().spanId],
  ]);
  await orders.append({ value: 4 }, { acks: "accepted" });
  finished();
  const found = await histograms();
  // Until the records were durable, and until they were only queued, are told apart.
  expect(found[INSTRUMENT.append]).toEqual([
    { attributes: expect.objectContaining({ "tidemark.acks": "flushed" }), count: 2, sum: expect.any(Number) },
    { attributes: expect.objectContaining({ "tidemark.acks": "accepted" }), count: 1, sum: expect.any(Number) },
  ]);
  expect(found[INSTRUMENT.append]![0]!.sum).toBeGreaterThan(0);
});

test("a failure is the span's and the measurement's error.type; what does not fit never gets there", async () => {
  const { topic } = await newPage();
  const orders = topic("orders", { schema: z.string(), use: [telemetry(options)], recordBytesMax: 300 });
  await fails("RECORD_TOO_LARGE", orders.append({ value: "x".repeat(500) }));
  await fails("SCHEMA_MISMATCH", orders.append({ value: 5 as never }));
  const [span, ...more] = finished();
  expect(more).toEqual([]);
  expect(span!.status).toEqual({ code: SpanStatusCode.ERROR, message: "RECORD_TOO_LARGE" });
  expect(span!.attributes[ATTRIBUTE.errorType]).toBe("RECORD_TOO_LARGE");
  expect(span!.events.map(({ name }) => name)).toEqual(["exception"]);
  expect((await histograms())[INSTRUMENT.append]).toEqual([
    { attributes: expect.objectContaining({ "error.type": "RECORD_TOO_LARGE" }), count: 1, sum: expect.any(Number) },
  ]);
});

test("processing: a consumer's span, linked, active, ended by an error too; no context, no link", async () => {
  const { topic } = await newPage();
  const orders = topic<number>("orders", { use: [telemetry({ ...options, reads: false })] });
  await orders.append({ value: 1 });
  for (const traceparent of [
    "",
    "x",
    `00-${"0".repeat(32)}-${"1".repeat(16)}-01`,
    `ff-${"1".repeat(32)}-${"1".repeat(16)}-01`,
  ])
    await topic<number>("orders").append({ value: 2, headers: { traceparent } });
  await topic<number>("orders").append({
    value: 3,
    headers: { traceparent: `cc-${"a".repeat(32)}-${"b".repeat(16)}-00-later`, tracestate: "a=1,b=2" },
  });
  const [appended] = finished();
  const broken = new Error("broken");
  const links: unknown[] = [];
  for (const record of await all(orders.read())) {
    const work = (): string => {
      if (record.offset === 1) throw broken;
      return trace.getActiveSpan()!.spanContext().spanId;
    };
    const done = processing("orders", record, work, options);
    if (record.offset === 1) await expect(done).rejects.toBe(broken);
    const active = record.offset === 1 ? undefined : await done;
    const [span, ...more] = finished();
    expect([more.length, span!.name, span!.kind]).toEqual([0, "process orders", SpanKind.CONSUMER]);
    if (active !== undefined) expect(span!.spanContext().spanId).toBe(active);
    else expect(span!.attributes[ATTRIBUTE.errorType]).toBe("Error");
    links.push(span!.links.map((link) => link.context.spanId));
    if (record.offset === 5) expect(span!.links[0]!.context.traceState?.get("b")).toBe("2");
  }
  expect(links).toEqual([[appended!.spanContext().spanId], [], [], [], [], ["b".repeat(16)]]);
});

test("sync lag lasts from the ack to the record's place, a fail-over from the loss to the next leader", async () => {
  let placed!: () => void;
  const committed = new Promise<void>((resolve) => (placed = resolve));
  const ack = { offset: 2 ** 52, timestamp: 1, acks: "flushed" as const, duplicate: false, committed };
  const step = { operation: "append", topic: "orders", records: [], acks: "flushed" } as const;
  await telemetry(options)(step, () => Promise.resolve(ack));
  expect((await histograms())[INSTRUMENT.syncLag]).toBeUndefined();
  placed();
  await committed;
  expect((await histograms())[INSTRUMENT.syncLag]).toMatchObject([{ count: 1 }]);

  const listeners = new Set<(event: TideEvent) => void>();
  const on = ((listener: (event: TideEvent) => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }) as never;
  const tell = (event: TideEvent): void => listeners.forEach((listener) => listener(event));
  const stop = observe({ name: "shop", on }, options);
  const change = { type: "leaderchange", role: "leader", epoch: 2, via: "worker" } as const;
  tell(change);
  tell({ type: "leaderlost", reason: "gone" });
  tell({ type: "leaderlost", reason: "gone" });
  tell(change);
  expect((await histograms())[INSTRUMENT.failOver]).toEqual([
    { attributes: { "tidemark.tide": "shop", "tidemark.via": "worker" }, count: 1, sum: expect.any(Number) },
  ]);
  stop();
  expect(listeners.size).toBe(0);
});

test("the app's own propagator goes along", async () => {
  propagation.setGlobalPropagator({
    inject: (_, carrier, setter) => setter.set(carrier, "x-own", "1"),
    extract: (into) => into,
    fields: () => ["x-own"],
  });
  const { topic } = await newPage();
  const orders = topic<number>("orders", { use: [telemetry(options)] });
  await orders.append({ value: 1 });
  const [record] = await all(orders.read());
  propagation.disable();
  expect(Object.keys(record!.headers)).toEqual(["x-own", "traceparent"]);
  finished();
});
