/**
 * Turns a request's body into record batches, in bounded memory and in slices. One JSON message is one record, with its
 * bytes as the client wrote them (it is parsed only to be checked, so numbers keep their digits). Any other body is one
 * record, or several if it is larger than a record may be.
 *
 *   body   [ {"a":1} , {"a":2} , … ]       cut at commas that are outside of strings and brackets
 *            └ view ┘  └ view ┘            each goes into the batch that is being built; no copy is kept
 *          └── checked together ──┘        a group of messages is parsed in one piece: if they were cut right, the
 *                                          piece is valid exactly if all of them are
 *
 * The cost of a body is bounded by its bytes and by its number of messages, because even a tiny message makes a record.
 * Long work is done in slices with a turn of the event loop between them, because other streams share the isolate.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { BatchBuilder, type BuilderRecord, type Header } from "../../src/record/batch-builder.ts";
import { CHUNK_BYTES_MAX } from "../store/chunk-tables.ts";
import { badRequest, type EdgeError } from "../errors.ts";
import { isJsonText, RECORDS_MAX, tooLarge, tooMany, VALUE_BYTES_MAX } from "./body-limits.ts";
import { LineCutter } from "./line-cutter.ts";

/** Bytes of a body that are encoded before others get a turn: some milliseconds of work. */
export const ENCODE_SLICE_BYTES = 256 * 1024;
/**
 * Bytes of messages that are parsed in one piece. The parsed result is up to thirty times as large, and is garbage at
 * once.
 */
const GROUP_BYTES = 64 * 1024;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
/** Space, tab, line feed, carriage return: JSON has no other white space. */
const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

const noJson = (): EdgeError =>
  badRequest("the body is not JSON; this stream takes one JSON message, or an array of messages");
function trimmed(bytes: Uint8Array, from: number, to: number): Uint8Array {
  let [start, end] = [from, to];
  while (start < end && isSpace(bytes[start]!)) start++;
  while (end > start && isSpace(bytes[end - 1]!)) end--;
  return bytes.subarray(start, end);
}

/** The position behind the string that begins at `at`. */
function behindString(bytes: Uint8Array, at: number): number {
  let end = at + 1;
  while (end < bytes.length && bytes[end] !== QUOTE) end += bytes[end] === BACKSLASH ? 2 : 1;
  return end + 1;
}

/** The values of a body, one after the other, as views; or whole records. */
interface Cutter {
  next(): Uint8Array | BuilderRecord | undefined;
  /** Number of bytes that were passed so far. */
  readonly at: number;
}

/** The elements of a JSON array. */
class ListCutter implements Cutter {
  readonly #body: Uint8Array;
  at: number;
  #count = 0;
  #isOver = false;
  /** Where the part begins that was not parsed yet. Undefined if the whole body was parsed. */
  #unchecked: number | undefined;

  constructor(body: Uint8Array, start: number) {
    this.#body = body;
    this.at = start + 1;
    this.#unchecked = start + 1;
    if (body.length > GROUP_BYTES) return;
    if (!isJsonText(body)) throw noJson();
    this.#unchecked = undefined;
  }

  next(): Uint8Array | undefined {
    if (this.#isOver) return undefined;
    const start = this.at;
    const end = this.#end(start);
    const value = trimmed(this.#body, start, end);
    this.#isOver = this.#body[end] === CLOSE_LIST;
    this.at = end + 1;
    if (this.#isOver) this.#finish(end);
    if (value.length === 0) {
      if (this.#isOver && this.#count === 0) return undefined;
      throw noJson();
    }
    if (value.length > VALUE_BYTES_MAX) throw tooLarge();
    if (++this.#count > RECORDS_MAX) throw tooMany();
    if (this.#unchecked !== undefined && (this.#isOver || end - this.#unchecked >= GROUP_BYTES)) this.#check(end);
    return value;
  }

  /** The position of the comma behind the element that begins at `start`, or of the array's end. */
  #end(start: number): number {
    const body = this.#body;
    const { length } = body;
    let depth = 0;
    for (let at = start; at < length; at++) {
      const byte = body[at]!;
      if (byte === QUOTE) at = behindString(body, at) - 1;
      else if (byte === OPEN_LIST || byte === OPEN_OBJECT) depth++;
      else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) {
        if (depth === 0) return byte === CLOSE_LIST ? at : this.#fail();
        depth--;
      } else if (byte === COMMA && depth === 0) return at;
      // The search ends here: a single huge element would take as long as the whole body.
      if (at - start > 2 * VALUE_BYTES_MAX) throw tooLarge();
    }
    return this.#fail();
  }

  #fail(): never {
    throw noJson();
  }

  /** Only white space may follow the array. */
  #finish(end: number): void {
    if (trimmed(this.#body, end + 1, this.#body.length).length > 0) throw noJson();
  }

  #check(end: number): void {
    try {
      JSON.parse(`[${decoder.decode(this.#body.subarray(this.#unchecked, end))}]`);
    } catch {
      throw noJson();
    }
    this.#unchecked = end + 1;
  }
}

/** One JSON message. */
function single(body: Uint8Array): Uint8Array {
  const value = trimmed(body, 0, body.length);
  if (value.length > VALUE_BYTES_MAX) throw tooLarge();
  if (!isJsonText(value)) throw noJson();
  return value;
}

/** Pieces of about one size, because each large one is a row of its own. Pieces of a text end between characters. */
class PieceCutter implements Cutter {
  at = 0;

  constructor(
    readonly body: Uint8Array,
    readonly isText: boolean,
  ) {}

  next(): Uint8Array | undefined {
    const { at, body } = this;
    const left = body.length - at;
    if (left <= 0) return undefined;
    const cut = at + Math.ceil(left / Math.ceil(left / VALUE_BYTES_MAX));
    let end = cut;
    if (this.isText && end < body.length) while (end > Math.max(at + 1, cut - 4) && (body[end]! & 0xc0) === 0x80) end--;
    this.at = end;
    return body.subarray(at, end);
  }
}

class One implements Cutter {
  at = 0;
  #value: Uint8Array | undefined;

  constructor(value: Uint8Array) {
    this.#value = value;
  }

  next(): Uint8Array | undefined {
    const value = this.#value;
    this.#value = undefined;
    return value;
  }
}

function cutterOf(body: Uint8Array, mediaType: string): Cutter {
  if (mediaType !== "application/json") return new PieceCutter(body, mediaType.startsWith("text/"));
  const start = body.findIndex((byte) => !isSpace(byte));
  return body[start] === OPEN_LIST ? new ListCutter(body, start) : new One(single(body));
}

/**
 * Most appends are small, and each would leave a builder's buffers as garbage. So one builder is kept between calls.
 */
let spare: { readonly kernel: Kernel; readonly builder: BatchBuilder } | undefined;
const SPARE_BYTES_MAX = 64 * 1024;
const NOBODY = { producerId: -1, producerEpoch: -1, baseSequence: -1 };

export interface BodyAsked {
  readonly body: Uint8Array;
  readonly mediaType: string;
  readonly timestamp: number;
  /** Headers of the very first record. */
  readonly headers?: readonly Header[];
  /** True if the body is lines with whole records (line-cutter.ts); `mediaType` is still the stream's. */
  readonly isLines?: boolean | undefined;
  /** A record that comes before the body's own. */
  readonly prefix?: Uint8Array | undefined;
}

class BodyEncoder {
  readonly batches: Uint8Array[] = [];
  readonly #cutter: Cutter;
  readonly #builder: BatchBuilder;
  readonly #timestamp: number;
  #headers: readonly Header[];

  constructor(kernel: Kernel, { body, mediaType, timestamp, headers = [], isLines, prefix }: BodyAsked) {
    this.#timestamp = timestamp;
    this.#headers = headers;
    this.#cutter = isLines
      ? new LineCutter(body, mediaType, timestamp)
      : cutterOf(body, body.length === 0 ? "" : mediaType);
    this.#builder = spare?.kernel === kernel ? spare.builder : new BatchBuilder(kernel, { bytesMax: CHUNK_BYTES_MAX });
    spare = undefined;
    if (prefix) this.#add(prefix);
  }

  /** Does one slice. True once everything is in `batches`. */
  step(kernel: Kernel): boolean {
    const cutter = this.#cutter;
    const until = cutter.at + ENCODE_SLICE_BYTES;
    for (let value = cutter.next(); value; value = cutter.next()) {
      this.#add(value);
      if (cutter.at >= until) return false;
    }
    const builder = this.#builder;
    if (builder.count > 0) this.batches.push(builder.build(NOBODY));
    if (builder.sizeBytes <= SPARE_BYTES_MAX) spare = { kernel, builder };
    builder.reset();
    return true;
  }

  #add(cut: Uint8Array | BuilderRecord): void {
    const given = cut instanceof Uint8Array ? { key: null, value: cut, timestamp: this.#timestamp } : cut;
    const headers = this.#headers;
    const record = headers.length > 0 ? { ...given, headers: [...headers, ...(given.headers ?? [])] } : given;
    this.#headers = [];
    const builder = this.#builder;
    if (builder.tryAppend(record)) return;
    if (builder.count > 0) this.batches.push(builder.build(NOBODY));
    builder.reset();
    if (!builder.tryAppend(record)) throw tooLarge();
  }
}

/** Batches of a small body, made in one turn. Empty if the body has no message. */
export function encodeBody(kernel: Kernel, asked: BodyAsked): Uint8Array[] {
  const encoder = new BodyEncoder(kernel, asked);
  while (!encoder.step(kernel)) continue;
  return encoder.batches;
}

/** The same, with a turn for others after each slice. */
export async function encodeInSlices(
  kernel: Kernel,
  asked: BodyAsked,
  turn: () => Promise<void>,
): Promise<Uint8Array[]> {
  const encoder = new BodyEncoder(kernel, asked);
  while (!encoder.step(kernel)) await turn();
  return encoder.batches;
}

/** A turn of the event loop: work that waits in this isolate runs first. */
export const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
