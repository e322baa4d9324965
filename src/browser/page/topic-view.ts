/**
 * Runs a view: takes a topic's changes, answer by answer, folds them in slices, and shows what is whole.
 *
 *   changes of one answer ─▶ ViewFold ─▶ stale? made anew, not too often ─▶ shown ─▶ listeners, once a turn
 */
import { TidemarkError } from "../../errors.ts";
import type { TopicChange } from "../../sync/change-reader.ts";
import { type Folding, ViewFold } from "../../sync/view-fold.ts";
import { callback, checkOptions, flag, integer, refused, signal } from "../../topic/check.ts";
import { checkTopicName } from "../../topic/names.ts";
import type { TopicRecord, View, ViewOptions } from "../api.ts";
import { report } from "../platform/errors.ts";
import { laterTurn } from "../platform/timing.ts";
import { changesByCut, type ChangingTopic, LOCAL } from "./topic-changes.ts";
import { checkedApply } from "./view-check.ts";
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

/** What the application holds (page-view.ts). */
export interface PageView<S> extends View<S> {
  current: S;
  committed: S;
  at: View<S>["at"];
  readonly listeners: Set<(current: S) => void>;
  readonly ended: AbortController;
}

/** Whether the tide was closed, or the topic deleted. */
const isOver = (thrown: unknown): boolean =>
  thrown instanceof TidemarkError &&
  (thrown.code === "CLOSED" || (thrown.code === "UNKNOWN_TOPIC" && thrown.details["deleted"] === true));

export interface RunningView {
  /** Resolves once the local copy is folded; rejects with what ended the view. */
  ready(): Promise<void>;
  save(): Promise<void>;
}

class Run<S, V> implements RunningView {
  readonly #view: PageView<S>;
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
  #refold = { at: -Infinity, ms: 0 };
  /** Changes since the current state was made anew. */
  #fresh = 0;

  constructor(view: PageView<S>, topic: ChangingTopic<V>, options: ViewOptions<S, V>) {
    const { initial, gap, check = false } = options;
    const apply = check ? checkedApply(options.apply) : options.apply;
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
      // It has ended with its tide or its topic, which is no fault of anybody's.
      if (!isOver(thrown)) report(thrown);
      this.#tellAll();
    }
  }

  /** False if the snapshot is not one of the log that is here now. */
  async #runFrom(kept: KeptState<S> | undefined): Promise<boolean> {
    this.#signal.throwIfAborted();
    const from = kept ? { place: kept.offset } : "earliest";
    if (kept) this.#fold = new ViewFold(this.#folding, kept.state, kept.offset);
    let isFirst = kept !== undefined;
    const named = (stream: string | null): void => void (this.#stream = this.#nameOf(stream));
    try {
      for await (const changes of changesByCut(this.#topic, from, this.#signal, named)) {
        const [first] = changes;
        if (isFirst && (this.#stream !== kept!.stream || first?.type === "reset")) break;
        isFirst = false;
        await this.#take(changes);
      }
    } catch (thrown) {
      if (!isFirst || !(thrown instanceof TidemarkError && thrown.code === "OFFSET_OUT_OF_RANGE")) throw thrown;
    }
    const { initial } = this.#folding;
    this.#fold = new ViewFold(this.#folding, initial(), 0);
    return false;
  }

  #nameOf(stream: string | null): string | null {
    const born = this.#topic.born();
    return stream === LOCAL ? (born === undefined ? null : `${LOCAL}/${born}`) : stream;
  }

  async #take(changes: readonly TopicChange<TopicRecord<V>>[]): Promise<void> {
    this.#sliceEnd = performance.now() + SLICE_MS;
    for (const change of changes) {
      // Another log: what is shown stays until that one is folded.
      if (change.type === "reset") this.#isReady = false;
      this.#fold.take(change);
      if (++this.#records % SLICE_RECORDS === 0) await this.#breathe();
    }
    const isLevel = changes.at(-1)?.type === "level";
    await this.#refresh(isLevel, changes.length);
    if (isLevel) this.#keeping?.grown(changes.length - 1, () => this.save(), this.#signal);
  }

  async save(): Promise<void> {
    if (!this.#keeping) throw refused("snapshot", undefined, "given, for save()");
    await this.ready();
    const { committed, offset } = this.#fold;
    if (this.#stream !== null) await this.#keeping.write(committed, { stream: this.#stream, offset });
  }

  async #breathe(): Promise<void> {
    if (performance.now() < this.#sliceEnd) return;
    await laterTurn();
    this.#signal.throwIfAborted();
    this.#sliceEnd = performance.now() + SLICE_MS;
  }

  /** Shows what the changes of one answer have made, if the current state is whole or may be made so now. */
  async #refresh(isLevel: boolean, changes: number): Promise<void> {
    const { isStale, isDated, pending } = this.#fold;
    this.#fresh += changes;
    this.#isReady ||= isLevel;
    if (!this.#isReady) return;
    const isDue =
      performance.now() >= this.#refold.at + REFOLD_MS &&
      this.#refold.ms < REFOLD_MS * REFOLD_SHARE &&
      pending.size <= this.#fresh * REFOLD_RECORDS_SHARE &&
      pending.size <= REFOLD_PENDING_MAX;
    if (isStale && !isLevel && !isDue) return;
    if (isStale || (isDated && pending.size <= Math.max(changes, DATED_PENDING_MAX))) await this.#makeAnew();
    this.#show();
    this.#settle();
  }

  async #makeAnew(): Promise<void> {
    const began = performance.now();
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
    for (const listener of [...this.#view.listeners]) this.#tell(listener);
  }

  #tell(listener: (current: S) => void): void {
    try {
      listener(this.#view.current);
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

export function runView<S, V>(view: PageView<S>, topic: ChangingTopic<V>, options: ViewOptions<S, V>): RunningView {
  checkOptions("view()", options, VIEW_OPTIONS);
  checkTopicName(options.name);
  callback("apply", options.apply);
  const run = new Run(view, topic, options);
  void run.run();
  return run;
}
