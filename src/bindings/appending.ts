/**
 * Appends of a component: what waits for its ack, what has failed, and another try.
 *
 *   append(record) ─▶ pending ─┬ ack ──▶ gone from the list
 *                              └ error ▶ stays in it with its error ── retry() ─▶ pending │ dismiss() ─▶ gone
 */
import { type Ack, type AppendOptions, type RecordInput, TidemarkError } from "../browser/index.ts";
import { definitionOf, type TopicRef } from "./followers.ts";
import type { TideSource } from "./page-tide.ts";
import { nothing, shared, type Source } from "./shared.ts";

/** A record without its ack. */
export interface PendingAppend<I = RecordInput> {
  readonly record: I;
  /** Why it was not appended; undefined while it is under way. */
  readonly error?: TidemarkError | undefined;
}

export interface AppendState<I = RecordInput> {
  /** In the order of the calls: those under way, and those that have failed. For what the page shows before the ack. */
  readonly pending: readonly PendingAppend<I>[];
  /** The error of the first append in `pending` that has failed. */
  readonly error?: TidemarkError | undefined;
}

/** Calls that may be passed on as they are. */
export interface AppendCalls<I = RecordInput> {
  /**
   * Appends in the order of the calls, also before the tide is open. Never rejects: a failure is in `error`, and the
   * promise resolves with undefined. So a handler may return it. The record is read when it is appended, after the
   * opening or at a retry(): give an object that nobody changes.
   */
  readonly append: (record: I, options?: AppendOptions) => Promise<Ack | undefined>;
  /**
   * Appends what has failed again, in its order. Records whose outcome is unknown are left out, because they may be in
   * the log: look there, and dismiss() them or append() them anew.
   */
  readonly retry: () => void;
  /** Forgets what has failed. */
  readonly dismiss: () => void;
}

export interface Appending<I> extends Source<AppendState<I>> {
  readonly calls: AppendCalls<I>;
}

interface Sent<I> {
  readonly record: I;
  readonly options: AppendOptions | undefined;
}

export const NOTHING_PENDING: AppendState<never> = { pending: [] };

/** INVALID_ARGUMENT if this is not a topic. */
export function appendingTo<V, I, R>(tide: TideSource, topic: TopicRef<V, I, R>): Appending<I> {
  const definition = definitionOf(topic);
  /** By what each call was given. A retry keeps the entry, and so its place in the list. */
  const sent = new Map<Sent<I>, PendingAppend<I>>();
  const state = shared<AppendState<I>>(NOTHING_PENDING, () => nothing);
  let isTelling = false;
  /** How many wait for the opening. */
  let waiting = 0;
  /** Once for all that changes in one turn of promises. */
  const tell = (): void => {
    if (isTelling) return;
    isTelling = true;
    queueMicrotask(() => {
      isTelling = false;
      const pending = [...sent.values()];
      state.set(pending[0] ? { pending, error: pending.find(({ error }) => error)?.error } : NOTHING_PENDING);
    });
  };
  const append: AppendCalls<I>["append"] = async (record, options) => {
    const one: Sent<I> = { record, options };
    // Until the ack: the last component may go meanwhile.
    const [opening, leave] = tide.whenOpen();
    sent.set(one, one);
    tell();
    try {
      let { tide: opened } = tide.current;
      if (!opened || waiting) {
        waiting++;
        opened = await opening.finally(() => waiting--);
      }
      const ack = await definition.of(opened).append(record, options);
      sent.delete(one);
      return ack;
    } catch (thrown) {
      return void sent.set(one, { ...one, error: TidemarkError.from(thrown) });
    } finally {
      leave();
      tell();
    }
  };
  const takeFailed = (isTaken: (error: TidemarkError) => boolean): (readonly [Sent<I>, PendingAppend<I>])[] => {
    tell();
    return [...sent].filter(([one, { error }]) => error && isTaken(error) && sent.delete(one));
  };
  return Object.assign(state, {
    calls: {
      append,
      retry() {
        for (const [{ record, options }] of takeFailed(({ code }) => code !== "OUTCOME_UNKNOWN"))
          void append(record, options);
      },
      dismiss: () => void takeFailed(() => true),
    },
  });
}
