/**
 * One append over HTTP, in the object: what its headers ask for and what is answered. A small append comes by an RPC
 * call from the Worker, a large one by `fetch`, with flow control:
 *
 *   POST ─▶ router ─ at most 64 KiB ─▶ object.appendByText(tenant, headers, body)   no Request, Response, stream
 *                  └ larger, chunked ─▶ object.fetch(request)
 *
 * Making those three took a quarter of an append's time. A test compares the answers of both ways.
 */
import { BATCHES_TYPE, isRecordsOf } from "../wire/accept.ts";
import { appendBatches } from "./batches-dialect.ts";
import { TidemarkError } from "../../src/errors.ts";
import type { Sending } from "../../src/log/producer-state.ts";
import { quoted } from "../wire/fields.ts";
import { badRequest } from "../errors.ts";
import type { Answer } from "../wire/http.ts";
import { edgeKernel } from "../kernel.ts";
import type { Counters } from "../telemetry/counters.ts";
import type { AppendOutcome, AppendRequest } from "../stream/appends.ts";
import { mediaType } from "../stream/media-type.ts";
import { readBody } from "../wire/request-body.ts";
import type { WriterProducer } from "../stream/writer-state.ts";
import { contentTypeOf, H, type HeadersOf, isClosing, producerOf, seqOf, traceOf } from "../wire/durable-streams.ts";
import { refuseHeaders } from "../wire/heeded.ts";
import { formatOffset, numberedOffset } from "../wire/offsets.ts";
import type { Stream } from "../stream/stream.ts";

export interface AppendAsked {
  readonly contentType: string | undefined;
  readonly producer: WriterProducer | undefined;
  readonly closing: boolean;
  readonly ifEnd: number | undefined;
  readonly seq: string | undefined;
  /** What the producer says of its sequences, and of a request that it sends again. */
  readonly sending: Sending;
  readonly trace: string | undefined;
}

export function appendAsked(headers: HeadersOf): AppendAsked {
  const expected = headers.get(H.expectedOffset);
  return {
    contentType: contentTypeOf(headers),
    producer: producerOf(headers),
    closing: isClosing(headers),
    ifEnd: expected === null ? undefined : numberedOffset(expected, H.expectedOffset),
    seq: seqOf(headers),
    sending: sendingOf(headers),
    trace: traceOf(headers),
  };
}

function sendingOf(headers: HeadersOf): Sending {
  const since = headers.get(H.resentSince);
  const sequences = headers.get(H.sequences);
  if (sequences !== null && sequences !== "from-zero")
    throw badRequest(`${H.sequences} is ${quoted(sequences)}; it must be from-zero, or left out`);
  return {
    ...(sequences !== null && { fromZero: true }),
    ...(since !== null && { resentSince: numberedOffset(since, H.resentSince) }),
  };
}

/** Batches have a producer of their own, and close nothing: a second copy would be taken, and the stream stay open. */
function checkBatchesAsked({ producer, seq, closing }: AppendAsked): void {
  const name = producer ? H.producerId : seq !== undefined ? H.seq : closing ? H.closed : undefined;
  if (name !== undefined)
    throw badRequest(
      `a POST of batches does not heed ${name}: batches name their own producer, and a POST without a body closes`,
      { header: name },
    );
}

/** The part of the object that removes records (alarm-work.ts). */
interface Trimming {
  trim(stream: Stream, offset: number): Promise<void>;
}

/**
 * A POST with Tidemark-Trim-Before. A header and not a DELETE with a query: an edge or a proxy that does not know the
 * query would delete the whole stream, and one that does not know the header refuses an append without a body.
 */
export async function trimTo(stream: Stream, request: Request, work: Trimming): Promise<Response> {
  const offset = numberedOffset(request.headers.get(H.trim)!, H.trim);
  if ((await readBody(request)).length > 0) throw badRequest(`a POST with ${H.trim} has no body`);
  if (isClosing(request.headers)) throw badRequest(`a POST with ${H.trim} closes nothing: send ${H.closed} by itself`);
  refuseHeaders(request.headers, `a POST with ${H.trim}`);
  await work.trim(stream, offset);
  return new Response(null, { status: 204, headers: positionsOf(stream) });
}

const positionsOf = ({ tail, start }: Stream): Record<string, string> => ({
  [H.next]: formatOffset(tail),
  [H.start]: formatOffset(start),
});

/** What does not fit the schema may have been appended before the schema was this one. */
const repeatOf = (stream: Stream, request: AppendRequest, thrown: unknown): Promise<AppendOutcome> | undefined =>
  TidemarkError.from(thrown).code === "SCHEMA_MISMATCH" ? stream.repeated(request) : undefined;

export async function appendTo(
  stream: Stream,
  asked: AppendAsked,
  body: Uint8Array,
  counters: Counters,
): Promise<Answer> {
  const { contentType } = asked;
  const isCloseOnly = asked.closing && body.length === 0;
  if (contentType !== undefined && mediaType(contentType) === BATCHES_TYPE && !isCloseOnly) {
    checkBatchesAsked(asked);
    const answer = await appendBatches(stream, await edgeKernel(), body, asked.ifEnd, asked.sending);
    counters.append(body.length, false);
    return answer;
  }
  const isLines = contentType !== undefined && isRecordsOf(contentType, stream.config.contentType);
  const request = { ...asked, body, isLines };
  const append = () => stream.append(request);
  const { judge, config } = stream;
  // An empty body closes the stream.
  const { nextOffset, closed, duplicate, producer } = await (judge && body.length > 0
    ? judge
        .append({ body, contentType: config.contentType, isLines }, append)
        .catch(async (thrown: unknown) => (await repeatOf(stream, request, thrown)) ?? Promise.reject(thrown))
    : append());
  counters.append(body.length, duplicate);
  const headers: Record<string, string> = { [H.next]: formatOffset(nextOffset) };
  if (closed) headers[H.closed] = "true";
  if (producer) {
    headers[H.producerEpoch] = String(producer.epoch);
    headers[H.producerSeq] = String(producer.seq);
  }
  return { status: producer && !duplicate && body.length > 0 ? 200 : 204, headers, body: null };
}
