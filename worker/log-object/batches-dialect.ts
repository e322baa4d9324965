/**
 * The batches dialect: record batches as the producer encoded them, in both directions. The log checks structure,
 * checksum and the producer's sequence, sets base offset and epoch, and stores the bytes. GET returns the same bytes.
 *
 *   POST  application/vnd.tidemark.batches  one or more batches → for each { baseOffset, lastOffset, duplicate,
 *                                           leaderEpoch }
 *   GET   Accept: the same                  ?offset= or ?timestamp= → whole batches; the first may begin before that
 */
import { checkBatches } from "../stream/batch-check.ts";
import type { PackingKernel } from "../../src/kernel/types.ts";
import { BYTES_HEADER, END_HEADER, LIFE_HEADER } from "../../src/sync/http-words.ts";
import type { Sending } from "../../src/log/producer-state.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import { badRequest } from "../errors.ts";
import { type Answer, jsonAnswer } from "../wire/http.ts";
import { batchesHeaders, READ_BYTES } from "../wire/read-answer.ts";
import { checkOnce, H, parseInteger, readRequestOf } from "../wire/durable-streams.ts";
import { formatOffset } from "../wire/offsets.ts";
import { seekTime } from "../stream/seek-time.ts";
import type { Stream } from "../stream/stream.ts";
import { longBody, longRead } from "../stream/streamed-read.ts";

export async function appendBatches(
  stream: Stream,
  kernel: PackingKernel,
  body: Uint8Array,
  ifEnd: number | undefined,
  sending: Sending = {},
): Promise<Answer> {
  const batches = splitBatches(body).map((batch) => batch.slice());
  const checked = await checkBatches(kernel, batches, stream, sending);
  const results = await stream.appendBatches(batches, ifEnd, checked);
  const next = results.at(-1)!.lastOffset + 1;
  const appended = results.map(({ baseOffset, lastOffset, duplicate, leaderEpoch }) => ({
    baseOffset,
    lastOffset,
    duplicate,
    leaderEpoch,
  }));
  return jsonAnswer(200, { appended }, { [H.next]: formatOffset(next) });
}

/** Milliseconds since 1970. A record's timestamp may be earlier, so a sign is allowed. */
const parseTime = (text: string): number =>
  text.startsWith("-")
    ? -parseInteger(text.slice(1), "timestamp behind its sign", { min: 1 })
    : parseInteger(text, "timestamp");

interface Asked {
  /** Where the answer ends at the latest. */
  readonly until: number;
  /** The answer may be as long as it likes (streamed-read.ts). */
  readonly isLong: boolean;
  /** True if the answer says where the log begins and ends, and names its life. It is not long then. */
  readonly wantsTide: boolean;
}

const tideHeaders = ({ start, tail, outboxes }: Stream, bodyBytes: number): Record<string, string> => ({
  [H.start]: formatOffset(start),
  [END_HEADER]: formatOffset(tail),
  [LIFE_HEADER]: outboxes.lives.current,
  [BYTES_HEADER]: String(bodyBytes),
});

export async function answerBatches(stream: Stream, url: URL, { until, isLong, wantsTide }: Asked): Promise<Response> {
  checkOnce(url, "timestamp");
  const timestamp = url.searchParams.get("timestamp");
  const { offset } = readRequestOf(url);
  if (timestamp !== null && url.searchParams.has("offset"))
    throw badRequest("timestamp and offset exclude each other: send one of them", { parameter: "timestamp" });
  const from =
    timestamp !== null
      ? await seekTime(stream, parseTime(timestamp))
      : offset === "start"
        ? stream.start
        : offset === "now"
          ? stream.tail
          : offset;
  stream.touch();
  stream.checkOffset(from);
  const long = isLong && !wantsTide ? longRead(stream, from, "batches") : undefined;
  if (long)
    return new Response(longBody(long, false), { status: 200, headers: batchesHeaders(stream.config.id, from, long) });
  const limit = Math.min(stream.tail, until);
  const { bytes, nextOffset } =
    from < limit ? await stream.readBatches(from, limit, READ_BYTES) : { bytes: new Uint8Array(0), nextOffset: from };
  const upToDate = nextOffset >= stream.tail;
  const headers = batchesHeaders(stream.config.id, from, { nextOffset, upToDate, ended: upToDate && stream.closed });
  return new Response(bytes as BodyInit, {
    status: 200,
    headers: { ...headers, ...(wantsTide && tideHeaders(stream, bytes.length)) },
  });
}
