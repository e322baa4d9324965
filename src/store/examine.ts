/**
 * What a sealed segment's slot holds, before it is read: its indexes, by their checksum, and where that fails, or a hop
 * does, all of its batches by theirs. Loaded with the first sealed segment, or the first suspicion.
 */
import type { Kernel } from "../kernel/types.ts";
import { walkDurable, wholeOf } from "./segment-walk.ts";
import { bodyCrc, readSections, whoseFooter } from "./sections.ts";
import { Segment } from "./segment.ts";
import type { Whose } from "./slot.ts";
import type { Volume } from "./volume.ts";

/** What it needs of a segment's reader. */
export interface Examiner {
  readonly volume: Volume;
  readonly kernel: Kernel;
  readonly whoseSlot: (segment: Segment) => Promise<Whose>;
  readonly breathe?: (() => Promise<void>) | undefined;
}

/** Loads a sealed segment's indexes. Rebuilds them if their section is damaged. */
export async function loadIndexes(reader: Examiner, segment: Segment): Promise<void> {
  const { volume, kernel } = reader;
  const sections = segment.damage.length > 0 ? undefined : await readSections(volume, kernel, segment);
  // Compaction leaves holes, so continuity of offsets proves nothing. The body's checksum is verified instead.
  const whole =
    sections && (!segment.sealed?.compacted || (await bodyCrc(volume, kernel, segment)) === sections.bodyCrc);
  if (whole) segment.loaded = sections.indexes;
  else await examine(reader, segment);
}

/**
 * Walks the segment's durable bytes with checksums. Replaces its list of damage and, if it is sealed, its indexes.
 */
export async function examine(
  reader: Examiner,
  segment: Segment,
  durable = { bytes: segment.bytes, nextOffset: segment.nextOffset },
): Promise<void> {
  const { volume, kernel, breathe } = reader;
  const { sealed, ...entry } = segment.entry();
  const found = new Segment(entry);
  await walkDurable(
    {
      volume,
      kernel,
      segment: found,
      allowGaps: sealed?.compacted ?? false,
      minEpoch: 0,
      maxEpoch: 0x7fffffff,
      breathe,
    },
    durable.bytes,
    durable.nextOffset,
  );
  if (sealed?.compacted && (found.damage.length === 0 || found.damage.some(({ reason }) => reason === "BAD_OFFSET"))) {
    // Every batch is whole, but the body is not what was sealed: an offset or epoch is wrong somewhere. If two
    // offsets contradict each other, nobody can tell which of them.
    const sections = await readSections(volume, kernel, segment);
    if (sections && (await bodyCrc(volume, kernel, segment)) !== sections.bodyCrc) {
      found.damage = [wholeOf(segment, "BODY_CRC")];
    }
  }
  const isOther = sealed && !(await isItsFile(reader, segment, found));
  // The segment was trimmed or compacted meanwhile, so the bytes that were read may be another segment's.
  if (segment.retired) return;
  segment.hint = undefined;
  segment.examined = true;
  if (isOther) {
    segment.damage = [wholeOf(segment, "OTHER_FILE")];
    segment.loaded = new Segment(entry).indexes;
    return;
  }
  segment.damage = found.damage;
  // What recovery took for damage (an epoch out of range, for example) may be readable after all. Then it must be
  // found by time as well.
  segment.maxTimestamp = Math.max(segment.maxTimestamp, found.maxTimestamp);
  if (sealed) segment.loaded = found.indexes;
}

/**
 * Whether a sealed segment's slot really holds that segment. Batches of another topic or tide are just as whole, and
 * their offsets may continue as well. The footer proves it, and so does the role. Without either, everything must be
 * as it was sealed.
 */
async function isItsFile({ volume, kernel, whoseSlot }: Examiner, segment: Segment, found: Segment): Promise<boolean> {
  const footer = await whoseFooter(volume, kernel, segment);
  if (footer === "ours") return true;
  const slot = await whoseSlot(segment);
  if (slot === "ours" || slot === "other") return slot === "ours";
  const { batches, records, maxTimestamp } = segment.sealed!;
  const same =
    found.damage.length === 0 &&
    found.batches === batches &&
    found.records === records &&
    found.maxTimestamp === maxTimestamp;
  return footer === "unknown" && same;
}
