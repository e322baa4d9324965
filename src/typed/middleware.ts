/**
 * Middleware: functions of an application around what a topic appends and reads. The first one is the outermost. The
 * log is in the middle; a schema is outside of all, so middleware has bytes that were judged, or will be.
 *
 *   append   schema ─▶ use[0] ─▶ use[1] ─▶ log     what is behind next() runs once the ack is there
 *   read     schema ◀─ use[0] ◀─ use[1] ◀─ log     what is behind next() runs with the records
 */
import { TidemarkError } from "../errors.ts";
import type { ProducerAck } from "../delivery/producer.ts";
import { viewOfBytes } from "../topic/bytes.ts";
import { callback, refused } from "../topic/check.ts";
import type { RecordHeaders } from "./record-headers.ts";

/** A record while middleware has it. What is changed here is what is stored, or what the reader gets. */
export interface MiddlewareRecord {
  /** The record's offset when it is read. Undefined in an append. */
  readonly offset: number | undefined;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  keyBytes: Uint8Array | null;
  /** As the serializer made it, or reads it. null is a tombstone. */
  valueBytes: Uint8Array | null;
  readonly headers: RecordHeaders;
  /** For a record that is read: reading its `value` throws this error from now on. Other records are not affected. */
  fail(error: unknown): void;
}

/** One append: of append() and emit() one record, of appendBatch() all that stand or fall together. */
export interface AppendStep {
  readonly operation: "append";
  readonly topic: string;
  readonly records: readonly MiddlewareRecord[];
  /** "accepted", "written" or "flushed". */
  readonly acks: string;
}

/** Records of one stored batch, on their way to a reader, to changes() or to a view. */
export interface ReadStep {
  readonly operation: "read";
  readonly topic: string;
  readonly records: readonly MiddlewareRecord[];
}

/**
 * Must call `next()` once, or throw. Of an append it resolves with the ack, which is the result whatever is returned
 * here, and rejects with what the append rejects with. What is thrown rejects the append, or ends the read.
 */
export type Middleware = (step: AppendStep | ReadStep, next: () => Promise<ProducerAck | undefined>) => unknown;

/** INVALID_ARGUMENT that names the option. */
export function checkMiddleware(field: string, use: unknown): readonly Middleware[] {
  if (use === undefined) return [];
  if (!Array.isArray(use)) throw refused(field, use, "a list of functions");
  for (const [i, each] of use.entries()) callback(`${field}[${i}]`, each);
  return use as Middleware[];
}

const misused = (topic: string, what: string, hint: string): TidemarkError =>
  new TidemarkError("INVALID_ARGUMENT", `a middleware of the topic ${topic} ${what}: ${hint}`, { field: "use", topic });

/** A key or a value as middleware has left it. INVALID_ARGUMENT for anything but bytes and null. */
export const bytesOfMiddleware = (field: string, value: unknown): Uint8Array | null =>
  value === null ? null : viewOfBytes(`${field} of a middleware's record`, value);

/** Runs a step through all of them to `centre`, and gives back what that gave. */
export async function through<T extends ProducerAck | undefined>(
  uses: readonly Middleware[],
  step: AppendStep | ReadStep,
  centre: () => Promise<T>,
): Promise<T> {
  let reached = 0;
  let result: Promise<T> | undefined;
  let twice: TidemarkError | undefined;
  const run = async (at: number): Promise<T> => {
    if (at < reached) throw (twice ??= misused(step.topic, "called next() twice", "call it once"));
    reached = at + 1;
    if (at === uses.length) {
      result = centre();
      return result;
    }
    const next = (): Promise<T> => {
      const passed = run(at + 1);
      // A middleware that does not wait for it has other ways to be told, and so has the caller.
      passed.catch(() => undefined);
      return passed;
    };
    await uses[at]!(step, next);
    if (twice) throw twice;
    if (!result) throw misused(step.topic, "returned without next()", "throw where they may not pass");
    return result;
  };
  return run(0);
}
