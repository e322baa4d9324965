/**
 * Turns a JSON array into record batches: each element is a record, with its bytes as the client wrote them. The kernel
 * finds the elements, checks them and writes the batch; no element becomes a value or a view here. A slice of the body
 * is a batch.
 *
 *   body   [ {"a":1} , {"a":2} , … , {"a":9} ]
 *            └── taken: a batch ──┘  └ of the next slice: the kernel takes an element when it has seen its end
 */
import { type ElementsResult, KERNEL_BATCH_BYTES_MAX, type PackingKernel, Status } from "../../src/kernel/types.ts";
import { encodeHeaders, type Header } from "../../src/record/batch-builder.ts";
import { CHUNK_BYTES_MAX } from "../store/chunk-tables.ts";
import { badRequest, type EdgeError } from "../errors.ts";
import { ENCODE_SLICE_BYTES, RECORDS_MAX, tooLarge, tooMany, VALUE_BYTES_MAX } from "./body-limits.ts";

const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const NOTHING = new Uint8Array(0);

/** Space, tab, line feed, carriage return: JSON has no other white space. */
export const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

export const noJson = (): EdgeError =>
  badRequest("the body is not JSON; this stream takes one JSON message, or an array of messages");

function behindSpace(body: Uint8Array, at: number, end = body.length): number {
  while (at < end && isSpace(body[at])) at++;
  return at;
}

/** The position behind the array's bracket. Undefined if the body is no array. */
export function startOfList(body: Uint8Array): number | undefined {
  const at = behindSpace(body, 0);
  return body[at] === OPEN_LIST ? at + 1 : undefined;
}

interface ListAsked {
  readonly body: Uint8Array;
  /** Milliseconds, of every record. */
  readonly timestamp: number;
  /** Headers of the first record. */
  readonly headers?: readonly Header[];
}

export class ListEncoder {
  readonly batches: Uint8Array[];
  readonly #body: Uint8Array;
  readonly #timestamp: number;
  #headers: Uint8Array;
  #at: number;
  #count = 0;

  /** `start` is behind the array's bracket. `before`: batches in front of the array's own. */
  constructor({ body, timestamp, headers = [] }: ListAsked, start: number, before: readonly Uint8Array[] = []) {
    this.batches = [...before];
    this.#body = body;
    this.#timestamp = timestamp;
    this.#headers = headers.length > 0 ? encodeHeaders(headers) : NOTHING;
    this.#at = behindSpace(body, start);
  }

  /** Does one slice. True once everything is in `batches`. */
  step(kernel: PackingKernel): boolean {
    const body = this.#body;
    if (this.#count === 0 && body[this.#at] === CLOSE_LIST) return this.#isOver(this.#at + 1);
    // White space may be as long as the body, and the kernel sees a slice only.
    this.#at = behindSpace(body, this.#at, Math.min(body.length, this.#at + ENCODE_SLICE_BYTES));
    if (isSpace(body[this.#at])) return false;
    let found = this.#encode(kernel, ENCODE_SLICE_BYTES);
    // An element may be larger than a slice.
    if (found.status === Status.NEED_MORE && found.records === 0) found = this.#encode(kernel, KERNEL_BATCH_BYTES_MAX);
    const { status, records, takenBytes, batch } = found;
    this.#count += records;
    if (this.#count > RECORDS_MAX) throw tooMany();
    if (status === Status.BAD_RECORD) throw noJson();
    if (records === 0) {
      const isWhole = status === Status.NEED_MORE && body.length - this.#at <= this.#room;
      throw isWhole ? noJson() : tooLarge();
    }
    this.batches.push(batch);
    this.#headers = NOTHING;
    this.#at += takenBytes;
    return status === Status.OK && this.#isOver(this.#at);
  }

  #encode(kernel: PackingKernel, bytes: number): ElementsResult {
    return kernel.encodeElements({
      bytes: this.#body.subarray(this.#at, this.#at + bytes),
      headers: this.#headers,
      timestamp: this.#timestamp,
      bytesMax: CHUNK_BYTES_MAX,
      valueMax: VALUE_BYTES_MAX,
    });
  }

  /** The most bytes that the kernel looks at. */
  get #room(): number {
    return KERNEL_BATCH_BYTES_MAX - this.#headers.length;
  }

  /** Only white space may follow the array. */
  #isOver(end: number): true {
    if (behindSpace(this.#body, end) < this.#body.length) throw noJson();
    return true;
  }
}
