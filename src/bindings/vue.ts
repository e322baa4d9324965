/**
 * `tidemark/vue`: a plugin, and composables that give refs, over one open tide.
 *
 *     app.use(createTide("my-app", { sync }));
 *     const { state: todos, isReady, error } = useView(list);
 *     const { append, pending, error, retry } = useAppend(changes);
 *
 * On a server, and until a component is mounted, views show their initial state. Errors are in `error` of what a
 * composable gives; nothing is thrown.
 */
import {
  type App,
  computed,
  type ComputedRef,
  inject,
  type InjectionKey,
  type MaybeRef,
  type MaybeRefOrGetter,
  onMounted,
  type Plugin,
  provide,
  type ShallowRef,
  shallowRef,
  toValue,
  watch,
} from "vue";
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

const KEY: InjectionKey<TideSource> = Symbol("tidemark");

/** A plugin for app.use(). In a browser it opens the tide at once, and closes it with the app. */
export function createTide(tide: string | Tide, options?: TideOptions): Plugin {
  const source = tideSource(tide, options);
  return {
    install(app: App) {
      app.provide(KEY, source);
      if ("document" in globalThis) app.onUnmount(source.subscribe(nothing));
    },
  };
}

/** Like the plugin, for the components below this one, and for as long as it is mounted. */
export function provideTide(tide: string | Tide, options?: TideOptions): void {
  const source = tideSource(tide, options);
  provide(KEY, source);
  whileMounted(() => source, nothing);
}

function useSource(): TideSource {
  const source = inject(KEY, undefined);
  check(source, "provider", 'the app createTide("…")');
  return source;
}

/** Listens while the component is mounted. Where a ref names the source, another one when the ref changes. */
function whileMounted<T>(source: () => Source<T>, told: (current: T) => void): void {
  onMounted(() =>
    watch(
      source,
      (now, _, onCleanup) => {
        const tell = (): void => told(now.current);
        onCleanup(now.subscribe(tell));
        tell();
      },
      { immediate: true },
    ),
  );
}

function useValue<T>(source: () => Source<T>, initial: T): Readonly<ShallowRef<T>> {
  const value = shallowRef(initial) as ShallowRef<T>;
  whileMounted(source, (current) => void (value.value = current));
  return value;
}

function useStatus(): Readonly<ShallowRef<OpenedStatus>> {
  const source = useSource();
  return useValue(() => source, OPENING);
}

/** Undefined while it is being opened, and on a server; what has gone wrong is in useTideStatus(). */
export function useTide(): ComputedRef<Tide | undefined> {
  const status = useStatus();
  return computed(() => status.value.tide);
}

export const useTideStatus = (): Readonly<ShallowRef<TideStatus>> => useStatus();

/** What a component shows of a topic. */
export interface Shown<T> {
  readonly state: ComputedRef<T>;
  /** False until all records of this device are in it. */
  readonly isReady: ComputedRef<boolean>;
  /** What has ended it. */
  readonly error: ComputedRef<TidemarkError | undefined>;
}

function useFollowed<S, T = S>(source: () => FollowedSource<S>, options?: ViewSelection<S, T>): Shown<T> {
  const followed = useValue(source, source().initial);
  const of = <R>(look: (now: Followed<S>) => R): ComputedRef<R> => computed(() => look(followed.value));
  return { state: of(picking(options)), isReady: of(({ isReady }) => isReady), error: of(({ error }) => error) };
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
  view: MaybeRef<ViewDefinition<S, V, I, R> | View<S>>,
  options?: ViewSelection<S, T>,
): Shown<T>;
export function useView<S, V, I, R, T = S>(
  // Last: what is either of both, as an argument that is passed on.
  view: MaybeRefOrGetter<ViewDefinition<S, V, I, R> | View<S>>,
  options?: ViewSelection<S, T>,
): Shown<T>;
export function useView<S, V, I, R, T = S>(
  view: MaybeRefOrGetter<ViewDefinition<S, V, I, R> | View<S>>,
  options?: ViewSelection<S, T>,
): Shown<T> {
  const tide = useSource();
  const source = computed(() => viewSource(tide, toValue(view)));
  return useFollowed(() => source.value, options);
}

/** The newest records of a topic, own ones without a place at the end. Empty until they are read. */
export function useRecords<V = unknown, I = RecordInput<V>, R extends FollowedRecord = TopicRecord<V>>(
  topic: MaybeRefOrGetter<TopicRef<V, I, R>>,
  options?: MaybeRefOrGetter<RecordsOptions>,
): Shown<readonly R[]> {
  const tide = useSource();
  const source = computed(() => recordsSource(tide, toValue(topic), toValue(options)));
  return useFollowed(() => source.value);
}

/** "idle" while nothing is synced, and on a server. */
export function useSyncStatus(): ComputedRef<SyncStatus> {
  const source = syncSource(useSource());
  return useFollowed(() => source).state;
}

/** Appends to a topic, and what waits for its ack. */
export interface Appends<I> extends AppendCalls<I> {
  readonly pending: ComputedRef<readonly PendingAppend<I>[]>;
  readonly error: ComputedRef<TidemarkError | undefined>;
}

export function useAppend<V = unknown, I = RecordInput<V>, R = TopicRecord<V>>(
  topic: MaybeRefOrGetter<TopicRef<V, I, R>>,
): Appends<I> {
  const tide = useSource();
  const appending = computed(() => appendingTo(tide, toValue(topic)));
  const state = useValue<AppendState<I>>(() => appending.value, NOTHING_PENDING);
  return {
    append: (record, options) => appending.value.calls.append(record, options),
    retry: () => appending.value.calls.retry(),
    dismiss: () => appending.value.calls.dismiss(),
    pending: computed(() => state.value.pending),
    error: computed(() => state.value.error),
  };
}

export * from "./exported.ts";
