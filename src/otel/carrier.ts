/**
 * A trace's context in a record's headers, as W3C Trace Context: "traceparent", and "tracestate" if there is one. The
 * app's own propagator writes and reads too, so baggage and other formats go along if it has them.
 */
import {
  context,
  type Context,
  createTraceState,
  isSpanContextValid,
  propagation,
  ROOT_CONTEXT,
  type SpanContext,
  trace,
} from "@opentelemetry/api";

/** Headers that can be read, as records and middleware have them. */
export interface ReadableHeaders {
  get(name: string): string | null | undefined;
  names(): string[];
}
export interface WritableHeaders extends ReadableHeaders {
  set(name: string, value: string): void;
}

const PARENT = "traceparent";
const STATE = "tracestate";
/** Version, trace id, span id, flags. Later versions may have more behind them. */
const TRACE_PARENT = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;

export function inject(into: Context, headers: WritableHeaders): void {
  propagation.inject(into, headers, { set: (carrier, name, value) => carrier.set(name, value) });
  const span = trace.getSpanContext(into);
  if (!span || !isSpanContextValid(span)) return;
  const flags = span.traceFlags.toString(16).padStart(2, "0");
  headers.set(PARENT, `00-${span.traceId}-${span.spanId}-${flags}`);
  const state = span.traceState?.serialize();
  if (state) headers.set(STATE, state);
}

/** The context in which the record was appended. Undefined if its headers have none, or none that is valid. */
export function extract(headers: ReadableHeaders): SpanContext | undefined {
  const found = propagation.extract(ROOT_CONTEXT, headers, {
    get: (carrier, name) => carrier.get(name) ?? undefined,
    keys: (carrier) => carrier.names(),
  });
  const known = trace.getSpanContext(found);
  if (known && isSpanContextValid(known)) return known;
  const [, traceId, spanId, flags] = TRACE_PARENT.exec(headers.get(PARENT) ?? "") ?? [];
  if (traceId === undefined || spanId === undefined) return undefined;
  const state = headers.get(STATE);
  const span: SpanContext = {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags ?? "0", 16),
    isRemote: true,
    ...(state && { traceState: createTraceState(state) }),
  };
  return isSpanContextValid(span) ? span : undefined;
}

export const activeContext = (): Context => context.active();
