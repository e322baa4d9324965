/**
 * A small append, which the Worker reads whole and passes to the log's object by an RPC call (http-append.ts has both
 * ways). Headers go as one text, and so does the answer: a call that passes objects costs 10 µs more of some 60.
 *
 *   headers   content-type: application/json          answer   204
 *             producer-id: till-7                              Stream-Next-Offset: 0000000000000012_0000000000000000
 *             …                                                …
 *                                                              (an empty line and the body, if it has one)
 */
import type { Answer } from "../wire/http.ts";

/**
 * Largest body that the Worker reads whole and passes on: small enough to be in memory for every connection at once.
 */
export const CALL_BYTES_MAX = 64 * 1024;

/** The object's method for small appends. Names in `passed` are in lower case. */
export interface AppendCall {
  appendByText(tenant: string, passed: string, body: Uint8Array): Promise<string>;
}

/** No name and no value of a header has a line's end. */
function headersIn(lines: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const end = line.indexOf(": ");
    if (end > 0) headers[line.slice(0, end)] = line.slice(end + 2);
  }
  return headers;
}

/** The headers of these names as a text. */
export function textOfHeaders(headers: Readonly<Record<string, string>>, names: readonly string[]): string {
  let text = "";
  for (const name of names) if (headers[name] !== undefined) text += `${name}: ${headers[name]}\n`;
  return text;
}

export const headersInText = (text: string): Record<string, string> => headersIn(text.split("\n"));

export function textOfAnswer({ status, headers, body }: Answer): string {
  const head = `${status}\n${textOfHeaders(headers, Object.keys(headers))}`;
  return body === null ? head : `${head}\n${body}`;
}

export function answerInText(text: string): Answer {
  const end = text.indexOf("\n\n");
  const [status, ...lines] = (end < 0 ? text : text.slice(0, end)).split("\n");
  return { status: Number(status), headers: headersIn(lines), body: end < 0 ? null : text.slice(end + 2) };
}
