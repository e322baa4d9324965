/**
 * Heals a replica: segments with damaged bytes are made anew from the edge's records.
 *
 *   replica   │ segment 0–99 │ segment 100–199, damaged │ segment 200– …     a damaged active segment is sealed first
 *   edge                     └ fetched, checked, holes covered ─▶ one swap, as in a compaction
 *
 * What is read meanwhile is the old segment. A crash leaves the old or the new one. A segment stays as it is if the
 * edge does not have all of it any more, or its batches don't begin and end where the segment does.
 */
import { TidemarkError } from "../errors.ts";
import { type Kernel, Status } from "../kernel/types.ts";
import { BATCH_BYTES_MAX } from "../log/limits.ts";
import { concat } from "../record/bytes.ts";
import { nextOffsetOf, readHeader, stampLeaderEpoch } from "../record/format.ts";
import { splitBatches } from "../record/record-batch.ts";
import type { ReplacementSegment } from "../store/log-store.ts";
import { fillers } from "./fillers.ts";
import type { Replica } from "./replica.ts";
import type { Range } from "./topic-store.ts";

export interface HealingSource {
  /** Batches of the edge's log from an offset on. Empty if there are none up to its end. */
  fetch(from: number, maxBytes: number): Promise<Uint8Array>;
  /** Where the edge's log begins. */
  readonly logStartOffset: number;
}

/** The damaged segments, one after the other. Undefined for a `from` that an earlier swap or trim has made invalid. */
export function damagedSegments({ log }: Replica): readonly Range[] {
  const damage = log.quarantined;
  return log
    .segments()
    .filter(({ baseOffset, nextOffset }) => damage.some(({ from, to }) => from < nextOffset && to > baseOffset))
    .map(({ baseOffset, nextOffset }) => [baseOffset, nextOffset] as const);
}

/**
 * The edge's batches of exactly [from, to), holes covered, with this volume's epoch. Undefined if they do not tile the
 * range. INVALID_BATCH if one is damaged. What the edge has trimmed of the range is a hole.
 */
export async function tiles(
  kernel: Kernel,
  source: HealingSource,
  [from, to]: Range,
  epoch: number,
): Promise<Uint8Array[] | undefined> {
  const found: Uint8Array[] = [];
  let at = from;
  while (at < to) {
    // A segment is fetched by several, and any batch fits into one.
    const batches = splitBatches((await source.fetch(Math.max(at, source.logStartOffset), BATCH_BYTES_MAX)).slice());
    const begun = at;
    for (const batch of batches) {
      const header = readHeader(batch);
      const { baseOffset } = header;
      if (baseOffset >= to) break;
      const status = kernel.validateBatch(batch);
      if (status !== Status.OK)
        throw new TidemarkError("INVALID_BATCH", `the edge sent a bad batch at offset ${baseOffset}`, {
          offset: baseOffset,
        });
      if (baseOffset < at || nextOffsetOf(header) > to) return undefined;
      found.push(...fillers(kernel, at, baseOffset), batch);
      at = nextOffsetOf(header);
    }
    // Nothing more of this range is there, because compaction took it.
    if (at === begun) {
      found.push(...fillers(kernel, at, to));
      at = to;
    }
  }
  for (const batch of found) stampLeaderEpoch(batch, epoch);
  return found;
}

/** Segments that hold these batches, each of at most `bytesMax` or one batch. */
export function outputsOf(batches: readonly Uint8Array[], bytesMax: number, sealedAt: number): ReplacementSegment[] {
  const groups: Uint8Array[][] = [];
  let bytes = Infinity;
  for (const batch of batches) {
    if (bytes + batch.length > bytesMax) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)!.push(batch);
    bytes += batch.length;
  }
  return groups.map((group) => ({
    baseOffset: readHeader(group[0]!).baseOffset,
    nextOffset: nextOffsetOf(readHeader(group.at(-1)!)),
    bytes: concat(group),
    sealedAt,
  }));
}

export interface Healing {
  readonly kernel: Kernel;
  readonly replica: Replica;
  readonly source: HealingSource;
  /** Runs work while nothing else changes the topic's storage. */
  alone<T>(work: () => Promise<T>): Promise<T>;
}

/** Returns the segments that are whole again. Rejects with the source's error, or the volume's. */
export async function heal({ kernel, replica, source, alone }: Healing): Promise<readonly Range[]> {
  const { log } = replica;
  const isDamaged = (at: number): boolean => damagedSegments(replica).some(([from, to]) => from <= at && at < to);
  if (isDamaged(log.segments().at(-1)!.baseOffset)) await alone(() => log.roll());
  const healed: Range[] = [];
  for (const range of damagedSegments(replica)) {
    const [from, to] = range;
    if (from < source.logStartOffset) continue;
    const batches = await tiles(kernel, source, range, log.leaderEpoch);
    if (!batches) continue;
    await alone(async () => {
      // Trimmed, or made anew by a compaction, while the edge was asked.
      const segment = log.segments().find(({ baseOffset }) => baseOffset === from);
      if (segment?.nextOffset !== to || segment.sealedAt === undefined || !isDamaged(from)) return;
      const bytesMax = Math.max(segment.bytes, log.batchBytesMax);
      await log.replace(from, to, outputsOf(batches, bytesMax, segment.sealedAt));
      healed.push(range);
    });
  }
  return healed;
}
