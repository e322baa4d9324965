/**
 * A small volume with everything that the format knows, as bytes that can be damaged: two logs, sealed and compacted
 * segments, producers' snapshots, marks. After the damage the checksums can be made right again from the inside out, so
 * that the checks behind a checksum are reached: sections ─▶ footer ─▶ catalog, mark, role.
 */
import type { EncodingKernel } from "../../src/kernel/types.ts";
import { Log } from "../../src/log/log.ts";
import { stampBaseOffset } from "../../src/record/format.ts";
import { FOOTER_BYTES } from "../../src/store/footer.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { BODY_AT } from "../../src/store/slot-layout.ts";
import { requestOf, utf8 } from "../contract/kernel-samples.ts";

export const SLOT_BYTES = 16 * 1024;
export const CLOCK = { time: 1_700_000_000_000, now: () => CLOCK.time };
const CATALOG_HEAD_BYTES = 28;

/** The catalog's JSON: logs with segments as arrays (src/store/catalog.ts). */
export interface PackedCatalog {
  id: unknown;
  epoch: unknown;
  usedSlots: unknown;
  logs: {
    name: unknown;
    logStartOffset: unknown;
    segments: unknown[][];
    quarantined: unknown[];
    end: unknown[];
    appending?: unknown;
  }[];
}

export interface Image {
  readonly slots: readonly Uint8Array[];
  readonly catalog: PackedCatalog;
}

export function encodeCatalog(
  kernel: EncodingKernel,
  payload: string | Uint8Array,
  generation: bigint,
  version = 2,
): Uint8Array {
  const text = typeof payload === "string" ? utf8(payload) : payload;
  const bytes = new Uint8Array(CATALOG_HEAD_BYTES + text.length);
  const view = new DataView(bytes.buffer);
  bytes.set(utf8("TIDECAT1"));
  view.setUint32(8, version);
  view.setUint32(12, text.length);
  view.setBigUint64(16, generation);
  bytes.set(text, CATALOG_HEAD_BYTES);
  view.setUint32(24, kernel.crc32c(bytes.subarray(CATALOG_HEAD_BYTES), kernel.crc32c(bytes.subarray(0, 24))));
  return bytes;
}

export function decodeCatalog(slot: Uint8Array): PackedCatalog {
  const length = new DataView(slot.buffer, slot.byteOffset).getUint32(12);
  return JSON.parse(
    new TextDecoder().decode(slot.subarray(CATALOG_HEAD_BYTES, CATALOG_HEAD_BYTES + length)),
  ) as PackedCatalog;
}

/**
 * Makes the checksums of a sealed segment's sections and footer right again, and the catalog's entry of the segment.
 */
export function resealSections(kernel: EncodingKernel, slot: Uint8Array, segment: unknown[]): void {
  const [, , , , , , bytes, , , , , , offsetBytes, timeBytes, producersBytes] = segment as number[];
  const from = BODY_AT + bytes!;
  const length = offsetBytes! + timeBytes! + producersBytes!;
  if (!(from + length + FOOTER_BYTES <= slot.length)) return;
  const footer = slot.subarray(from + length, from + length + FOOTER_BYTES);
  const view = new DataView(footer.buffer, footer.byteOffset);
  view.setUint32(84, kernel.crc32c(slot.subarray(from, from + length)));
  view.setUint32(100, kernel.crc32c(footer.subarray(0, 100)));
  segment[15] = view.getUint32(100);
}

/** Makes the checksums of a slot's role and marks right again. */
export function resealHeaderPage(kernel: EncodingKernel, slot: Uint8Array): void {
  const view = new DataView(slot.buffer, slot.byteOffset);
  const name = slot.subarray(32, 56 + Math.min(view.getUint32(24), 4096 - 56));
  view.setUint32(28, kernel.crc32c(name, kernel.crc32c(slot.subarray(0, 28))));
  for (const at of [512, 1024]) view.setUint32(at + 36, kernel.crc32c(slot.subarray(at, at + 36)));
}

/** Makes the checksum at the end of a producers' snapshot right again. */
export function resealProducers(kernel: EncodingKernel, snapshot: Uint8Array): void {
  if (snapshot.length < 4) return;
  const end = snapshot.length - 4;
  new DataView(snapshot.buffer, snapshot.byteOffset).setUint32(end, kernel.crc32c(snapshot.subarray(0, end)));
}

function batchOf(kernel: EncodingKernel, i: number, producer: boolean): Uint8Array {
  const records = Array.from({ length: 1 + (i % 4) }, (_, at) => ({
    key: utf8(`k${(i + at) % 5}`),
    value: i % 7 === 3 ? null : new Uint8Array(60 + (i % 50)).fill(i),
    timestamp: CLOCK.time + i * 10,
  }));
  const batch = kernel.encodeBatch(
    requestOf(records, producer ? { producerId: 7, producerEpoch: 0, baseSequence: producerSequence(i) } : {}),
  ).bytes;
  stampBaseOffset(batch, 0);
  return batch;
}

/** The first sequence number of batch `i`, where batch `n` has 1 + n % 4 records. */
function producerSequence(i: number): number {
  let sequence = 0;
  for (let at = 0; at < i; at++) sequence += 1 + (at % 4);
  return sequence;
}

async function copyOf(volume: MemoryVolume): Promise<Uint8Array[]> {
  const slots: Uint8Array[] = [];
  for (let slot = 0; slot < volume.slotCount; slot++) {
    const bytes = new Uint8Array(volume.slotBytes);
    await volume.read(slot, 0, bytes);
    slots.push(bytes);
  }
  return slots;
}

/** `clean`: the log was closed. Otherwise the volume is as a killed process leaves it. */
export async function makeImage(kernel: EncodingKernel, clean: boolean): Promise<Image> {
  const volume = new MemoryVolume({ slotBytes: SLOT_BYTES });
  const store = await SegmentStore.open({ volume, kernel, now: CLOCK.now });
  const plain = await Log.open({ store: await store.log("plain-0"), kernel, clock: CLOCK });
  const compacted = await Log.open({
    store: await store.log("compacted-0"),
    kernel,
    clock: CLOCK,
    settings: { compaction: {} },
  });
  for (let i = 0; i < 90; i++) {
    await plain.append(batchOf(kernel, i, true));
    await compacted.append(batchOf(kernel, i, false));
  }
  await plain.roll();
  await compacted.roll();
  await compacted.clean();
  for (let i = 90; i < 96; i++) await plain.append(batchOf(kernel, i, true));
  await compacted.append(batchOf(kernel, 90, false));
  if (clean) {
    await plain.close();
    await compacted.close();
    await store.close();
  }
  const slots = await copyOf(volume);
  return { slots, catalog: decodeCatalog(slots[0]!) };
}
