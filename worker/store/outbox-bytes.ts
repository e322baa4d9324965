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
const NOTE_BYTES = 40;
const MAGIC = 0x4f425831;
const HEADER_BYTES = 40;
const LIFE_BYTES = 16;
const ENTRY_BYTES = 64;
const CRC_BYTES = 4;
const OWNER_BYTES = 9;

export function originsOf(life: LogLife | undefined, pushes: readonly PushNote[]): Uint8Array | null {
  const notes = pushes.length + (life ? 1 : 0);
  if (notes === 0) return null;
  const bytes = new Uint8Array(notes * NOTE_BYTES);
  const view = viewOf(bytes);
  let at = 0;
  if (life) {
    view.setBigUint64(0, BigInt(`0x${life.life}`));
    view.setBigInt64(8, BigInt(life.start));
    at += NOTE_BYTES;
  }
  for (const { id, next, lastOffset, generation, term, crc, records } of pushes) {
    view.setBigUint64(at, BigInt(`0x${id}`));
    view.setBigInt64(at + 8, BigInt(next));
    view.setBigInt64(at + 16, BigInt(lastOffset));
    view.setInt32(at + 24, generation);
    view.setInt32(at + 28, term);
    view.setUint32(at + 32, crc);
    view.setUint32(at + 36, records);
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
    const records = view.getUint32(at + 36);
    const [next, lastOffset] = [getSafe64(view, at + 8), getSafe64(view, at + 16)];
    // A note without records is a life, because every push has records.
    if (records === 0) {
      lives.push({ life: id, start: next });
      continue;
    }
    pushes.push({
      id,
      next,
      lastOffset,
      generation: view.getInt32(at + 24),
      term: view.getInt32(at + 28),
      crc: view.getUint32(at + 32),
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
  view.setUint32(0, MAGIC);
  view.setUint32(4, outboxes.length);
  view.setBigInt64(8, BigInt(snapshot.offset));
  view.setBigInt64(16, BigInt(snapshot.forgottenAt));
  view.setInt32(24, snapshot.forgottenGeneration);
  view.setUint32(28, lives.length);
  view.setBigInt64(32, BigInt(snapshot.dropped));
  let at = HEADER_BYTES;
  for (const [id, entry] of outboxes) {
    writeEntry(bytes, at, id, entry);
    at += ENTRY_BYTES;
  }
  for (const { life, start } of lives) {
    view.setBigUint64(at, BigInt(`0x${life}`));
    view.setBigInt64(at + 8, BigInt(start));
    at += LIFE_BYTES;
  }
  view.setUint32(at, crc32c(bytes.subarray(0, at)) >>> 0);
  return bytes;
}

function writeEntry(bytes: Uint8Array, at: number, id: string, entry: OutboxEntry): void {
  const view = viewOf(bytes);
  view.setBigUint64(at, BigInt(`0x${id}`));
  view.setBigInt64(at + 8, BigInt(entry.since));
  view.setBigInt64(at + 16, BigInt(entry.next));
  view.setBigInt64(at + 24, BigInt(entry.lastOffset));
  view.setInt32(at + 32, entry.generation);
  view.setInt32(at + 36, entry.term);
  view.setUint32(at + 40, entry.lastCrc);
  view.setBigInt64(at + 44, BigInt(Math.trunc(entry.seenAt)));
  const owner = atob(entry.owner.replaceAll("-", "+").replaceAll("_", "/"));
  for (let i = 0; i < OWNER_BYTES; i++) bytes[at + 52 + i] = owner.charCodeAt(i);
}

/** Undefined if the bytes are damaged. */
export function readSnapshot(bytes: Uint8Array, crc32c: (bytes: Uint8Array) => number): RegistrySnapshot | undefined {
  const view = viewOf(bytes);
  const end = bytes.length - CRC_BYTES;
  if (end < HEADER_BYTES || view.getUint32(0) !== MAGIC) return undefined;
  if (view.getUint32(end) !== crc32c(bytes.subarray(0, end)) >>> 0) return undefined;
  const [outboxes, lives] = [view.getUint32(4), view.getUint32(28)];
  const livesAt = HEADER_BYTES + outboxes * ENTRY_BYTES;
  if (end !== livesAt + lives * LIFE_BYTES) return undefined;
  return {
    offset: getSafe64(view, 8),
    forgottenAt: getSafe64(view, 16),
    forgottenGeneration: view.getInt32(24),
    dropped: getSafe64(view, 32),
    outboxes: Array.from({ length: outboxes }, (_, i) => readEntry(bytes, HEADER_BYTES + i * ENTRY_BYTES)),
    lives: Array.from({ length: lives }, (_, i): LogLife => {
      const at = livesAt + i * LIFE_BYTES;
      return { life: hexOf(view.getBigUint64(at)), start: getSafe64(view, at + 8) };
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
    since: getSafe64(view, at + 8),
    next: getSafe64(view, at + 16),
    lastOffset: getSafe64(view, at + 24),
    generation: view.getInt32(at + 32),
    term: view.getInt32(at + 36),
    lastCrc: view.getUint32(at + 40),
    seenAt: getSafe64(view, at + 44),
    owner: ownerText(bytes.subarray(at + 52)),
  };
  return [hexOf(view.getBigUint64(at)), entry];
}
