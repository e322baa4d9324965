/**
 * Schemas of streams, as the Worker's author gives them. A stream whose path fits a pattern takes only records that fit
 * its schema, whichever way they come: messages over HTTP, batches over HTTP or a socket, pushes of devices.
 *
 *   POST, PUT ── body ──▶ judged as values without headers ─┐
 *   batches, push ──────▶ judged record by record ──────────┴─▶ SCHEMA_MISMATCH (422), or the log
 *
 * A record is judged as a reader of this Worker's schema would read it: with upcasts, if its header names an earlier
 * version.
 */
import type { Header } from "../../src/record/batch-builder.ts";
import type { RecordBatch } from "../../src/record/record-batch.ts";
import { isObject, refused } from "../../src/topic/check.ts";
import { serializerOf } from "../../src/topic/serializer.ts";
import type { EventTypes } from "../../src/typed/events.ts";
import { isPromise, type Judged, mismatch, mismatchError } from "../../src/typed/mismatch.ts";
import type { StandardSchema } from "../../src/typed/standard-schema.ts";
import { Turns } from "../../src/typed/turns.ts";
import { type TypedOptions, Typing } from "../../src/typed/typing.ts";
import { mediaType } from "../stream/media-type.ts";
import type { JudgedBody, StreamJudge } from "../stream/batch-check.ts";
import { LineCutter } from "../stream/line-cutter.ts";
import { matches } from "../wire/patterns.ts";
import { inTime } from "./judging-time.ts";
import { strictDecoder } from "../stream/strict-text.ts";

type AnySchema = StandardSchema | EventTypes;

/** By pattern of the stream's path (`*` one segment, `**` any number): a schema, or one with its versions. */
export type StreamSchemaMap = Readonly<Record<string, AnySchema | Omit<TypedOptions<AnySchema>, "onInvalid">>>;

/** What a schema is asked about. A text that is no UTF-8 is none: a reader's U+FFFD would be judged in its place. */
const VALUES = {
  json: (bytes: Uint8Array): unknown => serializerOf("json").deserialize(bytes),
  text: (bytes: Uint8Array): unknown => strictDecoder.decode(bytes),
  bytes: (bytes: Uint8Array): unknown => bytes,
};
const NO_HEADERS: readonly Header[] = [];

type Kind = keyof typeof VALUES;
function kindOf(contentType: string): Kind {
  const type = mediaType(contentType);
  return type === "application/json" ? "json" : type.startsWith("text/") ? "text" : "bytes";
}

/** The messages of a body of JSON. Undefined for one that is none: the append itself refuses that. */
function messagesOf(body: Uint8Array): readonly unknown[] | undefined {
  try {
    const parsed: unknown = JSON.parse(strictDecoder.decode(body));
    return Array.isArray(parsed) ? parsed : [parsed];
  } catch {
    return undefined;
  }
}

class StreamSchema implements StreamJudge {
  readonly #typing: Typing;
  readonly #turns = new Turns();

  constructor(typing: Typing) {
    this.#typing = typing;
  }

  /** At once if the schema answers at once. SCHEMA_MISMATCH for the first that does not fit; TIMEOUT. */
  #all(judged: readonly (Judged | Promise<Judged>)[], what: string): void | Promise<void> {
    const taken = (all: readonly Judged[]): void => {
      for (const [record, one] of all.entries())
        if (one.issues) throw mismatchError(all.length === 1 ? `the ${what}` : `${what} ${record}`, one, { record });
    };
    return judged.some(isPromise)
      ? inTime(Promise.all(judged), this.#typing.topic).then(taken)
      : taken(judged as Judged[]);
  }

  /** A record with its headers, as it will be stored. */
  #record(kind: Kind, value: Uint8Array | null, headers: readonly Header[]): Judged | Promise<Judged> {
    if (value === null) return this.#typing.read(null, headers, true);
    try {
      return this.#typing.read(VALUES[kind](value), headers, false);
    } catch (cause) {
      return mismatch(kind === "text" ? "it is no text: its bytes are not UTF-8" : String(cause), cause);
    }
  }

  batch(batch: RecordBatch, contentType: string): void | Promise<void> {
    const kind = kindOf(contentType);
    const judged = Array.from({ length: batch.count }, (_, i) =>
      this.#record(kind, batch.valueAt(i), batch.headersAt(i)),
    );
    return this.#all(judged, "record");
  }

  body({ body, contentType, isLines }: JudgedBody): void | Promise<void> {
    const kind = kindOf(contentType);
    if (isLines) {
      const judged: (Judged | Promise<Judged>)[] = [];
      const lines = new LineCutter(body, mediaType(contentType), 0);
      for (let line = lines.next(); line; line = lines.next())
        judged.push(this.#record(kind, line.value, line.headers ?? NO_HEADERS));
      return this.#all(judged, "record");
    }
    if (kind !== "json") return this.#all([this.#record(kind, body, NO_HEADERS)], "message");
    const messages = messagesOf(body) ?? [];
    return this.#all(
      messages.map((value) => this.#typing.read(value, NO_HEADERS, false)),
      "message",
    );
  }

  async append<T>(judged: JudgedBody, append: () => Promise<T>): Promise<T> {
    const turn = this.#turns.take();
    try {
      await this.body(judged);
      return await turn.go(append);
    } finally {
      turn.leave();
    }
  }
}

export class StreamSchemas {
  readonly #schemas: readonly (readonly [pattern: string, schema: StreamSchema])[];

  /** INVALID_ARGUMENT that names the pattern and the wrong option. */
  constructor(map: StreamSchemaMap) {
    // A Map, a list, a class or one schema alone has no patterns: no stream would be judged, in silence.
    if (typeof map !== "object" || map === null || Symbol.iterator in map || "~standard" in map)
      throw refused("schemas", map, "an object of schemas, by pattern of the stream's path");
    this.#schemas = Object.entries(map).map(([pattern, given]) => {
      if (pattern === "") throw refused("a pattern", pattern, "a path, in which * and ** may stand for segments");
      const isOptions = isObject(given) && "schema" in given && !("~standard" in given);
      return [pattern, new StreamSchema(new Typing(pattern, isOptions ? given : { schema: given ?? null }))];
    });
  }

  /** The schema of the first pattern that the path fits. */
  of(path: string): StreamJudge | undefined {
    return this.#schemas.find(([pattern]) => matches(pattern, path))?.[1];
  }
}
