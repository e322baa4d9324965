/**
 * How the reference kernel reads JSON: patterns over text that has a character for each byte. The compiled kernel must
 * stop at the same byte. What ends too early is NEED_MORE, anything else that is wrong BAD_RECORD.
 */
import {
  type ElementsRequest,
  KERNEL_BATCH_BYTES_MAX,
  KERNEL_BATCH_RECORDS_MAX,
  Status,
} from "../../src/kernel/types.ts";
import { checkHeaders, refuse, Refused, varintBytes } from "./records.ts";

const CONTINUED = "[\\x80-\\xbf]";
/** The characters of UTF-8 that are longer than a byte, by their first byte. */
const LONGER = [
  ["[\\xc2-\\xdf]", CONTINUED],
  ["\\xe0", "[\\xa0-\\xbf]", CONTINUED],
  ["[\\xe1-\\xec\\xee\\xef]", CONTINUED, CONTINUED],
  ["\\xed", "[\\x80-\\x9f]", CONTINUED],
  ["\\xf0", "[\\x90-\\xbf]", CONTINUED, CONTINUED],
  ["[\\xf1-\\xf3]", CONTINUED, CONTINUED, CONTINUED],
  ["\\xf4", "[\\x80-\\x8f]", CONTINUED, CONTINUED],
];
const HEX = "[0-9a-fA-F]";
const ESCAPES = [
  ["\\\\", '["\\\\/bfnrt]'],
  ["\\\\", "u", HEX, HEX, HEX, HEX],
];
/** All beginnings of a sequence that are shorter than it. */
const beginnings = (parts: readonly string[]): string[] => parts.slice(1).map((_, i) => parts.slice(0, i + 1).join(""));

const IN_STRING = [...LONGER, ...ESCAPES].map((parts) => parts.join("")).join("|");
const STRING = new RegExp(`"(?:[\\x20\\x21\\x23-\\x5b\\x5d-\\x7f]|${IN_STRING})*`, "y");
const CUT_IN_STRING = new RegExp(`^(?:${[...LONGER, ...ESCAPES].flatMap(beginnings).join("|")})?$`);
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
/** A number to which more digits must come. */
const CUT_NUMBER = /^(?:-|-?(?:0|[1-9][0-9]*)(?:\.|(?:\.[0-9]+)?[eE][+-]?))$/;
const SPACE = /[ \t\n\r]*/y;
const WORDS = ["true", "false", "null"];

class JsonReader {
  /** One character for each byte. */
  readonly #text: string;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#text = Buffer.from(bytes).toString("latin1");
  }

  get isAtEnd(): boolean {
    return this.at >= this.#text.length;
  }

  #fail(): never {
    throw new Refused(this.isAtEnd ? Status.NEED_MORE : Status.BAD_RECORD);
  }

  #match(pattern: RegExp): boolean {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.#text);
    if (!found) return false;
    this.at = pattern.lastIndex;
    return true;
  }

  space(): void {
    this.#match(SPACE);
  }

  /** The next character, which must be one of these. */
  one(of: string): string {
    const found = this.#text[this.at];
    if (found === undefined || !of.includes(found)) this.#fail();
    this.at++;
    return found;
  }

  string(): void {
    if (!this.#match(STRING)) this.#fail();
    if (CUT_IN_STRING.test(this.#text.slice(this.at, this.at + 8))) this.at = this.#text.length;
    this.one('"');
  }

  /** A word or a number, which may be cut off. */
  #plain(): void {
    const rest = this.#text.slice(this.at);
    const word = WORDS.find((each) => rest.startsWith(each) || each.startsWith(rest));
    if (word !== undefined && rest !== "") {
      this.at += Math.min(word.length, rest.length);
      if (rest.length < word.length) this.#fail();
    } else if (CUT_NUMBER.test(rest)) {
      this.at = this.#text.length;
      this.#fail();
    } else if (!this.#match(NUMBER)) this.#fail();
    // "1.x" is a number and then something else; to the compiled kernel it is a bad number. Both refuse the "x".
    else if (/^(?:\.|[eE][+-]?)/.test(this.#text.slice(this.at))) throw new Refused(Status.BAD_RECORD);
  }

  /** One value, with the white space before it. */
  value(): void {
    this.space();
    const first = this.#text[this.at];
    if (first === '"') this.string();
    else if (first !== "[" && first !== "{") this.#plain();
    else {
      const closing = first === "[" ? "]" : "}";
      this.at++;
      this.space();
      if (this.#text[this.at] === closing) this.at++;
      else
        do {
          this.space();
          if (first === "{") {
            this.string();
            this.space();
            this.one(":");
          }
          this.value();
          this.space();
        } while (this.one(`,${closing}`) === ",");
    }
  }
}

export function isJson(bytes: Uint8Array): boolean {
  const reader = new JsonReader(bytes);
  try {
    reader.value();
    reader.space();
  } catch (thrown) {
    if (thrown instanceof Refused) return false;
    throw thrown;
  }
  return reader.isAtEnd && bytes.length <= KERNEL_BATCH_BYTES_MAX;
}

const HEADER_BYTES = 61;
const isInt32 = (value: number): boolean => (value | 0) === value;
const varintSize = (value: number): number => varintBytes(value).length;

/** The elements that fit a batch, and what was thrown at the first one that does not, or is none. */
export function takeElements({ bytes, headers, timestamp, bytesMax, valueMax }: ElementsRequest): {
  readonly thrown: unknown;
  readonly taken: number;
  readonly values: readonly Uint8Array[];
} {
  const room = KERNEL_BATCH_BYTES_MAX - headers.length;
  const looked = bytes.subarray(0, Math.max(room, 0));
  const reader = new JsonReader(looked);
  const values: Uint8Array[] = [];
  let [taken, size, mark] = [0, HEADER_BYTES, ","];
  try {
    refuse(room < 0 || !isInt32(bytesMax) || !isInt32(valueMax), Status.BAD_ARGUMENT);
    refuse(!Number.isSafeInteger(timestamp), Status.BAD_TIMESTAMP);
    refuse(bytesMax < HEADER_BYTES || bytesMax > KERNEL_BATCH_BYTES_MAX, Status.BAD_ARGUMENT);
    if (headers.length > 0) checkHeaders(headers);
    while (mark === ",") {
      reader.space();
      const start = reader.at;
      reader.value();
      const value = looked.subarray(start, reader.at);
      reader.space();
      mark = reader.one(",]");
      const count = values.length;
      const headersSize = count === 0 ? Math.max(headers.length, 1) : 1;
      // Attributes, timestamp delta, offset delta, no key, value, headers.
      const body = 1 + 1 + varintSize(count) + 1 + varintSize(value.length) + value.length + headersSize;
      const sizeThen = size + varintSize(body) + body;
      refuse(value.length > valueMax || count === KERNEL_BATCH_RECORDS_MAX || sizeThen > bytesMax, Status.TOO_LARGE);
      size = sizeThen;
      values.push(value);
      taken = reader.at;
    }
  } catch (thrown) {
    return { thrown, taken, values };
  }
  return { thrown: undefined, taken, values };
}
