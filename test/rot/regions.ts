/**
 * What each byte of the volume is by the format (docs/format.md), and which range of the log a test reads when it has
 * changed that byte.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { BATCH_HEADER_BYTES } from "../../src/record/format.ts";
import { Catalog, type CatalogState, type SegmentEntry } from "../../src/store/catalog.ts";
import { CATALOG_SLOTS } from "../../src/store/volume.ts";
import { FOOTER_BYTES } from "../../src/store/footer.ts";
import { BODY_AT } from "../../src/store/slot-layout.ts";
import type { RotLog, TrueBatch } from "./history.ts";
import { RotVolume } from "./rot-volume.ts";
import { batchesIn, firstAt, type Scope } from "./survey.ts";

/** Where the bytes begin that a batch's checksum covers. */
const CRC_FROM = 21;

export interface Region {
  readonly name: string;
  readonly slot: number;
  readonly from: number;
  readonly to: number;
  /** The batch that the region is a part of. */
  readonly batch?: TrueBatch;
}

export interface Layout {
  readonly regions: readonly Region[];
  /** The range to read after a change in this slot: its own segment, or everything for the catalog. */
  readonly scopes: ReadonlyMap<number, Scope>;
  readonly whole: Scope;
}

export async function layoutOf(kernel: Kernel, log: RotLog): Promise<Layout> {
  const { state } = await Catalog.read(new RotVolume(log.slotBytes, log.image), kernel);
  if (!state) throw new Error("the log has no catalog");
  const segments = state.logs[0]!.segments;
  const regions: Region[] = [];
  const scopes = new Map<number, Scope>();
  const whole = scopeOf(log, log.start, log.end, true);
  for (let slot = 0; slot < log.image.length; slot++) {
    const segment = segments.find((each) => each.slot === slot);
    if (slot < CATALOG_SLOTS) regions.push(...catalogRegions(log, slot));
    else if (segment) regions.push(...segmentRegions(log, segment));
    else regions.push({ name: "free slot", slot, from: 0, to: log.slotBytes });
    const isActive = segment && !segment.sealed;
    scopes.set(
      slot,
      segment
        ? scopeOf(
            log,
            Math.max(log.start, segment.baseOffset),
            segment.sealed?.nextOffset ?? log.end,
            isActive === true,
          )
        : whole,
    );
  }
  return { regions, scopes, whole };
}

function catalogRegions({ image, slotBytes }: RotLog, slot: number): Region[] {
  const payload = new DataView(image[slot]!.buffer, image[slot]!.byteOffset).getUint32(12);
  return pieces(slot, slotBytes, [
    ["catalog: head", 28],
    ["catalog: payload", payload],
    ["catalog: behind", Infinity],
  ]);
}

function segmentRegions(log: RotLog, entry: CatalogState["logs"][number]["segments"][number]): Region[] {
  const { slot, sealed } = entry;
  const kind = sealed ? (sealed.compacted ? "compacted" : "sealed") : "active";
  const named = (parts: readonly (readonly [string, number])[]): [string, number][] =>
    parts.map(([name, bytes]) => [`${kind}: ${name}`, bytes]);
  const head = named([
    ["role", 32 + 3],
    ["header page, unused", 512 - 35],
    ["mark", 40],
    ["header page, unused", 512 - 40],
    ["mark", 40],
    ["header page, unused", 512 - 40],
    ["header page, unused", BODY_AT - 1536],
  ]);
  const body = bodyRegions(log, entry, kind);
  const end = body.at(-1)?.to ?? BODY_AT;
  const tail: [string, number][] = sealed
    ? named([
        ["offset index", sealed.offsetIndexBytes],
        ["time index", sealed.timeIndexBytes],
        ["producers", sealed.producersBytes],
        ["footer", FOOTER_BYTES],
        ["behind", Infinity],
      ])
    : named([["behind", Infinity]]);
  return [...pieces(slot, BODY_AT, head), ...body, ...pieces(slot, log.slotBytes, tail, end)];
}

function bodyRegions(log: RotLog, { slot }: SegmentEntry, kind: string): Region[] {
  return log.batches
    .filter((batch) => batch.slot === slot)
    .flatMap((batch) => {
      const { position, bytes } = batch;
      const at = (name: string, from: number, to: number): Region => ({
        name: `${kind}: ${name}`,
        slot,
        from: position + from,
        to: position + to,
        batch,
      });
      return [
        at("batch header outside its checksum", 0, CRC_FROM),
        at("batch header inside its checksum", CRC_FROM, BATCH_HEADER_BYTES),
        at("records", BATCH_HEADER_BYTES, bytes.length),
      ];
    });
}

function pieces(slot: number, slotBytes: number, parts: readonly (readonly [string, number])[], start = 0): Region[] {
  const regions: Region[] = [];
  let from = start;
  for (const [name, bytes] of parts) {
    const to = Math.min(slotBytes, from + bytes);
    if (to > from) regions.push({ name, slot, from, to });
    from = to;
  }
  return regions;
}

/** Reads everything in [from, to), seeks to some of its batches, and by time to where they begin. */
function scopeOf(log: RotLog, from: number, to: number, retries: boolean): Scope {
  const batches = batchesIn(log, from, to);
  const step = Math.max(1, Math.floor(batches.length / 8));
  const chosen = batches.filter((_, i) => i % step === 0);
  const times = chosen
    .filter((_, i) => i % 3 === 0)
    .map(({ maxTimestamp: timestamp }) => ({ timestamp, expected: firstAt(log, timestamp) }));
  return { from, to, retries, offsets: chosen.map((batch) => batch.nextOffset - 1), times };
}
