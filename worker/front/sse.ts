/**
 * Server-Sent Events: one answer lasts about a minute. It consists of data events, each followed by a control event,
 * and of comments while nothing happens.
 *
 *   retry: 1000                        once, at the beginning
 *   id: <offset>  event: data          values of the stream; the id is where a reader continues behind them
 *   id: <offset>  event: control       { streamNextOffset, streamCursor, upToDate, streamClosed }
 *   :                                  after a quiet quarter of a minute, because proxies cut silent answers
 *
 * When a standard EventSource connects again it repeats its URL and sends the newest id in Last-Event-ID. The id counts
 * if it is newer than the URL's offset, so a reader gets each record once. At the end of a closed stream it gets a 204,
 * which ends it.
 *
 * Readers of one stream in this isolate share a socket to its object (rpc/shared-watch.ts) and, where an event does not
 * depend on those before it, its bytes.
 *
 * Records that came with a notice are the next piece. Others are asked for once the client has taken the piece before
 * them. So a client that does not read costs one answer of the object (about 1 MiB) and the records of one notice, both
 * until the answer's time is over.
 */
import { accepts, EVENTS_TYPE, notAcceptable } from "../wire/accept.ts";
import { laterCursor, nextCursor } from "../wire/cursors.ts";
import { LEAD_HEADER, STREAM_HEADER, UNTIL_HEADER } from "../rpc/internal-headers.ts";
import type { News } from "../rpc/notice.ts";
import { sharedWatch } from "../rpc/shared-watch.ts";
import { badRequest } from "../errors.ts";
import { withCommonHeaders } from "../wire/cors.ts";
import type { LiveRequest } from "./live-reads.ts";
import { fromOf, isAtTail, isEnded, nextOf } from "../wire/read-answer.ts";
import { mediaType } from "../stream/media-type.ts";
import { H } from "../wire/durable-streams.ts";
import { formatOffset, parseOffset } from "../wire/offsets.ts";
import { concat, textEncoder } from "../../src/record/bytes.ts";
import { LiveText } from "../wire/sse-text.ts";
import { type Ask, Watch } from "../rpc/watch.ts";

/** How soon an EventSource connects again after the end of an answer. Its own default is some seconds. */
const RETRY_MS = 1_000;

export interface SseRequest extends LiveRequest {
  readonly lastEventId: string | null;
  readonly heartbeatMs: number;
  /** An answer whose client has stopped reading is ended this long after its time is over. */
  readonly stalledMs: number;
  /** The name of the log's object: readers of one name share a socket to it. Default: none is shared. */
  readonly log?: string;
}

const decoder = new TextDecoder();

/** Every line break that SSE knows must begin a new data line. */
const event = (name: string, id: string, text: string): string =>
  `id: ${id}\nevent: ${name}\n${text
    .split(/\r\n|\r|\n/)
    .map((line) => `data:${line.startsWith(" ") ? " " : ""}${line}\n`)
    .join("")}\n`;

const bytesOf = (values: Uint8Array | string): Uint8Array =>
  typeof values === "string" ? textEncoder.encode(values) : values;

function base64(values: Uint8Array | string): string {
  const bytes = bytesOf(values);
  let text = "";
  // A multiple of 3, so that the pieces join without padding in between.
  for (let at = 0; at < bytes.length; at += 0x6000)
    text += btoa(String.fromCharCode(...bytes.subarray(at, at + 0x6000)));
  return text;
}

/** Turns the values of one answer of the object into the text of an event; "" if there is nothing to send. */
type Encode = (values: Uint8Array | string, isEnd: boolean) => string;

/** Compaction may have removed all records in this range. Then there is no message, and no event. */
const json: Encode = (values) =>
  values.length <= 2 ? "" : typeof values === "string" ? values : decoder.decode(values);

/** Encoders whose result depends on the values only. So all readers at one offset get the same piece. */
const ALIKE: readonly Encode[] = [json, base64];

function encodeFor(type: string, lead: string): Encode {
  if (type === "application/json") return json;
  if (!type.startsWith("text/")) return base64;
  const text = new LiveText(lead);
  return (values, isEnd) => text.next(bytesOf(values), isEnd);
}

interface Answering {
  readonly ask: Ask;
  readonly encode: Encode;
  readonly watch: Watch | undefined;
  readonly deadline: number;
  readonly heartbeatMs: number;
}

/** Where a reader stands behind a piece. */
interface Standing {
  readonly next: number;
  readonly isAtTail: boolean;
  readonly isEnded: boolean;
}

/** The pieces that news became for a reader, which others may get as well. */
const pieces = new WeakMap<News, { readonly of: string; readonly piece: Uint8Array }>();

class SseSession {
  readonly #of: Answering;
  #from: number;
  #first: Response | undefined;
  #cursor: string;
  #isOver = false;

  constructor(of: Answering, first: Response, cursor: string | undefined) {
    this.#of = of;
    this.#first = first;
    this.#from = fromOf(first);
    this.#cursor = nextCursor(Date.now(), cursor, Math.random);
  }

  /** The next piece of the answer. Undefined if the answer is complete. */
  async next(): Promise<Uint8Array | undefined> {
    const { ask, watch, deadline, heartbeatMs } = this.#of;
    const first = this.#first;
    this.#first = undefined;
    if (first) return textEncoder.encode(`retry: ${RETRY_MS}\n${await this.#events(first)}`);
    const heartbeat = Date.now() + heartbeatMs;
    while (!this.#isOver && watch && Date.now() < deadline) {
      const isPast = await watch.past(this.#from, Math.min(deadline, heartbeat));
      if (watch.gone) return undefined;
      if (!isPast) return Date.now() < deadline ? textEncoder.encode(":\n\n") : undefined;
      const news = watch.take(this.#from);
      if (news) return this.#piecesOf(news, watch);
      const found = await ask(`?offset=${formatOffset(this.#from)}`, { [UNTIL_HEADER]: String(watch.end) });
      if (found.status !== 200) return undefined;
      if (nextOf(found) > this.#from || isEnded(found)) return textEncoder.encode(await this.#events(found));
      void found.body?.cancel();
    }
    return undefined;
  }

  /** A reader that is behind gets all that waits for it at once: a piece costs it much more than its bytes. */
  #piecesOf(first: News, watch: Watch): Uint8Array {
    const found: Uint8Array[] = [];
    for (let news: News | undefined = first; news; news = this.#isOver ? undefined : watch.take(this.#from))
      found.push(this.#pieceOf(news, watch));
    return concat(found);
  }

  /** Made once for all readers that get the same. */
  #pieceOf(news: News, watch: Watch): Uint8Array {
    const isAtTail = news.end === watch.end;
    const standing = { next: news.end, isAtTail, isEnded: isAtTail && watch.closed };
    this.#stand(standing);
    const isAlike = ALIKE.includes(this.#of.encode);
    const of = `${this.#cursor} ${isAtTail} ${standing.isEnded}`;
    const known = isAlike ? pieces.get(news) : undefined;
    if (known?.of === of) return known.piece;
    const piece = textEncoder.encode(this.#eventsOf(news.body, standing));
    if (isAlike) pieces.set(news, { of, piece });
    return piece;
  }

  async #events(found: Response): Promise<string> {
    const bytes = new Uint8Array(await found.arrayBuffer());
    const standing = { next: nextOf(found), isAtTail: isAtTail(found), isEnded: isEnded(found) };
    this.#stand(standing);
    return this.#eventsOf(bytes, standing);
  }

  /** The reader stands behind a piece. */
  #stand({ next, isEnded }: Standing): void {
    this.#from = next;
    this.#isOver = isEnded;
    this.#cursor = laterCursor(Date.now(), this.#cursor);
  }

  #eventsOf(values: Uint8Array | string, { next, isAtTail, isEnded }: Standing): string {
    const id = formatOffset(next);
    const control = {
      streamNextOffset: id,
      ...(isEnded ? { streamClosed: true } : { streamCursor: this.#cursor }),
      ...(isAtTail && { upToDate: true }),
    };
    const text = this.#of.encode(values, isEnded);
    return (text === "" ? "" : event("data", id, text)) + event("control", id, JSON.stringify(control));
  }

  close(): void {
    this.#isOver = true;
    this.#of.watch?.close();
  }
}

function numberIn(id: string): number | undefined {
  try {
    const offset = parseOffset(id);
    return typeof offset === "number" ? offset : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Where a reader begins. An event's id is newer than the URL's offset if the reader has it from an answer to that URL.
 */
function beginningOf(offset: string, lastEventId: string | null): string {
  if (lastEventId === null || lastEventId === "") return offset;
  const [seen, asked] = [numberIn(lastEventId), parseOffset(offset)];
  if (seen === undefined)
    throw badRequest(`Last-Event-ID is ${lastEventId.slice(0, 64)}; it must be the id of an event of this stream`);
  return typeof asked === "number" && asked > seen ? offset : lastEventId;
}

function bodyOf(session: SseSession, until: number): ReadableStream<Uint8Array> {
  let stalled: ReturnType<typeof setTimeout>;
  const end = (): void => {
    clearTimeout(stalled);
    session.close();
  };
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        stalled = setTimeout(() => {
          end();
          controller.error(new Error("the client does not read"));
        }, until - Date.now());
      },
      async pull(controller) {
        const piece = await session.next().catch(() => undefined);
        if (piece !== undefined) return controller.enqueue(piece);
        end();
        controller.close();
      },
      cancel: end,
    },
    { highWaterMark: 0 },
  );
}

function watchOf(ask: Ask, request: SseRequest, first: Response, deadline: number): Promise<Watch> {
  const { log, signal, heartbeatMs, stalledMs } = request;
  const opening = { offset: nextOf(first), form: "values", signal } as const;
  const stream = first.headers.get(STREAM_HEADER);
  // An object of an earlier version does not name its stream.
  if (log === undefined || stream === null) return Watch.open(ask, opening);
  return sharedWatch({ ...opening, key: `${stream} ${log}`, ask, untilMs: deadline + stalledMs, heartbeatMs });
}

export async function sse(ask: Ask, request: SseRequest): Promise<Response> {
  const { cursor, waitMs, accept, lastEventId, heartbeatMs, stalledMs } = request;
  if (!accepts(accept, EVENTS_TYPE)) throw notAcceptable(accept!, [EVENTS_TYPE]);
  const offset = beginningOf(request.offset, lastEventId);
  const first = await ask(`?offset=${encodeURIComponent(offset)}`, { [LEAD_HEADER]: "1" });
  if (first.status !== 200) return first;
  if (lastEventId && isEnded(first) && nextOf(first) === fromOf(first)) {
    const headers = {
      [H.next]: formatOffset(nextOf(first)),
      [H.closed]: "true",
      "cache-control": "no-store",
      vary: "accept",
    };
    void first.body?.cancel();
    return new Response(null, { status: 204, headers });
  }
  const type = mediaType(first.headers.get("content-type") ?? "");
  const encode = encodeFor(type, first.headers.get(LEAD_HEADER) ?? "");
  const deadline = Date.now() + waitMs;
  // Opened even while there is much to catch up with: the open socket tells the object that it has a reader.
  const watch = isEnded(first) ? undefined : await watchOf(ask, request, first, deadline);
  const session = new SseSession({ ask, encode, watch, deadline, heartbeatMs }, first, cursor);
  const headers: Record<string, string> = {
    "content-type": EVENTS_TYPE,
    // A proxy that caches, compresses or buffers the answer would delay events.
    "cache-control": "no-cache, no-store, no-transform",
    "x-accel-buffering": "no",
    vary: "accept",
  };
  if (encode === base64) headers["stream-sse-data-encoding"] = "base64";
  return withCommonHeaders(new Response(bodyOf(session, deadline + stalledMs), { status: 200, headers }));
}
