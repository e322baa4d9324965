/**
 * Turns a request's body into record batches, in bounded memory and in slices. One JSON message is one record, with its
 * bytes as the client wrote them, so numbers keep their digits; list-encoder.ts has arrays of messages. Any other body
 * is one record, or several if it is larger than a record may be.
 *
 * The cost of a body is bounded by its bytes and by its number of messages, because even a tiny message makes a record.
 * Long work is done in slices with a turn of the event loop between them, because other streams share the isolate.
 */
import type { PackingKernel } from "../../src/kernel/types.ts";
import { BatchBuilder, type BuilderRecord, type Header } from "../../src/record/batch-builder.ts";
import { CHUNK_BYTES_MAX } from "../store/chunk-tables.ts";
import { ENCODE_SLICE_BYTES, tooLarge, VALUE_BYTES_MAX } from "./body-limits.ts";
import { LineCutter } from "./line-cutter.ts";
import { isSpace, ListEncoder, noJson, startOfList } from "./list-encoder.ts";

function trimmed(bytes: Uint8Array, from: number, to: number): Uint8Array {
  let [start, end] = [from, to];
  while (start < end && isSpace(bytes[start]!)) start++;
  while (end > start && isSpace(bytes[end - 1]!)) end--;
  return bytes.subarray(start, end);
}

/** The values of a body, one after the other, as views; or whole records. */
interface Cutter {
  next(): Uint8Array | BuilderRecord | undefined;
  /** Number of bytes that were passed so far. */
  readonly at: number;
}

/** One JSON message. */
function single(kernel: PackingKernel, body: Uint8Array): Uint8Array {
  const value = trimmed(body, 0, body.length);
  if (value.length > VALUE_BYTES_MAX) throw tooLarge(value.length);
  if (!kernel.isJson(value)) throw noJson();
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

function cutterOf(kernel: PackingKernel, { body, mediaType, timestamp, isLines }: BodyAsked): Cutter {
  if (isLines) return new LineCutter(body, mediaType, timestamp);
  if (mediaType !== "application/json" || body.length === 0)
    return new PieceCutter(body, mediaType.startsWith("text/"));
  return new One(single(kernel, body));
}

/**
 * Most appends are small, and each would leave a builder's buffers as garbage. So one builder is kept between calls.
 */
let spare: { readonly kernel: PackingKernel; readonly builder: BatchBuilder } | undefined;
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

  constructor(kernel: PackingKernel, asked: BodyAsked) {
    const { timestamp, headers = [], prefix } = asked;
    this.#timestamp = timestamp;
    this.#headers = headers;
    this.#cutter = cutterOf(kernel, asked);
    this.#builder = spare?.kernel === kernel ? spare.builder : new BatchBuilder(kernel, { bytesMax: CHUNK_BYTES_MAX });
    spare = undefined;
    if (prefix) this.#add(prefix);
  }

  /** Does one slice. True once everything is in `batches`. */
  step(kernel: PackingKernel): boolean {
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
    if (!builder.tryAppend(record)) throw tooLarge(record.value?.length);
  }
}

/** Turns one body into batches, a slice at a time. */
interface Encoder {
  readonly batches: readonly Uint8Array[];
  /** True once everything is in `batches`. */
  step(kernel: PackingKernel): boolean;
}

function encoderOf(kernel: PackingKernel, asked: BodyAsked): Encoder {
  const { body, mediaType, isLines, prefix } = asked;
  const start = mediaType === "application/json" && !isLines ? startOfList(body) : undefined;
  if (start === undefined) return new BodyEncoder(kernel, asked);
  if (!prefix) return new ListEncoder(asked, start);
  const before = encodeBody(kernel, { ...asked, body: prefix, mediaType: "", prefix: undefined });
  return new ListEncoder({ ...asked, headers: [] }, start, before);
}

/** Batches of a small body, made in one turn. Empty if the body has no message. */
export function encodeBody(kernel: PackingKernel, asked: BodyAsked): readonly Uint8Array[] {
  const encoder = encoderOf(kernel, asked);
  while (!encoder.step(kernel)) continue;
  return encoder.batches;
}

/** The same, with a turn for others after each slice. */
export async function encodeInSlices(
  kernel: PackingKernel,
  asked: BodyAsked,
  turn: () => Promise<void>,
): Promise<readonly Uint8Array[]> {
  const encoder = encoderOf(kernel, asked);
  while (!encoder.step(kernel)) await turn();
  return encoder.batches;
}

/** A turn of the event loop: work that waits in this isolate runs first. */
export const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
