/**
 * Sync over HTTP, for networks where no WebSocket gets through: the names that both ends use. A request carries one
 * frame (frames.ts), and its answer the frame that answers it.
 *
 *   POST /v1/stream/<path>   Content-Type: application/vnd.tidemark.frame
 *        open │ join │ push │ fetch          → hello │ joined │ ok │ batches │ error
 *        Tidemark-Outbox: of a push: who speaks, because there is no socket that has joined
 *   GET  /v1/stream/<path>?offset=…&live=long-poll   Accept: the batches' type, Tidemark-Tide: 1
 *        → batches, and in headers what a tide says: the log's start and end, and its life
 */
export const BATCHES_TYPE = "application/vnd.tidemark.batches";
export const FRAME_TYPE = "application/vnd.tidemark.frame";
/** In a push: the outbox that has joined, and the generation and term with which it joined. */
export const OUTBOX_HEADER = "Tidemark-Outbox";
/**
 * In a read: "1" asks for the three headers below, and for bytes of the same life of the log that the answer names.
 */
export const TIDE_HEADER = "Tidemark-Tide";
/** In the answer to such a read: where the log ends, and its life. Every answer says where the log starts. */
export const END_HEADER = "Tidemark-End-Offset";
export const LIFE_HEADER = "Tidemark-Life";
/**
 * In that answer, and in one that is a frame: the length of the body in bytes. It shows that a proxy has cut the body.
 */
export const BYTES_HEADER = "Tidemark-Body-Bytes";

/** After this time over HTTP a WebSocket is tried again, because the device may be in another network by now. */
export const HTTP_WIRE_MS = 10 * 60_000;

export interface Speaking {
  /** 16 hex digits. */
  readonly outbox: string;
  readonly generation: number;
  readonly term: number;
}

const SPEAKING = /^([0-9a-f]{16}); generation=(\d{1,10}); term=(\d{1,10})$/;

export const speakingText = ({ outbox, generation, term }: Speaking): string =>
  `${outbox}; generation=${generation}; term=${term}`;

/** Undefined if the text names no standing. */
export function readSpeaking(text: string | null): Speaking | undefined {
  const [, outbox, generation, term] = SPEAKING.exec(text ?? "") ?? [];
  return outbox === undefined ? undefined : { outbox, generation: Number(generation), term: Number(term) };
}

const DIGITS = 16;
const RESERVED = "0".repeat(DIGITS);
/** An offset in addresses and headers: 16 digits, an underscore, and 16 zeros, so that offsets sort as texts. */
export const formatOffset = (offset: number): string => `${String(offset).padStart(DIGITS, "0")}_${RESERVED}`;
/** The offset in a header of an answer; 0 where it is not there. */
export const offsetInHeader = (header: string | null): number => Number((header ?? "").slice(0, DIGITS));

/** A stream's path as addresses have it. */
export const pathInAddress = (path: string): string => path.split("/").map(encodeURIComponent).join("/");

/**
 * Sub-protocols of a WebSocket to the edge. In a browser this is the only place for a token outside the address. The
 * edge answers with the first one.
 */
export const socketProtocols = (token?: string): string[] =>
  token === undefined ? ["tidemark.1"] : ["tidemark.1", `bearer.${token}`];

const RETRY_MS_MAX = 3_600_000;

/**
 * How long an answer says to wait (its header Retry-After: seconds, or a date), in milliseconds. At most an hour, so
 * that nobody is kept away for long by what something between has said.
 */
export function retryMsOf(header: string | null, now: number): number {
  const seconds = Number(header ?? 0);
  const ms = Number.isNaN(seconds) ? Date.parse(header!) - now : seconds * 1000;
  return waitMs(ms);
}

/**
 * A wait that an edge asks for, in milliseconds, within bounds: at most an hour; 0 if it is no number or not above 0.
 */
export const waitMs = (ms: number): number => (ms > 0 ? Math.min(ms, RETRY_MS_MAX) : 0);
