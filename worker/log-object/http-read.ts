/**
 * One GET of a stream, in its object: metrics, a manifest for a Worker that reads moved segments by itself, whole
 * batches, or values; and a read whose reader waits where there is nothing yet.
 *
 *   GET                          metrics │ manifest │ batches-dialect.ts │ values: in one piece, or streamed-read.ts
 *   GET, upgrade, WAIT_HEADER    the same; at the log's end a watcher's socket with the read's headers (watchers.ts)
 */
import type { PackingKernel } from "../../src/kernel/types.ts";
import {
  LEAD_HEADER,
  LONG_HEADER,
  METRICS_HEADER,
  STREAM_HEADER,
  TIDE_ASKED_HEADER,
  untilOf,
} from "../rpc/internal-headers.ts";
import { MANIFEST_HEADER } from "../rpc/manifest.ts";
import type { Stream } from "../stream/stream.ts";
import { longRead } from "../stream/streamed-read.ts";
import type { Counters } from "../telemetry/counters.ts";
import { BATCHES_TYPE, dialectOf } from "../wire/accept.ts";
import { readRequestOf } from "../wire/durable-streams.ts";
import { json } from "../wire/http.ts";
import { isWaiting, nextOf, READ_BYTES, readAnswer } from "../wire/read-answer.ts";
import { leadOf } from "../wire/sse-text.ts";
import { answerBatches } from "./batches-dialect.ts";
import { manifestOf } from "./manifest-of.ts";
import type { Watchers } from "./watchers.ts";

/** What a read needs of its object. */
export interface ReadHost {
  readonly counters: Counters;
  readonly watchers: Pick<Watchers, "watch">;
  kernel(): Promise<PackingKernel>;
  /** The stream that clients may see. */
  visible(): Promise<Stream>;
  metrics(stream: Stream): Response;
}

export async function answerRead(request: Request, host: ReadHost): Promise<Response> {
  const url = new URL(request.url);
  const stream = await host.visible();
  if (request.headers.get(METRICS_HEADER) !== null) return host.metrics(stream);
  host.counters.reads++;
  const manifest = request.headers.get(MANIFEST_HEADER) === null ? undefined : manifestOf(stream, url);
  if (manifest) return json(200, manifest, { [MANIFEST_HEADER]: "1" });
  if (dialectOf(request.headers.get("accept"), stream.config.contentType) === "batches")
    return answerBatches(stream, url, {
      until: untilOf(request.headers),
      isLong: request.headers.has(LONG_HEADER),
      wantsTide: request.headers.has(TIDE_ASKED_HEADER),
    });
  const { offset } = readRequestOf(url);
  const found =
    (request.headers.has(LONG_HEADER) && longRead(stream, offset)) ||
    (await stream.read(offset, READ_BYTES, untilOf(request.headers)));
  const answer = readAnswer(
    { id: stream.version, contentType: stream.config.contentType },
    found,
    request.headers,
    offset === "now",
  );
  if (!request.headers.has(LEAD_HEADER)) return answer;
  answer.headers.set(STREAM_HEADER, stream.config.id);
  if (stream.isText) answer.headers.set(LEAD_HEADER, await leadOf(await host.kernel(), stream, found.from));
  return answer;
}

/** A read; where it finds nothing, its reader watches from there on, and the answer has the headers of the read. */
export async function readOrWatch(request: Request, host: ReadHost): Promise<Response> {
  const answer = await answerRead(request, host);
  if (answer.status !== 200 || !isWaiting(answer)) return answer;
  const stream = await host.visible();
  const isBatches = answer.headers.get("content-type") === BATCHES_TYPE;
  return host.watchers.watch(
    stream,
    nextOf(answer),
    isBatches ? "batches" : "values",
    Object.fromEntries(answer.headers),
  );
}
