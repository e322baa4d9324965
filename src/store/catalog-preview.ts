/**
 * A look at a copy of the catalog for who opens files before they are asked for: unchecked, so that what is told may be
 * anything.
 */
import { viewOf } from "./bytes.ts";
import { PAYLOAD_AT, PAYLOAD_BYTES_AT, type PackedState } from "./catalog.ts";
import { CATALOG_SLOTS, SLOTS_MAX } from "./volume.ts";

/** Larger ones are not worth reading twice. */
const PEEK_BYTES_MAX = 128 * 1024;

/** As many as peekHead() reads. */
export const PEEK_HEAD_BYTES = PAYLOAD_AT;

export type Read = (target: Uint8Array, at: number) => number;

/**
 * What stands before the payload, generation and checksum in it; "" when it can't be read. The same in both copies,
 * outside a commit.
 */
export function peekHead(read: Read): string {
  const head = new Uint8Array(PAYLOAD_AT);
  return read(head, 0) === PAYLOAD_AT ? head.join() : "";
}

/**
 * What an opening reads: of each log that a copy of the catalog names the active slot and the one before it, which has
 * the snapshot of producers. None when it can't be read.
 */
export function peekNewestSlots(read: Read): number[] {
  const head = new Uint8Array(PAYLOAD_AT);
  const bytes = read(head, 0) === PAYLOAD_AT ? viewOf(head).getUint32(PAYLOAD_BYTES_AT) : 0;
  if (bytes === 0 || bytes > PEEK_BYTES_MAX) return [];
  const payload = new Uint8Array(bytes);
  read(payload, PAYLOAD_AT);
  try {
    return (JSON.parse(new TextDecoder().decode(payload)) as PackedState).logs
      .flatMap(({ segments }) => segments.slice(-2).map(([slot]) => slot!))
      .filter((slot) => slot >= CATALOG_SLOTS && slot < SLOTS_MAX);
  } catch {
    return [];
  }
}
