/**
 * `tidemark/worker`: the edge as a library. The Durable Object classes for your Worker to export, the router for
 * requests from outside, and a client for code inside.
 *
 *     export { LogObject, SubscriptionObject } from "tidemark/worker";
 *     const orders = openTopic(env, "orders");
 *     await orders.append({ key: "o-17", value: { total: 42 } });
 */
export { type ErrorCode, type ErrorKind, TidemarkError, type WireError } from "../src/errors.ts";
export type { Env } from "./env.ts";
export type { SchemaIssue } from "../src/errors.ts";
export {
  events,
  type EventCalls,
  type EventExtras,
  type EventInput,
  type EventMap,
  type EventRecord,
  type EventTypes,
} from "../src/typed/events.ts";
export type { AppendStep, Middleware, MiddlewareRecord, ReadStep } from "../src/typed/middleware.ts";
export type { ImportDamage, ImportResult } from "../src/store/segment-files.ts";
export type { ImportedFile } from "../src/topic/imported-files.ts";
export type { SegmentUpload } from "../src/topic/segment-upload.ts";
export type { RecordHeaders } from "../src/typed/record-headers.ts";
export type { InferInput, InferOutput, StandardSchema } from "../src/typed/standard-schema.ts";
export type { OnInvalid, TypedOptions, Upcast } from "../src/typed/typing.ts";
export { LogObject } from "./log-object/log-object.ts";
export type { StreamSchemaMap } from "./log-object/stream-schemas.ts";
export { type FlushTold, withFlushTimes } from "./log-object/with-flush-times.ts";
export { withSchemas } from "./log-object/with-schemas.ts";
export { handle as handleRequest } from "./front/router.ts";
export { SubscriptionObject } from "./subscriptions/subscription-object.ts";
export type { HeadersInput, HeaderValue, RecordInput, RecordInput as TopicRecordInput } from "../src/topic/input.ts";
export type {
  EdgeAppendOptions,
  EdgeTopic,
  EdgeEventTopic,
  EdgeTopicOptions,
  TypedEdgeTopicOptions,
  TopicEnv,
} from "./client/api.ts";
export type { KafkaFiles as SegmentExport } from "../src/store/kafka-files.ts";
export { openTopic } from "./client/topic.ts";
