/**
 * `tidemark/solid`: a provider, and accessors over one open tide.
 *
 *     <TideProvider name="my-app"><App /></TideProvider>
 *     const todos = useView(list);              // todos(), todos.loading, todos.error, as of a resource
 *     const { append, pending, error, retry } = useAppend(changes);
 *
 * On a server, and until the page has hydrated, views show their initial state. An accessor throws what has ended its
 * view, for an ErrorBoundary; `error` has it, too.
 */
import {
  type Accessor,
  createComponent,
  createContext,
  createEffect,
  createMemo,
  createSignal,
  type JSX,
  onCleanup,
  untrack,
  useContext,
} from "solid-js";
import type { RecordInput, SyncStatus, Tide, TidemarkError, TopicRecord, View } from "../browser/index.ts";
import { type AppendCalls, type AppendState, NOTHING_PENDING, type PendingAppend, appendingTo } from "./appending.ts";
import { check } from "./checks.ts";
import {
  type Followed,
  type FollowedSource,
  picking,
  type RecordsOptions,
  recordsSource,
  type FollowedRecord,
  syncSource,
  type TopicRef,
  type ViewDefinition,
  type ViewSelection,
  viewSource,
} from "./followers.ts";
import {
  OPENING,
  type OpenedStatus,
  type TideOptions,
  type TideSource,
  tideSource,
  type TideStatus,
} from "./page-tide.ts";
import { nothing, type Source } from "./shared.ts";

export interface TideProviderProps {
  /** Opened by the first component, closed when the last one is gone; providers of one name share it. */
  readonly name?: string | undefined;
  /** As they are when it is opened. */
  readonly options?: TideOptions | undefined;
  /** Instead of a name: one that the application has opened, and will close. */
  readonly tide?: Tide | undefined;
  readonly children?: JSX.Element;
}

const Context = createContext<Accessor<TideSource>>();

export function TideProvider(props: TideProviderProps): JSX.Element {
  const source = createMemo(() => {
    const tide = props.tide ?? props.name;
    return untrack(() => tideSource(tide, props.options));
  });
  createEffect(() => onCleanup(source().subscribe(nothing)));
  return createComponent(Context.Provider, {
    value: source,
    get children() {
      return props.children;
    },
  });
}

function useSource(): Accessor<TideSource> {
  const source = useContext(Context);
  check(source, "provider", 'the app <TideProvider name="…">');
  return source;
}

/** A value, or an accessor of it. */
export type MaybeAccessor<T> = T | Accessor<T>;
const valueOf = <T extends object | string | undefined>(value: MaybeAccessor<T>): T =>
  typeof value === "function" ? value() : value;

function createValue<T>(source: Accessor<Source<T>>, initial: T): Accessor<T> {
  const [value, setValue] = createSignal<T>(initial);
  createEffect(() => {
    const now = source();
    const tell = (): T => setValue(() => now.current);
    onCleanup(now.subscribe(tell));
    tell();
  });
  return value;
}

/** Undefined while it is being opened, and on a server. Throws what has ended it, or what open() has thrown. */
export function useTide(): Accessor<Tide | undefined> {
  const status: Accessor<OpenedStatus> = useTideStatus();
  return () => {
    const { tide, error } = status();
    if (error) throw error;
    return tide;
  };
}

export const useTideStatus = (): Accessor<TideStatus> => createValue(useSource(), OPENING);

/** What a component shows of a topic, as a resource: calling it throws `error`. */
export interface Shown<T> {
  (): T;
  /** True until all records of this device are in it. */
  readonly loading: boolean;
  /** What has ended it. */
  readonly error: TidemarkError | undefined;
}

function createShown<S, T = S>(source: Accessor<FollowedSource<S>>, options?: ViewSelection<S, T>): Shown<T> {
  const followed = createValue<Followed<S>>(source, untrack(source).initial);
  const of = <R>(look: (now: Followed<S>) => R): Accessor<R> => createMemo(() => look(followed()));
  const state = of(picking(options));
  const error = of((now) => now.error);
  const loading = of((now) => !now.isReady);
  const shown = (): T => {
    const thrown = error();
    if (thrown) throw thrown;
    return state();
  };
  return Object.defineProperties(shown, { error: { get: error }, loading: { get: loading } }) as Shown<T>;
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
  view: MaybeAccessor<ViewDefinition<S, V, I, R> | View<S>>,
  options?: ViewSelection<S, T>,
): Shown<T>;
export function useView<S, V, I, R, T = S>(
  view: MaybeAccessor<ViewDefinition<S, V, I, R> | View<S>>,
  options?: ViewSelection<S, T>,
): Shown<T> {
  const tide = useSource();
  return createShown(
    createMemo(() => viewSource(tide(), valueOf(view))),
    options,
  );
}

/** The newest records of a topic, own ones without a place at the end. Empty until they are read. */
export function useRecords<V = unknown, I = RecordInput<V>, R extends FollowedRecord = TopicRecord<V>>(
  topic: MaybeAccessor<TopicRef<V, I, R>>,
  options?: MaybeAccessor<RecordsOptions>,
): Shown<readonly R[]> {
  const tide = useSource();
  return createShown(createMemo(() => recordsSource(tide(), valueOf(topic), valueOf(options))));
}

/** "idle" while nothing is synced, and on a server. */
export function useSyncStatus(): Accessor<SyncStatus> {
  const tide = useSource();
  return createShown(createMemo(() => syncSource(tide())));
}

/** Appends to a topic, and what waits for its ack. */
export interface Appends<I> extends AppendCalls<I> {
  readonly pending: Accessor<readonly PendingAppend<I>[]>;
  readonly error: Accessor<TidemarkError | undefined>;
}

export function useAppend<V = unknown, I = RecordInput<V>, R = TopicRecord<V>>(
  topic: MaybeAccessor<TopicRef<V, I, R>>,
): Appends<I> {
  const tide = useSource();
  const appending = createMemo(() => appendingTo(tide(), valueOf(topic)));
  const state = createValue<AppendState<I>>(appending, NOTHING_PENDING);
  const calls = (): AppendCalls<I> => untrack(appending).calls;
  return {
    append: (record, options) => calls().append(record, options),
    retry: () => calls().retry(),
    dismiss: () => calls().dismiss(),
    pending: () => state().pending,
    error: () => state().error,
  };
}

export * from "./exported.ts";
