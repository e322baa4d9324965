/**
 * Records as lines of JSON: the form in which people write them (docs/edge.md#lines).
 *
 *   {"key":"o-17","headers":{"trace":"a1"},"timestamp":1767225600000,"value":{"total":42}}
 *   {"key":"o-17","value":null}                    a tombstone; JSON's null itself has "tombstone":false beside it
 *   {"keyBase64":"AAE=","valueBase64":"iVBORw=="}  bytes
 *
 * A line that reads gave can be sent as it is: its `offset` counts for nothing. In a stream of JSON the value's own
 * text is kept, so numbers keep their digits. Every error names the line, from 1, and the field. Lines are checked as
 * they are cut, so a body of many lines can be cut in slices; the request is appended whole or not at all.
 */
import type { BuilderRecord, Header } from "../../src/record/batch-builder.ts";
import { isWellFormed } from "../../src/topic/check.ts";
import { textOfMember } from "../../src/topic/json-member.ts";
import { timeOf } from "../../src/topic/time-text.ts";
import { badRequest, EdgeError } from "../errors.ts";
import { isJsonText, RECORDS_MAX, tooMany, VALUE_BYTES_MAX } from "./body-limits.ts";
import { isReserved } from "../../src/record/reserved-headers.ts";
import { textEncoder } from "../../src/record/bytes.ts";
import { strictDecoder } from "./strict-text.ts";

/** A value in base64 takes four thirds of its bytes, and the names of the fields take some. */
export const LINE_BYTES_MAX = 2 * 1024 * 1024;
const HEADERS_MAX = 1_000;
const LINE_FEED = 0x0a;
const FIELDS = new Set([
  "offset",
  "timestamp",
  "key",
  "keyBase64",
  "headers",
  "value",
  "valueBase64",
  "tombstone",
] as const);
const SHAPE = 'a line is {"value": …} and, if wanted, key, headers and timestamp';
const HALF = "half of a surrogate pair, which UTF-8 can't hold; bytes go into base64";
/** Date and time of RFC 3339; without a zone it would mean another time on each server. */
const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$/i;

type Members = Readonly<Record<string, unknown>>;

export class LineCutter {
  readonly #body: Uint8Array;
  readonly #isJson: boolean;
  readonly #type: string;
  readonly #now: number;
  at = 0;
  #line = 0;
  #count = 0;

  /** `type`: the stream's media type. `now`: the time of records that name none. */
  constructor(body: Uint8Array, type: string, now: number) {
    this.#body = body;
    this.#type = type;
    this.#isJson = type === "application/json";
    this.#now = now;
  }

  next(): BuilderRecord | undefined {
    while (this.at < this.#body.length) {
      const found = this.#body.indexOf(LINE_FEED, this.at);
      const end = found < 0 ? this.#body.length : found;
      const bytes = this.#body.subarray(this.at, end);
      this.at = end + 1;
      this.#line++;
      if (bytes.length > LINE_BYTES_MAX)
        throw this.#error("RECORD_TOO_LARGE", `has ${bytes.length} bytes; it may have ${LINE_BYTES_MAX}`);
      const text = this.#text(bytes);
      if (text.trim() === "") continue;
      if (++this.#count > RECORDS_MAX) throw tooMany();
      return this.#record(text);
    }
    return undefined;
  }

  #error(code: "BAD_REQUEST" | "RECORD_TOO_LARGE", what: string, field?: string): EdgeError {
    return new EdgeError(code, `line ${this.#line}${field === undefined ? "" : `: ${field}`} ${what}`, {
      line: this.#line,
      field,
    });
  }

  #refuse(field: string | undefined, what: string): never {
    throw this.#error("BAD_REQUEST", what, field);
  }

  #text(bytes: Uint8Array): string {
    try {
      return strictDecoder.decode(bytes);
    } catch {
      return this.#refuse(undefined, "is not UTF-8; bytes go into keyBase64 and valueBase64");
    }
  }

  #record(text: string): BuilderRecord {
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      if (text.startsWith("\ufeff")) this.#refuse(undefined, "begins with a byte-order mark: leave it out");
      this.#refuse(undefined, `is not JSON; ${SHAPE}`);
    }
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
      this.#refuse(undefined, `is no JSON object; ${SHAPE}. Plain values are appended as ${this.#type}`);
    const members = parsed as Members;
    for (const name of Object.keys(members))
      if (!FIELDS.has(name as "key"))
        this.#refuse(`the field ${JSON.stringify(name.slice(0, 64))}`, `is not known; ${SHAPE}, around the value`);
    const record = {
      key: this.#bytes(members, "key", (key) =>
        typeof key === "string" ? this.#utf8(key, "key") : this.#refuse("key", "must be a text or null, or keyBase64"),
      ),
      value: this.#value(members, text),
      headers: this.#headers(members["headers"]),
      timestamp: this.#timestamp(members["timestamp"]),
    };
    let bytes = (record.key?.length ?? 0) + (record.value?.length ?? 0);
    for (const [name, value] of record.headers) bytes += 3 * name.length + (value?.length ?? 0) + 10;
    if (bytes > VALUE_BYTES_MAX)
      throw this.#error("RECORD_TOO_LARGE", `is a record of ${bytes} bytes; it may have ${VALUE_BYTES_MAX}`);
    return record;
  }

  /** A field that is a text or, with Base64 behind its name, bytes. Absent and null are null. */
  #bytes(members: Members, name: "key" | "value", encode: (given: unknown) => Uint8Array | null): Uint8Array | null {
    const [given, packed] = [members[name], members[`${name}Base64`]];
    if (packed === undefined) return given === undefined || given === null ? null : encode(given);
    if (given !== undefined) this.#refuse(`${name}Base64`, `and ${name} exclude each other`);
    return this.#unpacked(packed, `${name}Base64`);
  }

  #unpacked(packed: unknown, field: string): Uint8Array {
    if (typeof packed !== "string") return this.#refuse(field, "must be bytes as base64, in a text");
    try {
      return Uint8Array.from(atob(packed), (char) => char.charCodeAt(0));
    } catch {
      return this.#refuse(field, "is not base64 (RFC 4648, +/ and =)");
    }
  }

  /** A lone half would become U+FFFD, so that other keys are the same and other texts are stored. */
  #utf8(text: string, field: string): Uint8Array {
    return isWellFormed(text) ? textEncoder.encode(text) : this.#refuse(field, `has ${HALF}`);
  }

  #value(members: Members, text: string): Uint8Array | null {
    const { value, tombstone } = members;
    if (tombstone !== undefined && typeof tombstone !== "boolean") this.#refuse("tombstone", "must be true or false");
    if (value === undefined && members["valueBase64"] === undefined)
      this.#refuse("value", `is missing; ${SHAPE}. null is a tombstone`);
    if (tombstone === true && (value ?? members["valueBase64"] ?? null) !== null)
      this.#refuse("tombstone", "is true beside a value; a tombstone's value is null");
    if (value === null && tombstone === false) {
      if (this.#isJson) return textEncoder.encode("null");
      this.#refuse("tombstone", "is false beside null, which is a value in streams of application/json only");
    }
    const bytes = this.#bytes(members, "value", (given) => this.#encoded(given, text));
    if (this.#isJson && members["valueBase64"] !== undefined && !isJsonText(bytes!))
      this.#refuse("valueBase64", "is not JSON; each record of this stream is one JSON message");
    return bytes;
  }

  #encoded(value: unknown, text: string): Uint8Array {
    if (this.#isJson) return textEncoder.encode(textOfMember(text, "value"));
    if (typeof value === "string") return this.#utf8(value, "value");
    return this.#refuse("value", `must be a text, because the stream is ${this.#type}; bytes go into valueBase64`);
  }

  #headers(headers: unknown): Header[] {
    if (headers === undefined || headers === null) return [];
    if (typeof headers !== "object") this.#refuse("headers", "must be an object, or pairs of name and value");
    const pairs: unknown[] = Array.isArray(headers) ? headers : Object.entries(headers as object);
    if (pairs.length > HEADERS_MAX) this.#refuse("headers", `are ${pairs.length}; a record has at most ${HEADERS_MAX}`);
    return pairs.map((pair): Header => {
      if (!Array.isArray(pair) || pair.length !== 2 || typeof pair[0] !== "string")
        return this.#refuse("headers", "must be an object, or pairs of name and value");
      const [name, value] = pair as [string, unknown];
      const field = `headers.${name.slice(0, 64)}`;
      if (!isWellFormed(name)) this.#refuse("headers", `have a name with ${HALF}`);
      if (isReserved(name)) this.#refuse(field, "is the server's: choose a name that does not begin with ds.");
      if (value === null) return [name, null];
      if (typeof value === "string") return [name, this.#utf8(value, field)];
      const { base64 } = Object(value) as { base64?: unknown };
      if (base64 === undefined) this.#refuse(field, 'must be a text, null, or {"base64": …}');
      return [name, this.#unpacked(base64, `${field}.base64`)];
    });
  }

  #timestamp(timestamp: unknown): number {
    if (timestamp === undefined || timestamp === null) return this.#now;
    if (typeof timestamp === "number" && Number.isSafeInteger(timestamp)) return timestamp;
    const at = typeof timestamp === "string" && TIME.test(timestamp) ? timeOf(timestamp) : NaN;
    if (Number.isSafeInteger(at)) return at;
    return this.#refuse(
      "timestamp",
      "must be whole milliseconds since 1970, or a time that exists, such as 2027-02-28T00:00:00Z",
    );
  }
}

/** The error of a body of lines in which no line has a record. */
export const noLines = (): EdgeError => badRequest(`the body has no line with a record; ${SHAPE}`);
