/**
 * The batches dialect: record batches as the producer encoded them, in both directions. The log checks structure, checksum and
 * the producer's sequence, patches base offset and epoch, and stores the bytes; GET gives the same bytes back.
 *
 *   POST  application/vnd.tidemark.batches  one or more batches → { baseOffset, lastOffset, duplicate, leaderEpoch } for each
 *   GET   Accept: the same                  ?offset= or ?timestamp= → whole batches; the first may begin before the offset
 */
import type { Kernel } from "../src/kernel/types.ts";
import { BATCH_HEADER_BYTES, CODEC_MASK, readHeader } from "../src/record/format.ts";
import { decodeBatch, splitBatches } from "../src/record/record-batch.ts";
import { badRequest, HttpError, json } from "./http.ts";
import { formatOffset, H, parseInteger, readRequestOf } from "./protocol.ts";
import type { Stream } from "./stream.ts";
import { isReserved } from "./stream-state.ts";

export const BATCHES_TYPE = "application/vnd.tidemark.batches";
const READ_BYTES = 1024 * 1024;
const BATCHES_MAX = 1000;

export async function appendBatches(stream: Stream, kernel: Kernel, body: Uint8Array, ifEnd: number | undefined): Promise<Response> {
  const batches = splitBatches(body).map((batch) => batch.slice());
  if (batches.length === 0) throw badRequest("no batch");
  if (batches.length > BATCHES_MAX) throw new HttpError(413, "TOO_LARGE", `at most ${BATCHES_MAX} batches`);
  for (const batch of batches) refuseReserved(kernel, batch);
  const results = await stream.appendBatches(batches, ifEnd);
  const next = results.at(-1)!.lastOffset + 1;
  const appended = results.map(({ baseOffset, lastOffset, duplicate, leaderEpoch }) => ({ baseOffset, lastOffset, duplicate, leaderEpoch }));
  return json(200, { appended }, { [H.next]: formatOffset(next) });
}

/** Headers that carry this server's own book may come from nobody else. */
function refuseReserved(kernel: Kernel, batch: Uint8Array): void {
  if (batch.length < BATCH_HEADER_BYTES) return;
  const { attributes, producerId } = readHeader(batch);
  if (producerId >= 0) return;
  if ((attributes & CODEC_MASK) !== 0) throw new HttpError(415, "UNSUPPORTED_FORMAT", "a compressed batch needs a producer id");
  const decoded = decodeBatch(kernel, batch);
  if (decoded instanceof Promise || decoded.count === 0) return;
  if (decoded.headersAt(0).some(([name]) => isReserved(name))) throw badRequest("record headers that begin with ds. are the server's");
}

export async function readBatches(stream: Stream, url: URL): Promise<Response> {
  const timestamp = url.searchParams.get("timestamp");
  const { offset } = readRequestOf(url);
  const from = timestamp !== null ? await stream.log.resolve({ timestamp: parseInteger(timestamp, "timestamp") })
    : offset === "start" ? stream.start : offset === "now" ? stream.tail : offset;
  stream.touch();
  if (from > stream.tail) throw new HttpError(416, "OFFSET_OUT_OF_RANGE", "the offset is beyond the end", {}, { details: { logEndOffset: stream.tail } });
  const { bytes, nextOffset } = from < stream.tail ? await stream.readBatches(from, stream.tail, READ_BYTES) : { bytes: new Uint8Array(0), nextOffset: from };
  const headers: Record<string, string> = { "content-type": BATCHES_TYPE, [H.next]: formatOffset(nextOffset), "cache-control": "no-store", vary: "accept" };
  if (nextOffset >= stream.tail) headers[H.upToDate] = "true";
  if (nextOffset >= stream.tail && stream.closed) headers[H.closed] = "true";
  return new Response(bytes as BodyInit, { status: 200, headers });
}
