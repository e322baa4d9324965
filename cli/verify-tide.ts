/**
 * Checks a tide's files, checksum by checksum: both copies of the catalog, and of each segment its role, its marks, its
 * batches, its sections and its footer. Nothing is written.
 */
import type { Kernel } from "../src/kernel/types.ts";
import { BATCH_HEADER_BYTES, readHeader } from "../src/record/format.ts";
import { decodeBatch } from "../src/record/record-batch.ts";
import { Catalog, type LogEntry, type SegmentEntry } from "../src/store/catalog.ts";
import { bodyCrc, readSections } from "../src/store/sections.ts";
import { Segment } from "../src/store/segment.ts";
import { decodeMark, readRole, whose } from "../src/store/slot-read.ts";
import { roleOf } from "../src/store/slot.ts";
import { SegmentStore } from "../src/store/segment-store.ts";
import { topicName } from "../src/topic/log-names.ts";
import { TidemarkError } from "../src/errors.ts";
import { BODY_AT, MARK_BYTES, SECTOR } from "../src/store/slot-layout.ts";
import type { Range } from "./offset-ranges.ts";
import { salvagedTopics } from "./salvage.ts";
import { bytesAt, type FoundTide, isZero, type OverlayVolume } from "./slot-files.ts";

/** A thing that is wrong, and where. */
export interface Fault {
  readonly where: string;
  readonly what: string;
}

export interface Checked {
  readonly faults: readonly Fault[];
  readonly batches: number;
  readonly bytes: number;
}

class TideCheck {
  readonly faults: Fault[] = [];
  batches = 0;
  bytes = 0;
  readonly #volume: OverlayVolume;
  readonly #kernel: Kernel;

  constructor({ volume }: FoundTide, kernel: Kernel) {
    this.#volume = volume;
    this.#kernel = kernel;
  }

  #fault(where: string, what: string): void {
    this.faults.push({ where, what });
  }

  async run(): Promise<void> {
    const { state, copies } = await Catalog.read(this.#volume, this.#kernel);
    if (copies === 1) this.#fault("catalog", "one of its two copies is damaged, missing or older; the other is good");
    if (!state) return this.#fault("catalog", "there is none");
    for (const log of state.logs) {
      let before: SegmentEntry["sealed"];
      for (const entry of log.segments) {
        await this.#segment(state.id ?? "", log, entry);
        before = entry.sealed ?? before;
      }
    }
  }

  async #segment(tide: string, log: LogEntry, entry: SegmentEntry): Promise<void> {
    const volume = this.#volume;
    const { slot, baseOffset } = entry;
    const segment = new Segment(entry, log.madeAs ?? log.name);
    const where = `${topicName(log.name)}, segment ${baseOffset} (slot ${slot})`;
    if (volume.files[slot] === undefined)
      return this.#fault(where, "its file is not there, or can't be told from others");
    const role = await readRole(this.#kernel, volume, slot);
    const wanted = roleOf(tide, segment.log, segment);
    // Compaction and roll give a slot the epoch of its time.
    const found = role && whose(role, { ...wanted, epoch: role.epoch });
    if (found === undefined) this.#fault(where, "bytes 0 to 511, the role: its checksum fails");
    else if (found === "other") this.#fault(where, `the file is another segment's: ${role!.log}, ${role!.baseOffset}`);
    await this.#marks(where, slot);
    await this.#body(where, segment, log);
    if (entry.sealed) await this.#sections(where, segment);
  }

  /** A mark that was never written is zeros. */
  async #marks(where: string, slot: number): Promise<void> {
    for (const n of [0, 1]) {
      const at = SECTOR * (n + 1);
      const sector = await bytesAt(this.#volume, slot, at, SECTOR);
      const mark = sector.subarray(0, MARK_BYTES);
      if (!isZero(mark) && !decodeMark(this.#kernel, mark))
        this.#fault(where, `bytes ${at} to ${at + MARK_BYTES - 1}, mark ${n}: its checksum fails`);
      if (!isZero(sector.subarray(MARK_BYTES)))
        this.#fault(where, `bytes ${at + MARK_BYTES} to ${at + SECTOR - 1}: must be zero`);
    }
    if (!isZero(await bytesAt(this.#volume, slot, 3 * SECTOR, BODY_AT - 3 * SECTOR)))
      this.#fault(where, `bytes ${3 * SECTOR} to ${BODY_AT - 1}: must be zero`);
  }

  async #body(where: string, segment: Segment, log: LogEntry): Promise<void> {
    const kernel = this.#kernel;
    const end = segment.sealed?.bytes ?? log.end?.position ?? 0;
    const bytes = await bytesAt(this.#volume, segment.slot, BODY_AT, end);
    let expected = segment.baseOffset;
    let epoch = 0;
    for (let at = 0; at < end;) {
      const place = `byte ${BODY_AT + at}, offset ${expected}`;
      const header = end - at < BATCH_HEADER_BYTES ? undefined : readHeader(bytes, at);
      if (!header || header.sizeBytes < BATCH_HEADER_BYTES || at + header.sizeBytes > end)
        return this.#fault(where, `${place}: no whole batch stands there; the rest of the segment is not looked at`);
      const batch = bytes.subarray(at, at + header.sizeBytes);
      try {
        await decodeBatch(kernel, batch);
      } catch (thrown) {
        this.#fault(where, `${place}: ${TidemarkError.from(thrown).message}`);
      }
      const hasHole = segment.sealed?.compacted === true && header.baseOffset > expected;
      if (header.baseOffset !== expected && !hasHole)
        return this.#fault(where, `${place}: a batch of offset ${header.baseOffset} stands there`);
      if (header.leaderEpoch < epoch) this.#fault(where, `${place}: the leader epoch falls from ${epoch}`);
      epoch = header.leaderEpoch;
      expected = header.baseOffset + header.lastOffsetDelta + 1;
      at += header.sizeBytes;
      this.batches++;
      this.bytes += header.sizeBytes;
    }
    const next = segment.sealed?.nextOffset ?? log.end?.nextOffset ?? expected;
    if (expected !== next && segment.sealed?.compacted !== true)
      this.#fault(where, `its batches end at offset ${expected}, and the catalog says ${next}`);
  }

  async #sections(where: string, segment: Segment): Promise<void> {
    const sections = await readSections(this.#volume, this.#kernel, segment);
    if (!sections) return this.#fault(where, "its indexes, producers or footer: a checksum fails");
    if (!segment.sealed!.compacted) return;
    if ((await bodyCrc(this.#volume, this.#kernel, segment)) !== sections.bodyCrc)
      this.#fault(where, "its batches are not those that compaction wrote: the body's checksum fails");
  }
}

export async function verifyTide(tide: FoundTide, kernel: Kernel): Promise<Checked> {
  const check = new TideCheck(tide, kernel);
  try {
    await check.run();
  } catch (thrown) {
    check.faults.push({ where: "catalog", what: TidemarkError.from(thrown).message });
  }
  return check;
}

/** A topic's segments as files. */
export interface Body {
  readonly topic: string;
  /** Where the topic begins. A segment may still hold what was trimmed before. */
  readonly start: number;
  /** Where it ended, if that is known. */
  readonly end: number | undefined;
  /** Offsets that certainly had records. */
  readonly held: readonly Range[];
  readonly files: readonly { readonly name: string; readonly log: Uint8Array }[];
  /** What is not known of it, as a sentence's end. Absent: all that is lost is known. */
  readonly doubt?: string;
}

/** The offsets of a log that certainly have records. Compaction may have taken some of a segment. */
const heldIn = ({ segments, end }: LogEntry): Range[] =>
  segments.flatMap(({ baseOffset, sealed }): Range[] =>
    sealed?.compacted ? [] : [[baseOffset, sealed?.nextOffset ?? end.nextOffset]],
  );

/**
 * The bodies of each topic's segments, as they are. The store is opened over the files, and changes none. Where the
 * catalog is lost, `lost` is called, and the slots tell what they hold.
 */
export async function* bodiesOf(tide: FoundTide, kernel: Kernel, lost: () => void): AsyncGenerator<Body> {
  const { volume } = tide;
  let store: SegmentStore;
  let entries: readonly LogEntry[];
  try {
    entries = (await Catalog.read(volume, kernel)).state?.logs ?? [];
    store = await SegmentStore.open({ volume, kernel, now: Date.now, newId: () => "repair" });
  } catch (thrown) {
    if (!(thrown instanceof TidemarkError) || thrown.code !== "CORRUPT_CATALOG") throw thrown;
    lost();
    for (const { topic, why, gaps, files } of await salvagedTopics(tide, kernel)) {
      const holes = gaps.map(([from, to]) => `, no slot has ${from} to ${to}`).join("");
      const doubt = `${why === undefined ? "" : `${why}; `}what else it had is not known${holes}`;
      yield { topic, start: 0, end: undefined, held: [], files, doubt };
    }
    return;
  }
  for (const entry of entries) {
    const log = (await store.find(entry.name))!;
    const files: { name: string; log: Uint8Array }[] = [];
    for (const { slot, bytes, baseOffset } of log.segments())
      if (bytes > 0) files.push({ name: String(baseOffset), log: await bytesAt(volume, slot!, BODY_AT, bytes) });
    const { logStartOffset: start, end } = entry;
    yield { topic: topicName(entry.name), start, end: end.nextOffset, held: heldIn(entry), files };
  }
}
