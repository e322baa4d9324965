/**
 * A tide's files field by field, as their bytes say:
 *
 *   catalog    each of the two copies
 *   log        each log that the catalog names, and its segments
 *   slot       each file: what it is used for, its role and its marks
 *   batch      each batch of its segment
 *   section    behind the batches of a sealed segment: both indexes, the producers, the footer
 *
 * Each is one Item. What can't be read is told in its place, and nothing is written.
 */
import type { Kernel } from "../src/kernel/types.ts";
import { loadSnapshot } from "../src/log/producer-snapshot.ts";
import { TidemarkError } from "../src/errors.ts";
import { BATCH_HEADER_BYTES, nextOffsetOf, readHeader } from "../src/record/format.ts";
import { decodeBatch, type RecordBatch } from "../src/record/record-batch.ts";
import { viewOf } from "../src/record/bytes.ts";
import { CATALOG_CRC_AT, CATALOG_PAYLOAD_BYTES_AT, CATALOG_VERSION_AT } from "../src/store/catalog-layout.ts";
import { Catalog, type CatalogState, type LogEntry, type SegmentEntry } from "../src/store/catalog.ts";
import { decodeFooter, FOOTER_BYTES } from "../src/store/footer.ts";
import { offsetEntriesIn, offsetEntryAt, timeEntriesIn } from "../src/store/index-entries.ts";
import { timeEntryAt } from "../src/store/index-tools.ts";
import { BODY_AT, MARK_BYTES, SECTOR } from "../src/store/slot-layout.ts";
import { decodeMark, readRole } from "../src/store/slot-read.ts";
import { CATALOG_SLOTS } from "../src/store/volume.ts";
import { topicName } from "../src/topic/log-names.ts";
import { unpackBatch } from "./kafka-codecs.ts";
import { bytesAt, type FoundTide, isZero, OverlayVolume } from "./slot-files.ts";

/**
 * One printed thing with its fields: a catalog, log, slot, batch or section. `kind` says which, and is printed first.
 */
export interface Item {
  readonly kind: string;
  /** False: a checksum fails, or it says what can't be. `error` tells more. */
  readonly isGood: boolean;
  readonly error?: string;
  readonly [field: string]: unknown;
}

/** `batch`: of an item of a batch that is whole, for those that want its records. */
export interface Dumped {
  readonly item: Item;
  readonly batch?: RecordBatch;
}

const errorOf = (thrown: unknown): string => TidemarkError.from(thrown).message;

/** A batch's header, and whether the batch is whole. `where`: fields that say where it stands. */
export async function dumpedBatch(kernel: Kernel, bytes: Uint8Array, where: object): Promise<Dumped> {
  const fields = { kind: "batch", ...where, ...readHeader(bytes) };
  try {
    return { item: { ...fields, isGood: true }, batch: await decodeBatch(kernel, unpackBatch(kernel, bytes)) };
  } catch (thrown) {
    return { item: { ...fields, isGood: false, error: errorOf(thrown) } };
  }
}

async function catalogCopy(
  { volume }: FoundTide,
  kernel: Kernel,
  slot: number,
): Promise<{ readonly item: Item; readonly state?: CatalogState; readonly generation: number }> {
  const file = volume.files[slot];
  const where = { kind: "catalog", copy: slot, file };
  const none = { generation: -1 };
  if (file === undefined) return { ...none, item: { ...where, isGood: false, error: "its file is not there" } };
  const head = viewOf(await bytesAt(volume, slot, 0, BODY_AT));
  const fields = {
    ...where,
    version: head.getUint32(CATALOG_VERSION_AT),
    payloadBytes: head.getUint32(CATALOG_PAYLOAD_BYTES_AT),
    crc: head.getUint32(CATALOG_CRC_AT),
  };
  try {
    const { state, catalog } = await Catalog.read(new OverlayVolume(volume.slotBytes, [file, file]), kernel);
    if (!state) return { ...none, item: { ...fields, isGood: false, error: "it is blank" } };
    const { logs, ...said } = state;
    const { generation } = catalog;
    return { state, generation, item: { ...fields, generation, ...said, logs: logs.length, isGood: true } };
  } catch (thrown) {
    return { ...none, item: { ...fields, isGood: false, error: errorOf(thrown) } };
  }
}

const logItem = ({ name, segments, ...said }: LogEntry): Item => ({
  kind: "log",
  name,
  topic: topicName(name),
  ...said,
  segments: segments.map(({ sealed, ...segment }) => ({ ...segment, ...sealed, isSealed: sealed !== undefined })),
  isGood: true,
});

interface Use {
  readonly log: LogEntry;
  readonly segment: SegmentEntry;
}

async function slotItem({ volume }: FoundTide, kernel: Kernel, slot: number, use: Use | undefined): Promise<Item> {
  const file = volume.files[slot];
  const fields = { kind: "slot", slot, file, log: use?.log.name ?? null, baseOffset: use?.segment.baseOffset ?? null };
  if (file === undefined) return { ...fields, isGood: false, error: "its file is not there" };
  const role = await readRole(kernel, volume, slot);
  const isBlank = isZero(await bytesAt(volume, slot, 0, SECTOR));
  if (!role && !(isBlank && !use)) return { ...fields, isGood: false, error: "its role can't be read" };
  return { ...fields, role: role ?? null, isGood: true };
}

async function* marks({ volume }: FoundTide, kernel: Kernel, slot: number): AsyncGenerator<Item> {
  for (const n of [0, 1]) {
    const position = SECTOR * (n + 1);
    const bytes = await bytesAt(volume, slot, position, MARK_BYTES);
    if (isZero(bytes)) continue;
    const mark = decodeMark(kernel, bytes);
    const fields = { kind: "mark", slot, n, at: position };
    yield mark ? { ...fields, ...mark, isGood: true } : { ...fields, isGood: false, error: "its checksum fails" };
  }
}

/** The batches of a segment. Behind what the catalog knows of an active one there may be more. */
async function* batches({ volume }: FoundTide, kernel: Kernel, { log, segment }: Use): AsyncGenerator<Dumped> {
  const { slot, sealed } = segment;
  const known = sealed?.bytes ?? log.end.position;
  const room = sealed ? known : volume.slotBytes - BODY_AT;
  let expected = segment.baseOffset;
  for (let at = 0; at < room;) {
    const isKnown = at < known;
    const head = await bytesAt(volume, slot, BODY_AT + at, BATCH_HEADER_BYTES);
    const header = readHeader(head);
    const isWhole = header.sizeBytes >= BATCH_HEADER_BYTES && at + header.sizeBytes <= room;
    const where = { slot, at: BODY_AT + at, isInCatalog: isKnown };
    if (!isWhole) {
      if (isKnown)
        yield {
          item: { kind: "batch", ...where, isGood: false, error: `no whole batch of offset ${expected} stands there` },
        };
      return;
    }
    const found = await dumpedBatch(kernel, await bytesAt(volume, slot, BODY_AT + at, header.sizeBytes), where);
    // This batch is left from an earlier use of the slot.
    if (!isKnown && (!found.batch || header.baseOffset !== expected || header.leaderEpoch < segment.epoch)) return;
    yield found;
    expected = nextOffsetOf(header);
    at += header.sizeBytes;
  }
}

async function* sections({ volume }: FoundTide, kernel: Kernel, { segment }: Use): AsyncGenerator<Item> {
  const { slot, baseOffset, sealed } = segment;
  if (!sealed) return;
  const { bytes, offsetIndexBytes, timeIndexBytes, producersBytes } = sealed;
  const end = offsetIndexBytes + timeIndexBytes + producersBytes;
  const all = await bytesAt(volume, slot, BODY_AT + bytes, end + FOOTER_BYTES);
  const footer = decodeFooter(kernel, all.subarray(end));
  const isGood = footer !== undefined && kernel.crc32c(all.subarray(0, end)) === footer.sectionsCrc;
  const item = (name: string, from: number, length: number, fields: object, good = isGood): Item => ({
    kind: "section",
    slot,
    name,
    at: BODY_AT + bytes + from,
    bytes: length,
    ...fields,
    isGood: good,
    ...(!good && { error: "a checksum fails" }),
  });
  const offsets = all.subarray(0, offsetIndexBytes);
  const times = all.subarray(offsetIndexBytes, offsetIndexBytes + timeIndexBytes);
  const entries = (count: number, entry: (i: number) => object): object[] =>
    Array.from({ length: count }, (_, i) => entry(i));
  yield item("offset index", 0, offsetIndexBytes, {
    entries: entries(offsetEntriesIn(offsetIndexBytes), (i) => {
      const { relativeOffset, position } = offsetEntryAt(offsets, i);
      return { offset: baseOffset + relativeOffset, position: BODY_AT + position };
    }),
  });
  yield item("time index", offsetIndexBytes, timeIndexBytes, {
    entries: entries(timeEntriesIn(timeIndexBytes), (i) => {
      const { timestamp, relativeOffset } = timeEntryAt(times, i);
      return { timestamp, offset: baseOffset + relativeOffset };
    }),
  });
  const producers: object[] = [];
  let forgotten = -1;
  const snapshot = all.subarray(offsetIndexBytes + timeIndexBytes, end);
  const state = {
    forget: (offset: number) => void (forgotten = offset),
    put: (id: number, entry: object) => void producers.push({ id, ...entry }),
  };
  const isRead = producersBytes === 0 || loadSnapshot(state, kernel, snapshot, sealed.nextOffset);
  yield item(
    "producers",
    offsetIndexBytes + timeIndexBytes,
    producersBytes,
    { forgotten, producers },
    isGood && isRead,
  );
  yield item("footer", end, FOOTER_BYTES, { ...footer }, footer !== undefined);
}

/** All of a tide. */
export async function* dumpTide(tide: FoundTide, kernel: Kernel): AsyncGenerator<Dumped> {
  const { volume } = tide;
  const copies = [await catalogCopy(tide, kernel, 0), await catalogCopy(tide, kernel, 1)];
  for (const { item } of copies) yield { item };
  const { state } = copies.sort((a, b) => b.generation - a.generation)[0]!;
  const uses = new Map<number, Use>();
  for (const log of state?.logs ?? []) {
    yield { item: logItem(log) };
    for (const segment of log.segments) uses.set(segment.slot, { log, segment });
  }
  const slots = Math.max(volume.files.length, ...[...uses.keys()].map((slot) => slot + 1));
  for (let slot = CATALOG_SLOTS; slot < slots; slot++) {
    const use = uses.get(slot);
    // A profile's files are known by what the catalog names.
    if (volume.files[slot] === undefined && !use) continue;
    yield { item: await slotItem(tide, kernel, slot, use) };
    if (volume.files[slot] === undefined) continue;
    for await (const item of marks(tide, kernel, slot)) yield { item };
    if (!use) continue;
    yield* batches(tide, kernel, use);
    for await (const item of sections(tide, kernel, use)) yield { item };
  }
}
