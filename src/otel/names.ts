/**
 * Names of spans, attributes and instruments: OpenTelemetry's semantic conventions for messaging where they have one,
 * "tidemark." where they have none. The same in a page, in Node and at the edge. docs/otel.md lists them.
 */
export const SYSTEM = "tidemark";

export const ATTRIBUTE = {
  system: "messaging.system",
  destination: "messaging.destination.name",
  operation: "messaging.operation.name",
  operationType: "messaging.operation.type",
  batchCount: "messaging.batch.message_count",
  errorType: "error.type",
  /** Offset of an append's last record, or of the first record that was read. */
  offset: "tidemark.offset",
  acks: "tidemark.acks",
  tide: "tidemark.tide",
  via: "tidemark.via",
} as const;

export const INSTRUMENT = {
  append: "messaging.client.operation.duration",
  flush: "tidemark.flush.duration",
  failOver: "tidemark.failover.duration",
  syncLag: "tidemark.sync.lag",
} as const;
