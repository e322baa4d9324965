/**
 * Changes of a topic of the edge, and views of it. All that is at the edge is committed, so that a change is a record,
 * a gap, another log, or that the reader has seen all. The first such call of a client loads this file.
 *
 *   steps of a read ─▶ edgeChanges: a list for each batch ─▶ ViewFold ─▶ shown ─▶ listeners, once a turn
 */
import { TidemarkError } from "../errors.ts";
import type { PlainRecord } from "../delivery/read-record.ts";
import type { StartPosition } from "../log/types.ts";
import type { TopicChange } from "../sync/change-reader.ts";
import { checkedApply } from "../sync/view-check.ts";
import { ViewFold } from "../sync/view-fold.ts";
import { callback, checkOptions, flag, integer, refused, signal } from "../topic/check.ts";
import { checkTopicName } from "../topic/names.ts";
import type { RunningView, ShownView } from "../topic/shown-view.ts";
import { offsetOf, START } from "./answers.ts";
import type { ClientViewOptions } from "./api.ts";
import type { ReadTopic, Step, stepsOf } from "./read-topic.ts";
import { anyOf } from "./waiting.ts";

type Changes<V> = TopicChange<PlainRecord<V>>[];

async function changesIn<V>(topic: ReadTopic<V>, step: Step<V>): Promise<Changes<V>> {
  if (!("batch" in step)) return [{ type: "level", watermark: step.level, live: true, copy: null }];
  const batch = (await topic.typed(step.batch)) ?? step.batch;
  return Array.from({ length: batch.count }, (_, n) => ({ type: "append", record: batch.plain(n) }));
}

/** Where a reader continues whose offset is not in the log, or belongs to another log. */
async function behind<V>(
  thrown: unknown,
  at: number,
  topic: ReadTopic<V>,
  signal: AbortSignal,
): Promise<{ readonly first: number; readonly changes: Changes<V> }> {
  const { code, details } = TidemarkError.from(thrown);
  if (details["anew"] !== undefined) {
    const answer = await topic.live.requests.again((over) => topic.asked({ method: "HEAD", signal: over }), {
      signal,
      ms: Infinity,
    });
    const first = offsetOf(answer, START);
    return { first, changes: [{ type: "reset", logStartOffset: first }] };
  }
  const start = Number(details["logStartOffset"]);
  if (code !== "OFFSET_OUT_OF_RANGE" || !(start >= 0)) throw thrown;
  const isGone = at < start;
  return {
    first: start,
    changes: [isGone ? { type: "gap", from: at, to: start } : { type: "reset", logStartOffset: start }],
  };
}

/** Changes from `from` on, the offset `begin`; those of one batch together. It ends with a closed topic. */
export async function* edgeChanges<V>(
  topic: ReadTopic<V>,
  steps: typeof stepsOf<V>,
  from: StartPosition,
  begin: number,
  over: AbortSignal,
): AsyncGenerator<Changes<V>, void> {
  let at = begin;
  // If the offset that the caller gave is not in the log, that is an error. Later it is told as a gap.
  let isBegun = typeof from !== "number";
  let known = {};
  let reading = steps(topic, { first: at, last: Infinity, follow: true, over, known });
  try {
    for (;;) {
      let next: IteratorResult<Step<V>, void>;
      try {
        next = await reading.next();
      } catch (thrown) {
        if (!isBegun) throw thrown;
        const { first, changes } = await behind(thrown, at, topic, over);
        // Another log is the one from here on.
        if (changes[0]!.type === "reset") known = {};
        yield changes;
        at = first;
        reading = steps(topic, { first, last: Infinity, follow: true, over, known });
        continue;
      }
      isBegun = true;
      if (next.done) return;
      at = "batch" in next.value ? next.value.batch.nextOffset : next.value.level;
      const changes = await changesIn(topic, next.value);
      if (changes.length > 0) yield changes;
    }
  } finally {
    // A reader that leaves in the middle ends the read as well, with its socket or long-poll.
    await reading.return();
  }
}

/** After this long others have a turn. */
const SLICE_MS = 8;
/** The clock is asked after this many records. */
const SLICE_RECORDS = 16;

const none = (field: string, value: unknown): void => {
  if (value !== false) throw refused(field, value, "false, or left out: the client stores nothing");
};
const VIEW_OPTIONS = {
  name: (_: string, value: unknown) => checkTopicName(value),
  initial: callback,
  apply: callback,
  check: flag,
  gap: callback,
  signal,
  version: integer(0),
  snapshot: none,
};

const laterTurn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

/** An error of the application's code, like an uncaught one. */
function report(thrown: unknown): void {
  if (typeof reportError === "function") return reportError(thrown);
  queueMicrotask(() => {
    throw thrown;
  });
}

class Run<S, V> implements RunningView {
  readonly #view: ShownView<S>;
  readonly #fold: ViewFold<S, PlainRecord<V>>;
  #isReady = false;
  #isTelling = false;
  #failure: { readonly thrown: unknown } | undefined;
  readonly #waiting: (() => void)[] = [];
  #records = 0;
  #sliceEnd = 0;

  constructor(view: ShownView<S>, { name, initial, apply, gap, check }: ClientViewOptions<S, V>) {
    this.#view = view;
    const folding = { initial, gap, apply: check ? checkedApply(name, apply) : apply };
    this.#fold = new ViewFold(folding, view.committed, 0);
  }

  async run(answers: Promise<AsyncIterable<Changes<V>>>): Promise<void> {
    const { signal: over } = this.#view.ended;
    try {
      for await (const changes of await answers) {
        over.throwIfAborted();
        await this.#take(changes).catch((thrown: unknown) => {
          // An error of `apply` is the application's own. What else ends the view is told by ready() alone.
          if (!over.aborted) report(thrown);
          throw thrown;
        });
      }
    } catch (thrown) {
      const closed = new TidemarkError("CLOSED", "the view is closed", { reason: "closed" });
      this.#failure = { thrown: over.aborted ? closed : thrown };
      this.#settle();
      if (!over.aborted) this.#tellAll();
    }
  }

  async #take(changes: Changes<V>): Promise<void> {
    this.#sliceEnd = performance.now() + SLICE_MS;
    for (const change of changes) {
      this.#fold.take(change);
      // Another log: what is shown stays until that one is folded.
      if (change.type === "reset") this.#isReady = false;
      if (change.type === "level") this.#isReady = true;
      if (++this.#records % SLICE_RECORDS > 0 || performance.now() < this.#sliceEnd) continue;
      await laterTurn();
      this.#view.ended.signal.throwIfAborted();
      this.#sliceEnd = performance.now() + SLICE_MS;
    }
    if (!this.#isReady) return;
    this.#show();
    this.#settle();
  }

  #show(): void {
    const view = this.#view;
    const { current, committed, offset } = this.#fold;
    if (view.at.offset !== offset) view.at = Object.freeze({ offset, provisional: 0 });
    view.committed = committed;
    if (Object.is(view.current, current)) return;
    view.current = current;
    if (this.#isTelling) return;
    this.#isTelling = true;
    void laterTurn().then(() => {
      this.#isTelling = false;
      this.#tellAll();
    });
  }

  #tellAll(): void {
    const { listeners } = this.#view;
    for (const listener of [...listeners])
      try {
        // A listener that was called before may have removed this one, or closed the view.
        if (listeners.has(listener)) listener(this.#view.current);
      } catch (thrown) {
        report(thrown);
      }
  }

  #settle(): void {
    for (const settle of this.#waiting.splice(0)) settle();
  }

  async ready(): Promise<void> {
    if (!this.#isReady && !this.#failure) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.#failure) throw this.#failure.thrown;
  }

  save(): Promise<void> {
    return Promise.reject(refused("snapshot", undefined, "given, for save(); and this client stores nothing"));
  }
}

/** Runs a view over the topic's changes, until the view's signal is aborted. INVALID_ARGUMENT for a wrong option. */
export function runEdgeView<S, V>(
  view: ShownView<S>,
  options: ClientViewOptions<S, V>,
  changes: (over: AbortSignal) => Promise<AsyncIterable<Changes<V>>>,
  closing: AbortSignal,
): RunningView {
  checkOptions("view()", options, VIEW_OPTIONS);
  checkTopicName(options.name);
  callback("apply", options.apply);
  const { signal: given } = options;
  const { ended } = view;
  if (given?.aborted) view.close();
  else given?.addEventListener("abort", view.close, { once: true, signal: ended.signal });
  const { controller, free } = anyOf(ended.signal, closing);
  const run = new Run(view, options);
  // A view that ended by itself hears no signal any more.
  void run.run(changes(controller.signal)).finally(() => (ended.abort(), free()));
  return run;
}
