/**
 * Takes Kafka's .log files into an empty log; records keep their offsets.
 *
 *   check   every batch of every file, before anything is written
 *   write   segments of a log aside, each sealed, flushed and committed    crash: the log aside is left, and removed by
 *   take    one commit: the log has all of these segments, the log aside      the next import
 *           is gone                                                         crash: the log is empty, or has them all
 *
 * Batches stay as they are except for the leader epoch. Offsets that no batch has are holes, as after compaction.
 */
import { TidemarkError } from "../errors.ts";
import { type Kernel, SEGMENT_OFFSETS_MAX, Status, statusName } from "../kernel/types.ts";
import {
  ATTRIBUTE_TRANSACTIONAL,
  BATCH_HEADER_BYTES,
  type BatchHeader,
  CODEC_GZIP,
  CODEC_MASK,
  codecName,
  MAGIC,
  MAGIC_AT,
  nextOffsetOf,
  readHeader,
  stampLeaderEpoch,
} from "../record/format.ts";
import { concat } from "./bytes.ts";
import { sectionsBytesMax } from "./sections-room.ts";
import { writeSections } from "./sections.ts";
import { Segment } from "./segment.ts";
import type { SegmentedLog } from "./segmented-log.ts";
import type { SegmentStore } from "./segment-store.ts";
import { BODY_AT } from "./slot-layout.ts";

/** Holds what is taken in, until all is there. Names of topics that begin so are not shown. */
const ASIDE = "__import-0";
const WINDOW_BYTES = 1024 * 1024;

/** One .log file. */
export interface SegmentSource {
  readonly name: string;
  readonly bytes: number;
  read(position: number, length: number): Promise<Uint8Array>;
}

/** Bytes of a file that are no batches, and the offsets that were in them as far as the next batch tells. */
export interface ImportDamage {
  readonly file: string;
  readonly position: number;
  readonly bytes: number;
  readonly reason: string;
  readonly from: number;
  /** Undefined at the end of all files: nobody knows how far it went. */
  readonly to: number | undefined;
}

export interface ImportOptions {
  /** "refuse" (default): any damage is INVALID_BATCH, and nothing is taken. "skip": what is whole is taken. */
  readonly damage?: "refuse" | "skip" | undefined;
}

export interface ImportResult {
  readonly batches: number;
  readonly records: number;
  /** Offset of the first record, and behind the last one. */
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly damage: readonly ImportDamage[];
}

interface Place {
  readonly source: SegmentSource;
  readonly position: number;
  readonly header: BatchHeader;
}

/** Reads a file in windows, forwards. */
class Window {
  readonly #source: SegmentSource;
  #at = 0;
  #bytes: Uint8Array = new Uint8Array(0);

  constructor(source: SegmentSource) {
    this.#source = source;
  }

  /** At most `length` bytes at `position`: fewer at the file's end. */
  async at(position: number, length: number): Promise<Uint8Array> {
    const from = position - this.#at;
    const wanted = Math.min(length, this.#source.bytes - position);
    if (from < 0 || from + wanted > this.#bytes.length) {
      this.#at = position;
      const most = Math.min(Math.max(wanted, WINDOW_BYTES), this.#source.bytes - position);
      this.#bytes = await this.#source.read(position, most);
      if (this.#bytes.length !== most)
        throw new TidemarkError("STORAGE_FAILED", `${this.#source.name} is shorter than it was`, {
          file: this.#source.name,
        });
    }
    return this.#bytes.subarray(position - this.#at, position - this.#at + wanted);
  }
}

/** Why no batch of the log stands at the start of these bytes; undefined if one does. */
function faultOf(kernel: Kernel, bytes: Uint8Array, expected: number): string | undefined {
  if (bytes.length < BATCH_HEADER_BYTES) return "BAD_LENGTH";
  const header = readHeader(bytes);
  if (header.sizeBytes < BATCH_HEADER_BYTES || header.sizeBytes > bytes.length) return "BAD_LENGTH";
  const status = kernel.validateBatch(bytes.subarray(0, header.sizeBytes));
  if (status !== Status.OK) return statusName(status);
  return header.baseOffset >= expected ? undefined : "BAD_OFFSET";
}

/** A file of an old broker begins with messages of an earlier format, whose magic stands at the same place. */
function refuseOld({ name: file }: SegmentSource, head: Uint8Array): void {
  const magic = head[MAGIC_AT];
  if (magic === undefined || magic >= MAGIC) return;
  throw new TidemarkError("UNSUPPORTED_FORMAT", `${file}: message format ${magic}; only format ${MAGIC} can be read`, {
    file,
    position: 0,
  });
}

function refuseUnreadable(source: SegmentSource, position: number, header: BatchHeader, batchBytesMax: number): void {
  const at = `${source.name}, byte ${position}`;
  const details = { file: source.name, position };
  const codec = header.attributes & CODEC_MASK;
  if (codec > CODEC_GZIP)
    throw new TidemarkError("UNSUPPORTED_FORMAT", `${at}: compressed by ${codecName(codec)}; only gzip can be read`, {
      ...details,
      codec: codecName(codec),
    });
  if ((header.attributes & ATTRIBUTE_TRANSACTIONAL) !== 0)
    throw new TidemarkError(
      "UNSUPPORTED_FORMAT",
      `${at}: a batch of a transaction: only a broker knows whether it was aborted. Export committed records instead`,
      { ...details, transactional: true },
    );
  if (header.sizeBytes > batchBytesMax)
    throw new TidemarkError("BATCH_TOO_LARGE", `${at}: a batch of ${header.sizeBytes} bytes`, {
      ...details,
      bytes: header.sizeBytes,
      batchBytesMax,
    });
}

const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

/** The batches of the files, in order, each checked. Damage is told, or thrown. */
async function* batchesIn(
  kernel: Kernel,
  sources: readonly SegmentSource[],
  batchBytesMax: number,
  damaged: (damage: ImportDamage) => void,
): AsyncGenerator<Place & { readonly bytes: Uint8Array }> {
  let expected = 0;
  let open: Omit<ImportDamage, "to"> | undefined;
  const close = (to: number | undefined): void => {
    if (open) damaged({ ...open, to });
    open = undefined;
  };
  for (const source of sources) {
    const window = new Window(source);
    for (let position = 0; position < source.bytes;) {
      const head = await window.at(position, BATCH_HEADER_BYTES);
      // A broker keeps room ahead in its newest segment.
      if (isZero(head) && isZero(await window.at(position, WINDOW_BYTES))) break;
      if (position === 0) refuseOld(source, head);
      const size = head.length < BATCH_HEADER_BYTES ? 0 : readHeader(head).sizeBytes;
      const whole = size > 0 && size <= source.bytes - position ? await window.at(position, size) : head;
      const reason = faultOf(kernel, whole, expected);
      if (reason !== undefined) {
        open ??= { file: source.name, position, bytes: 0, reason, from: expected };
        open = { ...open, bytes: open.bytes + 1 };
        position++;
        continue;
      }
      const header = readHeader(whole);
      refuseUnreadable(source, position, header, batchBytesMax);
      close(header.baseOffset);
      yield { source, position, header, bytes: whole };
      expected = nextOffsetOf(header);
      position += header.sizeBytes;
    }
    // Damage ends with its file; what comes next tells how far it went.
    if (open && source !== sources.at(-1)) continue;
  }
  close(undefined);
}

interface Checked extends ImportResult {
  /** The files in the order of their offsets. */
  readonly sources: readonly SegmentSource[];
}

/** Looks at every batch. INVALID_BATCH, UNSUPPORTED_FORMAT, BATCH_TOO_LARGE. */
async function check(
  { kernel, batchBytesMax }: SegmentStore,
  given: readonly SegmentSource[],
  mode: ImportOptions["damage"],
): Promise<Checked> {
  const firsts = await Promise.all(
    given.map(async (source) => {
      const head = await source.read(0, Math.min(BATCH_HEADER_BYTES, source.bytes));
      return { source, first: head.length < BATCH_HEADER_BYTES ? 0 : readHeader(head).baseOffset };
    }),
  );
  const sources = firsts.sort((a, b) => a.first - b.first).map(({ source }) => source);
  const damage: ImportDamage[] = [];
  let [batches, records, nextOffset] = [0, 0, 0];
  let firstOffset: number | undefined;
  const refuse = (found: ImportDamage): void => {
    damage.push(found);
    if (mode === "skip") return;
    throw new TidemarkError(
      "INVALID_BATCH",
      `${found.file} is damaged at byte ${found.position} (${found.reason}), offset ${found.from}: nothing was ` +
        `taken; { damage: "skip" } takes what is whole`,
      { ...found },
    );
  };
  for await (const { header } of batchesIn(kernel, sources, batchBytesMax, refuse)) {
    firstOffset ??= header.baseOffset;
    batches++;
    records += header.recordCount;
    nextOffset = nextOffsetOf(header);
  }
  return { sources, damage, batches, records, firstOffset: firstOffset ?? 0, nextOffset };
}

/** Batches that fill one slot. */
interface Filling {
  readonly parts: Uint8Array[];
  bytes: number;
  readonly baseOffset: number;
  nextOffset: number;
  hasHoles: boolean;
}

/** A log that is being filled; its active segment begins where all ends. */
async function seal(store: SegmentStore, aside: SegmentedLog, filling: Filling, producers: Uint8Array): Promise<void> {
  const { volume, kernel } = store;
  const bytes = concat(filling.parts);
  const { baseOffset, nextOffset, hasHoles: compacted } = filling;
  await store.reserveSlots(1);
  await store.change(async (change) => {
    const epoch = aside.leaderEpoch;
    const slot = await change.takeSlot();
    const begun = store.nextGeneration;
    const segment = new Segment({ slot, baseOffset, epoch, createdAt: store.now(), begun }, aside.all[0]!.log);
    await store.beginSegment(segment);
    await volume.write(slot, BODY_AT, bytes);
    segment.add(kernel, bytes);
    segment.becomeSealed(
      await writeSections(volume, kernel, segment, {
        nextOffset,
        sealedAt: store.now(),
        compacted,
        bodyCrc: compacted ? kernel.crc32c(bytes) : 0,
        producers,
        previousFooterCrc: aside.all.at(-2)?.sealed?.footerCrc ?? 0,
        epoch,
        owner: store.ownerOf(segment),
      }),
    );
    await volume.flush([slot]);
    const next = [...aside.all.slice(0, -1), segment, aside.all.at(-1)!];
    await change.commit([aside.entry(next)]);
    aside.adopt(next);
  });
}

const fits = (filling: Filling, header: BatchHeader, slotBytes: number, reserve: number): boolean => {
  const body = filling.bytes + header.sizeBytes;
  return (
    BODY_AT + body + sectionsBytesMax(body, reserve) <= slotBytes &&
    nextOffsetOf(header) - filling.baseOffset <= SEGMENT_OFFSETS_MAX
  );
};

async function fill(
  store: SegmentStore,
  aside: SegmentedLog,
  { sources, nextOffset: end, firstOffset }: Checked,
  producers: Uint8Array,
): Promise<void> {
  let filling: Filling | undefined;
  let expected = firstOffset;
  const batches = batchesIn(store.kernel, sources, store.batchBytesMax, () => undefined);
  for await (const { header, bytes } of batches) {
    if (filling && !fits(filling, header, store.volume.slotBytes, producers.length)) {
      // A hole behind its last batch is this segment's: one begins where the other ends.
      filling.hasHoles ||= header.baseOffset !== expected;
      filling.nextOffset = header.baseOffset;
      await seal(store, aside, filling, new Uint8Array(0));
      filling = undefined;
    }
    const batch = bytes.slice();
    stampLeaderEpoch(batch, aside.leaderEpoch);
    filling ??= { parts: [], bytes: 0, baseOffset: header.baseOffset, nextOffset: 0, hasHoles: false };
    filling.hasHoles ||= filling.bytes > 0 && header.baseOffset !== expected;
    filling.parts.push(batch);
    filling.bytes += batch.length;
    expected = filling.nextOffset = nextOffsetOf(header);
  }
  if (expected !== end) throw new TidemarkError("INVALID_BATCH", "the files changed while they were read", { end });
  if (filling) await seal(store, aside, filling, producers);
}

const refuseFilled = ({ logEndOffset }: SegmentedLog): void => {
  if (logEndOffset === 0) return;
  throw new TidemarkError(
    "INVALID_ARGUMENT",
    `only an empty topic takes segments with their offsets, and this one has had ${logEndOffset} records: delete it, ` +
      `or give another topic`,
    { reason: "filled", logEndOffset },
  );
};

/**
 * Fills `log`, which must be empty and at offset 0. `taking` runs the last step when nothing else writes to it.
 * `producers`: the log's snapshot of producer states as of that offset. INVALID_ARGUMENT {reason: "filled"},
 * INVALID_BATCH, UNSUPPORTED_FORMAT, BATCH_TOO_LARGE, QUOTA_EXCEEDED, LIMIT_EXCEEDED: the log is as it was.
 */
export async function importSegments(
  store: SegmentStore,
  log: SegmentedLog,
  files: readonly SegmentSource[],
  { damage }: ImportOptions,
  taking: (work: () => Promise<void>) => Promise<void>,
  producers: (nextOffset: number) => Uint8Array,
): Promise<ImportResult> {
  refuseFilled(log);
  const checked = await check(store, files, damage);
  const { sources: _, ...result } = checked;
  if (checked.batches === 0) return result;
  const left = await store.find(ASIDE);
  if (left) await (await import("./trim-and-replace.ts")).deleteLog(left);
  const aside = await store.log(ASIDE, undefined, { from: checked.nextOffset });
  try {
    await fill(store, aside, checked, producers(checked.nextOffset));
    await taking(() => take(store, log, aside, checked.firstOffset));
  } catch (thrown) {
    if (!aside.deleted && !store.poisoned) await (await import("./trim-and-replace.ts")).deleteLog(aside);
    throw thrown;
  }
  return result;
}

/** One commit: the segments are the log's. */
async function take(store: SegmentStore, log: SegmentedLog, aside: SegmentedLog, first: number): Promise<void> {
  log.check();
  refuseFilled(log);
  await store.change(async (change) => {
    const appending = aside.appending ? aside.leaderEpoch : 0;
    await change.commit([{ ...log.entry(aside.all, first), appending }], aside.name);
    aside.deleted = true;
    log.adopt(aside.all);
    log.logStartOffset = first;
    log.mark = aside.mark;
    log.flushed = aside.flushed;
    log.leaderEpoch = aside.leaderEpoch;
    log.appending = aside.appending;
  });
}
