/**
 * Runs a view: takes a topic's changes, answer by answer, folds them in slices, and shows what is whole.
 *
 *   changes of one answer ─▶ ViewFold ─▶ stale? made anew, not too often ─▶ shown ─▶ listeners, once a turn
 *                                          └ not yet: at the latest when nothing more comes for a moment
 */
import { TidemarkError } from "../../errors.ts";
import type { TopicChange } from "../../sync/change-reader.ts";
import { checkedApply } from "../../sync/view-check.ts";
import { type Folding, ViewFold } from "../../sync/view-fold.ts";
import { callback, checkOptions, flag, integer, refused, signal } from "../../topic/check.ts";
import { checkTopicName } from "../../topic/names.ts";
import type { RunningView, ShownView } from "../../topic/shown-view.ts";
import type { TopicRecord, ViewOptions } from "../api.ts";
import { report } from "../platform/errors.ts";
import { laterTurn } from "../platform/timing.ts";
import { changesByCut, type ChangingTopic } from "./topic-changes.ts";
import { checkSnapshot, type Keeping, keepingOf, type KeptState } from "./view-keeping.ts";

/** After this long others have a turn. */
const SLICE_MS = 8;
/** The clock is asked after this many records. */
const SLICE_RECORDS = 16;
/**
 * While it catches up, the current state is made anew at most this often, and only if that took a tenth of it, and if
 * that applies at most a fifth as many records as have come since.
 */
const REFOLD_MS = 250;
const REFOLD_SHARE = 1 / 10;
const REFOLD_RECORDS_SHARE = 1 / 5;
/** Up to this many own records without a place, each frame that a device still gets from the edge shows at once. */
const SMALL_PENDING_MAX = 100;
/** Beyond this many own records without a place it is made anew only when the view is level. */
const REFOLD_PENDING_MAX = 100_000;
/** Up to this many it is made anew at once to show the offsets of those that have their place now. */
const DATED_PENDING_MAX = 1000;

const VIEW_OPTIONS = {
  name: (_: string, value: unknown) => checkTopicName(value),
  initial: callback,
  apply: callback,
  check: flag,
  gap: callback,
  signal,
  version: integer(0),
  snapshot: (_: string, value: unknown) => void (value === false || checkSnapshot(value)),
};

type Level<V> = Extract<TopicChange<TopicRecord<V>>, { readonly type: "level" }>;

/** True if the work ends within `ms`. */
const endsWithin = (work: Promise<unknown>, ms: number): Promise<boolean> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms, false);
    const over = (): void => (clearTimeout(timer), resolve(true));
    work.then(over, over);
  });

/** The same answers. Undefined comes between them whenever none has come for as long as `patience` says. */
async function* withPauses<T>(
  answers: AsyncGenerator<T, void>,
  patience: () => number | undefined,
): AsyncGenerator<T | undefined, void> {
  try {
    for (;;) {
      const next = answers.next();
      for (let ms = patience(); ms !== undefined && !(await endsWithin(next, ms)); ms = patience()) yield undefined;
      const { value, done } = await next;
      if (done) return;
      yield value as T;
    }
  } finally {
    void answers.return();
  }
}

/** Whether the tide was closed, or the topic deleted. */
const isOver = (thrown: unknown): boolean =>
  thrown instanceof TidemarkError &&
  (thrown.code === "CLOSED" || (thrown.code === "UNKNOWN_TOPIC" && !!thrown.details["deleted"]));

class Run<S, V> implements RunningView {
  readonly #view: ShownView<S>;
  #fold: ViewFold<S, TopicRecord<V>>;
  readonly #folding: Folding<S, TopicRecord<V>>;
  readonly #keeping: Keeping<S> | undefined;
  /** Names the log; null while it has no name. */
  #stream: string | null = null;
  readonly #topic: ChangingTopic<V>;
  readonly #signal: AbortSignal;
  #isReady = false;
  #failure: { readonly thrown: unknown } | undefined;
  readonly #waiting: (() => void)[] = [];
  #isTelling = false;
  #sliceEnd = 0;
  #records = 0;
  /** The changes since the view was last level: how many they are, and how long it took to fold them. */
  #folded = 0;
  #foldMs = 0;
  #refold = { at: -Infinity, ms: 0 };
  /** Changes since the current state was made anew. */
  #fresh = 0;
  /** All that is here is folded, and is not shown: more is expected from the edge. */
  #isOwed = false;
  /** When committed records came last. */
  #roseAt = -Infinity;

  constructor(view: ShownView<S>, topic: ChangingTopic<V>, options: ViewOptions<S, V>) {
    const { initial, gap, check = false } = options;
    const apply = check ? checkedApply(options.name, options.apply) : options.apply;
    this.#view = view;
    this.#topic = topic;
    this.#signal = view.ended.signal;
    this.#folding = { initial, apply, gap };
    this.#fold = new ViewFold(this.#folding, view.committed, 0);
    this.#keeping = keepingOf(topic, options);
    const { signal: given } = options;
    if (given?.aborted) view.close();
    else given?.addEventListener("abort", view.close, { once: true, signal: this.#signal });
  }

  async run(): Promise<void> {
    try {
      for (const kept of (await this.#keeping?.stored()) ?? []) if (await this.#runFrom(kept)) return;
      await this.#runFrom(undefined);
    } catch (thrown) {
      const closed = new TidemarkError("CLOSED", "the view is closed", { reason: "closed" });
      this.#failure = { thrown: this.#signal.aborted ? closed : thrown };
      this.#settle();
      if (this.#signal.aborted) return;
      // The end of its tide or its topic ends the view as well. That is no error of the application's.
      if (!isOver(thrown)) report(thrown);
      this.#tellAll();
    } finally {
      // One that ended by itself hears no signal any more, and another tab may keep it.
      this.#view.ended.abort();
    }
  }

  /** False if the snapshot is not one of the log that is here now. */
  async #runFrom(kept: KeptState<S> | undefined): Promise<boolean> {
    this.#signal.throwIfAborted();
    const from = kept ? { place: kept.offset } : "earliest";
    if (kept) this.#fold = new ViewFold(this.#folding, kept.state, kept.offset);
    let isFirst = kept !== undefined;
    const named = (stream: string | null): void => void (this.#stream = stream);
    try {
      const answers = changesByCut(this.#topic, from, this.#signal, { named });
      for await (const changes of withPauses(answers, () => (this.#isOwed ? this.#patience() : undefined))) {
        if (!changes) {
          await this.#showOwed();
          continue;
        }
        const [first] = changes;
        if (isFirst && (this.#stream !== kept!.stream || first?.type === "reset")) break;
        isFirst = false;
        await this.#take(changes);
      }
    } catch (thrown) {
      if (!isFirst || !(thrown instanceof TidemarkError && thrown.code === "OFFSET_OUT_OF_RANGE")) throw thrown;
    }
    this.#fold = new ViewFold(this.#folding, this.#folding.initial(), 0);
    return false;
  }

  async #take(changes: readonly TopicChange<TopicRecord<V>>[]): Promise<void> {
    this.#beginSlice();
    const { offset } = this.#fold;
    for (const change of changes) {
      // Another log: what is shown stays until that one is folded.
      if (change.type === "reset") this.#isReady = this.#isOwed = false;
      this.#fold.take(change);
      if (++this.#records % SLICE_RECORDS === 0) await this.#breathe();
    }
    this.#foldMs += performance.now() - this.#sliceEnd + SLICE_MS;
    this.#folded += changes.length;
    const last = changes.at(-1);
    const level = last?.type === "level" ? last : undefined;
    if (this.#fold.offset !== offset) this.#roseAt = performance.now();
    await this.#refresh(level, changes.length);
    if (!level) return;
    const grown = { changes: this.#folded - 1, foldMs: this.#foldMs };
    this.#folded = this.#foldMs = 0;
    this.#keeping?.grown(grown, () => this.save(), this.#signal);
  }

  async save(): Promise<void> {
    if (!this.#keeping) throw refused("snapshot", undefined, "given, for save()");
    await this.ready();
    const { committed, offset } = this.#fold;
    if (this.#stream !== null) await this.#keeping.write(committed, { stream: this.#stream, offset });
  }

  async #breathe(): Promise<void> {
    if (performance.now() < this.#sliceEnd) return;
    this.#foldMs += performance.now() - this.#sliceEnd + SLICE_MS;
    await laterTurn();
    this.#signal.throwIfAborted();
    this.#beginSlice();
  }

  #beginSlice(): void {
    this.#sliceEnd = performance.now() + SLICE_MS;
  }

  /** Shows what the changes of one answer have made, if the current state is whole or may be made so now. */
  async #refresh(level: Level<V> | undefined, changes: number): Promise<void> {
    const { isStale, isDated, pending } = this.#fold;
    this.#fresh += changes;
    // Each frame of a long pull leaves a view that keeps up with this device level with it, and not with the edge.
    const isSoon = !this.#isReady || pending.size <= SMALL_PENDING_MAX || this.#patience() === 0;
    const isLevel = !!level && (level.live || isSoon);
    this.#isReady ||= isLevel;
    if (!this.#isReady) return;
    const isDue =
      performance.now() >= this.#refold.at + REFOLD_MS &&
      this.#refold.ms < REFOLD_MS * REFOLD_SHARE &&
      pending.size <= this.#fresh * REFOLD_RECORDS_SHARE &&
      pending.size <= REFOLD_PENDING_MAX;
    const mustWait = isStale && !isLevel && !isDue;
    this.#isOwed = mustWait && !!level;
    if (mustWait) return;
    if (isStale || (isDated && pending.size <= Math.max(changes, DATED_PENDING_MAX))) await this.#makeAnew();
    this.#show();
    this.#settle();
  }

  /** Milliseconds for which the view still waits for more from the edge before it shows what is here. */
  #patience(): number {
    const patience = Math.max(REFOLD_MS, this.#refold.ms / REFOLD_SHARE);
    return Math.max(0, this.#roseAt + patience - performance.now());
  }

  async #showOwed(): Promise<void> {
    this.#isOwed = false;
    this.#beginSlice();
    await this.#makeAnew();
    this.#show();
  }

  async #makeAnew(): Promise<void> {
    const began = performance.now();
    const foldMs = this.#foldMs;
    const steps = this.#fold.refold();
    for (let step = steps.next(); ; step = steps.next()) {
      if (step.done) {
        this.#fold.refolded(step.value);
        break;
      }
      if (++this.#records % SLICE_RECORDS === 0) await this.#breathe();
    }
    this.#refold = { at: performance.now(), ms: performance.now() - began };
    this.#fresh = 0;
    // No snapshot saves this work.
    this.#foldMs = foldMs;
  }

  #show(): void {
    const view = this.#view;
    const { current, committed, offset, pending } = this.#fold;
    const { size: provisional } = pending;
    if (view.at.offset !== offset || view.at.provisional !== provisional)
      view.at = Object.freeze({ offset, provisional });
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
}

export function runView<S, V>(view: ShownView<S>, topic: ChangingTopic<V>, options: ViewOptions<S, V>): RunningView {
  checkOptions("view()", options, VIEW_OPTIONS);
  checkTopicName(options.name);
  callback("apply", options.apply);
  const run = new Run(view, topic, options);
  void run.run();
  return run;
}
