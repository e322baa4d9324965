/**
 * What a topic with a schema or middleware does with its records, on either host: a producer for its appends, and a way
 * for each batch that is read. A topic without both has neither, and pays nothing.
 */
import type { AnyBatch, Deserializer, ReadBatch } from "../delivery/read-record.ts";
import { checkMiddleware, type Middleware } from "./middleware.ts";
import { type AnyProducer, TypedProducer } from "./typed-producer.ts";
import { TypedReader } from "./typed-batch.ts";
import { type GivenTyping, Typing } from "./typing.ts";

export interface TypedTopicHost<More = number> {
  readonly name: string;
  readonly options: GivenTyping;
  readonly serializer: Deserializer<never>;
  /** The producer that is used once a record fits. */
  readonly plain: AnyProducer<More>;
  /** Middleware of topic.use(), which counts behind that of the options. It may grow. */
  readonly used: readonly Middleware[];
  readonly inFlightBytesMax: number;
}

export interface TypedTopic<More = number> extends Omit<AnyProducer<More>, "pendingBytes"> {
  readonly batch: <V>(batch: ReadBatch<V>) => Promise<AnyBatch<V>>;
  producer(): AnyProducer<More>;
}

const made = new WeakMap<TypedTopicHost<never>, TypedTopic<never>>();

/** The same for the same host. INVALID_ARGUMENT that names the wrong option. */
export function typedTopic<More = number>(host: TypedTopicHost<More>): TypedTopic<More> {
  const known = made.get(host as TypedTopicHost<never>);
  if (known) return known as TypedTopic<More>;
  const { name, options, serializer, plain, used, inFlightBytesMax } = host;
  const typing = new Typing(name, options);
  const first = checkMiddleware("use", options.use);
  const uses = (): readonly Middleware[] => [...first, ...used];
  const producer = new TypedProducer(plain, { typing, serializer, uses, inFlightBytesMax });
  const reader = new TypedReader(typing, serializer, uses);
  const topic: TypedTopic<More> = {
    append: (...record) => producer.append(...record),
    appendBatch: (...records) => producer.appendBatch(...records),
    drained: (...how) => producer.drained(...how),
    batch: <V>(batch: ReadBatch<V>) => reader.batch(batch) as Promise<AnyBatch<V>>,
    producer: () => producer,
  };
  made.set(host as TypedTopicHost<never>, topic as TypedTopic<never>);
  return topic;
}
