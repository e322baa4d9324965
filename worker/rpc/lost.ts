/**
 * What a client is told when a log's object has given no answer. A reset, a move and a new version are over in a
 * moment, but an object may also not open at all. The platform says of both no more than "internal error". So after a
 * change that failed like this the object is asked a question, to see whether it opens now.
 */
import { wrongClass } from "../bindings.ts";
import { EdgeError } from "../errors.ts";
import type { Answering } from "./stubs.ts";
import { ERROR_HEADER } from "../wire/error-status.ts";

const isOverload = (thrown: unknown): boolean => (thrown as { overloaded?: boolean }).overloaded === true;
const overloaded = (what = "the stream's object"): EdgeError =>
  new EdgeError("BACKPRESSURE", `${what} has too much to do`);
const isInternal = (thrown: unknown): boolean => /^internal error/.test((thrown as Partial<Error>).message ?? "");

/**
 * The most likely cause: a workerd of one's own has no open files left. On Cloudflare the number of objects has no
 * bound.
 */
const UNOPENED =
  "the stream's object does not open. In a workerd of your own, open files may have run out: raise ulimit -n, or use " +
  "fewer streams at a time";

const AGAIN = "repeat it with the same producer and sequence";

/** A question by `fetch`, which shows whether the object answers, and as what. */
export type Probe = () => Promise<Response>;

/**
 * Throws what to write if a call found no such method because the binding is of another class. An object of the right
 * class may be of an older version for a moment: that one answers `fetch`, and the call is to be repeated.
 */
async function checkClass(thrown: unknown, binding: "LOGS" | "SUBSCRIPTIONS", probe: Probe): Promise<void> {
  if (!/^The RPC receiver does not implement /.test((thrown as Partial<Error>).message ?? "")) return;
  const answer = await probe().catch(() => undefined);
  if (answer?.headers.get(ERROR_HEADER) === "INTERNAL") throw wrongClass(binding);
}

/**
 * The error of a change if nobody knows whether the change was made. `ask` asks the object something that changes
 * nothing. `again` is the advice for the caller.
 */
export async function lostChange(thrown: unknown, ask: Probe, again = AGAIN): Promise<EdgeError> {
  if (isOverload(thrown)) return overloaded();
  await checkClass(thrown, "LOGS", ask);
  if (isInternal(thrown)) {
    const isUnopened = await ask().then(() => undefined, isInternal);
    if (isUnopened) return new EdgeError("OUTCOME_UNKNOWN", `${UNOPENED}; ${again}`, { reason: "unopened" });
  }
  return new EdgeError("OUTCOME_UNKNOWN", `the stream's object was reset; ${again}`);
}

/**
 * Asks an object something that may be asked twice: again, if the first question was lost. A stub that has failed once
 * may go on failing, so `ask` takes a new one each time. `subscriptions`: the object
 * that is asked, if it is one of these.
 */
export async function askedAgain<T>(ask: () => Promise<T>, subscriptions?: Answering): Promise<T> {
  try {
    return await ask();
  } catch (thrown) {
    if (EdgeError.isOne(thrown)) throw thrown;
    if (isOverload(thrown)) throw overloaded();
    if (subscriptions)
      await checkClass(thrown, "SUBSCRIPTIONS", () => subscriptions.fetch(new Request("https://head.invalid/")));
    return ask().catch((again: unknown) => Promise.reject(lostRead(again)));
  }
}

/** The error of a call on a subscription if nobody knows whether the call was done. */
export const lostCall = (thrown: unknown): EdgeError =>
  isOverload(thrown)
    ? overloaded("the subscriptions' object")
    : new EdgeError(
        "OUTCOME_UNKNOWN",
        "the subscriptions' object was reset: GET of the subscription shows what is there",
      );

/** The error of a read that failed twice. */
const lostRead = (thrown: unknown): EdgeError =>
  isOverload(thrown)
    ? overloaded()
    : isInternal(thrown)
      ? new EdgeError("CLOSED", UNOPENED, { reason: "unopened" })
      : new EdgeError("CLOSED", "the object is away for a moment: ask again");
