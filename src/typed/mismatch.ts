/**
 * Runs a schema, and says what is wrong with a value in a bounded form that survives structured clone, JSON and HTTP.
 * A schema is foreign code: one that throws, or answers with anything but a value or issues, has refused the value.
 */
import { type ErrorDetails, type SchemaIssue, TidemarkError } from "../errors.ts";
import type { SchemaResult, StandardSchema } from "./standard-schema.ts";

/** Most issues in an error, and in its body over HTTP. `issueCount` says how many there were. */
const ISSUES_MAX = 20;
const MESSAGE_CHARACTERS_MAX = 300;
const PATH_STEPS_MAX = 20;
const STEP_CHARACTERS_MAX = 100;
/** Most issues in the error's message. */
const ISSUES_SHOWN = 3;

/** A value that fits, or what is wrong with it. */
export type Judged = { readonly value: unknown; readonly issues?: undefined } | Mismatch;
export interface Mismatch {
  readonly issues: readonly SchemaIssue[];
  readonly issueCount: number;
  readonly cause?: unknown;
}

const shortened = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most)}…` : text);

function stepOf(step: unknown): string | number {
  const key: unknown = typeof step === "object" && step !== null && "key" in step ? step.key : step;
  return typeof key === "number" ? key : shortened(String(key), STEP_CHARACTERS_MAX);
}

function issueOf(given: unknown): SchemaIssue {
  const { message, path } = Object(given) as { message?: unknown; path?: unknown };
  // A library may give arrays of its own, with more in them than elements.
  const steps = Array.isArray(path) ? Array.from(path.slice(0, PATH_STEPS_MAX), stepOf) : [];
  return { message: shortened(String(message ?? "not valid"), MESSAGE_CHARACTERS_MAX), path: steps };
}

/** One issue that no schema has found: the record itself is not what the topic holds. */
export const mismatch = (message: string, cause?: unknown): Mismatch => ({
  issues: [issueOf({ message })],
  issueCount: 1,
  ...(cause !== undefined && { cause }),
});

/** An error of foreign code as text. It may be anything: an object without a prototype has no text. */
export function textOfThrown(cause: unknown): string {
  try {
    return String(cause);
  } catch {
    return "something that has no text";
  }
}

const threw = (cause: unknown): Mismatch => mismatch(`the schema threw: ${textOfThrown(cause)}`, cause);

function judgedOf(result: unknown): Judged {
  const { issues } = Object(result) as Partial<SchemaResult<unknown>>;
  if (issues) {
    const all = Array.isArray(issues) ? (issues as unknown[]) : [issues];
    if (all.length === 0) return mismatch("the schema refused it, and names no issue");
    return { issues: Array.from(all.slice(0, ISSUES_MAX), issueOf), issueCount: all.length };
  }
  if (typeof result === "object" && result !== null && "value" in result) return { value: result.value };
  return mismatch("the schema gave neither a value nor issues");
}

export const isPromise = <T>(value: T | PromiseLike<T>): value is PromiseLike<T> =>
  typeof (value as { then?: unknown } | null | undefined)?.then === "function";

/** At once, unless the schema is asynchronous. Never throws. */
export function judge(schema: StandardSchema, value: unknown): Judged | Promise<Judged> {
  try {
    const result = schema["~standard"].validate(value);
    return isPromise(result) ? Promise.resolve(result).then(judgedOf, threw) : judgedOf(result);
  } catch (thrown) {
    return threw(thrown);
  }
}

const shownIssue = ({ message, path }: SchemaIssue): string =>
  path.length === 0 ? message : `${path.join(".")}: ${message}`;

/** SCHEMA_MISMATCH. `what` is the subject of the message: "the value", "records[3]". */
export function mismatchError(
  what: string,
  { issues, issueCount, cause }: Mismatch,
  more: ErrorDetails,
): TidemarkError {
  const shown = issues.slice(0, ISSUES_SHOWN).map(shownIssue).join("; ");
  const rest = issueCount > ISSUES_SHOWN ? ` (and ${issueCount - ISSUES_SHOWN} more)` : "";
  const message = `${what} does not fit the schema of the topic: ${shown}${rest}`;
  return new TidemarkError("SCHEMA_MISMATCH", message, { ...more, issues, issueCount }, { cause });
}
