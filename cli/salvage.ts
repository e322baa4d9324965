/**
 * What the slots of a tide hold whose catalog is lost: each says itself which log's segment it is and where it begins.
 * Where a sealed segment ends stands in its footer; an active one ends behind its newest mark, or behind the last batch
 * that goes on there.
 *
 * Only the catalog knows what was trimmed, deleted, renamed or replaced by compaction. So such records may come back.
 * Of two slots with the same offsets the one that was begun last is the topic's; the other becomes a topic of its own.
 *
 * Segments that were imported say the name of the import, whatever topic they are. Their runs are topics of their own:
 *
 *   footer ◀── footer of the segment before ──┐        no such footer: one segment ends where exactly one begins,
 *   segment 0 … 100                    segment 100 … 200 ◀── and nothing else ends or begins there
 */
import { type Kernel, Status } from "../src/kernel/types.ts";
import { BATCH_HEADER_BYTES, nextOffsetOf, readHeader } from "../src/record/format.ts";
import { decodeFooter, FOOTER_BYTES, type Footer } from "../src/store/footer.ts";
import { BODY_AT } from "../src/store/slot-layout.ts";
import { readMark, readRole } from "../src/store/slot-read.ts";
import type { Role } from "../src/store/slot.ts";
import { CATALOG_SLOTS } from "../src/store/volume.ts";
import { IMPORT_ASIDE } from "../src/store/import-segments.ts";
import { topicName } from "../src/topic/log-names.ts";
import type { Range } from "./offset-ranges.ts";
import { bytesAt, type FoundTide } from "./slot-files.ts";

interface Salvaged {
  readonly role: Role;
  readonly body: Uint8Array;
  readonly nextOffset: number;
  /** 0 while active. */
  readonly footerCrc: number;
  /** The footer CRC of the segment before. 0 where the footer knows none. */
  readonly previousFooterCrc: number;
}

/** What is made of some of the slots. */
export interface SalvagedTopic {
  readonly topic: string;
  /** Why it has this name, where no slot says it. */
  readonly why?: string;
  /** Between its segments: no slot has these offsets. */
  readonly gaps: readonly Range[];
  /** The bodies of its segments, in the order of their offsets. */
  readonly files: readonly { readonly name: string; readonly log: Uint8Array }[];
}

/**
 * Most characters of a topic's own name. Below the limit of names, so that there is room for what is put behind it.
 */
const NAME_CHARS_MAX = 230;

/** The footer of the segment that this slot holds, as its place and its base offset say. */
function footerIn(
  kernel: Kernel,
  slot: Uint8Array,
  { baseOffset, epoch }: Role,
): (Footer & { readonly footerCrc: number }) | undefined {
  const bytes = Buffer.from(slot.buffer, slot.byteOffset, slot.length);
  for (let at = BODY_AT; (at = bytes.indexOf("TIDEFOOT", at, "latin1")) >= 0; at++) {
    const itself = slot.subarray(at, at + FOOTER_BYTES);
    const footer = decodeFooter(kernel, itself);
    if (!footer || footer.baseOffset !== baseOffset || footer.epoch < epoch) continue;
    const { bodyBytes, offsetIndexBytes, timeIndexBytes, producersBytes } = footer;
    if (BODY_AT + bodyBytes + offsetIndexBytes + timeIndexBytes + producersBytes !== at) continue;
    return { ...footer, footerCrc: kernel.crc32c(itself.subarray(0, FOOTER_BYTES - 4)) };
  }
  return undefined;
}

async function salvaged({ volume }: FoundTide, kernel: Kernel, slot: number): Promise<Salvaged | undefined> {
  const role = await readRole(kernel, volume, slot);
  if (!role) return undefined;
  const bytes = await bytesAt(volume, slot, 0, volume.slotBytes);
  const footer = footerIn(kernel, bytes, role);
  if (footer) {
    const { bodyBytes, nextOffset, footerCrc, previousFooterCrc } = footer;
    return { role, body: bytes.subarray(BODY_AT, BODY_AT + bodyBytes), nextOffset, footerCrc, previousFooterCrc };
  }
  const { baseOffset, epoch } = role;
  const mark = await readMark(kernel, volume, { slot, baseOffset, epoch });
  let { position: end, nextOffset } = mark ?? { position: 0, nextOffset: baseOffset };
  for (const room = volume.slotBytes - BODY_AT; room - end >= BATCH_HEADER_BYTES;) {
    const header = readHeader(bytes, BODY_AT + end);
    if (header.baseOffset !== nextOffset || header.leaderEpoch < epoch) break;
    if (header.sizeBytes < BATCH_HEADER_BYTES || header.sizeBytes > room - end) break;
    const at = BODY_AT + end;
    if (kernel.validateBatch(bytes.subarray(at, at + header.sizeBytes)) !== Status.OK) break;
    end += header.sizeBytes;
    nextOffset = nextOffsetOf(header);
  }
  const body = bytes.subarray(BODY_AT, BODY_AT + end);
  return { role, body, nextOffset, footerCrc: 0, previousFooterCrc: 0 };
}

const overlap = (a: Salvaged, b: Salvaged): boolean =>
  a.role.baseOffset < b.nextOffset && b.role.baseOffset < a.nextOffset;

/**
 * Layers of segments without overlaps. The first layer has the segments that were begun last. What overlaps goes
 * below.
 */
function layersOf(all: readonly Salvaged[]): Salvaged[][] {
  const layers: Salvaged[][] = [];
  for (let rest = all.toSorted((a, b) => b.role.begun - a.role.begun); rest.length > 0;) {
    const kept: Salvaged[] = [];
    const others: Salvaged[] = [];
    for (const each of rest) (kept.some((other) => overlap(each, other)) ? others : kept).push(each);
    layers.push(kept);
    rest = others;
  }
  return layers;
}

/** Segments one behind the other, of logs that nobody can name. */
function runsOf(all: readonly Salvaged[]): Salvaged[][] {
  const before = new Map<Salvaged, Salvaged>();
  const isFollowed = (each: Salvaged): boolean => [...before.values()].includes(each);
  const link = (pairs: (each: Salvaged) => readonly Salvaged[]): void => {
    for (const each of all) {
      const fitting = pairs(each);
      if (!before.has(each) && fitting.length === 1) before.set(each, fitting[0]!);
    }
  };
  link(({ previousFooterCrc, role }) =>
    previousFooterCrc === 0
      ? []
      : all.filter(
          (other) =>
            other.footerCrc === previousFooterCrc && other.nextOffset === role.baseOffset && !isFollowed(other),
        ),
  );
  // An active segment has no footer, and compaction leaves out whose it follows. One without records ends where it
  // begins; it follows one as well, and so says that another segment may not be the next.
  const begins = all.filter((each) => !before.has(each));
  const ends = all.filter((each) => each.body.length > 0 && !isFollowed(each));
  link(({ role: { baseOffset } }) => {
    const there = ends.filter(({ nextOffset }) => nextOffset === baseOffset);
    return begins.filter(({ role }) => role.baseOffset === baseOffset).length === 1 ? there : [];
  });
  const after = new Map([...before].map(([each, other]) => [other, each]));
  return all
    .filter((each) => !before.has(each))
    .map((first) => {
      const run: Salvaged[] = [];
      for (let each: Salvaged | undefined = first; each; each = after.get(each)) run.push(each);
      return run;
    });
}

/** Every slot's records, each in one topic. */
export async function salvagedTopics(tide: FoundTide, kernel: Kernel): Promise<readonly SalvagedTopic[]> {
  const logs = new Map<string, Salvaged[]>();
  for (let slot = CATALOG_SLOTS; slot < tide.volume.files.length; slot++) {
    const found = await salvaged(tide, kernel, slot);
    if (found) logs.set(found.role.log, [...(logs.get(found.role.log) ?? []), found]);
  }
  const topics: SalvagedTopic[] = [];
  const taken = new Set([...logs.keys()].map(topicName));
  const add = (topic: string, all: readonly Salvaged[], why?: string): void => {
    const parts = all.filter(({ body }) => body.length > 0).sort((a, b) => a.role.baseOffset - b.role.baseOffset);
    if (parts.length === 0) return;
    taken.add(topic);
    const files = parts.map(({ role, body }) => ({ name: String(role.baseOffset), log: body }));
    const gaps = parts.slice(1).map(({ role }, i): Range => [parts[i]!.nextOffset, role.baseOffset]);
    topics.push({ topic, ...(why !== undefined && { why }), files, gaps: gaps.filter(([from, to]) => from < to) });
  };
  const free = (stem: string): string => {
    let n = 1;
    while (taken.has(`${stem}.${n}`)) n++;
    return `${stem}.${n}`;
  };
  for (const [log, all] of logs) {
    const topic = topicName(log);
    if (log === IMPORT_ASIDE)
      for (const run of runsOf(all)) add(free("imported"), run, "it was imported, and only the catalog knew its name");
    else
      for (const [n, layer] of layersOf(all.filter(({ body }) => body.length > 0)).entries())
        if (n === 0) add(topic, layer);
        else
          add(free(`${topic.slice(0, NAME_CHARS_MAX)}.older`), layer, `older slots of ${topic} with the same offsets`);
  }
  return topics;
}
