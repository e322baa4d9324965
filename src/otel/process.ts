/** A consumer's span around what an application does with one record. */
import { context, SpanKind, trace } from "@opentelemetry/api";
import type { TopicRecord } from "../browser/api.ts";
import { callback, isObject, refused, wellFormed } from "../topic/check.ts";
import { attributesOf, checkTelemetry, failed, linksOf, type TelemetryOptions, tracerOf } from "./telemetry.ts";
import { ATTRIBUTE } from "./names.ts";

/** What is used of a record: records of a page, of Node and of the edge have it. */
export type ProcessedRecord = Pick<TopicRecord, "offset" | "headers">;

/**
 * Runs `work` in a span "process <topic>" that is linked to the span in which the record was appended, and is the
 * active one meanwhile. What `work` returns is returned; an error is noted in the span and thrown on.
 */
export async function processing<T>(
  topic: string,
  record: ProcessedRecord,
  work: () => T | Promise<T>,
  options: TelemetryOptions = {},
): Promise<T> {
  checkTelemetry("processing()", options);
  wellFormed("topic", topic);
  callback("work", work);
  const { headers, offset } = Object(record) as ProcessedRecord;
  if (!isObject(headers)) throw refused("record", record, "a record as it was read");
  const links = linksOf([{ get: (name) => headers[name], names: () => Object.keys(headers) }]);
  const attributes = {
    ...options.attributes,
    ...attributesOf(topic, "process", "process"),
    [ATTRIBUTE.offset]: offset,
  };
  const span = tracerOf(options).startSpan(`process ${topic}`, { kind: SpanKind.CONSUMER, attributes, links });
  try {
    return await context.with(trace.setSpan(context.active(), span), work);
  } catch (thrown) {
    failed(span, thrown);
    throw thrown;
  } finally {
    span.end();
  }
}
