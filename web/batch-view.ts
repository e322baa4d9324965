/**
 * One record batch, field by field beside its bytes. The positions are those of docs/format.md (Kafka's RecordBatch
 * v2). The page parses the bytes itself, so it shows the bytes, not what the library says about them.
 */
import { date, el, number } from "./dom.ts";

interface Field {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

/** How many bytes and records are shown at first. A button shows the rest. */
const SHOWN_BYTES = 1024;
const SHOWN_RECORDS = 12;
/** Most records that are shown: five calls of 500 share a batch at most. A page with far more nodes would be slow. */
const RECORDS_MAX = 2_500;
/** Bytes in a row. A narrow window has no room for sixteen. */
const WIDE = 16;
const NARROW = 8;
const isNarrow = (): boolean => matchMedia("(max-width: 40rem)").matches;
const CODECS = ["none", "gzip", "snappy", "lz4", "zstd"];

function headerFields(bytes: Uint8Array): Field[] {
  const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const long = (at: number) => Number(v.getBigInt64(at));
  const fields: [string, number, string][] = [
    ["base offset", 8, number(long(0))],
    ["length", 4, number(v.getInt32(8))],
    ["leader epoch", 4, String(v.getInt32(12))],
    ["magic", 1, String(v.getInt8(16))],
    ["CRC-32C", 4, v.getUint32(17).toString(16).padStart(8, "0")],
    ["attributes", 2, `codec ${CODECS[v.getInt16(21) & 7] ?? "?"}`],
    ["last offset delta", 4, number(v.getInt32(23))],
    ["base timestamp", 8, date(long(27))],
    ["max timestamp", 8, date(long(35))],
    ["producer id", 8, String(v.getBigInt64(43))],
    ["producer epoch", 2, String(v.getInt16(51))],
    ["base sequence", 4, number(v.getInt32(53))],
    ["records", 4, number(v.getInt32(57))],
  ];
  let at = 0;
  return fields.map(([name, size, text]) => ({ name, from: at, to: (at += size), text }));
}

/** Reads a zigzag varint at `at`. Returns its value and where it ends. */
function varint(bytes: Uint8Array, at: number): [number, number] {
  let value = 0n;
  for (let shift = 0n; at < bytes.length; shift += 7n) {
    const byte = bytes[at++]!;
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return [Number((value >> 1n) ^ -(value & 1n)), at];
}

function recordFields(bytes: Uint8Array, most: number): Field[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if ((view.getInt16(21) & 7) !== 0)
    return [{ name: "records, compressed", from: 61, to: bytes.length, text: number(bytes.length - 61) }];
  const text = (from: number, length: number) =>
    length < 0 ? "null" : new TextDecoder().decode(bytes.subarray(from, from + length));
  const fields: Field[] = [];
  for (let at = 61, i = 0; at < bytes.length && i < Math.min(most, view.getInt32(57)); i++) {
    const [length, body] = varint(bytes, at);
    const [, afterTime] = varint(bytes, body + 1);
    const [delta, afterDelta] = varint(bytes, afterTime);
    const [keyLength, keyAt] = varint(bytes, afterDelta);
    const [valueLength, valueAt] = varint(bytes, keyAt + Math.max(keyLength, 0));
    const offset = Number(view.getBigInt64(0)) + delta;
    const key = keyLength < 0 ? "" : `${text(keyAt, keyLength)} `;
    fields.push({ name: `record ${offset}`, from: at, to: body + length, text: key + text(valueAt, valueLength) });
    at = body + length;
  }
  return fields;
}

/** The bytes in rows. Those of each field are marked in its colour. */
function drawHex(bytes: Uint8Array, fields: readonly Field[], shown: number): HTMLElement {
  const marks = fields.map((_, i) => {
    const mark = el("i");
    mark.style.setProperty("--hue", hue(i));
    mark.dataset["field"] = String(i);
    return mark;
  });
  const hex = el("pre", { className: "hex", tabIndex: 0 });
  hex.setAttribute("role", "region");
  hex.setAttribute("aria-label", "Bytes of the batch");
  const width = isNarrow() ? NARROW : WIDE;
  let field = 0;
  for (let at = 0; at < shown; at++) {
    if (at % width === 0) hex.append(at === 0 ? "" : "\n", `${at.toString(16).padStart(4, "0")}  `);
    while (field < fields.length && at >= fields[field]!.to) field++;
    const pair = bytes[at]!.toString(16).padStart(2, "0") + " ";
    // The bytes of a field share one number, so that a line break does not split the field.
    const mark =
      field < fields.length && at >= fields[field]!.from ? (marks[field]!.cloneNode() as HTMLElement) : undefined;
    mark?.append(pair);
    hex.append(mark ?? pair);
  }
  return hex;
}

const hue = (i: number): string => String((i * 47 + 180) % 360);

/** A button for each field. Pointing at it or focusing it highlights the field's bytes. */
function drawFields(fields: readonly Field[], hex: HTMLElement): HTMLElement {
  const list = el("div", { className: "fields" });
  for (const [i, { name, text, from, to }] of fields.entries()) {
    const title = `bytes ${from} to ${to - 1}: ${text}`;
    const button = el("button", { type: "button", className: "field", title }, el("span", {}, name), el("b", {}, text));
    button.style.setProperty("--hue", hue(i));
    const light = (on: boolean) => () => {
      for (const mark of hex.querySelectorAll(`[data-field="${i}"]`)) mark.classList.toggle("lit", on);
    };
    button.addEventListener("pointerenter", light(true));
    button.addEventListener("pointerleave", light(false));
    button.addEventListener("focus", light(true));
    button.addEventListener("blur", light(false));
    list.append(button);
  }
  return list;
}

/** Draws fields and bytes: the first ones, or all with `isWhole`. */
export function drawBatch(target: HTMLElement, bytes: Uint8Array, isWhole = false): void {
  const records = new DataView(bytes.buffer, bytes.byteOffset).getInt32(57);
  const fields = [...headerFields(bytes), ...recordFields(bytes, isWhole ? RECORDS_MAX : SHOWN_RECORDS)];
  const shown = isWhole ? bytes.length : Math.min(bytes.length, SHOWN_BYTES);
  const hex = drawHex(bytes, fields, shown);
  const all = `Show all ${number(records)} records and ${number(bytes.length)} bytes`;
  const more = el("button", { type: "button", className: "quiet" }, all);
  more.addEventListener("click", () => {
    drawBatch(target, bytes, true);
    target.querySelector<HTMLElement>(".hex")!.focus();
  });
  const isCut = !isWhole && (bytes.length > shown || records > SHOWN_RECORDS);
  target.replaceChildren(drawFields(fields, hex), hex, ...(isCut ? [more] : []));
}
