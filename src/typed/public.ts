/** What each entry with topics gives an application of typed topics: in a page, in Node, and of an edge. */
export { events } from "./events.ts";
export type {
  EventAppends,
  EventCalls,
  EventExtras,
  EventInput,
  EventMap,
  EventRecord,
  EventTypes,
  ValueOf,
} from "./events.ts";
export type { AppendStep, Middleware, MiddlewareRecord, ReadStep } from "./middleware.ts";
export type { RecordHeaders } from "./record-headers.ts";
export type { InferInput, InferOutput, SchemaResult, StandardIssue, StandardSchema } from "./standard-schema.ts";
export type { OnInvalid, TypedOptions, Upcast } from "./typing.ts";
