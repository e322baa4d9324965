/**
 * `tidemark/svelte`: what a component shows, as objects whose `current` is reactive in runes and which are stores as
 * well, over one open tide.
 *
 *     provideTide("my-app", { sync });                     // in the layout
 *     const todos = useView(list);                         // todos.current, todos.isReady, todos.error, $todos
 *     const changes = useAppend(topic);                    // changes.append({ … }), changes.pending, changes.error
 *
 * An object follows while an effect or a template reads it, or a store subscribes. On a server it shows the initial
 * state. Errors are in `error`; nothing is thrown. Where a rune chooses what is shown, give a function: `useView(() =>
 * listOf(id))`.
 */
import { getContext, onMount, setContext, untrack } from "svelte";
import { createSubscriber } from "svelte/reactivity";
import { fromStore, toStore } from "svelte/store";
import type { RecordInput, SyncStatus, Tide, TidemarkError, TopicRecord, View } from "../browser/index.ts";
import { type AppendCalls, type AppendState, appendingTo } from "./appending.ts";
import { check } from "./checks.ts";
import {
  type Followed,
  type FollowedSource,
  picking,
  recordsKey,
  type RecordsOptions,
  recordsSource,
  type FollowedRecord,
  syncSource,
  type TopicRef,
  type ViewDefinition,
  viewKey,
  type ViewSelection,
  viewSource,
} from "./followers.ts";
import { type TideOptions, type TideSource, tideSource, type TideStatus } from "./page-tide.ts";
import { nothing, uncaught, type Source } from "./shared.ts";

const KEY = Symbol();

/**
 * For this component and those below it. The tide of a name is opened once it is mounted, and closed when nobody needs
 * it any more; one that the application has opened is left to it.
 */
export function provideTide(tide: string | Tide, options?: TideOptions): void {
  const source = tideSource(tide, options);
  setContext(KEY, source);
  onMount(() => source.subscribe(nothing));
}

function useSource(): TideSource {
  const source = getContext<TideSource | undefined>(KEY);
  check(source, "provider", 'the app provideTide("…")');
  return source;
}

/** A value, or a function that reads it from runes. */
export type MaybeGetter<T> = T | (() => T);
const valueOf = <T extends object | string | undefined>(value: MaybeGetter<T>): T =>
  typeof value === "function" ? value() : value;

/** Reactive in runes by `current`, and a store. */
export interface Readable<T> {
  readonly current: T;
  subscribe(run: (value: T) => void): () => void;
}

/** What a component shows of a topic. */
export interface Shown<T> extends Readable<T> {
  /** False until all records of this device are in it. */
  readonly isReady: boolean;
  /** What has ended it. */
  readonly error: TidemarkError | undefined;
}

/**
 * Shows what `look` makes of the source of the key that is wanted now. All three may read runes. While anybody listens,
 * one effect looks whenever the source or a rune has changed, and tells what differs.
 */
function tracking<T, L>(make: () => Source<T>, look: (now: T) => L, keyOf: () => unknown = make): Readable<L> {
  let known: unknown;
  let source: Source<T>;
  let track: () => void;
  const fresh = (): L => {
    const key = keyOf();
    if (key !== known) {
      source = make();
      track = createSubscriber(source.subscribe);
      known = key;
    }
    track();
    return look(source.current);
  };
  /** As a store: the value now, and each other one. */
  const subscribe = (run: (value: L) => void): (() => void) => {
    let last: unknown = KEY;
    const safe = (): L => {
      try {
        return fresh();
      } catch (thrown) {
        // This runs among the effects of other components. An error here would keep those from running.
        if (last === KEY) throw thrown;
        return (uncaught(thrown), last) as L;
      }
    };
    // Where an effect subscribes, it does not read. A store tells of an object also when it is the same.
    return untrack(() => toStore(safe).subscribe((now) => now === last || run((last = now))));
  };
  const followed = fromStore({ subscribe });
  return {
    get current() {
      // Whether an effect or a template reads. Only then is anything followed.
      let isTracked: true | undefined;
      createSubscriber(() => void (isTracked = true))();
      return isTracked ? followed.current : fresh();
    },
    subscribe,
  };
}

const readable = <T, R>(source: Source<T>, look: (now: T) => R): Readable<R> => tracking(() => source, look);

/** Undefined while it is being opened, and on a server; what has gone wrong is in useTideStatus(). */
export const useTide = (): Readable<Tide | undefined> => readable(useSource(), (now) => now.tide);

export const useTideStatus = (): Readable<TideStatus> => readable<TideStatus, TideStatus>(useSource(), (now) => now);

function shown<S, T = S>(keyOf: () => unknown, make: () => FollowedSource<S>, options?: ViewSelection<S, T>): Shown<T> {
  const of = <R>(look: (now: Followed<S>) => R) => tracking(make, look, keyOf);
  const value = of(picking(options));
  const isReady = of((now) => now.isReady);
  const error = of((now) => now.error);
  return {
    get current() {
      return value.current;
    },
    get isReady() {
      return isReady.current;
    },
    get error() {
      return error.current;
    },
    subscribe: value.subscribe,
  };
}

/**
 * The state of a view, made of a topic's records; initial() until all records of this device are in it. Components that
 * show the same view share one.
 */
export function useView<S, V, I, R, T = S>(
  // First and alone: every function has `name` and `apply`, as a definition has, and would be taken for one.
  view: () => ViewDefinition<S, V, I, R> | View<S>,
  options?: ViewSelection<S, T>,
): Shown<T>;
export function useView<S, V, I, R, T = S>(
  view: ViewDefinition<S, V, I, R> | View<S>,
  options?: ViewSelection<S, T>,
): Shown<T>;
export function useView<S, V, I, R, T = S>(
  // Last: what is either of both, as an argument that is passed on.
  view: MaybeGetter<ViewDefinition<S, V, I, R> | View<S>>,
  options?: ViewSelection<S, T>,
): Shown<T>;
export function useView<S, V, I, R, T = S>(
  view: MaybeGetter<ViewDefinition<S, V, I, R> | View<S>>,
  options?: ViewSelection<S, T>,
): Shown<T> {
  const tide = useSource();
  return shown(
    () => viewKey(valueOf(view)),
    () => viewSource(tide, valueOf(view)),
    options,
  );
}

/** The newest records of a topic, own ones without a place at the end. Empty until they are read. */
export function useRecords<V = unknown, I = RecordInput<V>, R extends FollowedRecord = TopicRecord<V>>(
  topic: MaybeGetter<TopicRef<V, I, R>>,
  options?: MaybeGetter<RecordsOptions>,
): Shown<readonly R[]> {
  const tide = useSource();
  return shown<readonly R[]>(
    () => recordsKey(valueOf(topic), valueOf(options)),
    () => recordsSource(tide, valueOf(topic), valueOf(options)),
  );
}

/** "idle" while nothing is synced, and on a server. */
export const useSyncStatus = (): Readable<SyncStatus> => readable(syncSource(useSource()), (now) => now.value);

/** Appends to a topic, and what waits for its ack. A store of both. */
export interface Appends<I> extends AppendCalls<I>, AppendState<I> {
  subscribe(run: (state: AppendState<I>) => void): () => void;
}

export function useAppend<V = unknown, I = RecordInput<V>, R = TopicRecord<V>>(topic: TopicRef<V, I, R>): Appends<I> {
  const appending = appendingTo(useSource(), topic);
  const state = readable<AppendState<I>, AppendState<I>>(appending, (now) => now);
  return {
    ...appending.calls,
    get pending() {
      return state.current.pending;
    },
    get error() {
      return state.current.error;
    },
    subscribe: state.subscribe,
  };
}

export * from "./exported.ts";
export type { AppendState } from "./appending.ts";
