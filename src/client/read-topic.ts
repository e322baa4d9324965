/**
 * Reads of one topic: pages of batches over requests while there is something to catch up with, then what is live. The
 * first read of a client loads this file, with what decodes batches.
 *
 *   first ──▶ page │ page │ … ──▶ at the end: level ──▶ live (long-poll, or a follow of a socket) ──▶ pages again
 *
 * A page is a catch-up answer of the edge, up to 16 MiB, which object storage and caches may answer. A batch that is
 * damaged on its way is fetched once more; damage that stays is CORRUPT_RANGE with the offsets that are lost.
 */
import { TidemarkError } from "../errors.ts";
import { type AnyBatch, ReadBatch, type Deserializer } from "../delivery/read-record.ts";
import type { StartPosition } from "../log/types.ts";
import { decodeBatches } from "./decode-batch.ts";
import { EdgePages, type PagedTopic } from "./edge-pages.ts";
import type { Page } from "./page.ts";
import { pauseFor } from "./waiting.ts";

export { EdgePages };

/** How often a read that follows looks for a topic that does not exist. */
const MISSING_MS = 2_000;

export interface ReadTopic<V> extends PagedTopic {
  readonly serializer: Deserializer<V>;
  /** What a batch becomes in a topic with a schema or middleware. Gives undefined where there is neither. */
  typed(batch: ReadBatch<V>): Promise<AnyBatch<V>> | undefined;
}

export interface ReadRange {
  readonly first: number;
  /** Exclusive. */
  readonly last: number;
  readonly follow: boolean;
  readonly over: AbortSignal;
  /** The log that is read, once an answer has named it. A reader that begins anew passes it on. */
  readonly known?: { log?: string };
}

/** A batch, as it is stored; or how far the log went when the reader had all of it. */
export type Step<V> = { readonly batch: ReadBatch<V> } | { readonly level: number };

/** All steps of a read. It ends behind `last`, at the end of a read that does not follow, and with a closed topic. */
export async function* stepsOf<V>(
  topic: ReadTopic<V>,
  { first, last, follow, over, known = {} }: ReadRange,
): AsyncGenerator<Step<V>, void> {
  const pages = new EdgePages(topic);
  let offset = first;
  let damagedAt: number | undefined;
  let levelAt: number | undefined;
  async function* read({ bytes, nextOffset }: Page): AsyncGenerator<Step<V>, void> {
    try {
      for await (const stored of decodeBatches(bytes)) {
        const batch = new ReadBatch(stored, offset, last, topic.serializer);
        offset = Math.max(offset, stored.nextOffset);
        if (batch.count > 0) yield { batch };
      }
      offset = Math.max(offset, nextOffset);
    } catch (thrown) {
      const isDamage = thrown instanceof TidemarkError && thrown.code === "CORRUPT_RANGE";
      if (!isDamage || damagedAt === offset) throw thrown;
      // The batch may have been damaged on its way. So the next page begins with it, once.
      damagedAt = offset;
    }
  }
  function* level(): Generator<Step<V>, void> {
    if (levelAt !== offset) yield { level: (levelAt = offset) };
  }
  /** Offsets of another log say nothing of this one. */
  function check({ log }: Page): void {
    if (!log || (known.log ??= log) === log) return;
    throw new TidemarkError("UNKNOWN_TOPIC", "the topic was deleted, and made anew, while it was followed", {
      offset,
      deleted: true,
      anew: log,
    });
  }
  let wasThere = false;
  while (offset < last) {
    const page = await pages.page(offset, over, follow ? Infinity : undefined);
    if (page.isMissing) {
      if (!follow) return;
      if (wasThere)
        throw new TidemarkError("UNKNOWN_TOPIC", "the topic was deleted while it was followed", {
          offset,
          deleted: true,
        });
      yield* level();
      await pauseFor(MISSING_MS, over);
      continue;
    }
    wasThere = true;
    check(page);
    yield* read(page);
    if (offset < page.nextOffset || !page.isLevel) continue;
    yield* level();
    if (page.ended || !follow || offset >= last) return;
    for await (const live of pages.live(offset, over)) {
      check(live);
      yield* read(live);
      // The page ends before its nextOffset: a batch is damaged, or is larger than a live page. A catch-up page is
      // next.
      if (offset < live.nextOffset) break;
      if (!live.isMissing) yield* level();
      if (live.ended) return;
      if (offset >= last) break;
    }
  }
}

/** The batches of a read. OFFSET_OUT_OF_RANGE if it begins behind the log's end; `last` is that of one that does. */
export async function* edgeBatches<V>(
  topic: ReadTopic<V>,
  range: ReadRange & { readonly from: StartPosition; readonly isWithin: boolean },
): AsyncGenerator<AnyBatch<V>, void> {
  const { from, first, last, isWithin } = range;
  if (isWithin && first > last)
    throw new TidemarkError("OFFSET_OUT_OF_RANGE", `offset ${first} is beyond the log's end, ${last}`, {
      offset: first,
      logEndOffset: last,
    });
  // A log that ends at 0 may be no log at all, and its address nobody's: HEAD, which gave the end, does not say so.
  if (last === 0) await new EdgePages(topic).page(0, range.over);
  let isBegun = false;
  try {
    for await (const step of stepsOf(topic, range)) {
      isBegun = true;
      if ("batch" in step) yield (await topic.typed(step.batch)) ?? step.batch;
    }
  } catch (thrown) {
    // Retention has moved the log's start since the edge said where this position is.
    const start = Number(TidemarkError.from(thrown).details["logStartOffset"]);
    if (isBegun || typeof from === "number" || !(start > first)) throw thrown;
    yield* edgeBatches(topic, { ...range, first: start });
  }
}
