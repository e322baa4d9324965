/**
 * Middleware that makes spans and measures:
 *
 *   append   span "append orders" (producer) ── its context in each record's headers ──▶ ack, or the error
 *            histograms: its duration, by its acks; until it was at the edge (a topic that is synced)
 *   read     span "read orders" (client) of one stored batch, linked to the spans that appended its records
 *   process  span "process orders" (consumer) around what the app does with one record
 */
import {
  type Attributes,
  type Link,
  type Meter,
  metrics,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
} from "@opentelemetry/api";
import { TidemarkError } from "../errors.ts";
import { type Check, checkOptions, flag, refused } from "../topic/check.ts";
import type { AppendStep, Middleware, MiddlewareRecord, ReadStep } from "../typed/middleware.ts";
import { activeContext, extract, inject, type ReadableHeaders, type WritableHeaders } from "./carrier.ts";
import { ATTRIBUTE, INSTRUMENT, SYSTEM } from "./names.ts";

const SCOPE = "tidemark";
/** Links of one span: SDKs drop more than this. */
const LINKS_MAX = 128;
/** In seconds, as the semantic conventions advise for operations of messaging. */
const BOUNDARIES = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600];

export interface TelemetryOptions {
  /** Default: the global tracer provider's. */
  readonly tracer?: Tracer | undefined;
  /** Default: the global meter provider's. */
  readonly meter?: Meter | undefined;
  /** A span for each batch that is read. Default true. */
  readonly reads?: boolean | undefined;
  /** For observe(): measures flushes as well. The worker that leads then loads the package's tools. Default true. */
  readonly flushes?: boolean | undefined;
  /** On every span and every measurement. */
  readonly attributes?: Attributes | undefined;
}

const having =
  (method: string): Check =>
  (field, value) => {
    if (typeof (Object(value) as Readonly<Record<string, unknown>>)[method] !== "function")
      throw refused(field, value, `of @opentelemetry/api: an object with ${method}()`);
  };
const attributes: Check = (field, value) => {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw refused(field, value, "an object of attributes");
  // Reads each attribute once, so that a getter that throws is found here and not at the first span.
  Object.entries(value);
};
const OPTIONS = {
  tracer: having("startSpan"),
  meter: having("createHistogram"),
  reads: flag,
  flushes: flag,
  attributes,
};

/** INVALID_ARGUMENT that names the wrong option. */
export const checkTelemetry = (call: string, options: unknown): void => checkOptions(call, options, OPTIONS);

export const tracerOf = ({ tracer }: TelemetryOptions): Tracer => tracer ?? trace.getTracer(SCOPE);
export const meterOf = ({ meter }: TelemetryOptions): Meter => meter ?? metrics.getMeter(SCOPE);

export const histogram = (meter: Meter, name: string, description: string) =>
  meter.createHistogram(name, { description, unit: "s", advice: { explicitBucketBoundaries: BOUNDARIES } });

export const attributesOf = (topic: string, operation: string, type: string): Attributes => ({
  [ATTRIBUTE.system]: SYSTEM,
  [ATTRIBUTE.destination]: topic,
  [ATTRIBUTE.operation]: operation,
  [ATTRIBUTE.operationType]: type,
});

const errorType = (thrown: unknown): string =>
  thrown instanceof TidemarkError ? thrown.code : thrown instanceof Error ? thrown.name : "_OTHER";

/** Ends the span as a failure, and gives the error's type. */
export function failed(span: Span, thrown: unknown): string {
  const type = errorType(thrown);
  span.recordException(thrown instanceof Error ? thrown : String(thrown));
  span.setStatus({ code: SpanStatusCode.ERROR, message: type });
  span.setAttribute(ATTRIBUTE.errorType, type);
  return type;
}

const headersOf = ({ headers }: MiddlewareRecord): WritableHeaders => ({
  get: (name) => headers.get(name),
  set: (name, value) => headers.set(name, value),
  names: () => [...headers].map(([name]) => name),
});
const since = (began: number): number => (performance.now() - began) / 1000;

/** Links to the spans in which these records were appended, each once. */
export function linksOf(carriers: Iterable<ReadableHeaders>): Link[] {
  const links = new Map<string, Link>();
  for (const headers of carriers) {
    const context = extract(headers);
    if (context) links.set(`${context.traceId}${context.spanId}`, { context });
    if (links.size === LINKS_MAX) break;
  }
  return [...links.values()];
}

/** What an ack of a browser has in addition. */
interface PlacedAck {
  readonly committed?: Promise<unknown>;
}

/** From 2^52 on an offset is of a record that has no place at the edge yet. */
const PROVISIONAL_FROM = 2 ** 52;

/** Middleware for `use` of a topic, in a page, in Node and at the edge. */
export function telemetry(options: TelemetryOptions = {}): Middleware {
  checkTelemetry("telemetry()", options);
  const { attributes: always = {}, reads = true } = options;
  const tracer = tracerOf(options);
  const meter = meterOf(options);
  const durations = histogram(meter, INSTRUMENT.append, "How long an append took, until its ack");
  const lags = histogram(meter, INSTRUMENT.syncLag, "How long it took from a record's ack until it was at the edge");

  async function append({ topic, records, acks }: AppendStep, next: Parameters<Middleware>[1]): Promise<void> {
    const attributes = { ...always, ...attributesOf(topic, "append", "send"), [ATTRIBUTE.acks]: acks };
    const counted = records.length === 1 ? {} : { [ATTRIBUTE.batchCount]: records.length };
    const span = tracer.startSpan(`append ${topic}`, {
      kind: SpanKind.PRODUCER,
      attributes: { ...attributes, ...counted },
    });
    const within = trace.setSpan(activeContext(), span);
    for (const record of records) inject(within, headersOf(record));
    const began = performance.now();
    try {
      const ack = (await next())!;
      durations.record(since(began), attributes);
      span.setAttribute(ATTRIBUTE.offset, ack.offset);
      const acked = performance.now();
      if (ack.offset >= PROVISIONAL_FROM)
        (ack as PlacedAck).committed?.then(
          () => lags.record(since(acked), attributes),
          () => undefined,
        );
    } catch (thrown) {
      durations.record(since(began), { ...attributes, [ATTRIBUTE.errorType]: failed(span, thrown) });
      throw thrown;
    } finally {
      span.end();
    }
  }

  async function read({ topic, records }: ReadStep, next: Parameters<Middleware>[1]): Promise<void> {
    await next();
    const span = tracer.startSpan(`read ${topic}`, {
      kind: SpanKind.CLIENT,
      attributes: {
        ...always,
        ...attributesOf(topic, "read", "receive"),
        [ATTRIBUTE.batchCount]: records.length,
        ...(records[0]?.offset !== undefined && { [ATTRIBUTE.offset]: records[0].offset }),
      },
      links: linksOf(records.map(headersOf)),
    });
    span.end();
  }

  return async (step, next) => {
    if (step.operation === "append") await append(step, next);
    else if (reads) await read(step, next);
    else await next();
  };
}
