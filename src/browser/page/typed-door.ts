/**
 * The producer of a topic with a schema or middleware, until the part of the package that has both is loaded, and after
 * that the way to it: every call goes there behind those before it. LOAD_FAILED if it can't be loaded now; the next
 * call tries again. INVALID_ARGUMENT for a wrong option.
 */
import type { ReadSource } from "../../delivery/reader.ts";
import type { AnyProducer } from "../../typed/typed-producer.ts";
import type * as Part from "../../typed/typed-topic.ts";
import type { TypedTopic, TypedTopicHost } from "../../typed/typed-topic.ts";

export interface TypedDoor extends Omit<AnyProducer, "pendingBytes"> {
  readonly typed: NonNullable<ReadSource["typed"]>;
  /** Resolves once the part is loaded, with what counts how much is pending. */
  producer(): Promise<AnyProducer>;
}

/** A copy, because the caller may reuse its bytes as soon as append() has returned. */
export const kept = <T>(value: T): T =>
  (value instanceof Uint8Array
    ? new Uint8Array(value)
    : Array.isArray(value)
      ? value.map(kept)
      : value?.constructor === Object
        ? Object.fromEntries(Object.entries(value).map(kept))
        : value) as T;

export function typedDoor(host: TypedTopicHost): TypedDoor {
  let part: Promise<typeof Part> | undefined;
  const later =
    <Call extends keyof TypedTopic>(call: Call) =>
    (...given: unknown[]) => {
      const args = kept(given);
      // All calls wait for one promise. Calls that wait for two promises might continue in another order.
      part ??= import("../../typed/typed-topic.ts").catch((thrown: unknown) => {
        part = undefined;
        throw thrown;
      });
      return part.then(({ typedTopic }) => (typedTopic(host)[call] as (...args: unknown[]) => Promise<never>)(...args));
    };
  return {
    append: later("append"),
    appendBatch: later("appendBatch"),
    drained: later("drained"),
    typed: later("batch"),
    producer: later("producer"),
  };
}
