/**
 * The page of the test of `tidemark/otel`: a device with OpenTelemetry's own SDK, whose topic is in step with an edge.
 * `window.walk` is what the test drives: `?tide=` names the device, `?edge=` is the edge's address.
 */
import { context, trace } from "@opentelemetry/api";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { open } from "tidemark/browser";
import { observe, processing, telemetry } from "tidemark/otel";

const asked = new URLSearchParams(location.search);
const spans = new InMemorySpanExporter();
const tracing = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] });
const measured = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 3_600_000 });
const measuring = new MeterProvider({ readers: [reader] });
const options = { tracer: tracing.getTracer("page"), meter: measuring.getMeter("page") };

const tide = await open(asked.get("tide"), { sync: { url: asked.get("edge"), topics: ["orders"] } });
observe(tide, options);
const orders = tide.topic("orders", { use: [telemetry(options)] });

globalThis.walk = {
  tide,
  /** Appends within a span of the app; resolves once the record is at the edge. */
  async append(value) {
    const parent = options.tracer.startSpan("click");
    const acked = context.with(trace.setSpan(context.active(), parent), () => orders.append({ value }));
    parent.end();
    const { committed } = await acked;
    return (await committed).offset;
  },
  /** Processes records from the start until this value has come. */
  async processUntil(value) {
    for await (const record of orders.read({ follow: true })) {
      await processing("orders", record, () => undefined, options);
      if (record.value === value) return;
    }
  },
  spans: () =>
    spans
      .getFinishedSpans()
      .map((span) => ({ name: span.name, context: span.spanContext(), links: span.links.map((link) => link.context) })),
  /** By the instrument's name: how many values it has, and their sum in seconds. */
  async histograms() {
    await reader.forceFlush();
    const found = {};
    const [last] = measured.getMetrics().slice(-1);
    for (const { metrics } of last?.scopeMetrics ?? [])
      for (const { descriptor, dataPoints } of metrics)
        for (const { attributes, value } of dataPoints)
          (found[descriptor.name] ??= []).push({ attributes, count: value.count, sum: value.sum });
    return found;
  },
};
