/**
 * Reads of whole records, for people and their tools: lines of JSON, or the same lines in Server-Sent Events for an
 * EventSource. The Worker makes them of record batches, so the log's object has no more to do than for any reader.
 *
 *   ?from=… ──▶ HEAD: type, start, end ──▶ page of batches ──▶ lines │ page ──▶ lines │ … ──▶ end, or
 *                                            follow: a hibernating socket tells what comes (watch.ts)
 *
 * The next page is asked for once the client has taken the lines before it. So a reader costs a page (1 MiB or so),
 * the text of one batch and, if it follows, one socket, however slow it is. Whatever goes wrong behind the first byte
 * is the last line: {"error":{"code", "message", …}}.
 */
import { decodeBatch, type RecordBatch, splitBatches } from "../../src/record/record-batch.ts";
import { textEncoder } from "../../src/record/bytes.ts";
import { type Env, numberOf } from "../env.ts";
import { UNTIL_HEADER } from "../rpc/internal-headers.ts";
import { edgeKernel } from "../kernel.ts";
import { badRequest, checkLog, EdgeError } from "../errors.ts";
import { type Ask, Watch } from "../rpc/watch.ts";
import { mediaType } from "../stream/media-type.ts";
import {
  accepts,
  BATCHES_TYPE,
  dialectOf,
  EVENTS_TYPE,
  namesType,
  namesRecords,
  RECORDS_TYPE,
} from "../wire/accept.ts";
import { H } from "../wire/durable-streams.ts";
import { wireErrorOf } from "../wire/http.ts";
import { formatOffset, numberedOffset, offsetIn } from "../wire/offsets.ts";
import { fromOf, isAtTail, isEnded, nextOf } from "../wire/read-answer.ts";
import { recordLine } from "../wire/record-lines.ts";
import { type RecordsAsked, recordsAsked, recordsParameter } from "../wire/record-query.ts";
import type { Asked } from "../telemetry/events.ts";
import { readThrough } from "./archived-reads.ts";
import type { Caller } from "./auth.ts";
import { askOf, headOf } from "./forward.ts";
import type { Background } from "./segment-cache.ts";

/** Text is sent in pieces of about this size, because each costs a turn. */
const PIECE_CHARS = 64 * 1024;
/** How soon an EventSource connects again after the end of an answer. */
const RETRY_MS = 1_000;
/**
 * If the log's object is reset during a follow, the follow asks for it again: this often, after pauses of AGAIN_MS.
 */
const AGAIN_MAX = 5;
const AGAIN_MS = 1_000;

export interface RecordsRead {
  readonly asked: RecordsAsked;
  readonly form: "lines" | "events";
  /** The stream's HEAD, a success. */
  readonly head: Response;
  /** A page of batches: from the object, or from object storage. */
  page(query: string): Promise<Response>;
  readonly ask: Ask;
  readonly signal: AbortSignal | undefined;
  /** A quiet answer sends an empty line, or a comment, this often. */
  readonly heartbeatMs: number;
  /** How long an answer of events lasts; then an EventSource connects anew. */
  readonly lastsMs: number;
  /** When the caller's token ends, in milliseconds since 1970: nobody reads on with it. Infinity without one. */
  readonly expiresMs: number;
  /** A follow whose client has not read for this long is ended. */
  readonly stalledMs: number;
  readonly lastEventId: string | null;
}

const isSame = (a: Uint8Array | null, b: Uint8Array): boolean =>
  a !== null && a.length === b.length && a.every((byte, i) => byte === b[i]);

class RecordsText {
  readonly #of: RecordsRead;
  readonly #type: string;
  readonly #key: Uint8Array | undefined;
  #left: number;
  /** Where the next record is looked for. */
  offset: number;
  /** Where the answer ends, if it does not follow. */
  readonly #to: number;
  /** The stream that is read, by its id. */
  #log: string | undefined;

  constructor(of: RecordsRead, from: number, to: number) {
    this.#of = of;
    this.#type = mediaType(of.head.headers.get("content-type") ?? "");
    this.#key = of.asked.key === undefined ? undefined : textEncoder.encode(of.asked.key);
    this.#left = of.asked.limit;
    this.offset = from;
    this.#to = to;
  }

  /** True once the end of a closed stream was read. */
  hasEnded = false;

  get isOver(): boolean {
    return this.#left === 0 || this.offset >= this.#to;
  }

  #said(line: string, offset: number): string {
    return this.#of.form === "lines" ? `${line}\n` : `id: ${formatOffset(offset + 1)}\ndata: ${line}\n\n`;
  }

  /** The text of whole batches, in pieces. */
  async *#lines(bytes: Uint8Array, nextOffset: number): AsyncGenerator<string> {
    const kernel = await edgeKernel();
    let text = "";
    for (const each of splitBatches(bytes)) {
      let batch: RecordBatch;
      try {
        batch = await decodeBatch(kernel, each);
      } catch (thrown) {
        // Lines before the damage are an answer; the error is behind them.
        if (text !== "") yield text;
        throw thrown;
      }
      for (let i = 0; i < batch.count && !batch.isControl && !this.isOver; i++) {
        const offset = batch.offsetAt(i);
        if (offset < this.offset || offset >= this.#to) continue;
        this.offset = offset + 1;
        if (this.#key && !isSame(batch.keyAt(i), this.#key)) continue;
        text += this.#said(recordLine(batch, i, this.#type), offset);
        this.#left--;
        if (text.length < PIECE_CHARS) continue;
        yield text;
        text = "";
      }
    }
    if (this.#left > 0) this.offset = Math.max(this.offset, Math.min(nextOffset, this.#to));
    if (text !== "") yield text;
  }

  /** The batches of an answer. Throws what it says if it is no success, and for another stream's. */
  async #bytesIn(found: Response): Promise<Uint8Array> {
    if (found.status === 200) {
      const log = found.headers.get(H.log);
      checkLog(this.#log, log);
      this.#log ??= log ?? undefined;
      return new Uint8Array(await found.arrayBuffer());
    }
    const { error } = (await found.json().catch(() => ({}))) as { error?: unknown };
    throw EdgeError.fromWire(error);
  }

  async *pages(first: Response): AsyncGenerator<string> {
    for (let found = first; ; found = await this.#of.page(`?offset=${formatOffset(this.offset)}`)) {
      yield* this.#lines(await this.#bytesIn(found), nextOf(found));
      this.hasEnded = isEnded(found);
      if (this.isOver || isAtTail(found)) return;
    }
  }

  /** What comes, until the stream is closed or the answer's time is over. */
  async *live(deadline: number): AsyncGenerator<string> {
    const { ask, signal, heartbeatMs, form } = this.#of;
    const quiet = form === "lines" ? "\n" : ":\n\n";
    for (let tries = 0; ;) {
      const watch = await Watch.open(ask, { offset: this.offset, form: "batches", signal, log: this.#log });
      try {
        while (!this.isOver && Date.now() < deadline) {
          if (!(await watch.past(this.offset, Math.min(deadline, Date.now() + heartbeatMs)))) {
            yield quiet;
            continue;
          }
          if (watch.gone || signal?.aborted) break;
          tries = 0;
          const news = watch.take(this.offset);
          if (news) yield* this.#lines(news.body as Uint8Array, news.end);
          else {
            const query = `?offset=${formatOffset(this.offset)}`;
            const own = { accept: BATCHES_TYPE, [UNTIL_HEADER]: String(watch.end) };
            const found = await ask(query, own);
            yield* this.#lines(await this.#bytesIn(found), nextOf(found));
          }
          this.hasEnded = watch.closed && this.offset >= watch.end;
          if (this.hasEnded) return;
        }
        if (this.isOver || Date.now() >= deadline || signal?.aborted) return;
      } finally {
        watch.close();
      }
      if (++tries > AGAIN_MAX) throw new EdgeError("CLOSED", `the stream is away; read on from=${this.offset}`);
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

interface Beginning {
  readonly from: number;
  /** The first page; its status may be an error. */
  readonly first: Response;
}

async function beginningOf({ asked, head, page, lastEventId }: RecordsRead): Promise<Beginning> {
  const [start, end] = [offsetIn(head, H.start), offsetIn(head, H.next)];
  const { from } = asked;
  if (lastEventId !== null && lastEventId !== "") {
    const seen = numberedOffset(lastEventId, "Last-Event-ID");
    const given = typeof from === "object" && "offset" in from ? from.offset : 0;
    return at(page, Math.max(seen, given));
  }
  if (from === "earliest") return at(page, start);
  if (from === "latest") return at(page, end);
  if ("offset" in from) return at(page, from.offset);
  if ("last" in from) return at(page, Math.max(start, end - from.last));
  const first = await page(`?timestamp=${from.timestamp}`);
  return { from: fromOf(first), first };
}

const at = async (page: RecordsRead["page"], from: number): Promise<Beginning> => ({
  from,
  first: await page(`?offset=${formatOffset(from)}`),
});

/** The answer's body: each piece is made once the client has taken the one before it. */
function bodyOf(text: AsyncGenerator<string>, over: AbortController, stalledMs: number): ReadableStream<Uint8Array> {
  let stalled: ReturnType<typeof setTimeout> | undefined;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (stalled !== undefined) clearTimeout(stalled);
        const { done, value } = await text.next();
        if (done) return controller.close();
        controller.enqueue(textEncoder.encode(value));
        if (stalledMs === Infinity) return;
        stalled = setTimeout(() => {
          controller.error(new Error("the client does not read"));
          over.abort();
        }, stalledMs);
      },
      cancel() {
        if (stalled !== undefined) clearTimeout(stalled);
        over.abort();
        // Its socket has ended, so it waits for nothing.
        text.return(undefined).catch(() => undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

async function* textOf(of: RecordsRead, text: RecordsText, first: Response): AsyncGenerator<string> {
  const { form, asked, lastsMs, expiresMs } = of;
  const isEvents = form === "events";
  try {
    // The id comes before any record: an EventSource that connects again must not have its beginning found anew.
    if (isEvents) yield `id: ${formatOffset(text.offset)}\nretry: ${RETRY_MS}\n\n`;
    yield* text.pages(first);
    if (!asked.follow || text.isOver || text.hasEnded) return;
    const lastMs = isEvents ? Date.now() + lastsMs : Infinity;
    yield* text.live(Math.min(lastMs, expiresMs));
    if (!text.isOver && !text.hasEnded && Date.now() >= expiresMs)
      throw new EdgeError("UNAUTHORIZED", `the token has expired: get a new one, and read on from=${text.offset}`);
  } catch (thrown) {
    const line = JSON.stringify({ error: wireErrorOf(thrown) });
    yield isEvents ? `event: error\ndata: ${line}\n\n` : `${line}\n`;
  }
}

async function recordsAnswer(of: RecordsRead): Promise<Response> {
  const { asked, form, head, stalledMs, lastEventId } = of;
  const isEvents = form === "events";
  if (isEvents && asked.limit < Infinity)
    throw badRequest(`limit would begin anew whenever an EventSource connects again; it needs ${RECORDS_TYPE}`, {
      parameter: "limit",
    });
  const { from, first } = await beginningOf(of);
  if (first.status !== 200) return first;
  const end = offsetIn(head, H.next);
  const headers: Record<string, string> = {
    "content-type": isEvents ? EVENTS_TYPE : RECORDS_TYPE,
    "cache-control": "no-cache, no-store, no-transform",
    "x-accel-buffering": "no",
    vary: "accept",
    [H.from]: formatOffset(from),
  };
  // The end as of now: what comes later is for the next read, which begins there.
  if (!asked.follow && asked.limit === Infinity) headers[H.next] = formatOffset(Math.max(from, end));
  if (isEnded(first) && lastEventId && from >= nextOf(first)) return new Response(null, { status: 204, headers });
  const over = new AbortController();
  of.signal?.addEventListener("abort", () => over.abort());
  const read = { ...of, signal: over.signal };
  const text = new RecordsText(read, from, asked.follow ? Infinity : end);
  const body = bodyOf(textOf(read, text, first), over, asked.follow ? stalledMs : Infinity);
  return new Response(body, { status: 200, headers });
}

export interface RecordsRequest {
  readonly request: Request;
  readonly url: URL;
  readonly env: Env;
  readonly tenant: string;
  readonly path: string;
  readonly told: Asked;
  readonly caller: Pick<Caller, "expires">;
  readonly background: Background | undefined;
}

/** The form that a GET asks for. Its address alone is enough where its Accept header leaves it open, as curl's does. */
function formOf(accept: string | null, url: URL): "lines" | "events" | undefined {
  if (namesRecords(accept)) return "lines";
  if (recordsParameter(url) === undefined || url.searchParams.has("live")) return undefined;
  if (accept === null || accepts(accept, RECORDS_TYPE))
    return accept && namesType(accept, EVENTS_TYPE) ? "events" : "lines";
  return accepts(accept, EVENTS_TYPE) ? "events" : undefined;
}

/** Without lines such a parameter would count for nothing, and its reader would take all records for some. */
function checkForm(form: string | undefined, accept: string | null, url: URL): void {
  const parameter = recordsParameter(url);
  if (form !== undefined || parameter === undefined || url.searchParams.has("live")) return;
  const given = `${parameter} is for lines of records, and Accept is ${accept?.slice(0, 256)}`;
  throw new EdgeError("NOT_ACCEPTABLE", `${given}: accept ${RECORDS_TYPE} or ${EVENTS_TYPE}`, { parameter });
}

/** The answer to a GET that wants records; undefined if it wants the stream's own type, or if there is no stream. */
export async function recordsResponse(of: RecordsRequest): Promise<Response | undefined> {
  const { request, url, env, tenant, path, told, caller, background } = of;
  const accept = request.headers.get("accept");
  const form = formOf(accept, url);
  checkForm(form, accept, url);
  if (form === undefined) return undefined;
  const head = await headOf(env, tenant, path);
  if (head.status !== 200) return undefined;
  const type = head.headers.get("content-type") ?? "";
  // A stream may be of this type itself.
  const isOwn = mediaType(type) === RECORDS_TYPE && recordsParameter(url) === undefined;
  const isNamed = mediaType(type) !== RECORDS_TYPE && namesRecords(accept);
  if (isOwn) return undefined;
  if (isNamed && dialectOf(accept, type) !== "records") {
    checkForm(undefined, accept, url);
    return undefined;
  }
  const ask = askOf(env, url)(tenant, path);
  const sseMs = numberOf(env.TIDEMARK_SSE_MS, 60_000);
  const asked = recordsAsked(new URL(request.url));
  return recordsAnswer({
    // An EventSource has no other end than its page's.
    asked: form === "events" ? { ...asked, follow: true } : asked,
    form,
    head,
    ask,
    page: (query) => {
      const headers = { accept: BATCHES_TYPE };
      const pageUrl = new URL(query, url);
      const toObject = (own: Record<string, string>) => ask(query, { ...headers, ...own });
      return readThrough({
        asked: told,
        env,
        tenant,
        path,
        url: pageUrl,
        headers: new Headers(headers),
        background,
        ask: toObject,
      });
    },
    signal: request.signal as AbortSignal | undefined,
    heartbeatMs: numberOf(env.TIDEMARK_SSE_HEARTBEAT_MS, 15_000),
    lastsMs: sseMs,
    expiresMs: (caller.expires ?? Infinity) * 1000,
    stalledMs: sseMs,
    lastEventId: form === "events" ? request.headers.get("last-event-id") : null,
  });
}
