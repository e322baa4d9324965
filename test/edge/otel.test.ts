/** `tidemark/otel` inside workerd, with OpenTelemetry's own SDK, over real log objects. */
import { env, SELF } from "cloudflare:test";
import { SpanKind, SpanStatusCode } from "@opentelemetry/api";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { afterEach, beforeEach, expect, it } from "vitest";
import { connect } from "../../src/client/index.ts";
import { ATTRIBUTE, INSTRUMENT, processing, telemetry, type TelemetryOptions } from "../../src/otel/index.ts";
import { openTopic, TidemarkError } from "../../worker/library.ts";

let topics = 0;
const fresh = (): string => `otel/${++topics}`;
let spans: InMemorySpanExporter;
let tracing: TracerProvider;
let measured: InMemoryMetricExporter;
let reader: PeriodicExportingMetricReader;
let measuring: MeterProvider;
let options: TelemetryOptions;
/** In a Worker nothing may begin outside of a request: no timer, and no I/O of another one. */
beforeEach(() => {
  spans = new InMemorySpanExporter();
  tracing = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] });
  measured = new InMemoryMetricExporter(AggregationTemporality.DELTA);
  reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 3_600_000 });
  measuring = new MeterProvider({ readers: [reader] });
  options = {
    tracer: tracing.getTracer("test"),
    meter: measuring.getMeter("test"),
    attributes: { "app.part": "edge" },
  };
});
afterEach(() => Promise.all([tracing.shutdown(), measuring.shutdown()]));

async function all<R>(records: AsyncIterable<R>): Promise<R[]> {
  const found: R[] = [];
  for await (const record of records) found.push(record);
  return found;
}
const finished = () => {
  const found = spans.getFinishedSpans();
  spans.reset();
  return found;
};
/** By the instrument's name: attributes, and how many values they got. */
async function histograms(): Promise<Record<string, [attributes: object, count: number][]>> {
  await reader.forceFlush();
  const found: Record<string, [object, number][]> = {};
  for (const { scopeMetrics } of measured.getMetrics())
    for (const { metrics } of scopeMetrics)
      for (const { descriptor, dataPoints } of metrics)
        for (const { attributes, value } of dataPoints)
          (found[descriptor.name] ??= []).push([attributes, (value as { count: number }).count]);
  measured.reset();
  return found;
}

it("appends and reads of a Worker are spans, with the names of a page, and are measured", async () => {
  const name = fresh();
  const orders = openTopic<number>(env, name, { use: [telemetry(options)] });
  await orders.append({ value: 1, headers: { mine: "kept" } });
  await orders.appendBatch([{ value: 2 }, { value: 3 }]);
  const [one, two] = finished();
  expect([one!.name, one!.kind, two!.kind]).toEqual([`append ${name}`, SpanKind.PRODUCER, SpanKind.PRODUCER]);
  expect(one!.attributes).toEqual({
    "app.part": "edge",
    "messaging.system": "tidemark",
    "messaging.destination.name": name,
    "messaging.operation.name": "append",
    "messaging.operation.type": "send",
    "tidemark.acks": "flushed",
    "tidemark.offset": 0,
  });
  expect(two!.attributes).toMatchObject({ "messaging.batch.message_count": 2, "tidemark.offset": 2 });
  const { traceId, spanId } = one!.spanContext();
  const records = await all(orders.read());
  expect({ ...records[0]!.headers }).toEqual({ mine: "kept", traceparent: `00-${traceId}-${spanId}-01` });
  expect(finished().map(({ name, kind, links }) => [name, kind, links.map((link) => link.context.spanId)])).toEqual([
    [`read ${name}`, SpanKind.CLIENT, [spanId]],
    [`read ${name}`, SpanKind.CLIENT, [two!.spanContext().spanId]],
  ]);
  expect(await histograms()).toEqual({
    [INSTRUMENT.append]: [[expect.objectContaining({ "app.part": "edge", "tidemark.acks": "flushed" }), 2]],
  });
});

it("an append that the log refuses is the span's error and the measurement's error.type", async () => {
  const orders = openTopic<number>(env, fresh(), { use: [telemetry(options)] });
  await orders.append({ value: 1 });
  await expect(orders.append({ value: 2 }, { ifEnd: 5 })).rejects.toBeInstanceOf(TidemarkError);
  const [, span] = finished();
  expect(span!.status).toEqual({ code: SpanStatusCode.ERROR, message: "OFFSET_CONFLICT" });
  expect(span!.attributes[ATTRIBUTE.errorType]).toBe("OFFSET_CONFLICT");
  const types = (await histograms())[INSTRUMENT.append]!.map(([attributes, count]) => [
    (attributes as Record<string, unknown>)[ATTRIBUTE.errorType],
    count,
  ]);
  expect(types).toEqual([
    [undefined, 1],
    ["OFFSET_CONFLICT", 1],
  ]);
});

it("the context of a request is its records', and leads to whoever follows, through the log", async () => {
  const name = fresh();
  const url = `http://127.0.0.1/v1/stream/${name}`;
  const json = { "content-type": "application/json" };
  const [traceId, spanId] = ["a".repeat(32), "b".repeat(16)];
  expect((await SELF.fetch(url, { method: "PUT", headers: json })).status).toBe(201);
  const headers = { ...json, traceparent: `00-${traceId}-${spanId}-01` };
  expect((await SELF.fetch(url, { method: "POST", headers, body: "[1]" })).ok).toBe(true);
  // A Worker follows it, and appends what comes of it to another topic: one trace, by links from record to record.
  const [source, target] = [openTopic<number>(env, name, { use: [telemetry(options)] }), fresh()];
  const sums = openTopic<number>(env, target, { use: [telemetry(options)] });
  for await (const record of source.read())
    await processing(name, record, () => sums.append({ value: record.value! + 1 }), options);
  const [read, appended, processed] = finished();
  const linked = ({ links }: NonNullable<typeof read>) => links.map(({ context }) => [context.traceId, context.spanId]);
  expect([read!.name, linked(read!)]).toEqual([`read ${name}`, [[traceId, spanId]]]);
  expect([processed!.name, processed!.kind, linked(processed!)]).toEqual([
    `process ${name}`,
    SpanKind.CONSUMER,
    [[traceId, spanId]],
  ]);
  // A client outside has the context of the second append.
  const edge = connect("http://127.0.0.1", { fetch: (at, init) => SELF.fetch(at, init), transport: "http" });
  const [record] = await all(edge.topic<number>(target).read());
  const { traceId: of, spanId: by } = appended!.spanContext();
  expect([record!.value, record!.headers["traceparent"]]).toEqual([2, `00-${of}-${by}-01`]);
  await edge.close();
});
