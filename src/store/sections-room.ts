/**
 * How much room a slot keeps free behind its batches, for the sections that sealing writes there. Every append asks, so
 * this is apart from sections.ts, which is loaded once something is sealed.
 */
import { indexBytesMax } from "./index-entries.ts";
import { BODY_AT } from "./slot-layout.ts";

/** Length of the footer that footer.ts draws. */
export const FOOTER_BYTES = 104;

/** Largest size of the sections of a body of `bodyBytes`: the two indexes, the producers, the footer. */
export function sectionsBytesMax(bodyBytes: number, producersBytes: number): number {
  return indexBytesMax(bodyBytes) + producersBytes + FOOTER_BYTES;
}

/** Bytes that are kept free in every slot for the producers' snapshot. */
export const producersReserve = (slotBytes: number): number => Math.min(slotBytes >> 4, 128 * 1024);

/** The largest batch that fits into an empty slot. */
export function slotBatchBytesMax(slotBytes: number): number {
  const room = slotBytes - BODY_AT;
  return room - sectionsBytesMax(room, producersReserve(slotBytes));
}
