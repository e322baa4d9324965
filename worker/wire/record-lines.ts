/**
 * Stored records as lines of JSON, for people and their tools: one record a line, with what the stream's own type
 * leaves out. stream/line-cutter.ts reads the same form.
 *
 *   {"offset":5,"timestamp":1767225600000,"key":"o-17","headers":{"trace":"a1"},"value":{"total":42}}
 *
 *   key      text, or keyBase64 if its bytes are no UTF-8
 *   headers  an object; pairs of name and value if a name is repeated, or if an object would put its names into another
 *            order (2, 1). A value that is no UTF-8 is {"base64": …}
 *   value    in a stream of JSON the message as it was appended, on one line; in one of text/* a text; else
 *            valueBase64. null is a tombstone; a message that is JSON's null has "tombstone":false beside it
 */
import type { RecordBatch } from "../../src/record/record-batch.ts";
import { isReserved } from "../../src/record/reserved-headers.ts";
import { strictDecoder } from "../stream/strict-text.ts";

function base64Of(bytes: Uint8Array): string {
  let text = "";
  // A multiple of 3, so that the pieces join without padding in between.
  for (let at = 0; at < bytes.length; at += 0x6000)
    text += btoa(String.fromCharCode(...bytes.subarray(at, at + 0x6000)));
  return text;
}

/** The text if these bytes are UTF-8. */
function textOf(bytes: Uint8Array): string | undefined {
  try {
    return strictDecoder.decode(bytes);
  } catch {
    return undefined;
  }
}

function field(name: "key" | "value", bytes: Uint8Array | null, isText: boolean): string {
  if (bytes === null) return `"${name}":null`;
  const text = isText ? textOf(bytes) : undefined;
  return text === undefined ? `"${name}Base64":"${base64Of(bytes)}"` : `"${name}":${JSON.stringify(text)}`;
}

function headersOf(batch: RecordBatch, at: number): string {
  const shown = batch
    .headersAt(at)
    // The server's own notes of a writer would be refused if the line was sent again.
    .filter(([name]) => !isReserved(name))
    .map(([name, bytes]) => [name, bytes && (textOf(bytes) ?? { base64: base64Of(bytes) })] as const);
  const object = Object.fromEntries(shown);
  const names = Object.keys(object);
  const isSame = names.length === shown.length && shown.every(([name], i) => name === names[i]);
  return JSON.stringify(isSame ? object : shown);
}

function valueOf(bytes: Uint8Array | null, type: string): string {
  if (bytes === null || type !== "application/json") return field("value", bytes, type.startsWith("text/"));
  // In a JSON text a line break stands between tokens only, so a space means the same.
  const text = textOf(bytes)?.replace(/[\n\r]/g, " ");
  if (text === undefined) return field("value", bytes, false);
  return `"value":${text}${text.trim() === "null" ? ',"tombstone":false' : ""}`;
}

/** One record as JSON, without the line's end. `type`: the stream's media type. */
export const recordLine = (batch: RecordBatch, at: number, type: string): string =>
  `{"offset":${batch.offsetAt(at)},"timestamp":${batch.timestampAt(at)},${field("key", batch.keyAt(at), true)},` +
  `"headers":${headersOf(batch, at)},${valueOf(batch.valueAt(at), type)}}`;
