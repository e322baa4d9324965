/**
 * Payloads of the frames with which a browser's outbox and an edge log synchronise (feature `sync1` of `hello`). The
 * header before them is in frames.ts. Big-endian. docs/edge.md describes them; docs/sync.md says what they are for.
 *
 *   join    JSON: whose outbox, what it holds, what its replica holds          → joined, or error with the same fields
 *   push    i64 expected │ i64 at │ i64 readTo │ u32 previous │ batches        → ok { generation, next, appended }
 *   joined  JSON: what the edge knows of the outbox, and of itself
 *   tide    i64 log start │ i64 next offset of the follow │ i64 high watermark │ u64 life
 *   own     i64 position of the first record │ i64 position behind the last │ i64 offset of the first │ u32 CRC of each
 *           batch
 *
 * Numbers that a client sends are checked here, so code that takes a decoded payload need not fear hostile ones.
 */
import { concat, viewOf } from "../record/bytes.ts";

/** Named in `hello` if the log's edge takes joins and pushes. */
export const SYNC_FEATURE = "sync1";
export const SAMPLES_MAX = 12;
/** Fields of a push, before its batches. */
const EXPECTED_AT = 0;
const AT_AT = EXPECTED_AT + 8;
const READ_TO_AT = AT_AT + 8;
const PREVIOUS_AT = READ_TO_AT + 8;
const PUSH_HEADER_BYTES = PREVIOUS_AT + 4;
/** Fields of a tide. */
const LOG_START_AT = 0;
const NEXT_OFFSET_AT = LOG_START_AT + 8;
const HIGH_WATERMARK_AT = NEXT_OFFSET_AT + 8;
const LIFE_AT = HIGH_WATERMARK_AT + 8;
const TIDE_BYTES = LIFE_AT + 8;
/** Leader epochs and generations are signed 32-bit numbers wherever they are stored. */
const INT32_MAX = 2 ** 31 - 1;

/** A batch of the replica: where it begins, and its CRC; null for a filler. */
export type Sample = readonly [offset: number, crc: number | null];

export interface OutboxJoin {
  /** 16 hex digits; null while the device has nothing to send. */
  readonly outbox: string | null;
  readonly generation: number;
  readonly term: number;
  /** True if an earlier join was answered. An edge that does not know the outbox has then forgotten it. */
  readonly registered: boolean;
  /** First position of this outbox. */
  readonly first: number;
  /** The replica's end; 0 while there is none. */
  readonly end: number;
  /**
   * One past the highest offset that the edge had reported as this outbox's and that was then trimmed there; 0 if none.
   */
  readonly passed: number;
  /** The life of the edge's log from which the newest stored frame came; null if there is none. */
  readonly life: string | null;
  /** The stream's id as the device knows it; null before the first join. */
  readonly stream: string | null;
  readonly samples: readonly Sample[];
  /** False: own batches may come back as frames `own`. Left out by older devices, which get all bytes. */
  readonly echo?: boolean;
}

export interface Joined {
  readonly stream: string;
  /** The owner that the device's token names (front/owner.ts). */
  readonly owner: string;
  readonly contentType: string;
  readonly closed: boolean;
  readonly logStartOffset: number;
  /** End of the committed records. */
  readonly logEndOffset: number;
  /**
   * "back": the edge was put back to an earlier state, because it has less than the device was told, or other records.
   */
  readonly lineage: "same" | "back";
  /** Device and edge are known to hold the same records below this offset. 0 if no sample shows it. */
  readonly agreedTo: number;
  /** The life that the edge's log has now, for the note of the replica. */
  readonly life: string;
  readonly forgottenAt: number;
  readonly known: boolean;
  /** No record below this offset was pushed under this outbox. */
  readonly since: number;
  readonly generation: number;
  readonly term: number;
  readonly next: number;
  /** −1 if there is none. */
  readonly lastOffset: number;
  readonly lastCrc: number;
  /** One past the last tombstone that compaction has removed; 0: none. Edges of before this was told leave it out. */
  readonly tombstonesTo?: number;
  /** Limits of one push. */
  readonly limits: {
    readonly batchBytes: number;
    readonly recordBytes: number;
    readonly frameBytes: number;
    readonly batches: number;
    readonly records: number;
  };
  readonly serverTimeMs: number;
}

export interface Push {
  /** The position that the edge must have reached. */
  readonly expected: number;
  /** Position of the first record. It may differ from `expected` only in a claim. */
  readonly at: number;
  /** Only in a claim: the device has looked for its own batches below this committed offset. */
  readonly readTo: number | undefined;
  /** CRC of the batch that ends at `expected`, as the client knows it; 0 if there is none. */
  readonly previous: number;
  readonly batches: Uint8Array;
}

export interface TidePayload {
  readonly logStartOffset: number;
  readonly nextOffset: number;
  readonly highWatermark: number;
  readonly life: string;
}

/** Batches of the outbox that stand at the edge as they were pushed, back to back. */
export interface OwnRun {
  /** [position, next) in the outbox. */
  readonly position: number;
  readonly next: number;
  /** Offset of the first record at the edge. The others follow without a hole. */
  readonly offset: number;
  /**
   * The CRC of each batch, in order. They differ if a copy of the device has pushed other batches at these positions.
   */
  readonly crcs: readonly number[];
}

export interface Pushed {
  readonly generation: number;
  readonly next: number;
  readonly appended: readonly { readonly baseOffset: number; readonly lastOffset: number }[];
  /** True if these batches were pushed before; `lastOffset` is then where the last of them is. */
  readonly duplicate: boolean;
  readonly lastOffset: number;
}

type Field = (value: unknown) => boolean;
const isHex: Field = (value) => typeof value === "string" && /^[0-9a-f]{16}$/.test(value);
const isPosition: Field = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isTerm: Field = (value) => isPosition(value) && (value as number) <= INT32_MAX;
const isCrc: Field = (value) => isPosition(value) && (value as number) < 2 ** 32;
const orNull =
  (is: Field): Field =>
  (value) =>
    value === null || is(value);
const isSample: Field = (value) =>
  Array.isArray(value) && value.length === 2 && isPosition(value[0]) && orNull(isCrc)(value[1]);

/** 63 random bits: not 0, and without the sign bit. */
export const isOutboxId = (value: unknown): value is string =>
  isHex(value) && (value as string) < "8" && value !== "0000000000000000";

/** A check for each field of a join, and what an error says that the field must be. */
const JOIN_FIELDS: Readonly<Record<Exclude<keyof OutboxJoin, "echo">, readonly [Field, string]>> = {
  outbox: [orNull(isOutboxId), "16 hex digits of a number from 1 to 2^63 − 1, or null"],
  generation: [(value) => isTerm(value) && value !== 0, "from 1 to 2^31 − 1"],
  term: [isTerm, "from 0 to 2^31 − 1"],
  registered: [(value) => typeof value === "boolean", "true or false"],
  first: [isPosition, "a position"],
  end: [isPosition, "an offset"],
  passed: [isPosition, "an offset"],
  life: [orNull(isHex), "16 hex digits, or null"],
  stream: [orNull((value) => typeof value === "string" && value.length <= 64), "at most 64 characters, or null"],
  samples: [
    (value) => Array.isArray(value) && value.length <= SAMPLES_MAX && value.every(isSample),
    `at most ${SAMPLES_MAX} pairs of an offset and a CRC or null`,
  ],
};

/** The join in a JSON object, or the name of the first field that is wrong and what it must be. */
export function readJoin(fields: Readonly<Record<string, unknown>>): OutboxJoin | { readonly wrong: string } {
  for (const [name, [is, must]] of Object.entries(JOIN_FIELDS))
    if (!Object.hasOwn(fields, name) || !is(fields[name])) return { wrong: `${name} must be ${must}` };
  const { echo } = fields;
  if (echo !== undefined && typeof echo !== "boolean") return { wrong: "echo must be true or false, or left out" };
  return fields as typeof fields & OutboxJoin;
}

export function pushPayload(push: Omit<Push, "batches">, batches: readonly Uint8Array[]): Uint8Array {
  const header = new Uint8Array(PUSH_HEADER_BYTES);
  const view = viewOf(header);
  view.setBigInt64(EXPECTED_AT, BigInt(push.expected));
  view.setBigInt64(AT_AT, BigInt(push.at));
  view.setBigInt64(READ_TO_AT, BigInt(push.readTo ?? -1));
  view.setUint32(PREVIOUS_AT, push.previous);
  return concat([header, ...batches]);
}

/** Undefined if the payload is not a push. */
export function readPush(payload: Uint8Array): Push | undefined {
  if (payload.length < PUSH_HEADER_BYTES) return undefined;
  const view = viewOf(payload);
  const expected = Number(view.getBigInt64(EXPECTED_AT));
  const at = Number(view.getBigInt64(AT_AT));
  const readTo = Number(view.getBigInt64(READ_TO_AT));
  if (!isPosition(expected) || !isPosition(at) || (readTo !== -1 && !isPosition(readTo))) return undefined;
  return {
    expected,
    at,
    readTo: readTo === -1 ? undefined : readTo,
    previous: view.getUint32(PREVIOUS_AT),
    batches: payload.subarray(PUSH_HEADER_BYTES),
  };
}

export function tidePayload({ logStartOffset, nextOffset, highWatermark, life }: TidePayload): Uint8Array {
  const payload = new Uint8Array(TIDE_BYTES);
  const view = viewOf(payload);
  view.setBigInt64(LOG_START_AT, BigInt(logStartOffset));
  view.setBigInt64(NEXT_OFFSET_AT, BigInt(nextOffset));
  view.setBigInt64(HIGH_WATERMARK_AT, BigInt(highWatermark));
  view.setBigUint64(LIFE_AT, BigInt(`0x${life}`));
  return payload;
}

/** Undefined if the payload is not a tide. */
export function readTide(payload: Uint8Array): TidePayload | undefined {
  if (payload.length < TIDE_BYTES) return undefined;
  const view = viewOf(payload);
  const logStartOffset = Number(view.getBigInt64(LOG_START_AT));
  const nextOffset = Number(view.getBigInt64(NEXT_OFFSET_AT));
  const highWatermark = Number(view.getBigInt64(HIGH_WATERMARK_AT));
  if (![logStartOffset, nextOffset, highWatermark].every(isPosition)) return undefined;
  return { logStartOffset, nextOffset, highWatermark, life: hexOf(view.getBigUint64(LIFE_AT)) };
}

const CRCS_AT = 24;
const CRC_BYTES = 4;

export function ownPayload({ position, next, offset, crcs }: OwnRun): Uint8Array {
  const payload = new Uint8Array(CRCS_AT + crcs.length * CRC_BYTES);
  const view = viewOf(payload);
  [position, next, offset].forEach((value, i) => view.setBigInt64(8 * i, BigInt(value)));
  crcs.forEach((crc, i) => view.setUint32(CRCS_AT + i * CRC_BYTES, crc));
  return payload;
}

/** Undefined if the payload is not that of `own`. */
export function readOwn(payload: Uint8Array): OwnRun | undefined {
  const count = (payload.length - CRCS_AT) / CRC_BYTES;
  if (!Number.isInteger(count) || count < 1) return undefined;
  const view = viewOf(payload);
  const [position, next, offset] = [0, 8, 16].map((at) => Number(view.getBigInt64(at))) as [number, number, number];
  if (![position, next, offset].every(isPosition) || next <= position) return undefined;
  const crcs = Array.from({ length: count }, (_, i) => view.getUint32(CRCS_AT + i * CRC_BYTES));
  return { position, next, offset, crcs };
}

/** 16 hex digits. */
export const hexOf = (bits: bigint): string => bits.toString(16).padStart(16, "0");
