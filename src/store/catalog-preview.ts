/**
 * Reads one copy of the catalog without checking it, for callers that open files before they are needed. The result is
 * only a hint and may be wrong.
 */
import { viewOf } from "./bytes.ts";
import { CATALOG_PAYLOAD_AT, CATALOG_PAYLOAD_BYTES_AT } from "./catalog-layout.ts";
import type { PackedState } from "./catalog-state.ts";
import { CATALOG_SLOTS, SLOTS_MAX } from "./volume.ts";

/** A larger catalog is not worth reading twice. */
const PEEK_BYTES_MAX = 128 * 1024;

/** The number of bytes that peekHead() reads. */
export const PEEK_HEAD_BYTES = CATALOG_PAYLOAD_AT;

export type Read = (target: Uint8Array, at: number) => number;

/**
 * The bytes before the payload, generation and checksum among them, as text; "" if they can't be read. Outside a commit
 * both copies have the same.
 */
export function peekHead(read: Read): string {
  const head = new Uint8Array(CATALOG_PAYLOAD_AT);
  return read(head, 0) === CATALOG_PAYLOAD_AT ? head.join() : "";
}

function peekLogs(read: Read): PackedState["logs"] | undefined {
  const head = new Uint8Array(CATALOG_PAYLOAD_AT);
  const bytes = read(head, 0) === CATALOG_PAYLOAD_AT ? viewOf(head).getUint32(CATALOG_PAYLOAD_BYTES_AT) : 0;
  if (bytes === 0 || bytes > PEEK_BYTES_MAX) return undefined;
  const payload = new Uint8Array(bytes);
  read(payload, CATALOG_PAYLOAD_AT);
  try {
    return (JSON.parse(new TextDecoder().decode(payload)) as PackedState).logs;
  } catch {
    return undefined;
  }
}

/**
 * The slots that an opening reads: for each log in a copy of the catalog, the active slot and the one before it, which
 * has the snapshot of producers. Empty if the copy can't be read.
 */
export const peekNewestSlots = (read: Read): number[] =>
  (peekLogs(read) ?? [])
    .flatMap(({ segments }) => segments.slice(-2).map(([slot]) => slot!))
    .filter((slot) => slot >= CATALOG_SLOTS && slot < SLOTS_MAX);

/** False if a copy of the catalog says that no log has a sealed segment. */
export const mayHaveSealed = (read: Read): boolean =>
  peekLogs(read)?.some(({ segments }) => segments.length > 1) ?? true;
