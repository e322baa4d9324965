/**
 * Frames of the edge's WebSocket, between client and Worker, and between the Worker and a log's object. Big-endian.
 *
 *   0         1        2           4               8               12
 *   ┌─────────┬────────┬───────────┬───────────────┬───────────────┬─ …
 *   │ version │ type   │ channel   │ id            │ credits       │ payload, to the end of the message
 *   │ u8 = 1  │ u8     │ u16       │ u32           │ u32, bytes    │
 *   └─────────┴────────┴───────────┴───────────────┴───────────────┴─ …
 *
 *   channel  the log that the frame is about; 0 on a socket of one log, whose channel is open from the start
 *   id       number of a request, chosen by the client, unique in its channel while it is under way; answers repeat it
 *   credits  bytes that the receiver of the frame may now send: batches for a follow, or appends to the log
 *
 *   client ─────────────────────────────▶ edge
 *     1 open    JSON { path }                       → hello, or error
 *     2 append  i64 expected end or -1 │ batches    → ok { appended: one for each batch }: { baseOffset, lastOffset,
 *                                                       duplicate, leaderEpoch }
 *     3 follow  JSON { from }, credits              → batches …, until error, end or cancel
 *     4 fetch   JSON { from }, credits              → batches once, at most `credits` bytes; empty at the log's end
 *     5 credit  credits: as many more for the follow `id`
 *     6 cancel  ends the follow `id`                → ok
 *     7 token   the new token                       → ok { expires }, or error and the socket ends
 *     8 close   closes the channel
 *     9 join    JSON: what an outbox and its replica hold      → joined, or error   (9, 10, 39 to 41: sync-frames.ts)
 *    10 push    positions │ batches of an outbox              → ok { generation, next, appended }
 *   edge ─────────────────────────────▶ client
 *    32 hello   JSON { logStartOffset, logEndOffset, contentType, closed, features }, credits: bytes of appends that
 *               may be on their way
 *    33 ok      JSON, credits: those of the append are given back
 *    34 error   JSON { code, message, details }, credits as in ok. id 0: the whole channel has ended
 *    35 batches whole record batches, back to back; the first may begin before the offset that was asked for
 *    36 end     JSON { logEndOffset }: the log is closed, and the follow has sent all of it
 *    37 starve  u32: size of the next batch, which is larger than the follow's credits
 *    38 passed  JSON { nextOffset, logEndOffset }: the follow continues at nextOffset; compaction has left no records
 *               before it
 *    39 joined  JSON: what the log knows of the outbox, and of itself
 *    40 tide    where the log begins and ends, and where the follow `id` is: sent to clients that have joined
 *    41 own     where batches stand that the client itself has pushed, in place of their bytes, if its join says so
 *
 * A client ignores frames of types that it does not know.
 *
 * Things that the browser's port (src/browser/port/protocol.ts) has as well have the same names here. Only batches cost
 * credits, so an answer can always be sent. A message that breaks the layout ends the socket with a close code. A
 * request that can't be served gets an error frame, and the socket stays open.
 */
import { concat, textEncoder, viewOf } from "../record/bytes.ts";

const FRAME_VERSION = 1;
const VERSION_AT = 0;
const TYPE_AT = VERSION_AT + 1;
const CHANNEL_AT = TYPE_AT + 1;
const ID_AT = CHANNEL_AT + 2;
export const CREDITS_AT = ID_AT + 4;
export const FRAME_HEADER_BYTES = CREDITS_AT + 4;
/** Most bytes of one message. A larger append is sent as several; any single record batch fits many times over. */
export const FRAME_BYTES_MAX = 4 * 1024 * 1024;
/** Bytes of appends that one channel may have unanswered. */
export const APPEND_CREDIT_BYTES = 8 * 1024 * 1024;
/** Most credits that a follow can have. */
export const FOLLOW_CREDIT_BYTES_MAX = 8 * 1024 * 1024;

export const FrameType = {
  OPEN: 1,
  APPEND: 2,
  FOLLOW: 3,
  FETCH: 4,
  CREDIT: 5,
  CANCEL: 6,
  TOKEN: 7,
  CLOSE: 8,
  JOIN: 9,
  PUSH: 10,
  HELLO: 32,
  OK: 33,
  ERROR: 34,
  BATCHES: 35,
  END: 36,
  STARVE: 37,
  PASSED: 38,
  JOINED: 39,
  TIDE: 40,
  OWN: 41,
} as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

/** Why a socket was closed; 1000, 1001, 1011 and 1012 keep their usual meaning. */
export const CloseCode = { BAD_FRAME: 4400, UNAUTHORIZED: 4401, FORBIDDEN: 4403, GONE: 4404, SLOW: 4429 } as const;

export interface Frame {
  readonly type: number;
  readonly channel: number;
  readonly id: number;
  readonly credits: number;
  readonly payload: Uint8Array;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
const EMPTY = new Uint8Array(0);

export interface FrameFields {
  readonly type: FrameType;
  readonly channel?: number;
  readonly id?: number;
  readonly credits?: number;
  readonly payload?: Uint8Array;
}

export function encodeFrame({
  type,
  channel = 0,
  id = 0,
  credits = 0,
  payload = EMPTY,
}: FrameFields): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
  const view = viewOf(bytes);
  bytes[VERSION_AT] = FRAME_VERSION;
  bytes[TYPE_AT] = type;
  view.setUint16(CHANNEL_AT, channel);
  view.setUint32(ID_AT, id);
  view.setUint32(CREDITS_AT, credits);
  bytes.set(payload, FRAME_HEADER_BYTES);
  return bytes;
}

export const jsonFrame = (fields: Omit<FrameFields, "payload">, payload: unknown): Uint8Array<ArrayBuffer> =>
  encodeFrame({ ...fields, payload: textEncoder.encode(JSON.stringify(payload)) });

/** The frame in a message; its payload is a view. Undefined if the message is not a frame. */
export function decodeFrame(message: unknown): Frame | undefined {
  const bytes =
    message instanceof Uint8Array ? message : message instanceof ArrayBuffer ? new Uint8Array(message) : undefined;
  if (
    !bytes ||
    bytes.length < FRAME_HEADER_BYTES ||
    bytes.length > FRAME_HEADER_BYTES + FRAME_BYTES_MAX ||
    bytes[VERSION_AT] !== FRAME_VERSION
  )
    return undefined;
  const view = viewOf(bytes);
  return {
    type: bytes[TYPE_AT]!,
    channel: view.getUint16(CHANNEL_AT),
    id: view.getUint32(ID_AT),
    credits: view.getUint32(CREDITS_AT),
    payload: bytes.subarray(FRAME_HEADER_BYTES),
  };
}

/** The payload as a JSON object. Undefined if it is not one. */
export function jsonOf({ payload }: Frame): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(decoder.decode(payload));
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

const EXPECTED_END_BYTES = 8;

/** An append's payload: the end that the log must still have (-1 for any), then the batches. */
export function appendPayload(batches: readonly Uint8Array[], ifEnd = -1): Uint8Array {
  const end = new Uint8Array(EXPECTED_END_BYTES);
  viewOf(end).setBigInt64(0, BigInt(ifEnd));
  return concat([end, ...batches]);
}

export function readAppend(
  payload: Uint8Array,
): { readonly ifEnd: number | undefined; readonly batches: Uint8Array } | undefined {
  if (payload.length < EXPECTED_END_BYTES) return undefined;
  const end = Number(viewOf(payload).getBigInt64(0));
  if (!Number.isSafeInteger(end) || end < -1) return undefined;
  return { ifEnd: end === -1 ? undefined : end, batches: payload.subarray(EXPECTED_END_BYTES) };
}
