/**
 * Unions of event types: one schema for each type of event that a topic holds. A record's type is its header "tm.type".
 * An application imports this beside open(), so it is in the app's own bundle, and only if it is used: it may import
 * nothing but errors.
 */
import { TidemarkError } from "../errors.ts";
import { TYPE_HEADER } from "./header-names-layout.ts";
import type { InferInput, InferOutput, StandardSchema } from "./standard-schema.ts";

type KeyInput = string | Uint8Array | null;
type HeaderPair = readonly [name: string, value: KeyInput];

/** One schema for each type of event, by the type's name. */
export type EventMap = Readonly<Record<string, StandardSchema>>;

/** Names the type of a record's value for the compiler only: no record has it. */
declare const eventOf: unique symbol;

/** What goes with an event's value. */
export interface EventExtras {
  readonly key?: KeyInput | undefined;
  readonly headers?: Readonly<Record<string, KeyInput>> | Iterable<HeaderPair> | undefined;
  /** Milliseconds since 1970. Default: now. */
  readonly timestamp?: number | undefined;
}

/** An event as a record to append. `events(…).record()` makes it. */
export interface EventInput<M extends EventMap = EventMap> {
  readonly key?: KeyInput | undefined;
  readonly value: unknown;
  readonly headers: readonly HeaderPair[];
  readonly timestamp?: number | undefined;
  readonly [eventOf]?: M;
}

export type ValueOf<M extends EventMap, T extends keyof M> = InferInput<M[T]> | null;

/** The types of a topic's events. */
export interface EventTypes<M extends EventMap = EventMap> {
  readonly types: M;
  /**
   * A record for append(), appendBatch() and appendAll(). null is a tombstone. INVALID_ARGUMENT if there is no such
   * type.
   */
  record<T extends keyof M & string>(type: T, value: ValueOf<M, T>, extras?: EventExtras): EventInput<M>;
  /** What a topic of these events has beside the calls of every topic. */
  readonly "~calls": (topic: EventAppends) => EventCalls<M, object, unknown>;
}

/** What a record of such a topic is, by its type. */
export type EventRecord<M extends EventMap, Read> = {
  [T in keyof M & string]: Omit<Read, "value"> & { readonly type: T; readonly value: InferOutput<M[T]> | null };
}[keyof M & string];

/** The calls of a topic of events beside those of every topic. */
export interface EventCalls<M extends EventMap, Options, Acked> {
  /** append(events.record(type, value, options), options): the value must fit the schema of its type. */
  emit<T extends keyof M & string>(type: T, value: ValueOf<M, T>, options?: EventExtras & Options): Promise<Acked>;
}

export interface EventAppends {
  append(record: EventInput<never>, options?: object): Promise<unknown>;
}

const invalid = (field: string, message: string): TidemarkError =>
  new TidemarkError("INVALID_ARGUMENT", message, { field });

const notExtras = (field: string): TidemarkError => invalid(field, "options must be { key, headers, timestamp }");

function fieldsOf(extras: unknown): EventExtras & Record<string, unknown> {
  if (typeof extras === "object" && extras !== null && !Array.isArray(extras)) return extras as never;
  throw notExtras("options");
}

const isSchema = (value: unknown): boolean =>
  typeof (Object(value) as Partial<StandardSchema>)["~standard"]?.validate === "function";

/** The headers with the type behind them. Headers that are none stay as they are: append() refuses them. */
function withType(headers: EventExtras["headers"], type: string): readonly HeaderPair[] {
  if (headers === undefined || headers === null) return [[TYPE_HEADER, type]];
  if (typeof headers !== "object" || ArrayBuffer.isView(headers)) return headers as never;
  const pairs = Symbol.iterator in headers ? [...(headers as Iterable<HeaderPair>)] : Object.entries(headers);
  return [...pairs.filter((pair) => pair?.[0] !== TYPE_HEADER), [TYPE_HEADER, type]];
}

/**
 * The schema of a topic of events: `tide.topic("todos", { schema: events({ added: Added, toggled: Toggled }) })`. The
 * topic gets `emit("added", value)`; a record that is read has its `type`. INVALID_ARGUMENT if a type has no schema.
 */
export function events<const M extends EventMap>(types: M): EventTypes<M> {
  const names = typeof types === "object" && types !== null && !Array.isArray(types) ? Object.keys(types) : [];
  if (names.length === 0)
    throw invalid("events", "events() takes a schema for each type of event: events({ added: Added })");
  for (const name of names)
    if (!isSchema(types[name])) throw invalid(name, `events(): the type ${name} must have a Standard Schema`);
  const made: EventTypes<M> = {
    types,
    record(type, value, extras = {}) {
      const { key, headers, timestamp, ...others } = fieldsOf(extras);
      for (const name in others) if (others[name] !== undefined) throw notExtras(name);
      if (!Object.hasOwn(types, type))
        throw invalid("type", `there is no event type ${JSON.stringify(type)}; there are ${names.join(", ")}`);
      return { key, timestamp, value, headers: withType(headers, type) };
    },
    "~calls": (topic) => ({
      async emit(type, value, options: object = {}) {
        const { key, headers, timestamp, ...others } = fieldsOf(options);
        return topic.append(made.record(type, value, { key, headers, timestamp }) as EventInput<never>, others);
      },
    }),
  };
  return made;
}
