/**
 * Text of a stream in events. An append may end anywhere: inside a character, or between the two bytes of a line break.
 * The events' texts joined are still the stream's text, whatever the answers' and appends' borders are:
 *
 *   character   what there is of it waits for the rest: in the decoder while the answer lasts, and behind its end in the stream. The
 *               next answer begins with what stands before its offset (the lead), so nothing is lost or said twice.
 *   CR LF       a CR at the end of an event is its line break at once; the LF that follows is then none of its own.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import type { Stream } from "../stream/stream.ts";
import { recordsIn } from "../stream/values.ts";

const CR = 0x0d;
/** A character has at most four bytes, so at most three of one that is not whole. */
const LEAD_BYTES_MAX = 3;
/** Offsets that are looked at for them: records without a value and holes count, too. */
const LEAD_OFFSETS_MAX = 8;
const LEAD_READ_BYTES = 64 * 1024;

export class LiveText {
  readonly #decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });
  #isBehindCr = false;

  /** `lead` as leadOf says it. */
  constructor(lead: string) {
    const bytes = Uint8Array.from(lead.match(/../g) ?? [], (digits) => parseInt(digits, 16));
    this.#isBehindCr = bytes[0] === CR;
    if (!this.#isBehindCr) this.#decoder.decode(bytes, { stream: true });
  }

  /** `isEnd`: nothing follows, so what is no whole character is said as U+FFFD. */
  next(bytes: Uint8Array, isEnd: boolean): string {
    const text = this.#decoder.decode(bytes, { stream: !isEnd });
    if (text === "") return "";
    const found = this.#isBehindCr && text.startsWith("\n") ? text.slice(1) : text;
    this.#isBehindCr = text.endsWith("\r");
    return found;
  }
}

/** The bytes at the end that may be the beginning of a character. */
function unfinishedOf(bytes: Uint8Array): Uint8Array {
  for (let back = 1; back <= Math.min(LEAD_BYTES_MAX, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? bytes.subarray(bytes.length - back) : new Uint8Array(0);
  }
  return new Uint8Array(0);
}

/**
 * What a text that goes on at `from` has to know of the bytes before it, in hexadecimal: an unfinished character, or a
 * CR.
 */
export async function leadOf(kernel: Kernel, stream: Stream, from: number): Promise<string> {
  let tail = new Uint8Array(0);
  for (let at = from - 1; at >= Math.max(stream.start, from - LEAD_OFFSETS_MAX) && tail.length < LEAD_BYTES_MAX; at--) {
    const { bytes, nextOffset } = await stream.readBatches(at, at + 1, LEAD_READ_BYTES);
    const [record] = await recordsIn(kernel, bytes, at, Math.min(nextOffset, at + 1));
    if (record) tail = Uint8Array.from([...record.value.subarray(-LEAD_BYTES_MAX), ...tail]);
  }
  const lead = tail.at(-1) === CR ? tail.subarray(-1) : unfinishedOf(tail);
  return Array.from(lead, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
