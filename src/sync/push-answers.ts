/**
 * What an answer to a push means, by the edge's own code (docs/sync.md, "What an answer to a push means"). A test
 * compares this table with that text and with the codes that the edge knows.
 *
 *   wait      nothing is wrong with the batch: later again          token     the link gets another one
 *   unknown   the next join tells what became of it                 right     this token may not write here
 *   identity  the outbox stands elsewhere: join                     poison    this batch will never be taken
 *   stream    the log is closed or gone: join, or open again
 */
export type AnswerClass = "wait" | "unknown" | "token" | "right" | "poison" | "identity" | "stream";

const CLASS_OF: Readonly<Record<string, AnswerClass>> = {
  BACKPRESSURE: "wait",
  TOO_MANY_REQUESTS: "wait",
  LIMIT_EXCEEDED: "wait",
  QUOTA_EXCEEDED: "wait",
  STORAGE_FAILED: "wait",
  TIMEOUT: "wait",
  CLOSED: "wait",
  OUTCOME_UNKNOWN: "unknown",
  INTERNAL: "unknown",
  UNAUTHORIZED: "token",
  FORBIDDEN: "right",
  INVALID_BATCH: "poison",
  INVALID_ARGUMENT: "poison",
  BATCH_TOO_LARGE: "poison",
  RECORD_TOO_LARGE: "poison",
  TOO_LARGE: "poison",
  DECOMPRESSION_LIMIT: "poison",
  UNSUPPORTED_FORMAT: "poison",
  SCHEMA_MISMATCH: "poison",
  BAD_REQUEST: "poison",
  OUTBOX_CONFLICT: "identity",
  UNKNOWN_OUTBOX: "identity",
  FENCED_LEADER: "identity",
  STREAM_CLOSED: "stream",
  GONE: "stream",
  NOT_FOUND: "stream",
};

export const CLASSED_CODES = Object.keys(CLASS_OF);

/** A code that is not in the table says nothing about the batch. */
export const classOf = (code: string): AnswerClass => (Object.hasOwn(CLASS_OF, code) ? CLASS_OF[code]! : "unknown");

/** If the edge is full, the application is told, too. */
export const isFullEdge = (code: string): boolean => code === "QUOTA_EXCEEDED";
