/**
 * What a topic's schema, versions, event types and middleware are: the options, checked, and the judgement of one value
 * in each direction.
 *
 *   append   value as given ─▶ serializer ─▶ bytes ─▶ value as a reader will get it ─▶ schema: fits, or SCHEMA_MISMATCH
 *   read     bytes ─▶ value ─▶ upcasts from the version in "tm.schema" ─▶ schema ─▶ the schema's value, or onInvalid
 *
 * The log holds what was given, not what the schema makes of it: so the schema's defaults and transforms run once, on
 * each read, and a schema whose output is not its input can be used.
 */
import type { Header } from "../record/batch-builder.ts";
import {
  callback,
  type Check,
  checkOptions,
  elsewhere,
  integer,
  isObject,
  refused,
  wellFormed,
} from "../topic/check.ts";
import type { EventTypes } from "./events.ts";
import { SCHEMA_HEADER, TYPE_HEADER } from "./header-names-layout.ts";
import { isPromise, type Judged, judge, mismatch, type Mismatch, textOfThrown } from "./mismatch.ts";
import type { StandardSchema } from "./standard-schema.ts";
import type { SchemaIssue } from "../errors.ts";

const VERSION_MAX = 1_000_000;
const SCHEMA_NAME_CHARACTERS_MAX = 100;

/**
 * A value of an older version, as the next version has it. The type of the older one is the caller's to say: with
 * `unknown` a function that names it would not fit.
 */
export type Upcast = (value: any, record: { readonly type: string | undefined }) => unknown;

/** What becomes of a record that does not fit: see TypedOptions.onInvalid. */
export type OnInvalid<R = unknown> = "throw" | "skip" | ((record: R, issues: readonly SchemaIssue[]) => unknown);

/** The options of a topic with a schema, beside those of every topic. */
export interface TypedOptions<S = StandardSchema | EventTypes, R = unknown> {
  /** A Standard Schema (zod, valibot, arktype, …), or `events({ … })`. */
  readonly schema: S;
  /** Names the schema in the header "tm.schema". A record under another name does not fit. */
  readonly schemaName?: string | undefined;
  /**
   * Version of the schema, from 1 on. If it is given, each appended record names it in its header "tm.schema". A record
   * that names none is of version 1.
   */
  readonly version?: number | undefined;
  /** By version, what makes the next version's value of it: `{ 1: (v) => v2, 2: (v) => v3 }`. May be asynchronous. */
  readonly upcast?: Readonly<Record<number, Upcast>> | undefined;
  /**
   * A record that is read and does not fit. "throw" (default): reading its `value` throws SCHEMA_MISMATCH; the records
   * around it are not affected. "skip": it is left out. A function gives its value.
   */
  readonly onInvalid?: OnInvalid<R> | undefined;
}

/** As a caller without types may have given them. */
export type GivenTyping = { readonly [name in keyof TypedOptions]?: unknown } & { readonly use?: unknown };

const isSchema = (value: unknown): value is StandardSchema => {
  const { "~standard": standard } = Object(value) as Partial<StandardSchema>;
  return standard?.version === 1 && typeof standard.validate === "function";
};

function checkSchema(field: string, value: unknown): void {
  if (!isSchema(value))
    throw refused(field, value, 'a Standard Schema (an object with "~standard", of zod, valibot, arktype …)');
}

/** The types of events, by name; undefined for a schema of one type. */
function typesIn(schema: unknown): Readonly<Record<string, unknown>> | undefined {
  const { types, "~calls": calls } = Object(schema) as { readonly types?: unknown; readonly "~calls"?: unknown };
  return typeof calls === "function" && isObject(types) ? (types as Record<string, unknown>) : undefined;
}

const version = integer(1, VERSION_MAX);
const OPTIONS: Readonly<Record<string, Check>> = {
  schema(field, value) {
    const types = typesIn(value);
    if (!types) return checkSchema(field, value);
    for (const [name, each] of Object.entries(types)) checkSchema(`events.${name}`, each);
  },
  schemaName(field, value) {
    wellFormed(field, value);
    if (value === "" || (value as string).length > SCHEMA_NAME_CHARACTERS_MAX)
      throw refused(field, value, `1 to ${SCHEMA_NAME_CHARACTERS_MAX} characters`);
  },
  version,
  upcast(field, value) {
    if (typeof value !== "object" || value === null || Symbol.iterator in value)
      throw refused(field, value, "an object of functions");
    for (const [from, make] of Object.entries(value)) callback(`${field}.${from}`, make);
  },
  onInvalid(field, value) {
    if (value !== "throw" && value !== "skip" && typeof value !== "function")
      throw refused(field, value, '"throw", "skip" or a function');
  },
};

/** How the options fit together. */
function checkTogether({ schema, schemaName, version: to, upcast, onInvalid }: GivenTyping): void {
  if (schema === undefined)
    for (const [name, value] of Object.entries({ schemaName, version: to, upcast, onInvalid }))
      if (value !== undefined) throw refused("schema", schema, `given with ${name}: a Standard Schema`);
  if (upcast === undefined) return;
  if (to === undefined) throw refused("version", to, "given with upcast");
  for (const from of Object.keys(upcast as object)) {
    const at = Number(from);
    // Looked up by the number, which finds no "01".
    integer(1, (to as number) - 1)(`upcast.${from}`, String(at) === from ? at : from);
    // Else no record of this version would ever get as far as today's.
    if (at + 1 < (to as number)) callback(`upcast.${at + 1}`, (upcast as Record<number, unknown>)[at + 1]);
  }
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();
/** The last header of a name counts. */
function textOfHeader(headers: Iterable<Header>, name: string): string | undefined {
  let text: string | undefined;
  for (const [each, bytes] of headers) if (each === name) text = bytes ? decoder.decode(bytes) : undefined;
  return text;
}

interface WrittenBy {
  readonly name: string | undefined;
  readonly version: number;
}

/** What "tm.schema" says. Undefined for a text that this library does not write. */
function writtenBy(header: string | undefined): WrittenBy | undefined {
  if (header === undefined) return { name: undefined, version: 1 };
  const [, name, version] = /^(?:(.+)\/)?([1-9]\d{0,6})$/s.exec(header) ?? [];
  return version === undefined ? undefined : { name, version: Number(version) };
}

export class Typing {
  readonly topic: string;
  readonly onInvalid: OnInvalid;
  readonly hasSchema: boolean;
  readonly #schema: StandardSchema | undefined;
  readonly #types: Readonly<Record<string, StandardSchema>> | undefined;
  readonly #name: string | undefined;
  readonly #version: number;
  readonly #upcast: Readonly<Record<number, Upcast>>;
  readonly #stamp: Header | undefined;

  /** INVALID_ARGUMENT that names the wrong option. */
  constructor(topic: string, options: GivenTyping) {
    const { schema, schemaName, version, upcast, onInvalid = "throw" } = options;
    this.topic = topic;
    checkOptions("topic()", options, OPTIONS, elsewhere);
    checkTogether(options);
    const types = typesIn(schema);
    this.hasSchema = schema !== undefined;
    this.#schema = types ? undefined : (schema as StandardSchema | undefined);
    this.#types = types as Readonly<Record<string, StandardSchema>> | undefined;
    this.#name = schemaName as string | undefined;
    this.#version = (version as number | undefined) ?? 1;
    this.#upcast = (upcast as Readonly<Record<number, Upcast>> | undefined) ?? {};
    this.onInvalid = onInvalid as OnInvalid;
    if (version !== undefined || schemaName !== undefined) {
      const text = this.#name === undefined ? String(this.#version) : `${this.#name}/${this.#version}`;
      this.#stamp = [SCHEMA_HEADER, encoder.encode(text)];
    }
  }

  /** The headers that a record gets. One that was read and is appended again has the version of before. */
  stamped(headers: readonly Header[] | undefined): readonly Header[] | undefined {
    const stamp = this.#stamp;
    if (!this.hasSchema || (!headers && !stamp)) return headers;
    const others = (headers ?? []).filter(([name]) => name !== SCHEMA_HEADER);
    return stamp ? [...others, stamp] : others;
  }

  /** The event's type, in a topic of events. */
  typeOf(headers: Iterable<Header>): string | undefined {
    return this.#types && textOfHeader(headers, TYPE_HEADER);
  }

  /** The schema for a record with these headers. undefined: any value fits. */
  #schemaFor(headers: Iterable<Header>): StandardSchema | undefined | Mismatch {
    const types = this.#types;
    if (!types) return this.#schema;
    const type = this.typeOf(headers);
    const known = Object.keys(types).join(", ");
    if (type === undefined) return mismatch(`the record has no event type: append it with emit() (${known})`);
    return Object.hasOwn(types, type)
      ? types[type]
      : mismatch(`there is no event type ${JSON.stringify(type.slice(0, 100))}; there are ${known}`);
  }

  #judged(value: unknown, headers: Iterable<Header>, isTombstone: boolean): Judged | Promise<Judged> {
    const schema = this.#schemaFor(headers);
    if (schema && "issues" in schema) return schema;
    // A tombstone deletes. It has no value that could fit the schema.
    return isTombstone || !schema ? { value } : judge(schema as StandardSchema, value);
  }

  /** Whether a value of today fits, as a reader will get it. */
  fits(value: unknown, headers: Iterable<Header>, isTombstone: boolean): Judged | Promise<Judged> {
    return this.#judged(value, headers, isTombstone);
  }

  /** What a stored value is today. Never throws. */
  read(value: unknown, headers: Iterable<Header>, isTombstone: boolean): Judged | Promise<Judged> {
    if (!this.hasSchema) return { value };
    const header = textOfHeader(headers, SCHEMA_HEADER);
    const by = writtenBy(header);
    const shown = JSON.stringify(header?.slice(0, 100));
    if (!by) return mismatch(`its header ${SCHEMA_HEADER} is ${shown}, which names no version`);
    if (by.name !== undefined && this.#name !== undefined && by.name !== this.#name)
      return mismatch(`it was written under the schema ${shown}, and this topic has ${JSON.stringify(this.#name)}`);
    if (by.version > this.#version)
      return mismatch(`it is of version ${by.version}; this application knows versions up to ${this.#version}`);
    if (isTombstone || by.version === this.#version) return this.#judged(value, headers, isTombstone);
    return this.#upcasted(value, by.version, headers);
  }

  /** Through one version after the other, at once as long as no upcast is asynchronous. */
  #upcasted(value: unknown, from: number, headers: Iterable<Header>): Judged | Promise<Judged> {
    const record = { type: this.typeOf(headers) };
    let now = value;
    for (let version = from; version < this.#version; version++) {
      const make = Object.hasOwn(this.#upcast, version) ? this.#upcast[version] : undefined;
      if (!make)
        return mismatch(
          `it is of version ${version}, and there is no upcast from there: give upcast: { ${version}: … }`,
        );
      const failed = (cause: unknown): Mismatch =>
        mismatch(`the upcast from version ${version} threw: ${textOfThrown(cause)}`, cause);
      try {
        now = make(now, record);
      } catch (thrown) {
        return failed(thrown);
      }
      if (isPromise(now))
        return Promise.resolve(now).then(
          (next) =>
            version + 1 < this.#version
              ? this.#upcasted(next, version + 1, headers)
              : this.#judged(next, headers, false),
          failed,
        );
    }
    return this.#judged(now, headers, false);
  }
}
