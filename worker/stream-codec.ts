/**
 * Between a request's body and records. A JSON message is one record, its text as the client wrote it (parsed only to be
 * checked: numbers keep their digits); any other body is one record, or several when it is larger than a record may be.
 */
import { TidemarkError } from "../src/errors.ts";
import type { Kernel, PackingKernel, PackRequest } from "../src/kernel/types.ts";
import { BatchBuilder, type Header } from "../src/record/batch-builder.ts";
import { viewOf } from "../src/record/bytes.ts";
import { BATCH_HEADER_BYTES, LENGTH_AT, RECORD_COUNT_AT } from "../src/record/format.ts";
import { decodeBatch, type RecordBatch, splitBatches } from "../src/record/record-batch.ts";
import { CHUNK_BYTES_MAX } from "./chunk-tables.ts";
import { badRequest, HttpError } from "./http.ts";

/** A record's value: with its header and its batch's it must fit one row. */
export const VALUE_BYTES_MAX = CHUNK_BYTES_MAX - 1024;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Texts of the messages in a JSON body: an array is flattened one level. */
export function jsonMessages(body: Uint8Array): string[] {
  let text: string;
  let parsed: unknown;
  try {
    text = decoder.decode(body);
    parsed = JSON.parse(text);
  } catch {
    throw badRequest("the body is no JSON");
  }
  return Array.isArray(parsed) ? elementsOf(text, parsed.length) : [text.trim()];
}

/** The elements' own texts, in an array that has been parsed already, so that only strings and depth matter. */
function elementsOf(text: string, count: number): string[] {
  if (count === 0) return [];
  const found: string[] = [];
  let depth = 0;
  let start = text.indexOf("[") + 1;
  for (let at = start - 1; at < text.length; at++) {
    const char = text[at];
    if (char === '"') {
      for (at++; text[at] !== '"'; at++) if (text[at] === "\\") at++;
    } else if (char === "[" || char === "{") depth++;
    else if (char === "]" || char === "}") depth--;
    if ((char === "," && depth === 1) || depth === 0) {
      found.push(text.slice(start, at).trim());
      start = at + 1;
      if (depth === 0) break;
    }
  }
  return found;
}

/** Pieces of at most `max` bytes and about one size, since each large one is a row of its own; a text's pieces end between characters. */
function pieces(body: Uint8Array, isText: boolean, max = VALUE_BYTES_MAX): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let at = 0; at < body.length; ) {
    const left = body.length - at;
    const cut = at + Math.ceil(left / Math.ceil(left / max));
    let end = cut;
    if (isText && end < body.length) while (end > Math.max(at + 1, cut - 4) && (body[end]! & 0xc0) === 0x80) end--;
    found.push(body.subarray(at, end));
    at = end;
  }
  return found;
}

export function valuesOf(body: Uint8Array, mediaType: string): Uint8Array[] {
  if (mediaType !== "application/json") return pieces(body, mediaType.startsWith("text/"));
  const values = jsonMessages(body).map((text) => encoder.encode(text));
  const tooLarge = values.find((value) => value.length > VALUE_BYTES_MAX);
  if (tooLarge) throw new HttpError(413, "RECORD_TOO_LARGE", `a message has at most ${VALUE_BYTES_MAX} bytes`);
  return values;
}

/** Most appends are small, and each would leave a builder's buffers behind: one is kept, in between the calls. */
let spare: { readonly kernel: Kernel; readonly builder: BatchBuilder } | undefined;
const SPARE_BYTES_MAX = 64 * 1024;

/** Batches of these values; the very first record carries `headers`. */
export function batchesOf(kernel: Kernel, values: readonly Uint8Array[], headers: readonly Header[], timestamp: number): Uint8Array[] {
  const builder = spare?.kernel === kernel ? spare.builder : new BatchBuilder(kernel, { bytesMax: CHUNK_BYTES_MAX });
  spare = undefined;
  const owner = { producerId: -1, producerEpoch: -1, baseSequence: -1 };
  const batches: Uint8Array[] = [];
  values.forEach((value, i) => {
    const record = { key: null, value, timestamp, ...(i === 0 && headers.length > 0 && { headers }) };
    if (builder.tryAppend(record)) return;
    batches.push(builder.build(owner));
    builder.reset();
    if (!builder.tryAppend(record)) throw new HttpError(413, "RECORD_TOO_LARGE", "a record does not fit");
  });
  if (builder.count > 0) batches.push(builder.build(owner));
  if (builder.sizeBytes <= SPARE_BYTES_MAX) spare = { kernel, builder };
  builder.reset();
  return batches;
}

/**
 * A body in parts: values back to back, or, as a JSON array, each behind a comma. `bodyOf` and the long answers put the brackets, since
 * only they know which value is the first.
 */
export type Parts = Uint8Array[];

const COMMA_BYTE = 0x2c;
/** Larger values are handed on as they lie; smaller ones are sooner copied by the kernel than looked at one by one. */
const VALUE_COPIED_MAX = 64 * 1024;

/** What the kernel is asked for. Values of this size are better not copied: undefined. */
export function packing(bytes: Uint8Array, { from, to, expectedOffset = -1, isJson }: { readonly from: number; readonly to: number; readonly expectedOffset?: number; readonly isJson: boolean }): PackRequest | undefined {
  if (bytes.length < BATCH_HEADER_BYTES) return undefined;
  const view = viewOf(bytes);
  // The first batch speaks for the others.
  return view.getInt32(LENGTH_AT) > VALUE_COPIED_MAX * view.getInt32(RECORD_COUNT_AT) ? undefined : { expectedOffset, from, to, mark: isJson ? COMMA_BYTE : 0 };
}

/** One value as parts. */
export const partsOf = (value: Uint8Array, isJson: boolean): Parts => (isJson ? [COMMA, value] : [value]);

/**
 * The values of stored records in [from, to), checksums checked: whoever decodes looks. Damage ends them before it, at `nextOffset`;
 * CORRUPT_RANGE where nothing stands before it. The kernel goes as far as it can, all batches in one call; what it does not take is
 * decompressed or named batch by batch.
 */
export async function partsIn(kernel: PackingKernel, bytes: Uint8Array, from: number, to: number, isJson: boolean): Promise<{ readonly parts: Parts; readonly nextOffset: number }> {
  const parts: Parts = [];
  const request = packing(bytes, { from, to, isJson });
  let rest = bytes;
  if (request) {
    const into = new Uint8Array(bytes.length);
    const { validBytes, packedBytes } = kernel.pack(bytes, request, into);
    if (packedBytes > 0) parts.push(into.subarray(0, packedBytes));
    rest = bytes.subarray(validBytes);
  }
  for (const bytesOfBatch of splitBatches(rest)) {
    let batch: RecordBatch;
    try {
      batch = await decodeBatch(kernel, bytesOfBatch);
    } catch (thrown) {
      const damaged = Number(TidemarkError.from(thrown).details["from"]);
      if (damaged > from) return { parts, nextOffset: damaged };
      throw thrown;
    }
    if (batch.isControl) continue;
    for (let i = 0; i < batch.count; i++) {
      const offset = batch.offsetAt(i);
      const value = offset >= from && offset < to ? batch.valueAt(i) : null;
      if (value !== null) parts.push(...partsOf(value, isJson));
    }
  }
  return { parts, nextOffset: to };
}

/** The records with their offsets. */
export async function recordsIn(kernel: Kernel, bytes: Uint8Array, from: number, to: number): Promise<{ readonly offset: number; readonly value: Uint8Array }[]> {
  const records: { offset: number; value: Uint8Array }[] = [];
  for (const bytesOfBatch of splitBatches(bytes)) {
    const batch = await decodeBatch(kernel, bytesOfBatch);
    for (let i = 0; i < batch.count && !batch.isControl; i++) {
      const offset = batch.offsetAt(i);
      const value = offset >= from && offset < to ? batch.valueAt(i) : null;
      if (value !== null) records.push({ offset, value });
    }
  }
  return records;
}

const COMMA = Uint8Array.of(COMMA_BYTE);
const OPEN = encoder.encode("[");
const CLOSE = encoder.encode("]");

/** One body of these parts. */
export function bodyOf(parts: Readonly<Parts>, isJson: boolean): Parts {
  if (!isJson) return [...parts];
  const [first, ...others] = parts;
  return first ? [OPEN, first.subarray(1), ...others, CLOSE] : [OPEN, CLOSE];
}
