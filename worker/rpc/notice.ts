/**
 * Notices: what a log's object tells readers that wait at its end (watch.ts), once the writer has its ack. A notice
 * says where the log ends now. It may bring a few new records, its news. A reader that is where they begin need not ask
 * for them:
 *
 *   text     { end, closed }                                       there is more: ask for it
 *   text     from ␣ end ␣ closed ␣ records [from, end)             of JSON, as an array: a string costs half of bytes
 *   binary    0        8        16       17
 *            ┌────────┬────────┬────────┬──── …
 *            │ from   │ end    │ closed │ records [from, end)
 *            │ f64    │ f64    │ u8     │ as an answer to a read has them: values or batches
 *            └────────┴────────┴────────┴──── …
 */
import { viewOf } from "../../src/record/bytes.ts";

/**
 * Most bytes of records in a notice. Readers ask for the records of a larger commit. A Worker keeps no more than this
 * for a slow reader.
 */
export const NEWS_BYTES_MAX = 16 * 1024;

/** The forms in which a watcher takes news. It names one when it opens; without one it gets no news. */
export const NEWS_FORMS = ["values", "batches"] as const;
export type NewsForm = (typeof NEWS_FORMS)[number];

export interface News {
  readonly from: number;
  readonly end: number;
  readonly body: Uint8Array | string;
}

export interface Notice {
  readonly end: number;
  readonly closed: boolean;
  readonly news?: News;
}

const [FROM_AT, END_AT, CLOSED_AT, BODY_AT] = [0, 8, 16, 17];

export const plainNotice = (end: number, closed: boolean): string => JSON.stringify({ end, closed });

export function newsNotice({ from, end, body }: News, closed: boolean): Uint8Array<ArrayBuffer> | string {
  if (typeof body === "string") return `${from} ${end} ${closed ? 1 : 0} ${body}`;
  const bytes = new Uint8Array(BODY_AT + body.length);
  const view = viewOf(bytes);
  view.setFloat64(FROM_AT, from);
  view.setFloat64(END_AT, end);
  bytes[CLOSED_AT] = closed ? 1 : 0;
  bytes.set(body, BODY_AT);
  return bytes;
}

export function readNotice(data: string | ArrayBuffer): Notice {
  if (typeof data === "string") return data.startsWith("{") ? (JSON.parse(data) as Notice) : textNotice(data);
  const view = new DataView(data);
  const end = view.getFloat64(END_AT);
  const news = { from: view.getFloat64(FROM_AT), end, body: new Uint8Array(data, BODY_AT) };
  return { end, closed: view.getUint8(CLOSED_AT) === 1, news };
}

function textNotice(data: string): Notice {
  const [endAt, closedAt] = [data.indexOf(" ") + 1, data.indexOf(" ", data.indexOf(" ") + 1) + 1];
  const [from, end] = [Number(data.slice(0, endAt)), Number(data.slice(endAt, closedAt))];
  return { end, closed: data[closedAt] === "1", news: { from, end, body: data.slice(closedAt + 2) } };
}
