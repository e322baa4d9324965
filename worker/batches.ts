/**
 * The batches dialect: record batches as the producer encoded them, in both directions. The log checks structure, checksum and
 * the producer's sequence, patches base offset and epoch, and stores the bytes; GET gives the same bytes back.
 *
 *   POST  application/vnd.tidemark.batches  one or more batches → { baseOffset, lastOffset, duplicate, leaderEpoch } for each
 *   GET   Accept: the same                  ?offset= or ?timestamp= → whole batches; the first may begin before the offset
 */
import { TidemarkError } from "../src/errors.ts";
import type { Kernel } from "../src/kernel/types.ts";
import { decodeBatch, splitBatches } from "../src/record/record-batch.ts";
import { type Answer, badRequest, HttpError, jsonAnswer } from "./http.ts";
import { formatOffset, H, parseInteger, readRequestOf } from "./protocol.ts";
import type { Stream } from "./stream.ts";
import { jsonMessages } from "./stream-codec.ts";
import { isReserved } from "./stream-state.ts";

export const BATCHES_TYPE = "application/vnd.tidemark.batches";
const READ_BYTES = 1024 * 1024;
export const BATCHES_MAX = 1000;

export async function appendBatches(stream: Stream, kernel: Kernel, body: Uint8Array, ifEnd: number | undefined): Promise<Answer> {
  const batches = splitBatches(body).map((batch) => batch.slice());
  if (batches.length === 0) throw badRequest("no batch");
  if (batches.length > BATCHES_MAX) throw new HttpError(413, "TOO_LARGE", `at most ${BATCHES_MAX} batches`);
  for (const batch of batches) await checkBatch(kernel, batch, stream.isJson);
  const results = await stream.appendBatches(batches, ifEnd);
  const next = results.at(-1)!.lastOffset + 1;
  const appended = results.map(({ baseOffset, lastOffset, duplicate, leaderEpoch }) => ({ baseOffset, lastOffset, duplicate, leaderEpoch }));
  return jsonAnswer(200, { appended }, { [H.next]: formatOffset(next) });
}

/**
 * What the log does not look at, but readers of the other dialects would stumble over: a packed batch that does not unpack, or to
 * too much; a message that is no JSON; a header that keeps this server's own book.
 */
export async function checkBatch(kernel: Kernel, bytes: Uint8Array, isJson: boolean): Promise<void> {
  const batch = await Promise.resolve()
    .then(() => decodeBatch(kernel, bytes))
    .catch((thrown: unknown) => {
      const error = TidemarkError.from(thrown, "INVALID_BATCH");
      throw error.code === "CORRUPT_RANGE" ? new TidemarkError("INVALID_BATCH", error.toWire().message) : error;
    });
  for (let i = 0; i < batch.count; i++) {
    if (batch.headersAt(i).some(([name]) => isReserved(name))) throw badRequest("record headers that begin with ds. are the server's");
    const value = batch.valueAt(i);
    if (isJson && value !== null && jsonMessages(asArray(value)).length !== 1) throw badRequest("a record of this stream is one JSON message");
  }
}

/** A message as the only element of an array: JSON exactly when the message is. */
function asArray(value: Uint8Array): Uint8Array {
  const wrapped = new Uint8Array(value.length + 2);
  wrapped[0] = 0x5b;
  wrapped.set(value, 1);
  wrapped[value.length + 1] = 0x5d;
  return wrapped;
}

export async function readBatches(stream: Stream, url: URL): Promise<Response> {
  const timestamp = url.searchParams.get("timestamp");
  const { offset } = readRequestOf(url);
  const from = timestamp !== null ? await stream.log.resolve({ timestamp: parseInteger(timestamp, "timestamp") })
    : offset === "start" ? stream.start : offset === "now" ? stream.tail : offset;
  stream.touch();
  if (from > stream.tail) throw new HttpError(416, "OFFSET_OUT_OF_RANGE", "the offset is beyond the end", {}, { details: { logEndOffset: stream.tail } });
  const { bytes, nextOffset } = from < stream.tail ? await stream.readBatches(from, stream.tail, READ_BYTES) : { bytes: new Uint8Array(0), nextOffset: from };
  const headers: Record<string, string> = { "content-type": BATCHES_TYPE, [H.next]: formatOffset(nextOffset), "cache-control": "no-store", vary: "accept", [H.from]: formatOffset(from) };
  if (nextOffset >= stream.tail) headers[H.upToDate] = "true";
  if (nextOffset >= stream.tail && stream.closed) headers[H.closed] = "true";
  return new Response(bytes as BodyInit, { status: 200, headers });
}
