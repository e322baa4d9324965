/**
 * The batches dialect: record batches as the producer encoded them, in both directions. The log checks structure, checksum and
 * the producer's sequence, patches base offset and epoch, and stores the bytes; GET gives the same bytes back.
 *
 *   POST  application/vnd.tidemark.batches  one or more batches → { baseOffset, lastOffset, duplicate, leaderEpoch } for each
 *   GET   Accept: the same                  ?offset= or ?timestamp= → whole batches; the first may begin before the offset
 */
import { TidemarkError } from "../../src/errors.ts";
import { badRequest, EdgeError } from "../errors.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import type { Sending } from "../../src/log/producer-state.ts";
import { CODEC_MASK, readHeader } from "../../src/record/format.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { isJsonText, RECORDS_MAX, SLICE_BYTES, turn } from "../stream/body-encoder.ts";
import { type Answer, jsonAnswer } from "../wire/http.ts";
import { batchesHeaders } from "./create-and-describe.ts";
import { formatOffset, H, parseInteger, readRequestOf } from "../wire/durable-streams.ts";
import type { Stream } from "../stream/stream.ts";
import { isReserved } from "../stream/writer-state.ts";

const READ_BYTES = 1024 * 1024;
const BATCHES_MAX = 1000;
/** Checking costs a quarter of encoding, for the same bytes. */
const TURN_SLICES = 4;

export async function appendBatches(
  stream: Stream,
  kernel: Kernel,
  body: Uint8Array,
  ifEnd: number | undefined,
  sending: Sending = {},
): Promise<Answer> {
  const batches = splitBatches(body).map((batch) => batch.slice());
  await checkBatches(kernel, batches, stream.isJson);
  const results = await stream.appendBatches(batches, ifEnd, sending);
  const next = results.at(-1)!.lastOffset + 1;
  const appended = results.map(({ baseOffset, lastOffset, duplicate, leaderEpoch }) => ({
    baseOffset,
    lastOffset,
    duplicate,
    leaderEpoch,
  }));
  return jsonAnswer(200, { appended }, { [H.next]: formatOffset(next) });
}

/** A compressed batch may hold so much, whatever its own size. */
const UNPACKED_BYTES = 2 * 1024 * 1024;
/** What a record costs beside its bytes, as bytes. */
const RECORD_COST_BYTES = 64;

/** Checks all batches of a request, with a turn for other streams of this isolate after each slice of work. */
export async function checkBatches(kernel: Kernel, batches: readonly Uint8Array[], isJson: boolean): Promise<void> {
  if (batches.length === 0) throw badRequest(`an append has 1 to ${BATCHES_MAX} batches`);
  if (batches.length > BATCHES_MAX) throw new EdgeError("TOO_LARGE", `an append has at most ${BATCHES_MAX} batches`);
  const headers = batches.map((batch) => readHeader(batch));
  const records = headers.reduce((sum, { recordCount }) => sum + Math.max(0, recordCount), 0);
  if (records > RECORDS_MAX) throw new EdgeError("TOO_LARGE", `a request has at most ${RECORDS_MAX} records`);
  let work = 0;
  for (const [i, batch] of batches.entries()) {
    const { attributes, recordCount } = headers[i]!;
    work += ((attributes & CODEC_MASK) === 0 ? batch.length : UNPACKED_BYTES) + recordCount * RECORD_COST_BYTES;
    await checkBatch(kernel, batch, isJson);
    if (work < SLICE_BYTES * TURN_SLICES || i === batches.length - 1) continue;
    work = 0;
    await turn();
  }
}

/**
 * What the log does not look at, but readers of the other dialects would stumble over: a packed batch that does not unpack, or to
 * too much; a message that is no JSON; a header that keeps this server's own book.
 */
async function checkBatch(kernel: Kernel, bytes: Uint8Array, isJson: boolean): Promise<void> {
  const batch = await Promise.resolve()
    .then(() => decodeBatch(kernel, bytes))
    .catch((thrown: unknown) => {
      const error = TidemarkError.from(thrown, "INVALID_BATCH");
      throw error.code === "CORRUPT_RANGE" ? new EdgeError("INVALID_BATCH", error.toWire().message) : error;
    });
  for (let i = 0; i < batch.count; i++) {
    if (batch.headersAt(i).some(([name]) => isReserved(name)))
      throw badRequest("record headers that begin with ds. are the server's");
    const value = batch.valueAt(i);
    if (isJson && value !== null && !isJsonText(value)) throw badRequest("a record of this stream is one JSON message");
  }
}

/** Milliseconds since 1970; a record's may lie before that. */
const parseTime = (text: string): number =>
  text.startsWith("-")
    ? -parseInteger(text.slice(1), "timestamp behind its sign", { min: 1 })
    : parseInteger(text, "timestamp");

export async function readBatches(stream: Stream, url: URL): Promise<Response> {
  const timestamp = url.searchParams.get("timestamp");
  const { offset } = readRequestOf(url);
  const from =
    timestamp !== null
      ? await stream.log.resolve({ timestamp: parseTime(timestamp) })
      : offset === "start"
        ? stream.start
        : offset === "now"
          ? stream.tail
          : offset;
  stream.touch();
  stream.checkOffset(from);
  const { bytes, nextOffset } =
    from < stream.tail
      ? await stream.readBatches(from, stream.tail, READ_BYTES)
      : { bytes: new Uint8Array(0), nextOffset: from };
  const upToDate = nextOffset >= stream.tail;
  const headers = batchesHeaders(from, { nextOffset, upToDate, ended: upToDate && stream.closed });
  return new Response(bytes as BodyInit, { status: 200, headers });
}
