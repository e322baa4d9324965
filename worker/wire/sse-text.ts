/**
 * The text of a stream in events. An append may end anywhere: inside a character, or between the two bytes of a line
 * break. The texts of the events, joined, must still be the stream's text, wherever answers and appends begin and end:
 *
 *   character   its first bytes wait for the rest: in the decoder while the answer lasts. If the answer ends, the next
 *               answer begins with the bytes before its offset (the lead), so nothing is lost or sent twice
 *   CR LF       a CR at the end of an event is a line break at once; an LF that follows is then ignored
 */
import type { Kernel } from "../../src/kernel/types.ts";
import type { Stream } from "../stream/stream.ts";
import { recordsIn } from "../stream/values.ts";

const CR = 0x0d;
/** A character has at most four bytes, so an unfinished one has at most three. */
const LEAD_BYTES_MAX = 3;
/** How many offsets back the lead is searched. Records without a value, and holes, count as well. */
const LEAD_OFFSETS_MAX = 8;
const LEAD_READ_BYTES = 64 * 1024;

export class LiveText {
  readonly #decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });
  #isBehindCr = false;

  /** `lead` is the result of leadOf. */
  constructor(lead: string) {
    const bytes = Uint8Array.from(lead.match(/../g) ?? [], (digits) => parseInt(digits, 16));
    this.#isBehindCr = bytes[0] === CR;
    if (!this.#isBehindCr) this.#decoder.decode(bytes, { stream: true });
  }

  /** `isEnd` means that nothing follows: an unfinished character becomes U+FFFD. */
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
 * What a text that continues at `from` must know of the bytes before it, in hexadecimal: an unfinished character, or a
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
