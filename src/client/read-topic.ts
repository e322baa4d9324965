/**
 * Reads of one topic: pages of batches over requests while there is something to catch up with, then what is live.
 *
 *   from, to ──▶ page │ page │ … ──▶ at the end: done, or live (long-poll, or a follow of a socket) ──▶ pages again
 *
 * A page is a catch-up answer of the edge, up to 16 MiB, which object storage and caches may answer. A batch that is
 * damaged on its way is fetched once more; damage that stays is CORRUPT_RANGE with the offsets that are lost.
 */
import { TidemarkError } from "../errors.ts";
import { ReadBatch, type Deserializer } from "../delivery/read-record.ts";
import { BatchReading } from "../delivery/reading.ts";
import type { StartPosition } from "../log/types.ts";
import type { ClientReadOptions } from "./api.ts";
import { decodeBatches } from "./decode-batch.ts";
import { anyOf, pauseFor } from "./waiting.ts";

/** How often a read that follows looks for a topic that does not exist. */
const MISSING_MS = 2_000;

export interface Page {
  readonly bytes: Uint8Array;
  readonly nextOffset: number;
  /** True if the log ended there. */
  readonly isLevel: boolean;
  /** True if nothing will come any more. */
  readonly ended: boolean;
  /** True if there is no such topic. */
  readonly isMissing?: boolean;
}

export interface PageSource {
  /** The offset that a position means now. */
  resolve(position: StartPosition, signal: AbortSignal): Promise<number>;
  page(from: number, signal: AbortSignal): Promise<Page>;
  /** Pages from the log's end on, as they come. It may end at any time: the reader then asks for pages again. */
  live(from: number, signal: AbortSignal): AsyncIterable<Page>;
}

/** Begins at once: "latest" is the log's end as of this call, and so is the end of a read that does not follow. */
export function readPages<V>(
  source: PageSource,
  serializer: Deserializer<V>,
  { from = "earliest", to, follow = false, signal }: ClientReadOptions,
  closed: AbortSignal,
): BatchReading<ReadBatch<V>> {
  const ended = new AbortController();
  const { controller, free } = anyOf(ended.signal, closed);
  const over = controller.signal;
  const end = to ?? (follow ? Infinity : source.resolve("latest", over));
  const range = Promise.all([source.resolve(from, over), end]);
  // A failure is reported by the first next(). Until then it must not count as unhandled.
  range.catch(() => undefined);
  async function* batches(): AsyncGenerator<ReadBatch<V>, void> {
    try {
      const [first, last] = await range;
      if (to === undefined && first > last)
        throw new TidemarkError("OFFSET_OUT_OF_RANGE", `offset ${first} is beyond the log's end, ${last}`, {
          offset: first,
          logEndOffset: last,
        });
      yield* batchesOf(source, serializer, { first, last, follow, over });
    } finally {
      free();
    }
  }
  return new BatchReading(batches(), ended, { follow, signal });
}

interface Range {
  readonly first: number;
  readonly last: number;
  readonly follow: boolean;
  readonly over: AbortSignal;
}

async function* batchesOf<V>(
  source: PageSource,
  serializer: Deserializer<V>,
  { first, last, follow, over }: Range,
): AsyncGenerator<ReadBatch<V>, void> {
  let offset = first;
  let damagedAt: number | undefined;
  async function* read({ bytes, nextOffset }: Page): AsyncGenerator<ReadBatch<V>, void> {
    try {
      for await (const batch of decodeBatches(bytes)) {
        const part = new ReadBatch(batch, offset, last, serializer);
        offset = Math.max(offset, batch.nextOffset);
        if (part.count > 0) yield part;
      }
      offset = Math.max(offset, nextOffset);
    } catch (thrown) {
      const isDamage = thrown instanceof TidemarkError && thrown.code === "CORRUPT_RANGE";
      if (!isDamage || damagedAt === offset) throw thrown;
      // Perhaps it was damaged on its way: the next page begins there.
      damagedAt = offset;
    }
  }
  let wasThere = false;
  while (offset < last) {
    const page = await source.page(offset, over);
    if (page.isMissing) {
      if (!follow) return;
      if (wasThere) throw new TidemarkError("UNKNOWN_TOPIC", "the topic was deleted while it was followed", { offset });
      await pauseFor(MISSING_MS, over);
      continue;
    }
    wasThere = true;
    yield* read(page);
    if (page.ended && offset >= page.nextOffset) return;
    if (!page.isLevel || offset < page.nextOffset) continue;
    if (!follow) return;
    for await (const live of source.live(offset, over)) {
      yield* read(live);
      if (live.ended && offset >= live.nextOffset) return;
      // Something is missing: damage, or more than a live page holds.
      if (offset < live.nextOffset || offset >= last) break;
    }
  }
}
