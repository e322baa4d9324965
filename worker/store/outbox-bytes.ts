/**
 * The registry of outboxes as bytes: notes in a row's column `origins`, and the snapshot that is written at each seal.
 * Big-endian. docs/sync.md has the tables.
 *
 *   push      outbox u64 │ next i64  │ last offset i64 │ generation i32 │ term i32 │ CRC u32 │ records u32         40 B
 *   life      life u64   │ start i64 │ 0 …                                                          │ 0 u32       40 B
 *   snapshot  "OBX1" │ outboxes u32 │ offset i64 │ forgotten at i64 │ forgotten generation i32 │ lives u32
 *             lives dropped i64 │ outboxes of 64 B │ lives of 16 B: life u64, start i64 │ CRC-32C over all before it
 */
import { viewOf } from "../../src/record/bytes.ts";
import { getSafe64 } from "../../src/store/bytes.ts";
import { hexOf } from "../../src/sync/sync-frames.ts";

/** What the edge knows of one outbox. */
export interface OutboxEntry {
  /** The log's end when it was registered: no record of it is below. */
  readonly since: number;
  readonly generation: number;
  readonly term: number;
  /** The position of its next push. */
  readonly next: number;
  /** Offset of the last record that it pushed; −1 if there is none. */
  readonly lastOffset: number;
  /** CRC of the last batch that it pushed; 0 if there is none. */
  readonly lastCrc: number;
  readonly owner: string;
  readonly seenAt: number;
}

/** A push, as noted in the row that holds its last batch. */
export interface PushNote {
  readonly id: string;
  readonly next: number;
  readonly lastOffset: number;
  readonly generation: number;
  readonly term: number;
  readonly crc: number;
  readonly records: number;
}

/** An opening of the log that led to an append, and the log's end at that time. */
export interface LogLife {
  readonly life: string;
  readonly start: number;
}

export interface RegistrySnapshot {
  /** Rows below it are included. */
  readonly offset: number;
  readonly forgottenAt: number;
  readonly forgottenGeneration: number;
  readonly lives: readonly LogLife[];
  /** How many older lives were dropped. */
  readonly dropped: number;
  readonly outboxes: readonly (readonly [id: string, entry: OutboxEntry])[];
}

/** Who owns an outbox: base64url of 9 bytes. */
export const OWNER_CHARS = 12;
const OWNER_BYTES = 9;
// Each position follows from the one before it. First a note, which is of a push or of a life:
const ID_AT = 0;
const NEXT_AT = ID_AT + 8;
const LAST_OFFSET_AT = NEXT_AT + 8;
const GENERATION_AT = LAST_OFFSET_AT + 8;
const TERM_AT = GENERATION_AT + 4;
const NOTE_CRC_AT = TERM_AT + 4;
const RECORDS_AT = NOTE_CRC_AT + 4;
const NOTE_BYTES = RECORDS_AT + 4;
/** In a note and in a snapshot. */
const LIFE_START_AT = ID_AT + 8;
const LIFE_BYTES = LIFE_START_AT + 8;
// The head of a snapshot:
const MAGIC = 0x4f425831;
const MAGIC_AT = 0;
const OUTBOXES_AT = MAGIC_AT + 4;
const OFFSET_AT = OUTBOXES_AT + 4;
const FORGOTTEN_AT = OFFSET_AT + 8;
const FORGOTTEN_GENERATION_AT = FORGOTTEN_AT + 8;
const LIVES_AT = FORGOTTEN_GENERATION_AT + 4;
const DROPPED_AT = LIVES_AT + 4;
const HEADER_BYTES = DROPPED_AT + 8;
// An outbox in a snapshot:
const ENTRY_SINCE_AT = ID_AT + 8;
const ENTRY_NEXT_AT = ENTRY_SINCE_AT + 8;
const ENTRY_LAST_OFFSET_AT = ENTRY_NEXT_AT + 8;
const ENTRY_GENERATION_AT = ENTRY_LAST_OFFSET_AT + 8;
const ENTRY_TERM_AT = ENTRY_GENERATION_AT + 4;
const ENTRY_CRC_AT = ENTRY_TERM_AT + 4;
const SEEN_AT = ENTRY_CRC_AT + 4;
const OWNER_AT = SEEN_AT + 8;
/** Three bytes behind the owner are 0. */
const ENTRY_BYTES = OWNER_AT + OWNER_BYTES + 3;
const CRC_BYTES = 4;

export function originsOf(life: LogLife | undefined, pushes: readonly PushNote[]): Uint8Array | null {
  const notes = pushes.length + (life ? 1 : 0);
  if (notes === 0) return null;
  const bytes = new Uint8Array(notes * NOTE_BYTES);
  const view = viewOf(bytes);
  let at = 0;
  if (life) {
    view.setBigUint64(ID_AT, BigInt(`0x${life.life}`));
    view.setBigInt64(LIFE_START_AT, BigInt(life.start));
    at += NOTE_BYTES;
  }
  for (const { id, next, lastOffset, generation, term, crc, records } of pushes) {
    view.setBigUint64(at, BigInt(`0x${id}`));
    view.setBigInt64(at + NEXT_AT, BigInt(next));
    view.setBigInt64(at + LAST_OFFSET_AT, BigInt(lastOffset));
    view.setInt32(at + GENERATION_AT, generation);
    view.setInt32(at + TERM_AT, term);
    view.setUint32(at + NOTE_CRC_AT, crc);
    view.setUint32(at + RECORDS_AT, records);
    at += NOTE_BYTES;
  }
  return bytes;
}

export function readOrigins(bytes: Uint8Array): { readonly lives: LogLife[]; readonly pushes: PushNote[] } {
  const view = viewOf(bytes);
  const lives: LogLife[] = [];
  const pushes: PushNote[] = [];
  for (let at = 0; at + NOTE_BYTES <= bytes.length; at += NOTE_BYTES) {
    const id = hexOf(view.getBigUint64(at));
    const records = view.getUint32(at + RECORDS_AT);
    const [next, lastOffset] = [getSafe64(view, at + NEXT_AT), getSafe64(view, at + LAST_OFFSET_AT)];
    // A note without records is a life, because every push has records.
    if (records === 0) {
      lives.push({ life: id, start: next });
      continue;
    }
    pushes.push({
      id,
      next,
      lastOffset,
      generation: view.getInt32(at + GENERATION_AT),
      term: view.getInt32(at + TERM_AT),
      crc: view.getUint32(at + NOTE_CRC_AT),
      records,
    });
  }
  return { lives, pushes };
}

export function snapshotBytes(snapshot: RegistrySnapshot, crc32c: (bytes: Uint8Array) => number): Uint8Array {
  const { lives, outboxes } = snapshot;
  const size = HEADER_BYTES + outboxes.length * ENTRY_BYTES + lives.length * LIFE_BYTES;
  const bytes = new Uint8Array(size + CRC_BYTES);
  const view = viewOf(bytes);
  view.setUint32(MAGIC_AT, MAGIC);
  view.setUint32(OUTBOXES_AT, outboxes.length);
  view.setBigInt64(OFFSET_AT, BigInt(snapshot.offset));
  view.setBigInt64(FORGOTTEN_AT, BigInt(snapshot.forgottenAt));
  view.setInt32(FORGOTTEN_GENERATION_AT, snapshot.forgottenGeneration);
  view.setUint32(LIVES_AT, lives.length);
  view.setBigInt64(DROPPED_AT, BigInt(snapshot.dropped));
  let at = HEADER_BYTES;
  for (const [id, entry] of outboxes) {
    writeEntry(bytes, at, id, entry);
    at += ENTRY_BYTES;
  }
  for (const { life, start } of lives) {
    view.setBigUint64(at + ID_AT, BigInt(`0x${life}`));
    view.setBigInt64(at + LIFE_START_AT, BigInt(start));
    at += LIFE_BYTES;
  }
  view.setUint32(at, crc32c(bytes.subarray(0, at)) >>> 0);
  return bytes;
}

function writeEntry(bytes: Uint8Array, at: number, id: string, entry: OutboxEntry): void {
  const view = viewOf(bytes);
  view.setBigUint64(at, BigInt(`0x${id}`));
  view.setBigInt64(at + ENTRY_SINCE_AT, BigInt(entry.since));
  view.setBigInt64(at + ENTRY_NEXT_AT, BigInt(entry.next));
  view.setBigInt64(at + ENTRY_LAST_OFFSET_AT, BigInt(entry.lastOffset));
  view.setInt32(at + ENTRY_GENERATION_AT, entry.generation);
  view.setInt32(at + ENTRY_TERM_AT, entry.term);
  view.setUint32(at + ENTRY_CRC_AT, entry.lastCrc);
  view.setBigInt64(at + SEEN_AT, BigInt(Math.trunc(entry.seenAt)));
  const owner = atob(entry.owner.replaceAll("-", "+").replaceAll("_", "/"));
  for (let i = 0; i < OWNER_BYTES; i++) bytes[at + OWNER_AT + i] = owner.charCodeAt(i);
}

/** Undefined if the bytes are damaged. */
export function readSnapshot(bytes: Uint8Array, crc32c: (bytes: Uint8Array) => number): RegistrySnapshot | undefined {
  const view = viewOf(bytes);
  const end = bytes.length - CRC_BYTES;
  if (end < HEADER_BYTES || view.getUint32(MAGIC_AT) !== MAGIC) return undefined;
  if (view.getUint32(end) !== crc32c(bytes.subarray(0, end)) >>> 0) return undefined;
  const [outboxes, lives] = [view.getUint32(OUTBOXES_AT), view.getUint32(LIVES_AT)];
  const livesAt = HEADER_BYTES + outboxes * ENTRY_BYTES;
  if (end !== livesAt + lives * LIFE_BYTES) return undefined;
  return {
    offset: getSafe64(view, OFFSET_AT),
    forgottenAt: getSafe64(view, FORGOTTEN_AT),
    forgottenGeneration: view.getInt32(FORGOTTEN_GENERATION_AT),
    dropped: getSafe64(view, DROPPED_AT),
    outboxes: Array.from({ length: outboxes }, (_, i) => readEntry(bytes, HEADER_BYTES + i * ENTRY_BYTES)),
    lives: Array.from({ length: lives }, (_, i): LogLife => {
      const at = livesAt + i * LIFE_BYTES;
      return { life: hexOf(view.getBigUint64(at)), start: getSafe64(view, at + LIFE_START_AT) };
    }),
  };
}

/** An owner's bytes as base64url. */
export function ownerText(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes.subarray(0, OWNER_BYTES)));
  return text.replaceAll("+", "-").replaceAll("/", "_");
}

function readEntry(bytes: Uint8Array, at: number): readonly [string, OutboxEntry] {
  const view = viewOf(bytes);
  const entry: OutboxEntry = {
    since: getSafe64(view, at + ENTRY_SINCE_AT),
    next: getSafe64(view, at + ENTRY_NEXT_AT),
    lastOffset: getSafe64(view, at + ENTRY_LAST_OFFSET_AT),
    generation: view.getInt32(at + ENTRY_GENERATION_AT),
    term: view.getInt32(at + ENTRY_TERM_AT),
    lastCrc: view.getUint32(at + ENTRY_CRC_AT),
    seenAt: getSafe64(view, at + SEEN_AT),
    owner: ownerText(bytes.subarray(at + OWNER_AT)),
  };
  return [hexOf(view.getBigUint64(at)), entry];
}
