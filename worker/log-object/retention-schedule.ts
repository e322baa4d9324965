/**
 * What an object does by itself, from its alarm: segments to object storage, and retention. Retention takes whole sealed segments from
 * the front, as everywhere; a stream that forks read from keeps all of it. What lay in R2 goes with the next sweep.
 */
import { TidemarkError } from "../../src/errors.ts";
import { settledTimes } from "../../src/log/age.ts";
import { saneRetention } from "../../src/log/limits.ts";
import { retentionOffset } from "../../src/log/retention.ts";
import type { RetentionSettings } from "../../src/log/types.ts";
import { ArchiveTables } from "../store/archive-tables.ts";
import { Archiver, type Bucket, objectKey, segmentName } from "./archiver.ts";
import type { Sql } from "../store/chunk-tables.ts";
import type { EventFields } from "../telemetry/events.ts";
import { edgeKernel } from "../kernel.ts";
import { parseInteger, parseSeconds } from "../wire/durable-streams.ts";
import type { Stream } from "../stream/stream.ts";

export interface UpkeepHost {
  readonly sql: Sql;
  readonly bucket: () => Bucket | undefined;
  readonly stream: () => Stream | undefined;
  readonly abort: (reason: string) => void;
  readonly event: (name: string, fields: EventFields) => void;
}

export function archiverFor({ sql, bucket, stream, abort, event }: UpkeepHost): Archiver {
  return new Archiver({
    bucket,
    abort,
    event,
    tables: new ArchiveTables(sql),
    kernel: edgeKernel,
    now: () => Date.now(),
    random: () => Math.random(),
    log: () => stream()?.store,
    newKey: (baseOffset) => {
      const { tenant, path, id } = stream()!.config;
      return objectKey(tenant, path, segmentName(id, baseOffset));
    },
  });
}

const BYTES = "Tidemark-Retention-Bytes";
const RECORDS = "Tidemark-Retention-Records";
const SECONDS = "Tidemark-Retention-Seconds";

/** What a PUT asks for; undefined: everything stays. */
export function retentionOf(headers: Headers): RetentionSettings | undefined {
  const of = (name: string, parse: (text: string, name: string) => number): number | undefined => {
    const text = headers.get(name);
    return text === null ? undefined : parse(text, name);
  };
  // 0 would keep nothing; who wants no limit leaves the header out.
  const count = (text: string, name: string): number => parseInteger(text, name, { min: 1 });
  const [maxBytes, maxRecords, maxAgeMs] = [
    of(BYTES, count),
    of(RECORDS, count),
    of(SECONDS, (text, name) => parseSeconds(text, name, 1)),
  ];
  if (maxBytes === undefined && maxRecords === undefined && maxAgeMs === undefined) return undefined;
  return {
    ...(maxBytes !== undefined && { maxBytes }),
    ...(maxRecords !== undefined && { maxRecords }),
    ...(maxAgeMs !== undefined && { maxAgeMs }),
  };
}

export function describeRetention({ maxBytes, maxRecords, maxAgeMs }: RetentionSettings = {}): Record<string, string> {
  return {
    ...(maxBytes !== undefined && { [BYTES]: String(Math.ceil(maxBytes)) }),
    ...(maxRecords !== undefined && { [RECORDS]: String(Math.ceil(maxRecords)) }),
    // The header has whole seconds: never less than was asked for.
    ...(maxAgeMs !== undefined && { [SECONDS]: String(Math.ceil(maxAgeMs / 1000)) }),
  };
}

/** When retention has something to take, undefined for never as things stand: while forks hold it, nothing is due until they are gone. */
export function retentionDue(stream: Stream, nowMs: number): number | undefined {
  const {
    config: { retention },
    log,
  } = stream;
  if (!retention || stream.isHeld) return undefined;
  const segments = log.segments();
  const { logStartOffset, highWatermark } = log;
  if (retentionOffset(segments, retention, { logStartOffset, highWatermark, nowMs }) > logStartOffset) return nowMs;
  const [oldest] = segments;
  const { maxAgeMs } = saneRetention(retention);
  if (maxAgeMs === undefined || !oldest || (oldest.state === "active" && oldest.batches === 0)) return undefined;
  const from = settledTimes(segments, nowMs)[0] ?? segments.at(-1)!.createdAt;
  return Math.max(nowMs, from + maxAgeMs + 1);
}

/** Takes what is due; false where it has to be tried later: forks hold it, or it failed. The active segment is rolled once it is as old as retention allows, so that it can go, too. */
export async function retire(stream: Stream, { abort, event }: Pick<UpkeepHost, "abort" | "event">): Promise<boolean> {
  if (stream.config.releasing || stream.forks.length > 0) return false;
  try {
    const { segments, bytes } = (await stream.log.clean()).retired;
    if (segments > 0) event("retention", { segments, bytes, start: stream.log.logStartOffset });
    return true;
  } catch (thrown) {
    const { details } = TidemarkError.from(thrown);
    // A fork was made meanwhile.
    if (details["reason"] === "held") return false;
    if (details["poisoned"]) abort(String(thrown));
    event("retention_failed", { message: String(thrown) });
    return false;
  }
}
