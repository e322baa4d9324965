/** A view as the application holds it: what is shown now. What folds is loaded by each host's first view. */
import { callback, checkOptions, elsewhere } from "./check.ts";

/** What every host's views are made by. */
export interface FoldOptions<S, R> {
  /** Names the view among those of its topic; letters as for topics. */
  readonly name: string;
  readonly initial: () => S;
  /** Pure: gives the next state, or the same object where nothing changed. */
  readonly apply: (state: S, record: R) => S;
  /**
   * For development: the first records are applied twice, once to a copy. A difference is VIEW_IMPURE. A state that
   * can't be copied, as with functions or objects of a class, is INVALID_ARGUMENT.
   */
  readonly check?: boolean | undefined;
  /** Records that are not there any more. Default: the state goes on. "restart": initial() again behind the gap. */
  readonly gap?: ((state: S, gap: { readonly from: number; readonly to: number }) => S | "restart") | undefined;
  /** If it is aborted, the view is closed. */
  readonly signal?: AbortSignal | undefined;
}

/** A state made of a topic's records. Its functions may be passed on as they are. */
export interface View<S> {
  /** Committed records, and own ones without a place on top. The same object as long as nothing changed. */
  readonly current: S;
  readonly committed: S;
  /** How far `committed` goes (exclusive), and how many records without a place are in `current`. */
  readonly at: { readonly offset: number; readonly provisional: number };
  /**
   * Resolves when all records of this device are in it; says nothing of the edge. Until then `current` is initial().
   * Rejects with what ended the view: an error of `apply`, VIEW_IMPURE, CORRUPT_RANGE, LOAD_FAILED, CLOSED.
   */
  ready(): Promise<void>;
  /**
   * Calls after changes of `current`, at most once a turn, and when the view has ended by itself: ready() rejects then.
   * Gives back what ends it. Fits useSyncExternalStore.
   */
  subscribe(listener: (current: S) => void): () => void;
  /** Writes a snapshot now; durable when it resolves. INVALID_ARGUMENT without the option `snapshot`. */
  save(): Promise<void>;
  /** Nothing is folded any more, and no listener is called; what is shown stays. */
  close(): void;
}

/** The same, as what folds sees it. */
export interface ShownView<S> extends View<S> {
  current: S;
  committed: S;
  at: View<S>["at"];
  readonly listeners: Set<(current: S) => void>;
  readonly ended: AbortController;
}

export interface RunningView {
  /** Resolves once all that is there is folded; rejects with what ended the view. */
  ready(): Promise<void>;
  save(): Promise<void>;
}

/** `run` loads what folds. */
export function shownView<S>(
  options: FoldOptions<S, never>,
  run: (view: ShownView<S>) => Promise<RunningView>,
): ShownView<S> {
  // Other options are checked where they are used; this is called at once.
  checkOptions("view()", options, {}, elsewhere);
  callback("initial", options.initial);
  const current = options.initial();
  const listeners = new Set<(current: S) => void>();
  const ended = new AbortController();
  const view: ShownView<S> = {
    current,
    committed: current,
    at: { offset: 0, provisional: 0 },
    listeners,
    ended,
    ready: () => running.then((run) => run.ready()),
    subscribe(listener) {
      callback("listener", listener);
      // Another function each time: what ends one call of subscribe() ends no other.
      const tell = (now: S): void => listener(now);
      listeners.add(tell);
      return () => listeners.delete(tell);
    },
    save: () => running.then((run) => run.save()),
    close() {
      ended.abort();
      listeners.clear();
    },
  };
  const running = run(view);
  // A fold tells its own end, but here none was made. Each is told in a turn of its own: one that throws fails alone.
  running.catch(() => listeners.forEach((tell) => queueMicrotask(() => tell(view.current))));
  return view;
}
